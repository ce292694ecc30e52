"""whole.py: pictures of any aspect at a model's scale, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from open_tunit.media.images import to_pil, to_tensor
from open_tunit.media.whole import LONGEST, TooLong, restored, scaled


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (61, 37), (20, 21), (32, 32)])
def test_the_short_side_is_the_models(shape: tuple[int, int]) -> None:
    height, width = scaled(_noise(*shape), 32, 8).shape[1:]
    assert min(height, width) == 32
    assert height % 8 == width % 8 == 0
    exact = 32 * max(shape) / min(shape)
    assert exact - 0.5 <= max(height, width) < exact + 0.5 + 8


def test_the_long_side_is_mirrored_to_a_multiple() -> None:
    picture = _noise(53, 32)
    x = scaled(picture, 32, 8)  # (3, 32, 56), one column before the picture and two after
    assert torch.equal(x[..., 1:54], to_tensor(picture))
    for outside, mirrored in ((0, 2), (54, 52), (55, 51)):
        assert torch.equal(x[..., outside], x[..., mirrored])


@pytest.mark.parametrize("shape", [(53, 32), (32, 53), (32, 32)])
def test_what_is_not_changed_comes_back(shape: tuple[int, int]) -> None:
    picture = _noise(*shape)
    assert np.array_equal(np.asarray(restored(to_pil(scaled(picture, 32, 8)), shape, 32)), np.asarray(picture))


def test_it_comes_back_in_its_own_size() -> None:
    smooth = _noise(5, 3).resize((211, 97), Image.Resampling.BICUBIC)
    back = restored(to_pil(scaled(smooth, 64, 4)), smooth.size, 64)
    assert back.size == smooth.size
    assert np.abs(np.asarray(back, dtype=float) - np.asarray(smooth)).mean() < 1


def test_a_picture_may_be_so_long_and_no_longer() -> None:
    assert scaled(_noise(2 * LONGEST, 2), 32, 8).shape == (3, 32, 32 * LONGEST)
    with pytest.raises(TooLong, match=f"{2 * LONGEST + 1} x 2 pixels"):
        scaled(_noise(2 * LONGEST + 1, 2), 32, 8)
