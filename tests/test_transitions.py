"""What is done once between phases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_runs import (
    DOMAINS,
    fresh,
    noisy_batches,
    parameters,
    patterned,
    same,
    tiny,
)
from torch import nn

from open_tunit.training.fitting.clustering import linear_heads
from open_tunit.training.fitting.transitions import (
    begin_prototypes,
    measure_statistics,
    open_palette,
    preferred,
    settle_domains,
    settle_statistics,
)


def test_prototypes_begin_at_the_clusters_that_survive_a_change_of_views() -> None:
    plan = tiny(model__projection_dim=6)
    batches, kinds = patterned(60)
    state = fresh(plan)
    with torch.no_grad():
        state.E.style_head.bias.add_(1)  # told apart from its average
    state.logits.push(torch.zeros(5, DOMAINS))
    begin_prototypes(state, batches, plan)
    assert len(state.logits.rows) == 0
    assert torch.equal(state.E.domain_head.weight, state.E_ema.domain_head.weight)
    with torch.no_grad():
        logits = state.E_ema(batches.pictures(np.arange(60))).logits
    found = logits.argmax(dim=1).numpy()
    assert len({(a, b) for a, b in zip(kinds, found, strict=True)}) == DOMAINS
    assert logits.softmax(dim=1).amax(dim=1).median() > 0.9


@pytest.mark.parametrize("codes", [0, 6])
def test_settled_prototypes_follow_their_neighbours(codes: int) -> None:
    plan = tiny(model__projection_dim=codes)
    batches, kinds = patterned(90)
    state = fresh(plan)
    measure_statistics(state.E_ema, batches, 0)
    with torch.no_grad():  # heads that tell the kinds, but for every tenth image
        features = state.E_ema.features(batches.pictures(np.arange(90)))[0]
        wrong = np.where(np.arange(90) % 10 == 0, (kinds + 1) % DOMAINS, kinds)
        weight, bias = linear_heads(features[None], torch.from_numpy(wrong), DOMAINS)
        state.E_ema.domain_head.weight.copy_(weight)
        state.E_ema.domain_head.bias.copy_(bias)
        before = state.E_ema.domain_head(features).argmax(dim=1).numpy()
    settle_domains(state, batches, plan)
    assert torch.equal(state.E.domain_head.weight, state.E_ema.domain_head.weight)
    after = state.E_ema.domain_head(features).argmax(dim=1).numpy()
    assert (before != kinds).any()
    assert (after == kinds).all()


def test_neighbours_choose_between_two_answers_and_doubt_favours_the_informative() -> None:
    crowd = torch.arange(100).reshape(2, 50)  # two crowds, each everyone's neighbours
    nearest = crowd.repeat_interleave(50, dim=0)
    right, wrong = torch.arange(100) // 50, torch.arange(100) % 2
    nearly = right.clone()
    nearly[0] = 1
    assert preferred(nearest, wrong, right) is right
    assert preferred(nearest, right, wrong) is right
    assert preferred(nearest, nearly, right) is right  # one of fifty is .04 of the agreement
    nearest = (
        torch.cat([crowd] * 8).repeat_interleave(50, dim=0) + 100 * torch.arange(8).repeat_interleave(100)[:, None]
    )
    many, almost = (torch.cat([x] + [right] * 7) for x in (right, nearly))
    assert preferred(nearest, almost, many) is almost  # one of four hundred is less than a hundredth


def test_measured_statistics_are_those_of_the_training_images() -> None:
    batches, E = noisy_batches(60), fresh(tiny()).E
    conv, norm = E.trunk[0], E.trunk[1]
    assert isinstance(norm, nn.BatchNorm2d)
    before = parameters(E)
    with torch.no_grad():
        seen = conv(batches.pictures(np.arange(60)))
    measure_statistics(E, batches, 0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, seen.mean(dim=(0, 2, 3)), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(norm.running_var, seen.var(dim=(0, 2, 3)), rtol=1e-9, atol=1e-12)
    assert norm.momentum == 0.1
    assert not E.training
    assert same(E, before)


def test_statistics_settle_with_the_guiding_network_at_its_average() -> None:
    state = fresh(tiny())
    with torch.no_grad():
        for p in state.E.parameters():
            p.add_(1)
    average = parameters(state.E_ema)
    settle_statistics(state, noisy_batches(200), 0)
    assert same(state.E_ema, average)
    for (name, value), other in zip(state.E.state_dict().items(), state.E_ema.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_the_palette_begins_with_the_whitened_leading_directions() -> None:
    plan = tiny(model__palette_dim=3)
    state, batches = fresh(plan), noisy_batches(200)
    open_palette(state, batches, seed=0)
    guide = state.guide()
    measure_statistics(guide, batches, 0)
    assert guide.palette_norm is not None
    with torch.no_grad():
        x = batches.pictures(batches.indices)
        colours = guide.palette_norm(guide.features(x)[1])
        palette = guide(x).style[:, -3:]
    centred = colours - colours.mean(dim=0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    variances = singular[:3].square() / (len(x) - 1)
    expected = 0.25 * torch.diag(variances / (variances + 0.03))
    torch.testing.assert_close(torch.cov(palette.T), expected, rtol=1e-6, atol=1e-9)
    along = torch.cov(torch.cat([palette, centred @ directions[:3].T], dim=1).T)[:3, 3:].abs()
    torch.testing.assert_close(along, 0.5 * torch.diag(variances / (variances + 0.03).sqrt()), rtol=1e-6, atol=1e-9)


def test_a_palette_of_few_pictures_has_no_more_directions_than_they() -> None:
    state = fresh(tiny(model__palette_dim=5))
    open_palette(state, noisy_batches(4), seed=0)
    assert state.E.palette_head is not None
    assert [bool(row.any()) for row in state.E.palette_head.weight] == [True, True, True, False, False]
