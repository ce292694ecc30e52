"""interpolation.py: the way between references, against interpolation by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from open_tunit import TUNIT
from open_tunit.settings.config import Model
from open_tunit.translation.interpolation import moving_grid, moving_picture, path, strip

SIZE = 32
SHAPES = Model(size=SIZE, domains=3, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16)


@pytest.fixture(scope="module")
def model() -> TUNIT:
    torch.manual_seed(0)
    network = TUNIT(SHAPES).eval()
    with torch.no_grad():
        network.E.style_head.weight.normal_(std=3.0)
    return network


@pytest.fixture
def files(picture_folder: Path) -> list[Path]:
    return sorted(picture_folder.iterdir())


def _tile(sheet: Image.Image, row: int, column: int) -> np.ndarray:
    step = SIZE + 2
    return np.asarray(sheet)[2 + row * step : 2 + row * step + SIZE, 2 + column * step : 2 + column * step + SIZE]


def _drawn(model: TUNIT, source: Path, code: torch.Tensor) -> np.ndarray:
    """The model's square, in 0 to 255, by the networks themselves."""
    with torch.inference_mode():
        image = model.G(model.squares(source), code[None])[0]
    return ((image.double() + 1) * 127.5).permute(1, 2, 0).numpy()


def test_a_path_passes_each_stop_and_goes_straight_between() -> None:
    stops = torch.tensor([[0.0, 0.0], [4.0, 8.0], [4.0, 0.0]])
    along = [[0, 0], [1, 2], [2, 4], [3, 6], [4, 8], [4, 6], [4, 4], [4, 2], [4, 0]]
    assert path(stops, 4).tolist() == along
    assert path(stops, 4, loop=True).tolist() == [*along, [3, 0], [2, 0], [1, 0]]
    assert path(stops, 1).tolist() == stops.tolist()


def test_paths_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="there is nothing between 1 reference; give at least 2"):
        path(torch.zeros(1, 2), 4)
    with pytest.raises(ValueError, match="frames is 0; at least 1"):
        path(torch.zeros(2, 2), 0)


def test_a_strip_has_a_row_per_source(model: TUNIT, files: list[Path]) -> None:
    codes = path(model.style(files[-2:]), 2)
    sheet = strip(model, files[:2], codes)
    assert sheet.size == (4 * (SIZE + 2) + 2, 2 * (SIZE + 2) + 2)
    for row in range(2):
        square = ((model.squares(files[row])[0] + 1) * 127.5).permute(1, 2, 0).numpy()
        assert np.abs(_tile(sheet, row, 0) - square).max() <= 0.51
        for column, code in enumerate(codes, start=1):
            assert np.abs(_tile(sheet, row, column) - _drawn(model, files[row], code)).max() <= 0.51


def test_a_moving_picture_keeps_the_sources_shape(model: TUNIT, files: list[Path]) -> None:
    codes = path(model.style(files[-2:]), 2)
    frames = list(moving_picture(model, files[0], codes))
    assert [frame.size for frame in frames] == [(48, 40)] * 3
    assert np.array_equal(np.asarray(frames[-1]), np.asarray(model.translate(files[0], files[-1])))
    assert not np.array_equal(np.asarray(frames[0]), np.asarray(frames[-1]))


def test_each_row_of_a_moving_grid_goes_round(model: TUNIT, files: list[Path]) -> None:
    stops = model.style([files[0], files[-1], files[-2]])
    frames = list(moving_grid(model, files[:2], stops, 2))
    assert len(frames) == 6
    around = path(stops, 2, loop=True)
    for time in (0, 1, 4):
        for row in range(3):
            for column in range(2):
                expected = _drawn(model, files[column], around[(time + 2 * row) % 6])
                assert np.abs(_tile(frames[time], row + 1, column) - expected).max() <= 0.51
        assert np.array_equal(_tile(frames[time], 0, 1), _tile(frames[0], 0, 1))
