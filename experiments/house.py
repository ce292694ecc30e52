"""Counts of the house: settings, files, longest file, import floors, and through how many hands a value goes.

    python experiments/house.py [SRC_FOLDER]

A floor is one more than the highest floor that a module imports from, of all modules or of its room's. Hands:
functions with a parameter annotated as a batch, a picture that was read, or the run's config, and their files.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "src") / "open_tunit"
SECTIONS = ("Config", "Model", "Discriminator", "Views", "ViewSettings", "Data", "Training")
VALUES = {"batch": ("Batch", "PairBatch"), "picture": ("Opened", "Picture", "Pictures"), "config": ("Config", "Plan")}


def main() -> None:
    files = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in files.items()}
    print("settings", sum(settings(trees[path]) for path in trees if path.name in ("config.py", "sections.py")))
    folders = Counter(path.parts[0] if len(path.parts) > 1 else "." for path in files if path.name != "__init__.py")
    print("files", sum(folders.values()), dict(folders))
    lengths = {path: text.count("\n") for path, text in files.items()}
    longest = sorted(lengths, key=lambda path: -lengths[path])[:3]
    print("longest", ", ".join(f"{path} {lengths[path]}" for path in longest))
    rooms = ("", *(room for room in folders if room != "."))
    print("floors", {room or "all": max(import_floors(trees, room).values()) for room in rooms})
    for name, kinds in VALUES.items():
        hands = [path for path, tree in trees.items() for node in ast.walk(tree) if takes(node, kinds)]
        print(f"{name}: {len(hands)} functions in {len(set(hands))} files")


def settings(tree: ast.Module) -> int:
    sections = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in SECTIONS]
    fields = [part for section in sections for part in section.body if isinstance(part, ast.AnnAssign)]
    return sum(ast.unparse(field.annotation) not in SECTIONS for field in fields)


def import_floors(trees: dict[Path, ast.Module], room: str = "") -> dict[str, int]:
    """Of the modules of a room, by imports within it."""
    names = {".".join(("open_tunit", *path.with_suffix("").parts)): path for path in trees if path.stem != "__init__"}
    names = {name: path for name, path in names.items() if not room or path.parts[0] == room}
    imported = {name: {found for found in imports(trees[path]) if found in names} for name, path in names.items()}

    @functools.cache
    def floor(name: str) -> int:
        return 1 + max((floor(other) for other in imported[name]), default=0)

    return {name: floor(name) for name in names}


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def takes(node: ast.AST, kinds: tuple[str, ...]) -> bool:
    if not isinstance(node, ast.FunctionDef):
        return False
    annotations = [argument.annotation for argument in (*node.args.args, *node.args.kwonlyargs) if argument.annotation]
    words = {part.id for each in annotations for part in ast.walk(each) if isinstance(part, ast.Name)}
    return bool(words & set(kinds))


if __name__ == "__main__":
    main()
