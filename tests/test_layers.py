"""Imports point down, siblings never meet; and importing the package is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import open_tunit

LAYERS = [
    {"cli"},
    {"web", "scale"},
    {"translation", "evaluation", "interop", "sorting"},
    {"training", "style_map"},
    {"runs", "card"},
    {"model", "data"},
    {"domain_styles"},
    {"networks", "losses", "metrics", "media", "model_files"},
    {"device"},
    {"settings", "parts"},
    {"files", "lock", "rng", "terminal", "urls"},
]
TRAINING = [
    {"loop", "distillation"},
    {"session"},
    {"pacing"},
    {"reports"},
    {"fitting"},
    {"steps"},
    {"plan", "distributed"},
]
DOORS = {"__init__", "__main__"}  # what the package shows to the outside; they may name any room
HEAVY = ["torch", "gradio", "onnx", "huggingface_hub", "sklearn", "matplotlib", "ray"]


def modules_imported(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Dotted names of all imports anywhere in `tree`, a module directly inside `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = [*parents, *([node.module] if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"}:
                yield str(node.args[0].value)


def violations(root: Path, layers: list[set[str]] = LAYERS, name: str | None = None) -> list[str]:
    """One line for each import under the package folder `root` that does not point down; `name` is its dotted name."""
    height = {room: -depth for depth, rooms in enumerate(layers) for room in rooms}
    name, found = name or root.name, []
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        room = place.with_suffix("").parts[0]
        if room in DOORS:
            continue
        if room not in height:
            found.append(f"{place}: {room} is in no layer")
            continue
        package = [*name.split("."), *place.parent.parts]
        for module in modules_imported(ast.parse(path.read_text(encoding="utf-8")), package):
            if not f"{module}.".startswith(f"{name}."):
                continue
            target = module[len(name) + 1 :].partition(".")[0]
            if target in {room, "__version__"}:
                continue
            if target not in height:
                found.append(f"{place}: {module} is in no layer; import from the room that defines it")
            elif height[target] >= height[room]:
                found.append(f"{place}: {room} imports {target}, which is not below it")
    return found


def test_imports_point_down() -> None:
    assert violations(Path(open_tunit.__file__).parent) == []


def test_imports_point_down_within_training() -> None:
    assert violations(Path(open_tunit.__file__).parent / "training", TRAINING, "open_tunit.training") == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("losses.py", "import house.training"),
        ("losses.py", "from house.networks.ops.norms import FRN"),
        ("losses.py", "from house import model"),
        ("files.py", "from house.settings.config import Config"),
        ("files.py", "from .device import exact_float32"),
        ("files.py", "from . import settings"),
        ("data/scan.py", "from ..model import TUNIT"),
        ("data/scan.py", "def late():\n    from house.training.loop import train"),
        ("web/page.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house import cli"),
        ("web/__init__.py", "from ..cli import main"),
        ("training/loop.py", "import importlib\nimportlib.import_module('house.evaluation')"),
        ("training/loop.py", "from house import TUNIT"),
        ("training/loop.py", "import house"),
        ("helpers.py", ""),
    ],
)
def test_a_wrong_import_is_caught(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / "house" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert len(violations(tmp_path / "house")) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("cli/train.py", "def run():\n    from house.training.loop import train\n    from house import web"),
        ("data/scan.py", "from house.data.cache import Cache\nfrom .split import split\nfrom . import views"),
        ("data/scan.py", "from ..media.images import load\nfrom .. import settings\nimport torch, os.path"),
        ("training/steps/state.py", "from house import __version__"),
        ("__init__.py", "from house.cli.main import main"),
    ],
)
def test_a_right_import_is_let_through(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / "house" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert violations(tmp_path / "house") == []


def test_a_wrong_import_within_a_room_is_caught(tmp_path: Path) -> None:
    for file, text in (("steps/step.py", "from house.training.plan import Plan"), ("plan.py", "import house.models")):
        path = tmp_path / "training" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert violations(tmp_path / "training", TRAINING, "house.training") == []
    (tmp_path / "training" / "plan.py").write_text("from house.training.steps.step import Step")
    assert len(violations(tmp_path / "training", TRAINING, "house.training")) == 1


@pytest.mark.parametrize("module", ["open_tunit", "open_tunit.settings.config"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_two_modules_share_a_name_and_none_hides_the_standard_librarys() -> None:
    root = Path(open_tunit.__file__).parent
    stems = [path.stem for path in root.rglob("*.py") if not path.stem.startswith("__")]
    assert sorted({stem for stem in stems if stems.count(stem) > 1}) == []
    assert sorted(set(stems) & sys.stdlib_module_names) == []
