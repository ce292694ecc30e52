"""Pairs found in the folder, against brute force in float64."""

import numpy as np
import pytest
import torch

from open_tunit.data.pairs import NONE, SIDE, Described, describe, find_pairs, lightness_codes


def pictures(count: int, side: int = 64, seed: int = 0) -> torch.Tensor:
    """Smooth pictures in [-1, 1]."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=side, mode="bilinear") * 2 - 1


def likeness(x: torch.Tensor) -> np.ndarray:
    """(N, N) by the definition: differences of lightness at 32 x 32, unit length, dot product."""
    images = x.double().numpy()
    step = images.shape[-1] // SIDE
    light = images.mean(axis=1).reshape(len(images), SIDE, step, SIDE, step).mean(axis=(2, 4))
    rows, columns = np.diff(light, axis=2).reshape(len(images), -1), np.diff(light, axis=1).reshape(len(images), -1)
    differences = np.concatenate([rows, columns], axis=1)
    differences /= np.linalg.norm(differences, axis=1, keepdims=True)
    return np.asarray(differences @ differences.T)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_codes_have_the_products_of_the_differences(side: int) -> None:
    x = pictures(6, side)
    codes = lightness_codes(x.double())
    np.testing.assert_allclose((codes @ codes.T).numpy(), likeness(x), atol=1e-12)
    np.testing.assert_allclose(codes.norm(dim=1).numpy(), 1, atol=1e-12)
    torch.testing.assert_close(lightness_codes(x).double(), codes, rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", [7, 16, 2048])
def test_the_table_is_that_of_brute_force(block: int) -> None:
    x = pictures(60)
    domains = np.random.default_rng(1).integers(0, 4, 60)
    found = find_pairs(describe(x.split(13)), torch.from_numpy(domains), 4, block=block)
    expected = likeness(x)
    np.fill_diagonal(expected, -np.inf)
    for domain in range(4):
        of_domain = np.where(domains == domain, expected, -np.inf)
        assert found.table[:, domain].tolist() == of_domain.argmax(axis=1).tolist()
        np.testing.assert_allclose(found.similarity[:, domain].numpy(), of_domain.max(axis=1), atol=1e-6)
    assert found.table.dtype == torch.int64
    assert found.similarity.dtype == torch.float32


def test_empty_domains_lonely_pictures_and_strangers_have_no_pair() -> None:
    domains = torch.tensor([0, 0, 2, -1, 0])
    found = find_pairs(describe([pictures(5)]), domains, 4)
    assert (found.table[:, [1, 3]] == NONE).all()
    assert (found.similarity[:, [1, 3]] == -1).all()
    assert found.table[:, 2].tolist() == [2, 2, NONE, 2, 2]
    assert found.similarity[2, 2] == -1
    assert (found.table != 3).all()
    assert found.table[3, 0] in (0, 1, 4)  # it may have pairs itself


def test_a_copy_is_no_pair_but_other_colours_are_the_best() -> None:
    x = pictures(8)
    painted = x[0].flip(0)  # the same lightness in other colours
    x = torch.cat([x, x[:1], painted[None]])
    found = find_pairs(describe([x]), torch.zeros(10, dtype=torch.long), 1)
    assert found.table[0, 0] == 9
    assert found.table[8, 0] == 9
    assert found.similarity[0, 0] > 1 - 1e-5
    assert found.table[9, 0] in (0, 8)


def test_pictures_turned_inside_out_are_the_most_unlike() -> None:
    x = pictures(1)
    found = find_pairs(describe([torch.cat([x, -x])]), torch.tensor([0, 1]), 2)
    assert found.table.tolist() == [[NONE, 1], [0, NONE]]
    assert found.similarity[0, 1].item() == pytest.approx(-1, abs=1e-5)


def test_flat_pictures_are_like_nothing() -> None:
    x = torch.cat([pictures(2), torch.full((1, 3, 64, 64), 0.5)])
    described = describe([x])
    assert torch.isfinite(described.codes).all()
    assert not described.codes[2].any()
    found = find_pairs(described, torch.tensor([0, 0, 1]), 2)
    assert found.similarity[0, 1] == 0


def test_brightness_and_contrast_do_not_matter() -> None:
    x = pictures(3)
    codes, darker = lightness_codes(x), lightness_codes(x * 0.5 - 0.2)
    torch.testing.assert_close(codes, darker, rtol=0, atol=1e-5)


def test_identity_tells_copies_apart_from_the_alike() -> None:
    x = pictures(3)
    identity = describe([torch.cat([x, x, x + 1e-3])]).identity
    assert identity[:3].tolist() == identity[3:6].tolist()
    assert len(set(identity.tolist())) == 6


def test_blocks_do_not_change_the_answer() -> None:
    codes = torch.nn.functional.normalize(torch.randn(300, 1024, generator=torch.Generator().manual_seed(0)), dim=1)
    described = Described(codes, torch.arange(300))
    domains = torch.randint(3, (300,), generator=torch.Generator().manual_seed(1))
    whole, parts = (find_pairs(described, domains, 3, block=block) for block in (300, 64))
    assert torch.equal(whole.table, parts.table)
