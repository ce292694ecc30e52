"""The projected discriminator by hand in float64, and what it learns."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_backbone import random_backbone

from open_tunit import losses
from open_tunit.networks.backbone import LEVEL_CHANNELS
from open_tunit.networks.projected import LEVELS, ProjectedDiscriminator, Projection, at_domains


def levels_of(side: int, count: int = 3, seed: int = 0) -> list[torch.Tensor]:
    """What a backbone might give: channels of different means and deviations."""
    random = np.random.default_rng(seed)
    levels = []
    for place, channels in enumerate(LEVEL_CHANNELS):
        features = random.normal(size=(count, channels, side >> (place + 1), side >> (place + 1)))
        scale, shift = np.geomspace(0.1, 10, channels), np.linspace(-3, 3, channels)
        levels.append(torch.from_numpy(features * scale[:, None, None] + shift[:, None, None]).float())
    return levels


@pytest.mark.parametrize("side", [64, 128, 256])
def test_every_place_has_an_output_per_domain(side: int) -> None:
    D = ProjectedDiscriminator(5)
    outputs = D(levels_of(side, count=2))
    assert [tuple(level.shape) for level in outputs] == [(2, 5, (side // 16) ** 2)] * LEVELS


def test_projection_by_hand() -> None:
    torch.manual_seed(0)
    projection = Projection((3, 4), width=2).double()
    levels = [level.double() for level in (torch.randn(5, 3, 4, 4) * 2 + 1, torch.randn(5, 4, 2, 2) * 3 - 1)]
    projection.measure(levels)
    first, second = projection(levels)
    standardised = []
    for features in levels:
        values = features.numpy()
        mean, deviation = values.mean(axis=(0, 2, 3), keepdims=True), values.std(axis=(0, 2, 3), keepdims=True, ddof=1)
        standardised.append((values - mean) / (deviation + 1e-3))
    across = [
        np.einsum("oi,nihw->nohw", projection.get_buffer(f"across{place}").numpy()[:, :, 0, 0], values)
        for place, values in enumerate(standardised)
    ]
    np.testing.assert_allclose(second.numpy(), across[1], atol=1e-10)
    inner = np.pad(across[0] + across[1].repeat(2, axis=2).repeat(2, axis=3), [(0, 0), (0, 0), (1, 1), (1, 1)])
    weight, expected = projection.get_buffer("mix0").numpy(), np.zeros((5, 2, 4, 4))
    for row, column in np.ndindex(4, 4):
        window = inner[:, :, row : row + 3, column : column + 3]
        expected[:, :, row, column] = np.einsum("oihw,nihw->no", weight, window) / np.sqrt(2)
    np.testing.assert_allclose(first.numpy(), expected, atol=1e-10)


def test_projection_keeps_the_size_of_features() -> None:
    D = ProjectedDiscriminator(2)
    levels = levels_of(64, count=16)
    D.projection.measure(levels)
    for projected in D.projection(levels):
        assert 0.7 < projected.std().item() < 1.4


def test_loss_at_the_domains_is_hinge_by_hand() -> None:
    random = np.random.default_rng(0)
    outputs = [random.normal(size=(4, 3, places)) for places in (16, 9)]
    domains = [2, 0, 1, 1]
    tensors, chosen = [torch.from_numpy(level) for level in outputs], torch.tensor(domains)

    def hinge(sign: float) -> float:
        means = []
        for level in outputs:
            at = np.stack([level[row, domain] for row, domain in enumerate(domains)])
            means.append(np.maximum(0, 1 + sign * at).mean())
        return float(np.mean(means))

    real = at_domains(tensors, chosen, lambda logits: losses.discriminator_on_real(logits, kind="hinge"))
    fake = at_domains(tensors, chosen, lambda logits: losses.discriminator_on_fake(logits, kind="hinge"))
    assert real.item() == pytest.approx(hinge(-1))
    assert fake.item() == pytest.approx(hinge(1))


def test_only_the_heads_learn_and_the_seed_decides() -> None:
    state_before = torch.get_rng_state()
    D, same, other = (ProjectedDiscriminator(3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state_before, torch.get_rng_state())
    assert all(name.startswith("heads.") for name, _ in D.named_parameters())
    for name, value in D.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    for name in ("projection.across0", "heads.0.0.parametrizations.weight.original"):
        assert not torch.equal(D.state_dict()[name], other.state_dict()[name])


def test_evaluated_heads_have_spectral_norm_one() -> None:
    D = ProjectedDiscriminator(3).train()
    for _ in range(50):  # power iterations
        D(levels_of(64, count=1))
    D.eval()
    for head in D.heads:
        for layer in head:
            if isinstance(layer, torch.nn.Conv2d):
                largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item()
                assert largest == pytest.approx(1, abs=0.02)


def test_an_image_is_judged_for_itself() -> None:
    D = ProjectedDiscriminator(3).eval()
    levels = levels_of(64, count=4)
    alone = D([level[1:2] for level in levels])
    for together, single in zip(D(levels), alone, strict=True):
        torch.testing.assert_close(together[1:2], single, rtol=1e-4, atol=1e-5)


def test_a_state_is_all_of_it() -> None:
    D, again = ProjectedDiscriminator(3, seed=1), ProjectedDiscriminator(3, seed=2)
    D.projection.measure(levels_of(64, count=8))
    D(levels_of(64))
    again.load_state_dict(D.state_dict())
    for ours, theirs in zip(D.eval()(levels_of(64)), again.eval()(levels_of(64)), strict=True):
        assert torch.equal(ours, theirs)


def test_it_learns_to_tell_textures_of_each_domain() -> None:
    """Domain 0 is real where channels are correlated along rows, domain 1 along columns; the fakes are exchanged."""
    D = ProjectedDiscriminator(2, width=16)
    optimiser = torch.optim.Adam(D.parameters(), lr=1e-2, betas=(0.0, 0.99))
    generator = torch.Generator().manual_seed(0)
    domains = torch.arange(8) % 2
    real_loss = fake_loss = torch.zeros(())
    for _ in range(40):
        levels = []
        for place, channels in enumerate(LEVEL_CHANNELS[:LEVELS]):
            noise = torch.randn(8, channels, 32 >> place, 32 >> place, generator=generator)
            rows, columns = noise.mean(dim=3, keepdim=True), noise.mean(dim=2, keepdim=True)
            striped = torch.where((domains == 0)[:, None, None, None], rows + 0 * noise, columns + 0 * noise)
            levels.append(F.normalize(striped, dim=1) * channels**0.5)
        outputs = D(levels)
        real_loss = at_domains(outputs, domains, lambda logits: losses.discriminator_on_real(logits, kind="hinge"))
        fake_loss = at_domains(outputs, 1 - domains, lambda logits: losses.discriminator_on_fake(logits, kind="hinge"))
        optimiser.zero_grad()
        (real_loss + fake_loss).backward()
        optimiser.step()
    assert real_loss.item() + fake_loss.item() < 1.0


def test_images_learn_from_it_through_a_frozen_backbone() -> None:
    D, backbone = ProjectedDiscriminator(3), random_backbone()
    x = (torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1).requires_grad_()
    D.projection.measure([level.detach() for level in backbone(x)])
    loss = at_domains(D(backbone(x)), torch.tensor([0, 2]), lambda logits: -logits.mean())
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
