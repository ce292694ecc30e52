"""The presets: what each changes from the paper's defaults in config.py."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # SPEC to the letter: Baek et al. 2021, as published, without the published code's defects.
    "paper": {"model": {}, "training": {}, "views": {}},
    # Minutes on a laptop's two cores.
    "cpu": {
        "model": {
            "size": 32,
            "domains": 5,
            "style_dim": 64,
            "guiding_width": 16,
            "generator_width": 16,
            "plain_start": True,
            "style_mlp_width": 128,
            "discriminator_width": 16,
            "discriminator_max_width": 128,
            "normalize_contrast": True,
            "projection_dim": 64,
            "palette_stages": 3,
        },
        "training": {
            "steps": 3000,
            "guiding_share": 0.33,
            "batch": 16,
            "guiding_batch": 64,
            "domain_objective": "balanced_prototypes",
            "domain_weight": 1.0,
            "style_weight": 0.2,
            "prototypes_start": 0.85,
            "shape_weight": 1.0,
            "contrast_in_batch": True,
            "pseudo_labels": "momentum",
            "supervised_label_weight": 5.0,
            "guiding_learning_rate": 1e-3,
            "joint_guiding_learning_rate": 3e-4,
            "optimizer": "adam",
            "learning_rate": 2e-3,
            "adversarial_weight": 0.5,
            "reconstruction_weight": 10.0,
            "cycle_weight": 10.0,
            "translations_teach_guiding": False,
            "translation_domain_weight": 0.2,
            "mismatched": True,
            "r1_weight": 1.0,
            "r1_every": 4,
            "guiding_weight": 0.5,
            "average_warmup": True,
            "measure_statistics": True,
            "hold_domains": True,
        },
        "views": {
            "colour": False,
            "outside": "reflect",
            "domain_colour": True,
            "content_colour": True,
            "translation": True,
        },
    },
    # What we would advise on one GPU, from what the small runs taught; it has not been trained yet.
    "default": {
        "model": {"normalize_contrast": True, "projection_dim": 128, "palette_stages": 3, "plain_start": True},
        "training": {
            "guiding_share": 0.2,
            "domain_objective": "balanced_prototypes",
            "domain_weight": 1.0,
            "style_weight": 0.2,
            "prototypes_start": 0.75,
            "shape_weight": 1.0,
            "contrast_in_batch": True,
            "pseudo_labels": "momentum",
            "translations_teach_guiding": False,
            "translation_domain_weight": 0.1,
            "mismatched": True,
            "reconstruction_weight": 1.0,
            "cycle_weight": 1.0,
            "supervised_label_weight": 5.0,
            "average_warmup": True,
            "measure_statistics": True,
            "hold_domains": True,
        },
        "views": {
            "colour": False,
            "outside": "reflect",
            "domain_colour": True,
            "content_colour": True,
            "translation": True,
        },
    },
}
