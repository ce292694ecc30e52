"""The report's picture sections."""

from __future__ import annotations

import html

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.evaluation.features.feature_cache import pictures
from open_tunit.evaluation.protocol import Evaluation
from open_tunit.evaluation.report.charts import MAP_IMAGES, style_picture
from open_tunit.evaluation.report.markup import chip, grid_figure, note, picture_figure
from open_tunit.evaluation.sampled import can_sample
from open_tunit.rng import Stream, rng
from open_tunit.style_map import FEWEST_POINTS, principal_map, style_map

SHOWN = 8
SHEET_COLUMNS, SHEET_ROWS = 8, 3
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
WALKS = 4


def shown_images(evaluation: Evaluation) -> Tensor:
    """The first images that a report shows, (at most 2 * SHOWN, 3, S, S)."""
    return pictures(evaluation.dataset, evaluation.selection.images[_shown(evaluation)])


def domain_sheets(evaluation: Evaluation) -> str:
    """A sheet of images per domain, with what is in it where labels are known."""
    selection, dataset = evaluation.selection, evaluation.dataset
    parts = []
    for domain, name in _domains(evaluation).items():
        members = selection.images[evaluation.encoded.domains == domain]
        sheet = torch.ones(SHEET_ROWS * SHEET_COLUMNS, 3, *dataset.images.shape[1:3])
        chosen = members[: len(sheet)]
        if len(chosen):
            sheet[: len(chosen)] = pictures(dataset, chosen)
        rows = sheet[: max(1, -(-len(chosen) // SHEET_COLUMNS)) * SHEET_COLUMNS].unflatten(0, (-1, SHEET_COLUMNS))
        caption = f"{len(members)} of {len(selection.images)} images{_contents(evaluation, members)}"
        parts.append(f"<h3>{chip(domain)}{html.escape(name)}</h3>{grid_figure(caption, rows)}")
    return "".join(parts)


def style_panel(evaluation: Evaluation) -> str:
    """The map of styles."""
    selection = evaluation.selection
    if len(selection.images) < 2:
        return ""
    order = rng(selection.seed, Stream.REPORT_MAP).permutation(len(selection.images))[:MAP_IMAGES]
    places, how = _places(evaluation.encoded.styles[torch.as_tensor(order)].numpy())
    canvas = style_picture(
        places, evaluation.encoded.domains[order], pictures(evaluation.dataset, selection.images[order])
    )
    legend = "".join(f"<span>{chip(k)}{html.escape(name)}</span>" for k, name in _domains(evaluation).items())
    caption = f"{len(order)} images by {how}."
    return f'<p class="legend">{legend}</p>{picture_figure(caption, canvas, wide=True)}'


def reference_grid(evaluation: Evaluation) -> str:
    """Every shown source in the style of every shown reference."""
    shown = shown_images(evaluation)
    count = len(shown) // 2
    if not count:
        return ""
    sources, references = shown[:count], shown[count : 2 * count]
    body = evaluation.model.grid(sources, references).cpu()
    rows = [torch.cat([torch.ones_like(sources[:1]), references])]
    rows += [torch.cat([source[None], row]) for source, row in zip(sources, body, strict=True)]
    return grid_figure("Top row: references. Left column: sources.", torch.stack(rows))


def domain_grid(evaluation: Evaluation) -> str:
    """Every shown source in the typical style of every domain."""
    model = evaluation.model
    filled = {k: name for k, name in _domains(evaluation).items() if model.domain_counts[k]}
    if not filled:
        return note("This model has no typical styles: no training image was sorted while they were taken.")
    sources = shown_images(evaluation)[:SHOWN]
    columns = [sources, *(model.translate(sources, domain=k).cpu() for k in filled)]
    caption = f"Left column: sources; then each in the typical style of: {', '.join(filled.values())}."
    return grid_figure(caption, torch.stack(columns, dim=1))


def sample_grid(evaluation: Evaluation) -> str:
    """Shown sources in styles sampled from the domains."""
    model = evaluation.model
    domains = [k for k in _domains(evaluation) if can_sample(model, k)][:SHOWN]
    if not domains:
        return ""
    sources = shown_images(evaluation)
    rows = []
    for place, domain in enumerate(domains):
        source = sources[[place % len(sources)]]
        codes = model.sample_styles(domain, SHOWN, seed=evaluation.selection.seed)
        rows.append(torch.cat([source, model.redraw(source, codes).cpu()]))
    named = ", ".join(_domains(evaluation)[k] for k in domains)
    return grid_figure(f"A source, then in {SHOWN} styles sampled from: {named} (one row each).", torch.stack(rows))


def interpolations(evaluation: Evaluation) -> str:
    """Walks from a source's own style to its reference's."""
    shown, styles = shown_images(evaluation), evaluation.encoded.styles[torch.as_tensor(_shown(evaluation))]
    count = min(WALKS, len(shown) // 2)
    if not count:
        return ""
    sources, own, theirs = shown[:count], styles[:count], styles[count : 2 * count]
    steps = [evaluation.model.redraw(sources, torch.lerp(own, theirs, s)).cpu() for s in STRENGTHS]
    caption = f"Source, then {len(STRENGTHS)} steps from its own style to that of the reference at the right."
    return grid_figure(caption, torch.stack([sources, *steps, shown[count : 2 * count]], dim=1))


def best_and_worst(evaluation: Evaluation) -> str:
    """The pairs of different domains with the highest and the lowest label-free score."""
    scores = evaluation.made.scores()
    order = np.flatnonzero(evaluation.made.different)
    order = order[np.argsort(-scores[order], kind="stable")]
    count = min(SHOWN, len(order) // 2)
    if not count:
        return ""
    parts = [note("Rows: source, reference, translation. " + evaluation.figures["protocol"]["label_free_score"] + ".")]
    for title, chosen in (("Best", order[:count]), ("Worst", order[-count:][::-1])):
        listed = ", ".join(f"{scores[index]:.2f}" for index in chosen)
        parts.append(f"<h3>{title}</h3>{grid_figure(f'Scores: {listed}.', torch.stack(_pairs(evaluation, chosen)))}")
    return "".join(parts)


def copies(evaluation: Evaluation) -> str:
    """The translations that come nearest to a training image, beside it."""
    found = evaluation.nearest_training
    if found is None:
        return ""
    usual = float(np.median(found.held_out))
    order = np.argsort(found.translated, kind="stable")[:SHOWN]
    listed = ", ".join(f"{found.translated[index] / max(usual, 1e-12):.2f}" for index in order)
    rows = [*_pairs(evaluation, order), pictures(evaluation.dataset, found.nearest[order])]
    features = evaluation.figures["protocol"]["features"]
    text = (
        f"The {len(order)} translations nearest to any of {found.searched} training images in the features of "
        f"{features}, of all {len(found.translated)}. Rows: source, reference, translation, nearest training image."
    )
    caption = f"Distances, where the median real held-out image has 1: {listed}. Copies are near 0."
    return note(text) + grid_figure(caption, torch.stack(rows))


def true_answers(evaluation: Evaluation) -> str:
    """Translations beside what they should have been."""
    if evaluation.answers is None:
        return ""
    columns = torch.stack([part[:SHOWN].cpu() for part in evaluation.answers])
    return grid_figure("Rows: source, reference, translation, true answer.", columns)


def _shown(evaluation: Evaluation) -> NDArray[np.int64]:
    """Their positions in the selection's images."""
    selection = evaluation.selection
    return rng(selection.seed, Stream.REPORT_EXAMPLES).permutation(len(selection.images))[: 2 * SHOWN]


def _domains(evaluation: Evaluation) -> dict[int, str]:
    """The domains by number, as the user calls them; of merged ones the first."""
    naming = evaluation.model.naming
    heads = [k for k, head in enumerate(naming.heads) if head == k]
    return {k: f"Domain {k}" if naming.names[k] == str(k) else naming.names[k] for k in heads}


def _places(styles: NDArray[np.floating]) -> tuple[NDArray[np.float64], str]:
    """Places (N, 2) of style codes (N, d), and in words what they mean."""
    if len(styles) >= FEWEST_POINTS:
        try:
            return style_map(styles), "t-SNE of their style codes: neighbours are alike, large distances mean little"
        except ModuleNotFoundError:
            pass
    places, share = principal_map(styles)
    return places, f"the two main directions of their style codes (PCA): {share:.0%} of the variance"


def _pairs(evaluation: Evaluation, chosen: np.ndarray) -> list[Tensor]:
    selection, dataset = evaluation.selection, evaluation.dataset
    sources = pictures(dataset, selection.images[selection.sources[chosen]])
    references = pictures(dataset, selection.images[selection.references[chosen]])
    styles = evaluation.encoded.styles[torch.as_tensor(selection.references[chosen])]
    return [sources, references, evaluation.model.redraw(sources, styles).cpu()]


def _contents(evaluation: Evaluation, members: np.ndarray) -> str:
    """How many of each label, most frequent first."""
    dataset = evaluation.dataset
    labels = dataset.labels[members]
    counts = np.bincount(labels[labels >= 0], minlength=len(dataset.label_names))
    named = [f"{dataset.label_names[k]} {counts[k]}" for k in np.argsort(-counts, kind="stable") if counts[k]]
    return f" ({', '.join(named[:6])})" if named else ""
