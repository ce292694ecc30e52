"""The reference pages of the site, written from the code at each build: commands, settings, Python."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, get_type_hints

import tyro
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from open_tunit.cli.main import COMMANDS
from open_tunit.settings import config as settings
from open_tunit.settings.presets import PRESETS

API = {
    "open_tunit.model": ("TUNIT",),
    "open_tunit.settings.config": ("Config",),
    "open_tunit.training.loop": ("train",),
    "open_tunit.evaluation.protocol": ("evaluate",),
    "open_tunit.translation.translating": ("translate_files",),
    "open_tunit.translation.interpolation": ("interpolate_files",),
    "open_tunit.sorting": ("sort_folder",),
    "open_tunit.translation.films": ("translate_film",),
    "open_tunit.interop.onnx": ("export_onnx",),
    "open_tunit.interop.hub": ("Upload", "stage", "push"),
    "open_tunit.interop.official": ("load_official", "load_official_discriminator"),
}
"""What the Python page shows, by module."""
INHERITED = {"forward"}
WIDTH = 100
"""Longer signatures get a line for each argument."""
SECTIONS = (
    ("", "Config"),
    ("model.", "Model"),
    ("data.", "Data"),
    ("data.views.", "ViewSettings"),
    ("discriminator.", "Discriminator"),
    ("training.", "Training"),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs asks for the site's files: these are added."""
    pages = {"commands": commands, "settings": settings_page, "python": python}
    for name, page in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    return files


def commands() -> str:
    """Every command with its arguments."""
    parts = ["# Commands", "`tunit COMMAND --help` prints the same. Bad input gets one line and exit code 2."]
    for name, function in COMMANDS.items():
        summary, meanings = described(function)
        parts += [
            f"## tunit {name}",
            summary,
            _table(("argument", "default", "meaning"), _arguments(function, meanings)),
        ]
    return "\n\n".join(parts) + "\n"


def settings_page() -> str:
    """Every setting with its default and what the presets make of it."""
    parts = [
        "# Settings",
        "Each is a line of a run's `config.yaml` and can be given as `--set NAME=VALUE`. What a preset does not "
        "name is as in `paper`; with `--size 256` and above that has half the widths of G and D.",
    ]
    for prefix, name in SECTIONS:
        cls = getattr(settings, name)
        rows = [_setting(prefix, field, _field_docs(cls).get(field.name, "")) for field in dataclasses.fields(cls)]
        columns = ("setting", "`paper`", "`cpu`", "`default`", "meaning")
        parts += [f"## {name}", inspect.getdoc(cls) or "", _table(columns, [row for row in rows if row])]
    return "\n\n".join(parts) + "\n"


def python() -> str:
    """Classes and functions with signatures and docstrings."""
    parts = [
        "# Python",
        "The first seven are imported from `open_tunit`, the others from their modules. All that the commands do is "
        "one call: `tunit translate` is `translate_files` (for pictures in memory `TUNIT.translate`), `interpolate` is "
        "`interpolate_files`, `domains` is `sort_folder`, `train` and `evaluate` are the functions of these names. "
        "Images are float tensors (N, 3, S, S) in [-1, 1] wherever they are tensors.",
    ]
    for module, names in API.items():
        for name in names:
            parts += _documented(getattr(importlib.import_module(module), name), module)
    return "\n\n".join(parts) + "\n"


def described(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A command's summary, and its arguments' meanings, from its docstring."""
    text, _, arguments = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    joined = re.sub(r"\n\s{4,}(?=\S)", " ", textwrap.dedent(arguments))
    pairs = (line.split(": ", 1) for line in joined.splitlines() if ": " in line)
    return " ".join(text.split()), dict(pairs)


def _arguments(function: Callable[..., Any], meanings: dict[str, str]) -> list[tuple[str, ...]]:
    hints = get_type_hints(function, include_extras=True)
    rows = []
    for name, parameter in inspect.signature(function).parameters.items():
        positional = tyro.conf.Positional in getattr(hints[name], "__metadata__", ())
        flag = f"`{name.upper()}`" if positional else f"`--{name.replace('_', '-')}`"
        default = "needed" if parameter.default is inspect.Parameter.empty else _shown(parameter.default)
        rows.append((flag, default, meanings[name]))
    return rows


def _shown(value: Any) -> str:
    return "" if value in (None, False, "", ()) else f"`{value}`"


def _setting(prefix: str, field: dataclasses.Field[Any], meaning: str) -> tuple[str, ...]:
    """A table row; nothing for a setting that is a section of its own."""
    if (prefix == "" and field.name in ("data", "model", "discriminator", "training")) or field.name == "views":
        return ()
    default = "needed" if field.default is dataclasses.MISSING else f"`{field.default}`"
    changed = (PRESETS[preset].get(prefix + field.name) for preset in ("cpu", "default"))
    return (f"`{prefix}{field.name}`", default, *("" if value is None else f"`{value}`" for value in changed), meaning)


def _field_docs(cls: type) -> dict[str, str]:
    """The string below each field."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            docs[ast.unparse(field.target)] = " ".join(str(after.value.value).split())
    return docs


def _documented(thing: Any, module: str) -> list[str]:
    heading = [
        f"## {thing.__name__}",
        f"```python\n{_signature(thing, module + '.' + thing.__name__)}\n```",
        _doc(thing),
    ]
    if not inspect.isclass(thing):
        return heading
    for name, member in vars(thing).items():
        if name.startswith("_") or name in INHERITED:
            continue
        function = member.__func__ if isinstance(member, classmethod) else member
        if inspect.isfunction(function):
            title = f"{thing.__name__}.{name}"
            heading += [f"### {title}", f"```python\n{_signature(function, title)}\n```", _doc(function)]
    return heading


def _signature(thing: Any, name: str) -> str:
    signature = inspect.signature(thing)
    words: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        if parameter.name not in ("self", "cls"):
            words.append(_parameter(parameter))
    result = "" if inspect.isclass(thing) else f" -> {_annotation(signature.return_annotation)}"
    line = f"{name}({', '.join(words)}){result}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){result}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}".replace("<factory>", "...")
    return f"{stars}{parameter.name}: {_annotation(parameter.annotation)}{default}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
