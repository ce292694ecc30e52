"""covariance.py: against scikit-learn, and the root against its square."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from open_tunit.metrics.covariance import shrunk_covariance, symmetric_root


def rows(count: int, width: int = 6) -> torch.Tensor:
    """Of very different variances, far from zero."""
    random = np.random.default_rng(count)
    return torch.from_numpy(random.normal(size=(count, width)) @ random.normal(size=(width, width)) + 5)


@pytest.mark.parametrize("count", [2, 4, 9, 400])
def test_the_shrinkage_is_that_of_ledoit_and_wolf(count: int) -> None:
    expected, share = ledoit_wolf(rows(count).numpy())
    assert share > 0 or count == 2
    np.testing.assert_allclose(shrunk_covariance(rows(count)).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_few_rows_give_a_covariance_of_full_rank_and_the_same_trace() -> None:
    x = rows(3)
    found = shrunk_covariance(x.float())
    assert found.dtype == torch.float64
    assert torch.linalg.matrix_rank(found) == 6
    assert found.trace().item() == pytest.approx(x.var(dim=0, correction=0).sum().item(), rel=1e-5)


def test_rows_without_any_spread() -> None:
    for x in (rows(1), rows(1).expand(4, -1)):
        assert not shrunk_covariance(x).any()


def test_the_root_is_symmetric_and_its_square_is_the_covariance() -> None:
    covariance = torch.stack([shrunk_covariance(rows(9)), shrunk_covariance(rows(4))])
    root = symmetric_root(covariance)
    torch.testing.assert_close(root, root.mT)
    torch.testing.assert_close(root @ root, covariance)
    assert (torch.linalg.eigvalsh(root) > 0).all()


def test_rounding_below_zero_counts_as_zero() -> None:
    root = symmetric_root(torch.diag(torch.tensor([4.0, -1e-9], dtype=torch.float64)))
    torch.testing.assert_close(root, torch.diag(torch.tensor([2.0, 0.0], dtype=torch.float64)))
