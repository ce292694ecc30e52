"""E on a pretrained trunk: its features by hand, and the interface it shares with GuidingNetwork."""

import inspect

import numpy as np
import pytest
import torch
from test_backbone import random_backbone

from open_tunit.networks.guiding import Guidance, GuidingNetwork
from open_tunit.networks.pretrained_guiding import COLOURS, PretrainedGuiding, resized


def network(side: int = 64) -> PretrainedGuiding:
    torch.manual_seed(0)
    return PretrainedGuiding(4, style_dim=20, palette_dim=8, side=side, trunk=random_backbone())


def images(count: int = 3, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_guidance_has_logits_style_and_no_shape() -> None:
    guidance = network()(images())
    assert isinstance(guidance, Guidance)
    assert guidance.logits.shape == (3, 4)
    assert guidance.style.shape == (3, 20)
    assert guidance.shape.shape == (3, 0)


def test_the_interface_is_that_of_the_guiding_network() -> None:
    for method in ("forward", "features", "read"):
        ours, theirs = (inspect.signature(getattr(kind, method)) for kind in (PretrainedGuiding, GuidingNetwork))
        assert list(ours.parameters) == list(theirs.parameters)
    E, x = network(), images()
    for whole, parts in zip(E(x), E.read(*E.features(x)), strict=True):
        assert torch.equal(whole, parts)


def test_features_by_hand() -> None:
    E, x = network().double(), images().double()
    pooled, colours = E.features(x)
    enlarged = torch.nn.functional.interpolate(x, size=(64, 64), mode="bicubic", align_corners=False)
    levels = E.trunk(enlarged)
    np.testing.assert_allclose(pooled.numpy(), E.trunk.top(levels[4]).numpy().mean(axis=(2, 3)), atol=1e-12)
    expected = []
    for values in (x.numpy(), *(level.numpy() for level in levels[:3])):
        expected += [values.mean(axis=(2, 3)), np.sqrt(values.var(axis=(2, 3)) + 1e-4)]
    assert colours.shape == (3, COLOURS)
    np.testing.assert_allclose(colours.numpy(), np.concatenate(expected, axis=1), atol=1e-12)


def test_the_palette_reads_colours_and_the_rest_reads_the_pooled_features() -> None:
    E = network()
    pooled, colours = E.features(images())
    other = E.read(pooled, colours + 1).style - E.read(pooled, colours).style
    assert not other[:, :12].any()
    assert other[:, 12:].abs().min() > 0


@pytest.mark.parametrize(("before", "after"), [(64, 64), (64, 128), (256, 128)])
def test_pictures_become_the_side_the_trunk_sees(before: int, after: int) -> None:
    x = images(1, before)
    y = resized(x, after)
    assert y.shape == (1, 3, after, after)
    if before == after:
        assert y is x
    if before > after:
        np.testing.assert_allclose(
            y[0].numpy(), x[0].numpy().reshape(3, 128, 2, 128, 2).mean(axis=(2, 4)), rtol=0, atol=1e-6
        )


def test_only_the_heads_can_learn_and_images_get_gradients() -> None:
    E = network().requires_grad_()
    assert {name.partition(".")[0] for name, _ in E.named_parameters()} == {"domain_head", "style_head", "palette_head"}
    x = images(2).requires_grad_()
    guidance = E(x)
    (gradient,) = torch.autograd.grad(guidance.style.square().sum() + guidance.logits.square().sum(), x)
    assert gradient.isfinite().all()
    assert gradient.any()


def test_train_and_eval_mode_are_the_same() -> None:
    E, x = network(), images()
    assert torch.equal(E.train()(x).style, E.eval()(x).style)


def test_a_state_holds_the_trunk() -> None:
    E, again = network(), PretrainedGuiding(4, style_dim=20, palette_dim=8, side=64)
    again.load_state_dict(E.state_dict())
    assert torch.equal(E(images()).style, again(images()).style)
