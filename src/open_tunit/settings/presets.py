"""The presets: a recipe, and what each changes from the paper's sizes, weights and budget in sections.py."""

from __future__ import annotations

from typing import Any

PHOTOS: dict[str, Any] = {
    "recipe": "pretrained",
    "model.trunk": "efficientnet-lite0",
    "model.size": 64,
    "model.domains": 6,
    "model.style_dim": 128,
    "model.palette_dim": 64,
    "model.generator_width": 16,
    "model.style_mlp_width": 128,
    "model.residual_scale": 1.0,
    "training.steps": 3000,
    "training.batch": 8,
    "training.optimizer": "muon",
    "training.learning_rate": 1e-3,
    "training.weight_decay": 0.0,
    "training.adversarial_weight": 2.0,
    "training.feature_weight": 10.0,
    "training.reconstruction_weight": 10.0,
    "training.translation_style_weight": 0.0,
    "training.cycle_weight": 5.0,
    "training.pair_weight": 0.0,
    "data.views.flip": False,
    "data.views.colour": False,
}
PRESETS: dict[str, dict[str, Any]] = {
    # Baek et al. 2021 as published, without the published code's defects.
    "paper": {
        "recipe": "paper",
        "precision": "float32",
        "data.fit": "squash",
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
        "model.residual_scale": 1.0,
        "training.guiding_share": 0.27,
        "training.pair_share": 0.56,
        "training.batch": 8,
        "training.guiding_batch": 64,
        "training.prototypes_start": 0.85,
        "training.guiding_learning_rate": 0.001,
        "training.joint_guiding_learning_rate": 3e-05,
        "training.joint_guiding_full_steps": 100,
        "training.optimizer": "muon",
        "training.learning_rate": 0.002,
        "training.adversarial_weight": 0.25,
        "training.reconstruction_weight": 5.0,
        "training.pair_weight": 20.0,
        "training.cycle_weight": 5.0,
        "training.patch_weight": 10.0,
        "training.patch_full_steps": 500,
        "training.translation_domain_weight": 0.2,
        "training.r1_weight": 1.0,
        "training.r1_every": 4,
        "training.guiding_weight": 0.5,
        "data.views.flip": False,
        "data.views.colour": False,
    },
    # Photographs, on two cores.
    "photos": PHOTOS,
    # Photographs, on one GPU.
    "photos-128": PHOTOS
    | {
        "model.size": 128,
        "model.generator_width": 32,
        "training.batch": 16,
        "training.steps": 20000,
        "training.learning_rate": 5e-4,
    },
    # For one GPU, by what the small runs showed.
    "default": {
        "recipe": "ours",
        "model.style_dim": 192,
        "model.palette_dim": 64,
        "model.projection_dim": 128,
        "model.residual_scale": 1.0,
        "training.guiding_share": 0.2,
        "training.pair_share": 0.3,
        "training.pair_weight": 2.0,
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
