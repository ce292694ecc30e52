"""The presets: a recipe, and what each changes from the paper's sizes, weights and budget in sections.py."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # Baek et al. 2021 as published, without the published code's defects.
    "paper": {
        "recipe": "paper",
    },
    # Minutes on a laptop's two cores.
    "cpu": {
        "recipe": "ours",
        "model.size": 32,
        "model.domains": 5,
        "model.style_dim": 128,
        "model.palette_dim": 64,
        "model.guiding_width": 16,
        "model.generator_width": 16,
        "model.style_mlp_width": 128,
        "discriminator.width": 16,
        "discriminator.max_width": 128,
        "model.projection_dim": 64,
        "training.steps": 3000,
        "training.guiding_share": 0.33,
        "training.batch": 16,
        "training.guiding_batch": 64,
        "training.prototypes_start": 0.85,
        "training.guiding_learning_rate": 0.001,
        "training.joint_guiding_learning_rate": 3e-05,
        "training.joint_guiding_full_steps": 100,
        "training.optimizer": "adam",
        "training.learning_rate": 0.002,
        "training.adversarial_weight": 0.5,
        "training.reconstruction_weight": 10.0,
        "training.cycle_weight": 10.0,
        "training.patch_weight": 20.0,
        "training.patch_full_steps": 500,
        "training.translation_domain_weight": 0.2,
        "training.r1_weight": 1.0,
        "training.r1_every": 4,
        "training.guiding_weight": 0.5,
        "data.views.flip": False,
        "data.views.colour": False,
    },
    # For one GPU, by what the small runs showed.
    "default": {
        "recipe": "ours",
        "model.style_dim": 192,
        "model.palette_dim": 64,
        "model.projection_dim": 128,
        "training.guiding_share": 0.2,
        "training.joint_guiding_learning_rate": 1e-05,
        "training.joint_guiding_full_steps": 200,
        "training.prototypes_start": 0.75,
        "training.translation_domain_weight": 0.1,
        "training.reconstruction_weight": 1.0,
        "training.cycle_weight": 1.0,
        "training.patch_weight": 2.0,
        "training.patch_full_steps": 5000,
        "data.views.flip": False,
        "data.views.colour": False,
    },
}
"""Dotted names of settings and their values."""
