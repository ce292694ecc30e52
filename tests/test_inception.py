"""evaluation/features/inception.py: size, pooling, weights. The published weights themselves are not here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.evaluation.features import inception
from open_tunit.evaluation.features.inception import Inception, load_inception


@pytest.fixture(scope="module")
def network() -> Inception:
    torch.manual_seed(0)
    return Inception().eval()


def _given_to(module: nn.Module, run: nn.Module, x: Tensor) -> Tensor:
    """What `module` is given when `run` sees x."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        run(x)
    handle.remove()
    return seen[0]


def test_it_is_as_large_as_inception_v3(network: Inception) -> None:
    # torchvision's inception_v3 without its auxiliary head has 23,834,568, of which 2,049,000 are the last layer
    assert sum(value.numel() for value in network.parameters()) == 23_834_568 - 2_049_000
    names = set(network.state_dict())
    assert {"Conv2d_1a_3x3.conv.weight", "Mixed_6c.branch7x7dbl_5.bn.running_var"} <= names
    assert network.Mixed_7c.branch3x3dbl_3b.conv.weight.shape == (384, 384, 3, 1)


def test_pool_features_of_an_image(network: Inception) -> None:
    with torch.inference_mode():
        features = network(torch.rand(1, 3, 299, 299))
    assert features.shape == (1, 2048)
    assert features.isfinite().all()


@pytest.mark.parametrize(("name", "channels"), [("Mixed_5b", 192), ("Mixed_6b", 768), ("Mixed_7b", 1280)])
def test_padding_is_no_part_of_an_average(network: Inception, name: str, channels: int) -> None:
    cells = getattr(network, name)
    x = torch.rand(1, channels, 8, 8)
    sums = F.conv2d(x.transpose(0, 1), torch.ones(1, 1, 3, 3), padding=1).transpose(0, 1)
    counts = F.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3), padding=1)
    torch.testing.assert_close(_given_to(cells.branch_pool, cells, x), sums / counts)


def test_the_last_cells_take_the_maximum(network: Inception) -> None:
    x = torch.randn(1, 2048, 8, 8)
    pooled = _given_to(network.Mixed_7c.branch_pool, network.Mixed_7c, x)
    padded = F.pad(x, (1, 1, 1, 1), value=-torch.inf)
    windows = torch.stack([padded[..., i : i + 8, j : j + 8] for i in range(3) for j in range(3)])
    torch.testing.assert_close(pooled, windows.amax(dim=0))


def test_weights_come_from_a_file_or_are_fetched_once(
    network: Inception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stand-in.pth"
    torch.save(network.state_dict() | {"fc.weight": torch.zeros(1008, 2), "fc.bias": torch.zeros(1008)}, path)
    loaded = load_inception(tmp_path / "cache", path)
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    monkeypatch.setattr(inception, "URL", path.as_uri())
    monkeypatch.setattr(inception, "SHA256_PREFIX", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    load_inception(tmp_path / "cache")
    fetched = tmp_path / "cache" / "networks" / "stand-in.pth"
    assert fetched.read_bytes() == path.read_bytes()


def test_a_file_of_other_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    for content in ({"weight": torch.zeros(2)}, [1, 2]):
        torch.save(content, path)
        with pytest.raises(ValueError, match="does not hold the weights of FID's Inception-v3"):
            load_inception(tmp_path, path)
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="does not hold the weights"):
        load_inception(tmp_path, path)
