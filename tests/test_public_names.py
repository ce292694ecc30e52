"""The public surface: what we promise to keep."""

import importlib.metadata

import pytest

import open_tunit

NAMES = {
    "TUNIT", "Config", "train", "evaluate", "translate_files", "interpolate_files", "sort_folder", "__version__",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert set(open_tunit.__all__) == NAMES
    assert set(dir(open_tunit)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__"}))
def test_each_name_resolves(name: str) -> None:
    value = getattr(open_tunit, name)
    assert callable(value)
    assert value.__name__ == name
    assert value.__module__.startswith("open_tunit.")


def test_scripts_written_before_the_rooms_find_images() -> None:
    assert open_tunit.images.read_image.__module__ == "open_tunit.media.images"


def test_the_version_is_the_installed_one() -> None:
    assert open_tunit.__version__ == importlib.metadata.version("open-tunit")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'TUNITS'"):
        _ = open_tunit.TUNITS
