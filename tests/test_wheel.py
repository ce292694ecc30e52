"""The wheel is complete, holds nothing else, and works where the source tree is not."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import open_tunit

REPOSITORY = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; other packages are read from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    borrowed = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    (Path(site) / "borrowed.pth").write_text("\n".join(borrowed))
    install = ["install", "--no-deps", "--no-index", "--ignore-installed", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "--python", python, *install, wheel, cwd=folder)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    source = Path(open_tunit.__file__).parent
    expected = {
        path.relative_to(source.parent).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    information = f"open_tunit-{open_tunit.__version__}.dist-info"
    assert {name for name in names if not name.startswith(information)} == expected
    assert "open_tunit/py.typed" in names
    assert f"{information}/licenses/LICENSE" in names


def test_the_installed_command_tells_its_version(environment: Path, tmp_path: Path) -> None:
    assert open_tunit.__version__ in run(environment / "bin" / "tunit", "--version", cwd=tmp_path)


def test_the_installed_package_is_the_one_imported(environment: Path, tmp_path: Path) -> None:
    code = "from open_tunit import Config; import sys; print(sys.modules[Config.__module__].__file__)"
    where = Path(run(environment / "bin" / "python", "-c", code, cwd=tmp_path))
    assert where.is_relative_to(environment)


def test_the_installed_command_translates_with_the_model_that_comes_along(environment: Path, tmp_path: Path) -> None:
    tunit = environment / "bin" / "tunit"
    run(tunit, "critters", "--out", "pictures", "--count", "2", cwd=tmp_path)
    source, reference = sorted((tmp_path / "pictures").rglob("*.png"))[:2]
    run(tunit, "translate", "--source", source, "--reference", reference, "--out", "out", cwd=tmp_path)
    assert len(list((tmp_path / "out").iterdir())) == 1
