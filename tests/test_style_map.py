"""The style map: codes alike lie together, in a picture with a legend."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from open_tunit.style_map import draw_style_map, principal_map, save_style_maps, style_map

PER_GROUP = 20


def groups() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    domains = np.arange(3).repeat(PER_GROUP)
    return 5 * np.eye(3, 8)[domains] + generator.normal(size=(len(domains), 8)) / 2, domains


def test_codes_alike_lie_together() -> None:
    styles, domains = groups()
    places = style_map(styles)
    assert places.shape == (3 * PER_GROUP, 2)
    distance = np.linalg.norm(places[:, None] - places, axis=2) + np.diag(np.full(len(places), np.inf))
    assert (domains[distance.argmin(axis=1)] == domains).mean() == 1
    np.testing.assert_array_equal(style_map(styles), places)


def test_the_main_directions() -> None:
    styles, _ = groups()
    places, share = principal_map(styles)
    reference = PCA(2).fit(styles)
    expected = reference.transform(styles)
    signs = np.sign((places * expected).sum(axis=0))
    np.testing.assert_allclose(places * signs, expected, atol=1e-9)
    assert share == pytest.approx(reference.explained_variance_ratio_.sum())
    flat, all_of_it = principal_map(styles[:, :1])
    assert flat.shape == (3 * PER_GROUP, 2)
    assert all_of_it == pytest.approx(1)
    assert principal_map(np.ones((4, 3)))[1] == 0


def test_maps_that_cannot_be() -> None:
    styles, _ = groups()
    with pytest.raises(ValueError, match="7 images are too few for a style map; expected at least 8"):
        style_map(styles[:7])
    with pytest.raises(ValueError, match="method is 'pca'; expected tsne or umap"):
        style_map(styles, method="pca")  # type: ignore[arg-type]


def test_without_umap_there_is_a_hint_and_the_other_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    styles, domains = groups()
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install umap-learn"):
        style_map(styles, method="umap")
    assert save_style_maps(tmp_path, styles, domains, ["0", "1", "2"]) == [tmp_path / "style_map_tsne.png"]


def test_umap_is_drawn_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in of UMAP's interface: the package itself is not among the checks' requirements."""

    class UMAP:
        def __init__(self, *, n_neighbors: int, random_state: int, n_jobs: int) -> None:
            assert (n_neighbors, random_state, n_jobs) == (15, 0, 1)

        def fit_transform(self, styles: np.ndarray) -> np.ndarray:
            return styles[:, :2]

    styles, domains = groups()
    fake = types.ModuleType("umap")
    fake.UMAP = UMAP  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", fake)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    np.testing.assert_allclose(style_map(styles, method="umap"), styles[:, :2], rtol=1e-6)
    written = save_style_maps(tmp_path, styles, domains, ["0", "1", "2"])
    assert [path.name for path in written] == ["style_map_tsne.png", "style_map_umap.png"]


def test_every_domain_has_its_colour(tmp_path: Path) -> None:
    places = np.random.default_rng(0).normal(size=(40, 2))
    seen = []
    for names in (["0", "1"], ["0", "tabby"]):
        draw_style_map(tmp_path / "map.png", places, np.arange(40) % 2, names)
        with Image.open(tmp_path / "map.png") as drawn:
            seen.append(np.asarray(drawn.convert("RGB")))
    for colour in ((31, 119, 180), (255, 127, 14)):  # the first two of tab10
        assert (np.abs(seen[0].astype(int) - colour).max(axis=2) <= 2).sum() > 200
    assert not np.array_equal(*(part[: min(map(len, seen)), : min(p.shape[1] for p in seen)] for part in seen))
