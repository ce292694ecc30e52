"""Our networks and our training step against numbers of the published implementation, in float64."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from open_tunit.data import views
from open_tunit.data.batches import Batch
from open_tunit.interop.official import discriminator_names, generator_names, guiding_names
from open_tunit.settings.config import Config
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.steps.state import Queue, State, new_state
from open_tunit.training.steps.step import Step

LOSS_TOLERANCE = 1e-9
NORM_TOLERANCE = 1e-6
PHASES = {
    "warmup": Phase(
        name="guiding", train_guiding=True, train_generator=False, guiding_weight=1.0, guiding_learning_rate=1e-4
    ),
    "joint": Phase(
        name="joint", train_guiding=True, train_generator=True, guiding_weight=0.1, guiding_learning_rate=1e-4
    ),
}
LOSS_NAMES = {
    "mutual_information_loss": "mutual_information",
    "encoder_style_contrastive": "style_contrast",
    "d_real_hinge": "d_real",
    "d_fake_hinge": "d_fake",
    "r1": "r1",
    "g_adv_translation": "g_translation",
    "g_adv_reconstruction": "g_reconstruction",
    "reconstruction_l1": "reconstruction",
    "generator_style_contrastive": "translation_style",
}


@pytest.fixture
def parity(fixtures: Path) -> Path:
    return fixtures / "parity"


def _weights(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_weights", folder / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tensors(module: torch.nn.Module, names: dict[str, str], letter: str, weights: ModuleType) -> dict[str, Tensor]:
    return {
        ours: torch.as_tensor(weights.tensor(f"{letter}/{names[ours]}", tuple(value.shape)))
        for ours, value in module.state_dict().items()
    }


def _state(config: Config, weights: ModuleType) -> State:
    state = new_state(Plan.of(config), torch.device("cpu"), torch.float64)
    names = {
        "E": guiding_names,
        "G": generator_names,
        "D": lambda model: discriminator_names(model, config.discriminator),
    }
    for name, letter in (("E", "C"), ("G", "G"), ("D", "D")):
        network = getattr(state, name)
        tensors = _tensors(network, names[name](config.model), letter, weights)
        network.load_state_dict(tensors)
        if name != "D":
            getattr(state, f"{name}_ema").load_state_dict(tensors)
    return state


def _config(size: int) -> Config:
    return Config.preset("paper", data="unused", out="unused", size=size, domains=10)


def _assert_samples(value: Tensor, expected: dict[str, object]) -> None:
    assert list(value.shape) == expected["shape"]
    samples = expected["samples"]
    assert isinstance(samples, dict)
    for index, number in samples.items():
        assert value.flatten()[int(index)].item() == pytest.approx(number, rel=1e-9, abs=1e-11)
    assert value.std().item() == pytest.approx(expected["std"], rel=1e-9)


def test_names_are_those_of_the_published_state_dicts(parity: Path) -> None:
    published = json.loads((parity / "official_state_dict_64.json").read_text())
    config = _config(64)
    state = new_state(Plan.of(config), torch.device("cpu"))
    for network, names, letter in (
        (state.E, guiding_names, "C"),
        (state.G, generator_names, "G"),
        (state.D, lambda model: discriminator_names(model, config.discriminator), "D"),
    ):
        mapping = names(config.model)
        shapes = {mapping[name]: list(value.shape) for name, value in network.state_dict().items()}
        unused = {name for name in published[letter] if ".norm.running_" in name}
        assert shapes == {name: shape for name, shape in published[letter].items() if name not in unused}


def test_forward(parity: Path) -> None:
    weights, expected = _weights(parity), json.loads((parity / "forward_64.json").read_text())
    state = _state(_config(64), weights)
    source = torch.as_tensor(weights.images("source64", 2, 64))
    reference = torch.as_tensor(weights.images("reference64", 2, 64))
    with torch.no_grad():
        guidance = state.E.eval()(reference)
        _assert_samples(guidance.style, expected["style_eval"])
        _assert_samples(guidance.logits, expected["logits_eval"])
        trained = state.E.train()(torch.cat([source, reference]))
        _assert_samples(trained.style, expected["style_train"])
        _assert_samples(trained.logits, expected["logits_train"])
        _assert_samples(state.G.encode(source), expected["content"])
        translation = state.G(source, guidance.style)
        _assert_samples(translation, expected["translation"])
        logits = state.D(translation)
    _assert_samples(logits[[0, 1], [3, 7]], expected["d_logit_domains_3_7"])


@pytest.mark.parametrize(("name", "phase", "gain"), [
    ("step_warmup", "warmup", 1.0), ("step_joint", "joint", 1.0), ("step_joint_margins", "joint", 10.0),
])  # fmt: skip
def test_training_step(parity: Path, name: str, phase: str, gain: float) -> None:
    weights, expected = _weights(parity), json.loads((parity / f"{name}.json").read_text())
    config = _config(expected["size"])
    state = _state(config, weights)
    with torch.no_grad():
        state.D.heads.weight.mul_(gain)
    state.keys = Queue(config.training.queue, torch.as_tensor(weights.vectors("queue", 16, 128)))
    before = {key: {n: p.clone() for n, p in getattr(state, key).named_parameters()} for key in _NETWORKS}
    count, size = expected["batch"], expected["size"]
    plain = torch.as_tensor(weights.images("batch", count, size))
    augmented = torch.as_tensor(weights.images("batch_augmented", count, size))
    batch = Batch(
        x=plain,
        x_plus=augmented,
        x_domain=augmented,
        x_content=plain,
        translation_numbers=views.Numbers(None, torch.empty(0, 4)),
        labels=torch.full((count,), -1),
        unlabelled=torch.arange(count),
        permutation=torch.tensor(expected["permutation"]),
    )
    terms = Step(Plan.of(config))(state, batch, PHASES[phase])
    for theirs, value in expected["losses"].items():
        assert terms[LOSS_NAMES[theirs]].item() == pytest.approx(value, rel=LOSS_TOLERANCE), theirs
    for ours, theirs in _NETWORKS.items():
        change = [p.detach() - before[ours][n] for n, p in getattr(state, ours).named_parameters()]
        norm = torch.sqrt(sum((c.square().sum() for c in change), torch.zeros((), dtype=torch.float64)))
        expected_norm = expected["after"][theirs]["update_norm"]
        assert norm.item() == pytest.approx(expected_norm, rel=NORM_TOLERANCE, abs=1e-12), ours


_NETWORKS = {"E": "C", "E_ema": "C_EMA", "G": "G", "G_ema": "G_EMA", "D": "D"}
