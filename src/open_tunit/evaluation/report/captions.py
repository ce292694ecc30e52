"""Names of figures in words and in order: for the report, the terminal and comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from open_tunit.evaluation.features.extractors import slug

LEAST_SHOWN, MOST_SHOWN, LEAST_WHOLE = 1e-3, 1e4, 999.5

TRUTH, DOMAINS, OWN, FEATURES = "Against the truth", "Domains", "Translations, measured by E", "In feature space"
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    TRUTH: {
        "true_answer_error_ratio": ("Error against the true answer", "the unchanged source has 1; lower is better"),
        "baseline_background_recoloured": ("… of the source with the reference's background", ""),
        "baseline_reference_copied": ("… of the reference itself", ""),
        "true_answer_error_ratio_head": ("The same on the head alone", "lower is better"),
        "baseline_background_recoloured_head": ("… of the source with the reference's background", ""),
        "baseline_reference_copied_head": ("… of the reference itself", ""),
        "species_reached": ("Reference's species reached", "by a classifier, of pairs of different species"),
        "species_reached_source_unchanged": ("… by the unchanged sources", ""),
        "pattern_taken": ("Reference's coat pattern taken", "of pairs of different species; higher is better"),
        "pattern_taken_source_unchanged": ("… by the unchanged sources", ""),
        "pattern_kept": ("Source's coat pattern kept", "of the same pairs; lower is better"),
        "pattern_kept_source_unchanged": ("… by the unchanged sources", ""),
        "content_kept": ("Content levels kept", "by classifiers; higher is better"),
    },
    DOMAINS: {
        "pseudo_label_accuracy": ("Images sorted into their true domain", "best one-to-one matching; higher is better"),
        "normalized_mutual_information": ("Normalised mutual information", "domains and labels; higher is better"),
        "adjusted_rand_index": ("Adjusted Rand index", "0 is chance, 1 is perfect"),
        "purity": ("Purity", "share of images with their domain's most frequent label"),
        "style_neighbour_accuracy": ("Style codes whose 5 nearest have their label", "higher is better"),
    },
    OWN: {
        "domain_reached": ("Reference's domain reached", "by E, of pairs of different domains; higher is better"),
        "domain_reached_source_unchanged": ("… by the unchanged sources", ""),
        "reconstruction_error": ("Reconstruction error", "0 to 1; lower is better"),
        "cycle_error": ("Cycle reconstruction error", "0 to 1; lower is better"),
        "label_free_score": ("Label-free score", "of pairs of different domains; ranks checkpoints of one run"),
        "label_free_score_source_unchanged": ("… of the unchanged sources", ""),
    },
    FEATURES: {
        "fid": ("FID", "lower is better"),
        "fid_of_samples": ("… of translations in sampled styles", "of the references' domains"),
        "frechet_distance": ("Fréchet distance", "not an FID; lower is better"),
        "frechet_distance_of_samples": ("… of translations in sampled styles", "of the references' domains"),
        "mfid": ("mFID", "mean over ordered pairs of domains; lower is better"),
        "mfid_source_unchanged": ("… of the unchanged sources", ""),
        "mean_frechet_distance": ("Mean Fréchet distance over pairs of domains", "not an mFID; lower is better"),
        "mean_frechet_distance_source_unchanged": ("… of the unchanged sources", ""),
        "kid": ("KID", "lower is better"),
        "kid_spread": ("… its spread over subsets", ""),
        "kernel_distance": ("Kernel distance", "not a KID; lower is better"),
        "kernel_distance_spread": ("… its spread over subsets", ""),
        "label_reached": ("Reference's label reached", "by a linear probe, of pairs of different labels"),
        "label_reached_source_unchanged": ("… by the unchanged sources", ""),
        "label_kept": ("Source's label kept", "of the same pairs"),
        "label_probe_accuracy": ("The probe on real images", "higher is better"),
        "precision": ("Precision", "translations near real images"),
        "recall": ("Recall", "real images near translations"),
        "density": ("Density", "real neighbourhoods that a translation lies in"),
        "coverage": ("Coverage", "real neighbourhoods that hold a translation"),
        "diversity": ("Diversity over references", "squared distance of unit features, 0 to 4"),
        "diversity_of_references": ("… of the references themselves", ""),
        "diversity_of_samples": ("Diversity over sampled styles of one domain", "near that of real references"),
        "diversity_of_domain_references": ("… over real references of that domain", ""),
        "nearest_training_ratio": ("Distance to the nearest training image", "held-out images have 1; copies near 0"),
    },
}

ENDINGS = ("_source_unchanged", "_spread", "_of_references", "_of_samples", "_of_domain_references")
"""What names of figures end in, after the feature network's."""
CURVES = {
    "validation/score": "Validation: label-free score",
    "validation/domain_reached": "Validation: reference's domain reached",
    "validation/cycle_error": "Validation: cycle reconstruction error",
    "loss/style_contrast": "E: style contrast",
    "loss/shape_contrast": "E: contrast of domain views",
    "loss/prototypes": "E: balanced prototypes",
    "loss/mutual_information": "E: mutual information, negative",
    "loss/labels": "E: labels",
    "loss/d_real": "D: real images",
    "loss/d_fake": "D: translations",
    "loss/d_mismatched": "D: real images at a wrong domain",
    "loss/r1": "D: R1 penalty",
    "loss/g_translation": "G: adversarial, translations",
    "loss/g_reconstruction": "G: adversarial, reconstructions",
    "loss/reconstruction": "G: reconstruction",
    "loss/translation_style": "G: style of translations",
    "loss/translation_domain": "G: domain of translations",
    "loss/g_adversarial": "G: adversarial",
    "loss/features": "G: features of the reconstruction",
    "loss/pairs": "G: pairs found in the folder",
    "loss/cycle": "G: cycle reconstruction",
    "loss/patches": "G: patches unlike the reference's",
    "images_per_second": "Images per second",
}
"""Of log.jsonl."""


def present(figures: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, str]]]:
    """The groups with the figures that are there, by their full names (some end in the feature network's)."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    suffix = "_" + slug(figures["protocol"]["features"])
    for group, words in GROUPS.items():
        rows: dict[str, tuple[str, str]] = {}
        for name, text in words.items():
            full = _full_name(name, suffix, figures)
            if full is not None:
                rows[full] = text
        if rows:
            found[group] = rows
    return found


def features(figures: Mapping[str, Any]) -> str:
    """Which network the figures in feature space are taken on, and how images become its input."""
    protocol = figures["protocol"]
    return f"{protocol['features']} ({protocol['features_input']})"


def measured_on(figures: Mapping[str, Any]) -> str:
    """How many images of what."""
    protocol = figures["protocol"]
    held_out = figures.get("held_out", "held_out_images" in figures)
    kind = "held-out images" if held_out else "images, not held out"
    return f"{protocol['images']} {kind} ({protocol['part']} part of {protocol['data']})"


def number(value: float) -> str:
    """Three decimals, or four digits where those would show too little or too much."""
    plain = value == 0 or LEAST_SHOWN <= abs(value) < MOST_SHOWN
    return f"{value:.3f}" if plain else f"{value:.3e}"


def short(value: float) -> str:
    """Three digits, or the whole number where it has more: what fits beside a curve."""
    return f"{value:.3g}" if abs(value) < LEAST_WHOLE else f"{value:.0f}"


def interval(figures: Mapping[str, Any], name: str) -> str:
    """`low – high` of a figure, or nothing."""
    bounds = figures["intervals"].get(name)
    return "" if bounds is None else f"{number(bounds[0])} – {number(bounds[1])}"


def _full_name(name: str, suffix: str, figures: Mapping[str, Any]) -> str | None:
    base, tail = name, ""
    for ending in ENDINGS:
        if name.endswith(ending):
            base, tail = name.removesuffix(ending), ending
    for full in (name, f"{base}{suffix}{tail}"):
        if figures.get(full) is not None:
            return full
    return None
