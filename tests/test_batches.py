"""The batch of a step is a function of (seed, step) alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from open_tunit.data.batches import Batch, Batches
from open_tunit.data.transfer import to_device
from open_tunit.data.views import Views

COUNT, SIZE = 20, 6
STILL = Views(flip=False, affine=False, crop=False, colour=False)


def batches(seed: int = 0, view: Views = STILL, **given: Any) -> Batches:
    """COUNT images whose every number is their own index; the odd ones below 12 are labelled."""
    indices = np.arange(COUNT)
    pixels = np.broadcast_to(indices[:, None, None, None], (COUNT, 8, 8, 3)).astype(np.uint8)
    labels = np.where((indices % 2 == 1) & (indices < 12), indices % 3, -1)
    settings: dict[str, Any] = {"pixels": pixels, "labels": labels, "indices": indices} | given
    return Batches(**settings, seed=seed, view=view, device=torch.device("cpu"))


def shown(x: Tensor) -> list[int]:
    """The indices of the images."""
    return [round(float(value)) for value in (x[:, 0, 0, 0] + 1) * 127.5]


def assert_equal(one: Batch, other: Batch) -> None:
    for field in dataclasses.fields(Batch):
        mine, yours = getattr(one, field.name), getattr(other, field.name)
        if field.name != "translation_numbers":
            assert (mine is yours is None) or torch.equal(mine, yours), field.name
    for mine, yours in zip(one.translation_numbers, other.translation_numbers, strict=True):
        assert (mine is None) == (yours is None)
        assert mine is None or torch.equal(mine, yours)


def noise() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    view = Views(domain_colour=True)
    forwards, fresh = batches(view=view, pixels=noise()), batches(view=view, pixels=noise())
    in_order = [forwards.batch(step, SIZE) for step in range(12)]
    for step in (11, 0, 7, 7, 3):
        assert_equal(fresh.batch(step, SIZE), in_order[step])
    fresh.batch(2, 3, labelled_only=True)
    fresh.batch(9, 14)
    assert_equal(fresh.batch(5, SIZE), in_order[5])


def test_other_seeds_and_steps_are_other_batches() -> None:
    one, other = batches(seed=0, view=Views(), pixels=noise()), batches(seed=1, view=Views(), pixels=noise())
    drawn = [source.batch(step, SIZE) for source in (one, other) for step in range(3)]
    for place, batch in enumerate(drawn):
        for earlier in drawn[:place]:
            assert not torch.equal(batch.x, earlier.x)
            assert not torch.equal(batch.x_plus, earlier.x_plus)


def test_going_back_draws_others_of_the_same_epochs() -> None:
    one, other = batches(view=Views(), pixels=noise()), batches(view=Views(), pixels=noise())
    first = one.batch(3, SIZE)
    one.retry, other.retry = 1, 2
    again = one.batch(3, SIZE)
    assert not torch.equal(again.x, first.x)
    assert not torch.equal(again.x, other.batch(3, SIZE).x)
    other.retry = 1
    assert_equal(other.batch(3, SIZE), again)
    one.retry = 0
    assert_equal(one.batch(3, SIZE), first)
    still = batches()
    still.retry = 3
    assert sorted(index for step in range(4) for index in shown(still.batch(step, 5).x)) == list(range(COUNT))


def test_views_and_references_depend_on_the_seed_too() -> None:
    same = np.broadcast_to(noise()[:1], (COUNT, 8, 8, 3)).copy()  # whichever image comes, it is this one
    one, other = (batches(seed=seed, view=Views(), pixels=same).batch(0, COUNT) for seed in (0, 1))
    for name in ("x", "x_plus", "permutation"):
        assert not torch.equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("size", [5, 6, 20, 33])
def test_every_image_comes_once_per_epoch(size: int) -> None:
    source = batches()
    told = [index for step in range(-(-3 * COUNT // size)) for index in shown(source.batch(step, size).x)]
    epochs = [told[start : start + COUNT] for start in (0, COUNT, 2 * COUNT)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]  # each in its own order


def test_only_the_split_is_drawn() -> None:
    split = np.array([1, 4, 9, 16])
    source = batches(indices=split)
    assert sorted(shown(source.batch(0, 4).x)) == split.tolist()


def test_labelled_only_draws_labelled_images_once_per_epoch() -> None:
    source = batches()
    told = [index for step in range(3) for index in shown(source.batch(step, 4, labelled_only=True).x)]
    labelled = [1, 3, 5, 7, 9, 11]
    assert sorted(told[:6]) == sorted(told[6:]) == labelled
    assert (source.batch(0, 4, labelled_only=True).labels >= 0).all()
    assert sorted(shown(source.batch(0, COUNT).x)) == list(range(COUNT))  # all of them again
    assert_equal(batches().batch(1, 4, labelled_only=True), source.batch(1, 4, labelled_only=True))


def test_labels_go_with_their_images() -> None:
    batch = batches().batch(0, COUNT)
    assert batch.labels.dtype == torch.int64
    assert batch.unlabelled.dtype == torch.int64
    assert batch.unlabelled.tolist() == [place for place, label in enumerate(batch.labels.tolist()) if label < 0]
    assert 0 < len(batch.unlabelled) < COUNT
    expected = [index % 3 if index % 2 and index < 12 else -1 for index in shown(batch.x)]
    assert batch.labels.tolist() == expected


def test_the_permutation_is_one() -> None:
    source = batches()
    drawn = [source.batch(step, SIZE).permutation for step in range(8)]
    assert all(sorted(permutation.tolist()) == list(range(SIZE)) for permutation in drawn)
    assert drawn[0].dtype == torch.int64
    assert len({tuple(permutation.tolist()) for permutation in drawn}) > 4


def test_all_views_are_of_the_same_images() -> None:
    batch = batches().batch(0, SIZE)
    assert torch.equal(batch.x, batch.x_plus)
    assert batch.x_domain is batch.x_plus
    assert batch.x.dtype == torch.float32
    recoloured = batches(view=dataclasses.replace(STILL, domain_colour=True), pixels=noise()).batch(0, SIZE)
    assert torch.equal(recoloured.x, recoloured.x_plus)
    assert not torch.allclose(recoloured.x_domain, recoloured.x_plus, atol=0.05)


def test_x_and_x_plus_are_flipped_independently() -> None:
    sided = np.zeros((COUNT, 8, 8, 3), dtype=np.uint8)
    sided[:, :, :4] = 255
    source = batches(view=dataclasses.replace(STILL, flip=True), pixels=sided)
    told = [source.batch(step, COUNT) for step in range(5)]
    flips = {(bool(x[0, 0, 0] < 0), bool(y[0, 0, 0] < 0)) for b in told for x, y in zip(b.x, b.x_plus, strict=True)}
    assert len(flips) == 4


def test_pictures_are_the_stored_ones() -> None:
    pixels = noise()
    seen = batches(pixels=pixels).pictures(np.array([3, 17]))
    expected = pixels[[3, 17]].astype(np.float64).transpose(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(seen.numpy(), expected, atol=1e-6)


def test_images_kept_on_the_device_give_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", dtype=np.uint8, mode="r", shape=(COUNT, 8, 8, 3))
    read = batches(pixels=mapped)
    monkeypatch.setattr("open_tunit.data.batches._has_room", lambda *_: True)
    kept = batches(pixels=mapped)
    assert isinstance(kept.pixels, Tensor)
    assert_equal(kept.batch(2, SIZE), read.batch(2, SIZE))


@pytest.mark.parametrize(("kind", "waits"), [("mps", True), ("meta", False)])
def test_copies_return_early_only_where_their_source_stays(
    kind: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From memory that is not page-locked a copy to Apple's GPUs may be made after the memory was given back."""
    asked: list[Any] = []

    def to(tensor: Tensor, *_: Any, non_blocking: bool = False, **__: Any) -> Tensor:
        asked.append(non_blocking)
        return tensor

    monkeypatch.setattr(Tensor, "to", to)
    to_device(np.zeros(3), torch.device(kind))
    assert asked[-1] is not waits


@pytest.mark.gpu
def test_a_gpu_gives_the_same_batches() -> None:
    pixels = noise()
    common: dict[str, Any] = {"labels": np.full(COUNT, -1), "indices": np.arange(COUNT), "seed": 0, "view": Views()}
    on_cpu = Batches(pixels, **common, device=torch.device("cpu")).batch(3, SIZE)
    on_gpu = Batches(pixels, **common, device=torch.device("cuda")).batch(3, SIZE)
    torch.testing.assert_close(on_gpu.x.cpu(), on_cpu.x)
    torch.testing.assert_close(on_gpu.x_plus.cpu(), on_cpu.x_plus, rtol=0, atol=1e-4)
    assert torch.equal(on_gpu.permutation.cpu(), on_cpu.permutation)
