"""Which rule finds the kinds of photographs in pretrained features? Accuracy by rule, as a table.

    python experiments/pretrained_domains.py FOLDER [--pictures 1000] [--kinds folder|emoji] [--drawn 1500]

The true labels are the names of the pictures' folders, or with `--kinds emoji` what the code point that names an
emoji's file shows (a face, an animal, food …); no rule sees them. Pictures are cropped, made --size pixels, and
enlarged again for the network. Features are kept in --out and not computed again. Each cell is the mean, lowest and
highest of --seeds runs, each on --drawn pictures (as many as the program clusters) drawn by its seed.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from open_tunit.data import views
from open_tunit.metrics.agreement import matched_accuracy
from open_tunit.networks.backbone import Backbone, load_backbone
from open_tunit.networks.pretrained_guiding import resized
from open_tunit.settings.recipes import PRETRAINED
from open_tunit.settings.sections import ViewSettings
from open_tunit.training.fitting.clustering import SHARPNESS, iic_heads, kmeans, nearest_neighbours, propagate_labels
from open_tunit.training.fitting.pretrained import (
    MOST_CLUSTERED,
    POWER,
    domain_codes,
    find_domains,
    fit_domain_head,
    gathered,
    whitening,
)

CHUNK = 32
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}
EMOJI_KINDS = {
    "face": [(0x1F600, 0x1F64B), (0x1F910, 0x1F917), (0x1F920, 0x1F92F), (0x1F970, 0x1F97A)],
    "animal": [(0x1F400, 0x1F43C), (0x1F980, 0x1F9AE)],
    "food": [(0x1F32D, 0x1F32F), (0x1F345, 0x1F37F), (0x1F950, 0x1F96F)],
    "vehicle": [(0x1F680, 0x1F6A4), (0x1F6F0, 0x1F6F8)],
    "clock": [(0x1F550, 0x1F567)],
    "building": [(0x1F3E0, 0x1F3F0)],
    "clothes": [(0x1F451, 0x1F462)],
    "plant": [(0x1F331, 0x1F344)],
    "hand": [(0x1F446, 0x1F450), (0x1F590, 0x1F596), (0x1F918, 0x1F91F)],
    "moon": [(0x1F311, 0x1F31E)],
    "sign of the zodiac": [(0x2648, 0x2653)],
    "heart": [(0x1F493, 0x1F49F)],
    "paper": [(0x1F4C1, 0x1F4DC)],
}
Rule = Callable[[int], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, help="no more than so many, drawn at random")
    parser.add_argument("--kinds", choices=("folder", "emoji"), default="folder")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--drawn", type=int, default=MOST_CLUSTERED)
    parser.add_argument("--out", type=Path, default=Path("runs/experiments/pretrained_domains"))
    arguments = parser.parse_args()
    files, true, names = labelled(arguments.folder, arguments.kinds, arguments.pictures)
    sizes = ", ".join(f"{name} {count}" for name, count in zip(names, np.bincount(true), strict=True))
    print(f"{len(files)} pictures of {len(names)} kinds: {sizes}\n")
    features = {
        (side, view): cached(files, arguments.size, side, view, arguments.out)
        for side, view in ((128, "plain"), (192, "plain"), (128, "changed"))
    }
    print("\n| rule | accuracy (lowest to highest) |\n|---|---|")
    draws = [drawn(len(files), arguments.drawn, seed) for seed in range(arguments.seeds)]
    tables = [rules({key: x[draw] for key, x in features.items()}, len(names)) for draw in draws]
    for name in tables[0]:
        found = [table[name](seed).numpy() for seed, table in enumerate(tables)]
        scores = [matched_accuracy(told, true[draw]) for told, draw in zip(found, draws, strict=True)]
        print(f"| {name} | {shown(scores)} |", flush=True)
    for side in (128, 192):
        scores = [held_out(features, true, side, seed) for seed in range(arguments.seeds)]
        print(f"| found at 192 px, told by a head at {side} px, other pictures | {shown(scores)} |")


def labelled(folder: Path, kinds: str, limit: int | None) -> tuple[list[Path], np.ndarray, list[str]]:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS)
    kind_of = {file: file.parent.name if kinds == "folder" else emoji_kind(file) for file in files}
    files = [file for file in files if kind_of[file]]
    if limit is not None:
        files = [files[place] for place in sorted(np.random.default_rng(0).permutation(len(files))[:limit])]
    names = sorted({kind_of[file] for file in files})
    return files, np.array([names.index(kind_of[file]) for file in files]), names


def drawn(count: int, most: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def emoji_kind(file: Path) -> str:
    try:
        point = int(file.stem.split("_")[0].split("-")[0], 16)
    except ValueError:
        return ""
    matches = (name for name, ranges in EMOJI_KINDS.items() if any(low <= point <= high for low, high in ranges))
    return next(matches, "")


def cached(files: list[Path], size: int, side: int, view: str, out: Path) -> Tensor:
    """Pooled features (N, 1280) of the pictures at `side` pixels, as they are or `changed`: moved and recoloured."""
    digest = hashlib.sha256("\n".join([str(size), str(side), view, *map(str, files)]).encode()).hexdigest()[:16]
    path = out / f"{digest}.pt"
    if not path.exists():
        began, backbone = time.perf_counter(), load_backbone()
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        generator = np.random.default_rng(0)
        parts = [
            pooled(backbone, files[i : i + CHUNK], size, side, view, generator) for i in range(0, len(files), CHUNK)
        ]
        out.mkdir(parents=True, exist_ok=True)
        torch.save(torch.cat(parts), path)
        seconds = (time.perf_counter() - began) / len(files) * 1000
        print(f"{side} px, {view}: {seconds:.1f} s per 1,000 pictures on {torch.get_num_threads()} threads", flush=True)
    features: Tensor = torch.load(path, weights_only=True)
    return features


@torch.no_grad()
def pooled(
    backbone: Backbone, files: list[Path], size: int, side: int, view: str, generator: np.random.Generator
) -> Tensor:
    pictures = np.stack([picture(file, size) for file in files])
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    if view == "changed":
        draws = views.draw(generator, len(x))
        x = views.augmented_view(x, draws, views.Views.of(ViewSettings(), PRETRAINED))
    x = resized(x, side).to(memory_format=torch.channels_last)
    return backbone.top(backbone(x)[-1]).mean(dim=(2, 3))


def picture(file: Path, size: int) -> np.ndarray:
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.array(image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS))


def rules(features: dict[tuple[int, str], Tensor], count: int) -> dict[str, Rule]:
    """Each rule's domains (N,) of a seed."""

    def nearest_centre(codes: Tensor, seed: int) -> Tensor:
        points = F.normalize(codes, dim=1)
        return points @ kmeans(points, count, np.random.default_rng(seed)).T

    def kmeans_of(codes: Tensor) -> Rule:
        return lambda seed: nearest_centre(codes, seed).argmax(dim=1)

    def rule_of(features: Tensor) -> Rule:
        return lambda seed: find_domains(features, count, np.random.default_rng(seed))

    def gathered_of(codes: Tensor) -> Rule:
        return kmeans_of(gathered(F.normalize(codes, dim=1)))

    def voted(codes: Tensor) -> Rule:
        nearest = nearest_neighbours(codes)
        return lambda seed: propagate_labels(nearest, (SHARPNESS * nearest_centre(codes, seed)).softmax(dim=1))

    def heads(codes: Tensor) -> Rule:
        def found(seed: int) -> Tensor:
            told = iic_heads(codes, count, np.random.default_rng(seed))
            return (codes[0] @ told.weight.T + told.bias).argmax(dim=1)

        return found

    table: dict[str, Rule] = {}
    for side in (128, 192):
        plain = features[side, "plain"]
        table[f"{side} px: k-means, 32 principal directions"] = kmeans_of(whitening(plain, 32, power=0.0)(plain))
        table[f"{side} px: the same, half-whitened"] = kmeans_of(whitening(plain, 32, power=0.5)(plain))
        table[f"{side} px: the same, whitened"] = kmeans_of(whitening(plain, 32)(plain))
        codes = domain_codes(plain, 32, power=0)
        table[f"{side} px: k-means on the square roots' directions"] = kmeans_of(codes)
        table[f"{side} px: the same, then label propagation"] = voted(codes)
        table[f"{side} px: the same, neighbours gathered, k-means"] = gathered_of(codes)
        for directions in (32, 48, 64, 96):
            halved = domain_codes(plain, directions, power=POWER)
            table[f"{side} px: {directions} half-whitened ones, gathered, k-means"] = gathered_of(halved)
        table[f"{side} px: 48 of them, k-means from more starts (the rule)"] = rule_of(plain)
    plain, changed = features[128, "plain"], features[128, "changed"]
    roots = whitening(plain.sqrt(), 32, power=0.0)
    table["128 px: IIC heads on views"] = heads(torch.stack([roots(plain.sqrt()), roots(changed.sqrt())]))
    codes = F.normalize(domain_codes(features[192, "plain"], 32, power=0), dim=1)
    nearest = nearest_neighbours(codes)
    table["192 px: IIC heads on neighbours"] = heads(torch.stack([codes, *(codes[nearest[:, k]] for k in range(4))]))
    return table


def held_out(features: dict[tuple[int, str], Tensor], true: np.ndarray, side: int, seed: int) -> float:
    """Accuracy on other pictures, of a head on features at `side` px, of domains found at 192 px."""
    count, order = int(true.max()) + 1, np.random.default_rng(seed).permutation(len(true))
    half = min(MOST_CLUSTERED, len(true) // 2)
    seen, other = order[:half], order[half:]
    domains = find_domains(features[192, "plain"][seen], count, np.random.default_rng(seed))
    told = features[side, "plain"]
    head = torch.nn.Linear(told.shape[1], count)
    fit_domain_head(head, told[seen], domains)
    return matched_accuracy(head(told[other]).argmax(dim=1).numpy(), true[other])


def shown(scores: list[float]) -> str:
    return f"{np.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"


if __name__ == "__main__":
    main()
