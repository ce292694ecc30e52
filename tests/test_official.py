"""interop/official.py: published checkpoints, faked: our own networks under the published names."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from open_tunit import TUNIT
from open_tunit.interop.official import (
    NotACheckpointError,
    discriminator_names,
    generator_names,
    guiding_names,
    load_official,
    load_official_discriminator,
)
from open_tunit.networks.discriminator import Discriminator
from open_tunit.settings.config import Discriminator as DiscriminatorShape
from open_tunit.settings.config import Model

NARROW = DiscriminatorShape(width=3)
NAMES = {"C": guiding_names, "G": generator_names, "D": lambda model: discriminator_names(model, NARROW)}


def _shapes(size: int) -> Model:
    """Widths that tests can afford; a checkpoint's are read off its tensors."""
    return Model(size=size, domains=3, style_dim=7, guiding_width=4, generator_width=2, style_mlp_width=9)


def _networks(size: int, seed: int) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    model = TUNIT(_shapes(size))
    networks: dict[str, nn.Module] = {"C": model.E, "G": model.G, "D": Discriminator(_shapes(size), NARROW)}
    for network in networks.values():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value), alpha=0.1)  # biases and averages are not zero, variances above it
    return {name: network.eval() for name, network in networks.items()}


def _published(network: nn.Module, name: str, size: int, prefix: str) -> dict[str, Tensor]:
    names = NAMES[name](_shapes(size))
    state = {prefix + names[ours]: value for ours, value in network.state_dict().items()}
    if name == "G":  # buffers that the published decoder holds and never reads
        for place in ("decoder.model.0.model.0.model.0", "decoder.model.2"):
            state |= {f"{prefix}{place}.norm.running_{kind}": torch.ones(5) for kind in ("mean", "var")}
    return state


def _checkpoint(size: int, prefix: str = "") -> tuple[dict[str, Any], dict[str, nn.Module], dict[str, nn.Module]]:
    """A published checkpoint, the raw networks in it and the averaged ones."""
    raw, averaged = _networks(size, seed=0), _networks(size, seed=1)
    values: dict[str, Any] = {"epoch": 199}
    for name, network in raw.items():
        values[f"{name}_state_dict"] = _published(network, name, size, prefix)
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
        values[f"{name.lower()}_optimizer"] = optimiser.state_dict()
    for name in ("C", "G"):
        values[f"{name}_EMA_state_dict"] = _published(averaged[name], name, size, prefix)
    return values, raw, averaged


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    values, _, _ = _checkpoint(128)
    torch.save(values, tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt", values


@pytest.mark.parametrize(("size", "prefix"), [(128, ""), (256, "module."), (64, "module.")])
@torch.no_grad()
def test_the_loaded_networks_are_the_published_ones(tmp_path: Path, size: int, prefix: str) -> None:
    values, raw, averaged = _checkpoint(size, prefix)
    path = tmp_path / "model.ckpt"
    torch.save(values, path)
    x = torch.rand(2, 3, size, size) * 2 - 1
    for model, networks in (
        (load_official(path), averaged),
        (load_official(path, size), averaged),
        (load_official(str(path), averaged=False), raw),
    ):
        assert model.config == _shapes(size)
        assert not model.training
        expected = networks["C"](x)
        assert torch.equal(model.style(x), expected.style)
        assert torch.equal(model.domains(x), expected.logits.softmax(dim=1))
        code = expected.style.flip(0)
        drawn = networks["G"](x, code)
        assert torch.isfinite(drawn).all()
        torch.testing.assert_close(model.translate(x, x.flip(0)), drawn)
    assert not torch.equal(raw["G"](x, code), averaged["G"](x, code))
    D = load_official_discriminator(path, size)
    assert torch.equal(D(x), raw["D"](x))
    assert not D.training


def test_a_checkpoint_of_the_published_shapes(fixtures: Path, tmp_path: Path) -> None:
    published = json.loads((fixtures / "parity" / "official_state_dict_64.json").read_text())
    torch.manual_seed(0)
    states = {
        name: {key: torch.rand(shape) if shape else torch.tensor(3) for key, shape in published[name].items()}
        for name in NAMES
    }
    values = {f"{name}_state_dict": state for name, state in states.items()}
    values |= {f"{name}_EMA_state_dict": states[name] for name in ("C", "G")}
    torch.save(values, tmp_path / "model.ckpt")
    model = load_official(tmp_path / "model.ckpt")
    expected = Model(size=64, domains=states["C"]["disc.weight"].shape[0])
    assert model.config == expected
    assert torch.equal(model.E.style_head.weight, states["C"]["cont.weight"])
    assert torch.equal(model.E.trunk[0].weight, states["C"]["features.0.weight"])
    assert torch.equal(model.G.decoder.out.bias, states["G"]["decoder.model.5.conv.bias"])
    D = load_official_discriminator(tmp_path / "model.ckpt")
    assert torch.equal(D.stem.weight, states["D"]["main.0.weight"])


def test_it_translates_and_is_saved_like_any_model(checkpoint: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    model = load_official(checkpoint[0])
    assert model.fit == "squash"
    model.save_pretrained(tmp_path / "model")
    again, x = TUNIT.from_pretrained(tmp_path / "model"), torch.rand(1, 3, 128, 128)
    assert torch.equal(model.translate(x, x), again.translate(x, x))
    with pytest.raises(ValueError, match="domain 0 has no typical style"):
        model.translate(x, domain=0)


def _refused(path: Path, expected: str, **options: Any) -> None:
    for load in (load_official, load_official_discriminator):
        with pytest.raises(NotACheckpointError, match=expected) as caught:
            load(path, **options)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_another_image_size(checkpoint: tuple[Path, dict[str, Any]]) -> None:
    _refused(checkpoint[0], "was trained at 128 px, not at 256", image_size=256)


@pytest.mark.parametrize("name", ["C_EMA_state_dict", "D_state_dict"])
def test_a_missing_network(checkpoint: tuple[Path, dict[str, Any]], name: str) -> None:
    path, values = checkpoint
    del values[name]
    torch.save(values, path)
    _refused(path, rf"lacks {name}; expected a published checkpoint")


@pytest.mark.parametrize(("network", "key"), [
    ("C", "disc.weight"), ("G", "mlp.model.0.fc.weight"), ("D", "main.0.weight"),
])  # fmt: skip
def test_a_missing_shape(checkpoint: tuple[Path, dict[str, Any]], network: str, key: str) -> None:
    path, values = checkpoint
    del values[f"{network}_state_dict"][key]
    torch.save(values, path)
    _refused(path, rf"does not hold the published networks: no '{key}'")


def test_a_missing_or_misshapen_weight(checkpoint: tuple[Path, dict[str, Any]]) -> None:
    path, values = checkpoint
    key = "cnt_encoder.model.1.conv.weight"
    whole = values["G_EMA_state_dict"].pop(key)
    torch.save(values, path)
    with pytest.raises(NotACheckpointError, match=f"does not fit the published networks: '{key}'"):
        load_official(path)
    values["G_EMA_state_dict"][key] = whole[:1]
    torch.save(values, path)
    with pytest.raises(NotACheckpointError, match=r"does not fit the published networks: .*size mismatch"):
        load_official(path)
    assert load_official(path, averaged=False).config.size == 128


@pytest.mark.parametrize("wrong", [None, 3, [], {"disc.weight": 5}, {1: torch.ones(1)}])
def test_things_that_are_no_networks(checkpoint: tuple[Path, dict[str, Any]], wrong: object) -> None:
    path, values = checkpoint
    torch.save({**values, "C_EMA_state_dict": wrong}, path)
    with pytest.raises(NotACheckpointError) as caught:
        load_official(path)
    assert "\n" not in str(caught.value)
    torch.save({**values, "C_state_dict": wrong}, path)
    _refused(path, "does not hold the published networks")


class _Malicious:
    """Unpickling it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.target, "owned"))


@pytest.mark.parametrize("how", ["torch", "torch, old", "pickle"])
def test_a_malicious_pickle_is_refused_and_never_run(tmp_path: Path, how: str) -> None:
    values, _, _ = _checkpoint(128)
    values["epoch"] = _Malicious(tmp_path / "owned")
    path = tmp_path / "model.ckpt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(values["epoch"]))
    else:
        torch.save(values, path, _use_new_zipfile_serialization=how == "torch")
    _refused(path, "is not a checkpoint of tensors and plain values; nothing in it was run")
    assert not (tmp_path / "owned").exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert (tmp_path / "owned").exists()  # the trap works


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x02}q\x00.", b"e", b"0", b"].", b"PK\x03\x04" + b"\0" * 60, b"\0" * 500]
)
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    _refused(path, "is not a checkpoint of tensors and plain values")


def test_checkpoints_cut_anywhere(checkpoint: tuple[Path, dict[str, Any]]) -> None:
    path, values = checkpoint
    torch.save(values, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for size in range(0, 4000, 97):
        path.write_bytes(whole[:size])
        _refused(path, "is not a checkpoint of tensors and plain values")


def test_other_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pt"
    for values in ({"state_dict": {"conv1.weight": torch.ones(1)}}, [torch.ones(1)], torch.ones(1)):
        torch.save(values, path)
        _refused(path, "lacks C_state_dict, C_EMA_state_dict, D_state_dict, G_state_dict, G_EMA_state_dict")


def test_no_file(tmp_path: Path) -> None:
    for load in (load_official, load_official_discriminator):
        with pytest.raises(FileNotFoundError, match=r"no\.ckpt does not exist"):
            load(tmp_path / "no.ckpt")
