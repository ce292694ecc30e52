"""motion.py: where the blocks of a frame come from."""

from __future__ import annotations

import pytest
import torch

from open_tunit.metrics.motion import BLOCK, REACH, motion, moved

SCENE = torch.rand(3, 90, 90, generator=torch.Generator().manual_seed(0))


def _window(y: int, x: int, height: int = 40, width: int = 48) -> torch.Tensor:
    return SCENE[:, y : y + height, x : x + width]


@pytest.mark.parametrize("way", [(0, 0), (1, 0), (-3, 2), (REACH, -REACH)])
@pytest.mark.parametrize("shape", [(40, 48), (37, 51)])
def test_a_scene_that_moves_is_followed(way: tuple[int, int], shape: tuple[int, int]) -> None:
    before, after = _window(20, 20, *shape), _window(20 + way[0], 20 + way[1], *shape)
    found = motion(before, after)
    assert found.shape == (2, *shape)
    inner = (slice(None), slice(BLOCK, -2 * BLOCK), slice(BLOCK, -2 * BLOCK))
    assert torch.equal(found[inner], torch.tensor(way)[:, None, None].expand_as(found[inner]))
    assert torch.equal(moved(before, found)[inner], after[inner])


def test_what_is_alike_everywhere_does_not_move() -> None:
    flat = torch.full((3, 24, 24), 0.3)
    assert not motion(flat, flat).any()


def test_outside_the_frame_is_its_edge() -> None:
    frame = torch.arange(16.0).reshape(1, 4, 4)
    down = torch.tensor([3, 0])[:, None, None].expand(2, 4, 4)
    assert torch.equal(moved(frame, down), frame[:, [3, 3, 3, 3]])
