"""The three networks: their sizes as published, and each layer against torch's own functions in float64."""

from __future__ import annotations

import copy
import dataclasses
import math
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.networks.discriminator import Discriminator, ResidualBlock
from open_tunit.networks.generator import Generator
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.networks.ops.convolutions import FRN
from open_tunit.networks.ops.norms import adain, instance_norm
from open_tunit.networks.ops.upsampling import WIDE, UpsampleConv
from open_tunit.settings.config import SIZES, Config, Model
from open_tunit.settings.config import Discriminator as DiscriminatorShape

NARROW = Model(
    size=32, domains=3, style_dim=5, guiding_width=2, generator_width=3, generator_bottleneck=8, style_mlp_width=7,
)  # fmt: skip
NARROW_D = DiscriminatorShape(width=4, max_width=12)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(network: nn.Module) -> nn.Module:
    """The network in float64 with every parameter random, so that no zero bias hides a mistake."""
    network.double()
    for index, parameter in enumerate(network.parameters()):
        parameter.data = parameter.data + 0.3 * normal(*parameter.shape, seed=index)
    return network


def paper(size: int) -> Model:
    return Config.preset("paper", data="photos", out="run", size=size, domains=10).model


def millions(network: nn.Module) -> float:
    return round(sum(p.numel() for p in network.parameters()) / 1e6, 1)


def test_parameter_counts_are_the_published_ones() -> None:
    with torch.device("meta"):
        assert millions(GuidingNetwork(paper(128))) == 9.3
        assert millions(Generator(paper(128))) == 27.3
        assert millions(Discriminator(paper(128), DiscriminatorShape())) == 70.9


@pytest.mark.parametrize("size", SIZES)
def test_shapes_at_every_size(size: int) -> None:
    with torch.device("meta"):
        model = paper(size)
        E, G, D = GuidingNetwork(model), Generator(model), Discriminator(model, DiscriminatorShape())
        x = torch.empty(2, 3, size, size)
        guidance = E(x)
        assert guidance.logits.shape == (2, 10)
        assert guidance.style.shape == (2, 128)
        assert guidance.shape.shape == (2, 0)
        halvings = int(math.log2(size // 16))
        assert G.encode(x).shape == (2, model.generator_width * 2**halvings, 16, 16)
        assert G(x, guidance.style).shape == x.shape
        assert D(x).shape == (2, 10)


def test_the_discriminators_widths_are_the_published_ones() -> None:
    with torch.device("meta"):
        D = Discriminator(paper(128), DiscriminatorShape())
        blocks = [
            (b.conv2.in_channels, b.conv2.out_channels, b.halve) for b in D.modules() if isinstance(b, ResidualBlock)
        ]
    assert blocks == [
        (64, 64, False), (64, 128, True), (128, 128, False), (128, 256, True), (256, 256, False), (256, 512, True),
        (512, 512, False), (512, 1024, True), (1024, 1024, False), (1024, 1024, True),
    ]  # fmt: skip


def published_upsample(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    big = F.interpolate(x, scale_factor=2, mode="nearest")
    return F.conv2d(F.pad(big, (2, 2, 2, 2), mode="reflect"), weight, bias)


@pytest.mark.parametrize("outputs", [2, WIDE])  # all phases by one convolution; by differences
@pytest.mark.parametrize(("height", "width"), [(3, 3), (4, 4), (5, 8), (7, 3), (16, 16)])
def test_upsample_conv_is_nearest_then_reflected_convolution(height: int, width: int, outputs: int) -> None:
    layer = UpsampleConv(3, outputs).double()
    weight = normal(outputs, 3, 5, 5).requires_grad_()
    bias = normal(outputs, seed=1).requires_grad_()
    layer.weight.data, layer.bias.data = weight.detach().clone(), bias.detach().clone()
    x, same_x = (normal(2, 3, height, width, seed=2).requires_grad_() for _ in range(2))
    found, expected = layer(x), published_upsample(same_x, weight, bias)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    direction = normal(*found.shape, seed=3)
    found.backward(direction)
    expected.backward(direction)
    for ours, theirs in ((x, same_x), (layer.weight, weight), (layer.bias, bias)):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)


def test_norms_are_torchs() -> None:
    x, shift, scale = 3 * normal(2, 4, 5, 6) + 1, normal(2, 4, seed=1), normal(2, 4, seed=2)
    normed = F.instance_norm(x)
    torch.testing.assert_close(instance_norm(x), normed, rtol=1e-12, atol=1e-12)
    expected = normed * scale[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(adain(x, shift, scale), expected, rtol=1e-12, atol=1e-12)


def test_norms_stand_a_flat_channel() -> None:
    flat = torch.full((1, 2, 4, 4), 5.0, dtype=torch.float64)
    assert not instance_norm(flat).any()
    torch.testing.assert_close(adain(flat, normal(1, 2), normal(1, 2)), normal(1, 2)[:, :, None, None].expand_as(flat))


def published_frn(x: Tensor, layer: FRN) -> Tensor:
    square = x.pow(2).mean(dim=[2, 3], keepdim=True)
    return torch.max(layer.gamma * (x / torch.sqrt(square + 1e-6)) + layer.beta, layer.tau)


@pytest.mark.parametrize("mean", [0.0, 0.01, 300.0, -4000.0])
def test_a_map_that_is_flat_but_for_rounding_is_flat(mean: float) -> None:
    one, direction = torch.ones(1, 1), torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    last_bits = torch.randint(-1, 2, (1, 1, 16, 16), generator=torch.Generator().manual_seed(1))
    for noise, flat in ((1e-7 * abs(mean) + 1e-7, True), (1e-4 * abs(mean) + 1e-3, False)):
        x = (mean + noise * last_bits).requires_grad_()
        y = adain(x, 0.25 * one, 2 * one)
        (gradient,) = torch.autograd.grad((y * direction).sum(), x)
        with torch.no_grad():
            assert torch.equal(adain(x, 0.25 * one, 2 * one), y)
        assert bool((y == 0.25).all()) == flat
        assert gradient.any() != flat


@pytest.mark.parametrize("value", [1.0, 0.3, -0.7])
def test_a_picture_of_one_tone_has_gradients_as_others_have(value: float) -> None:
    """They were up to 1e22 in single precision, and not finite in a trained generator."""
    torch.manual_seed(0)
    overrides = {"model.generator_width": 4}
    generator = Generator(Config.preset("cpu", data="photos", out="run", overrides=overrides).model)
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    style, direction = torch.randn(2, 128), torch.randn(2, 3, 32, 32)

    def largest(x: torch.Tensor) -> float:
        gradients = torch.autograd.grad((generator(x, style) * direction).sum(), list(generator.parameters()))
        return max(float(gradient.abs().max()) for gradient in gradients)

    usual = largest(pictures)
    pictures[0] = value
    assert largest(pictures) < 3 * usual
    with torch.no_grad():
        assert generator(pictures, style)[0].std(dim=(1, 2)).max() == 0


def test_frn() -> None:
    layer = FRN(4)
    assert (layer.gamma.unique().tolist(), layer.beta.unique().tolist(), layer.tau.unique().tolist()) == ([1], [0], [0])
    shaken(layer)
    x = normal(2, 4, 5, 6)
    torch.testing.assert_close(layer(x), published_frn(x, layer), rtol=1e-12, atol=1e-12)


def published_block(x: Tensor, block: ResidualBlock) -> Tensor:
    """1x1 convolution, then pool."""
    shortcut = x if block.shortcut is None else F.conv2d(x, block.shortcut.weight)
    residual = F.conv2d(published_frn(x, block.norm1), block.conv1.weight, block.conv1.bias, padding=1)
    if block.halve:
        shortcut, residual = F.avg_pool2d(shortcut, 2), F.avg_pool2d(residual, 2)
    residual = F.conv2d(published_frn(residual, block.norm2), block.conv2.weight, block.conv2.bias, padding=1)
    return (shortcut + residual) / math.sqrt(2)


@pytest.mark.parametrize(("outputs", "halve"), [(4, False), (4, True), (8, True)])
def test_a_block_of_the_discriminator_is_the_published_one(outputs: int, halve: bool) -> None:
    block = ResidualBlock(4, outputs, halve=halve)
    shaken(block)
    x = normal(2, 4, 8, 8)
    torch.testing.assert_close(block(x), published_block(x, block), rtol=1e-12, atol=1e-12)


def test_the_discriminator_is_the_published_one() -> None:
    D = Discriminator(NARROW, NARROW_D)
    shaken(D)
    x = images = normal(2, 3, 32, 32)
    x = F.conv2d(x, D.stem.weight, D.stem.bias, padding=1)
    for block in D.blocks:
        assert isinstance(block, ResidualBlock)
        x = published_block(x, block)
    assert x.shape == (2, 12, 4, 4)
    x = F.leaky_relu(F.conv2d(F.leaky_relu(x, 0.2), D.collapse.weight, D.collapse.bias), 0.2)
    logits = F.conv2d(x, D.heads.weight, D.heads.bias).flatten(1)
    torch.testing.assert_close(D(images), logits, rtol=1e-10, atol=1e-10)


def reflected(x: Tensor, weight: Tensor, bias: Tensor, padding: int, stride: int = 1) -> Tensor:
    return F.conv2d(F.pad(x, (padding,) * 4, mode="reflect"), weight, bias, stride=stride)


def test_the_content_encoder_is_the_published_one() -> None:
    G = Generator(NARROW)
    shaken(G)
    w = dict(G.encoder.named_parameters())
    x = normal(2, 3, 32, 32)

    def conv(y: Tensor, name: str, padding: int, stride: int = 1) -> Tensor:
        return F.instance_norm(reflected(y, w[f"{name}.weight"], w[f"{name}.bias"], padding, stride))

    y = torch.relu(conv(x, "stem", 3))
    for level in range(2):
        y = torch.relu(conv(y, f"down.{level}", 1, stride=2))
    for block in range(2):
        y = y + 0.1 * conv(torch.relu(conv(y, f"blocks.{block}.conv1", 1)), f"blocks.{block}.conv2", 1)
    assert y.shape == (2, 12, 8, 8)
    torch.testing.assert_close(G.encode(x), y, rtol=1e-10, atol=1e-10)


def test_the_decoder_is_the_published_one_with_shifts_before_scales() -> None:
    G = Generator(NARROW)
    shaken(G)
    w = dict(G.decoder.named_parameters())
    content, style = normal(2, 12, 8, 8), normal(2, 5, seed=1)
    numbers = style
    for index in (0, 2, 4):
        numbers = F.linear(numbers, G.mlp[index].weight, G.mlp[index].bias)  # type: ignore[arg-type]
        numbers = torch.relu(numbers) if index < 4 else numbers
    assert numbers.shape == (2, 2 * (4 * 12 + 6 + 3))
    place = 0

    def styled(y: Tensor) -> Tensor:
        nonlocal place
        channels = y.shape[1]
        shift = numbers[:, place : place + channels, None, None]
        scale = numbers[:, place + channels : place + 2 * channels, None, None]
        place += 2 * channels
        return scale * F.instance_norm(y) + shift

    y = content
    for block in range(2):
        first = styled(reflected(y, w[f"blocks.{block}.conv1.weight"], w[f"blocks.{block}.conv1.bias"], 1))
        second = reflected(torch.relu(first), w[f"blocks.{block}.conv2.weight"], w[f"blocks.{block}.conv2.bias"], 1)
        y = y + 0.1 * styled(second)
    for level in range(2):
        y = torch.relu(styled(published_upsample(y, w[f"up.{level}.weight"], w[f"up.{level}.bias"])))
    expected = torch.tanh(reflected(y, w["out.weight"], w["out.bias"], 3))
    torch.testing.assert_close(G.decode(content, style), expected, rtol=1e-9, atol=1e-9)
    x = normal(2, 3, 32, 32)
    torch.testing.assert_close(G(x, style), G.decode(G.encode(x), style), rtol=0, atol=0)


def test_the_guiding_network_is_vgg_11_with_batch_norm() -> None:
    E = GuidingNetwork(NARROW)
    shaken(E)
    images = x = normal(4, 3, 32, 32)
    layers = iter(E.trunk)
    for stage in ("C", "C", "CC", "CC", "CC"):
        for _ in stage:
            conv, norm, relu = next(layers), next(layers), next(layers)
            assert isinstance(relu, nn.ReLU)
            x = F.conv2d(x, conv.weight, conv.bias, padding=1)  # type: ignore[arg-type]
            mean, var = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
            x = (x - mean) / torch.sqrt(var + 1e-5)
            x = torch.relu(x * norm.weight[:, None, None] + norm.bias[:, None, None])  # type: ignore[index]
        pool = next(layers)
        assert isinstance(pool, nn.MaxPool2d)
        x = F.max_pool2d(x, 2)
    assert next(layers, None) is None
    features = x.mean(dim=(2, 3))
    guidance = E(images)
    for found, head in ((guidance.logits, E.domain_head), (guidance.style, E.style_head)):
        torch.testing.assert_close(found, F.linear(features, head.weight, head.bias), rtol=1e-9, atol=1e-9)


def test_a_projection_adds_a_shape_code() -> None:
    E = GuidingNetwork(Model(size=32, guiding_width=2, projection_dim=6))
    assert E(torch.zeros(2, 3, 32, 32)).shape.shape == (2, 6)


def test_weights_start_as_published() -> None:
    torch.manual_seed(0)
    model = Model(size=32, guiding_width=16, generator_width=16, style_mlp_width=64)
    shape = DiscriminatorShape(width=16)
    E, G, D = GuidingNetwork(model), Generator(model), Discriminator(model, shape)
    checked = 0
    for network, mode in ((E, "fan_out"), (G, "fan_in"), (D, "fan_in")):
        for name, p in network.named_parameters():
            if name.endswith("bias"):
                assert not p.any(), name
            elif p.ndim >= 2 and p.numel() > 4000 and not name.endswith(("gamma", "beta", "tau")):
                fan = (p.shape[0] if mode == "fan_out" else p.shape[1]) * math.prod(p.shape[2:])
                std = 0.01 if name in ("domain_head.weight", "style_head.weight") else math.sqrt(2 / fan)
                assert p.std().item() == pytest.approx(std, rel=0.06), name
                assert p.abs().max() > 2.5 * std, name  # normal, not uniform
                checked += 1
    assert checked > 20


def test_the_style_code_ends_with_the_palette() -> None:
    config = dataclasses.replace(NARROW, palette_dim=2)
    E = GuidingNetwork(config).double().eval()
    x = normal(4, 3, 32, 32)
    assert E.palette_head is not None
    with torch.no_grad():
        before = E(x)
        E.palette_head.weight.copy_(normal(*E.palette_head.weight.shape, seed=1))
        after = E(x)
        first = F.max_pool2d(torch.relu(E.trunk[1](E.trunk[0](x))), 2)
        second = F.max_pool2d(torch.relu(E.trunk[5](E.trunk[4](first))), 2)
        third = E.trunk[8:15](second)
        colours = torch.cat(
            [
                part
                for stage in (x, first, second, third)
                for part in (stage.mean(dim=(2, 3)), (stage.var(dim=(2, 3), correction=0) + 1e-4).sqrt())
            ],
            dim=1,
        )
    assert colours.shape == (4, config.colours)
    assert not before.style[:, -2:].any()
    palette = colours / math.sqrt(1 + 1e-5) @ E.palette_head.weight.T
    torch.testing.assert_close(after.style, torch.cat([before.style[:, :-2], palette], dim=1))
    assert torch.equal(after.logits, before.logits)


def test_a_plain_start_is_nearly_instance_norm_whatever_the_style() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(NARROW, style_mlp_width=64)
    published = Generator(config)
    G = copy.deepcopy(published)
    G.start_plain()
    style = torch.randn(200, config.style_dim)
    parts = [
        network.mlp(style).split([c for c in G.decoder.adain_channels for _ in range(2)], 1)
        for network in (G, published)
    ]
    for place, (plain, theirs) in enumerate(zip(*parts, strict=True)):
        torch.testing.assert_close(plain, 0.3 * theirs + place % 2)  # shift, scale, shift, scale, ...


def test_two_threads_may_share_a_generator() -> None:
    G = Generator(NARROW).eval()
    x, styles = normal(1, 3, 32, 32).float(), [normal(1, 5, seed=seed).float() for seed in (1, 2)]
    with torch.no_grad():
        alone = [G(x, style) for style in styles]
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)
    together: list[list[Tensor]] = [[], []]
    start = threading.Barrier(2)

    def work(place: int) -> None:
        start.wait()
        with torch.no_grad():
            together[place] += [G(x, styles[place]) for _ in range(40)]

    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place in range(2):
        assert len(together[place]) == 40
        assert all(torch.equal(image, alone[place]) for image in together[place])
