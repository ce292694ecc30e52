"""The style map: style codes laid out in the plane, coloured by domain (Baek et al. 2021, figure 5)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from open_tunit.files import write_atomic

MOST_POINTS = 2000
FEWEST_POINTS = 8
MOST_EXACT = 200
"""Up to so many points t-SNE sums over all pairs: quick enough, and to the bit the same for any number of threads."""
PERPLEXITY, NEIGHBOURS = 30.0, 15
"""The usual ones of t-SNE and UMAP; fewer where there are few images."""

Method = Literal["tsne", "umap"]
MAPS: dict[Method, str] = {"tsne": "style_map_tsne.png", "umap": "style_map_umap.png"}
"""The files of `save_style_maps`."""


def style_map(styles: NDArray[np.floating], *, method: Method = "tsne", seed: int = 0) -> NDArray[np.float64]:
    """Places (N, 2) in the plane for style codes (N, d): neighbours are alike, large distances mean little.

    t-SNE needs scikit-learn (the extra `eval`), UMAP `pip install umap-learn`. A function of its
    arguments. Raises ValueError for fewer than 8 codes or another method, ModuleNotFoundError without the package.
    """
    if len(styles) < FEWEST_POINTS:
        raise ValueError(f"{len(styles)} images are too few for a style map; expected at least {FEWEST_POINTS}")
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(styles) - 1) / 3)
        exactness: Literal["exact", "barnes_hut"] = "exact" if len(styles) <= MOST_EXACT else "barnes_hut"
        layout = TSNE(perplexity=perplexity, init="pca", random_state=seed, method=exactness)
    elif method == "umap":
        try:
            from umap import UMAP
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("UMAP is not installed: pip install umap-learn", name="umap") from error
        layout = UMAP(n_neighbors=min(NEIGHBOURS, len(styles) - 1), random_state=seed, n_jobs=1)
    else:
        raise ValueError(f"method is {method!r}; expected tsne or umap")
    return np.asarray(layout.fit_transform(np.asarray(styles, dtype=np.float32)), dtype=np.float64)


def principal_map(styles: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """Places (N, 2) of style codes (N, d) along their two main directions, and the share of the variance shown."""
    codes = np.asarray(styles, dtype=np.float64)
    centred = codes - codes.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    places: NDArray[np.float64] = np.zeros((len(codes), 2))
    places[:, : len(axes[:2])] = centred @ axes[:2].T
    return places, float((spread[:2] ** 2).sum() / max((spread**2).sum(), 1e-30))


def save_style_maps(
    out: Path, styles: NDArray[np.floating], domains: NDArray[np.integer], names: Sequence[str]
) -> list[Path]:
    """Write OUT/style_map_tsne.png, and OUT/style_map_umap.png where UMAP is installed; returns what was written.

    styles (N, d), domains (N,) indices into `names`. Of more than 2,000 images, 2,000 are shown, evenly spaced.
    """
    shown = np.linspace(0, len(styles) - 1, min(MOST_POINTS, len(styles))).round().astype(np.int64)
    methods: list[Method] = ["tsne"]
    if importlib.util.find_spec("umap") is not None:
        methods.append("umap")
    written = []
    for method in methods:
        places = style_map(styles[shown], method=method)
        path = out / MAPS[method]
        draw_style_map(path, places, domains[shown], names)
        written.append(path)
    return written


def draw_style_map(
    path: Path, places: NDArray[np.floating], domains: NDArray[np.integer], names: Sequence[str]
) -> None:
    """Write the picture of a map: places (N, 2), one colour for each domain (N,) that occurs, named in the legend."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps["tab10" if len(names) <= 10 else "tab20"]
    for domain in np.unique(domains):
        x, y = places[domains == domain].T
        axes.scatter(x, y, s=9, linewidths=0, color=colours(int(domain) % colours.N), label=names[domain])
    axes.set_title("Style codes: neighbours are alike, large distances mean little", fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(title="domain", markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=120, format="png"))
