"""Words of a command line that are none get one clear line, and nothing is called."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_type_hints

import pytest

from open_tunit.cli.arguments import parse
from open_tunit.cli.main import COMMANDS, main

NEEDED = {"doctor": "x", 
    "translate": "--source a --out b", "shard": "a --out b", "interpolate": "--source a --out b", "critters": "--out b",
    "distil": "--model a --out b", "export": "--model a --out b", "import-official": "a --out b",
}  # fmt: skip


def _said(capsys: pytest.CaptureFixture[str], line: str) -> str:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    (said,) = captured.err.splitlines()
    assert captured.out == ""
    assert said.startswith("tunit: ")
    return said.removeprefix("tunit: ")


def test_every_number_of_every_command_refuses_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    seen = set()
    for command, function in COMMANDS.items():
        kinds = get_type_hints(function)
        for name in inspect.signature(function).parameters:
            if not {"int", "float"} & set(str(kinds[name]).replace("<class '", "").replace("'>", "").split(" | ")):
                continue
            flag = f"--{name.replace('_', '-')}"
            line = _said(capsys, f"{command} {NEEDED.get(command, '')} {flag} x")
            assert line.startswith(f"{flag} is 'x'; expected a "), line
            assert "number" in line
            assert f"tunit {command} --help" in line
            seen.add(flag)
    assert seen >= {"--pairs", "--features-side", "--size", "--minutes", "--steps", "--port", "--fps", "--count"}


@pytest.mark.parametrize(("line", "expected"), [
    ("evaluate x --pairs 1.5", "--pairs is '1.5'; expected a whole number"),
    ("train --data a --out b --domains some", "--domains is 'some'; expected a whole number or auto"),
    ("train --data a --out b --minutes soon", "--minutes is 'soon'; expected a number"),
    ("evaluate --compare a", "--compare is 'a'; expected PATH PATH"),
    ("evaluate x --part most", "--part is 'most'; expected test or val or "),
    ("evaluate x --pears 3", "--pears is no option (did you mean --pairs?); tunit evaluate --help says what there is"),
    ("train --domain=6 --data a", "--domain is no option (did you mean --domains?); "),
    ("train --dry_runs", "--dry-runs is no option (did you mean --dry-run?); "),
    ("evaluate x --zzz 3", "--zzz is no option; "),
    ("translate --domain 1 --out o --domain=2", "--domain is given 2 times and taken once; take all; "),
    ("translate --source a --out o --source b", "--source is given 2 times and taken once; name a folder; "),
    ("translate --reference a --out o --reference b", "--reference is given 2 times and taken once; name a folder; "),
    ("interpolate --domain 1 --domain 2", "--domain is given 2 times and taken once; name all after one --domain; "),
    ("evaluate --ru x", "--ru is no option; "),
    ("evaluate x y", "unrecognized options: y; "),
    ("evaluate x --pairs", "missing value for argument '--pairs'"),
    ("translate", "missing from tunit translate: --source PATH --out PATH; "),
    ("evaluat x", "'evaluat' is no command; expected one of train, doctor, translate, "),
    ("", "expected one of {train, doctor, translate, "),
])  # fmt: skip
def test_one_line(capsys: pytest.CaptureFixture[str], line: str, expected: str) -> None:
    assert _said(capsys, line).startswith(expected)


def test_files_where_one_is_taken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")]
    for file in files:
        file.touch()
    said = _said(capsys, f"translate --source {' '.join(map(str, files))} --domain 1 --out o")
    assert said.startswith(f"{files[1]} is one file too many; name a folder where there are several; ")
    (tmp_path / "other").mkdir()
    a, b, _ = files
    for line in (f"translate --source {a} --reference {b} --out o oops", f"evaluate {a} {tmp_path / 'other'}"):
        assert _said(capsys, line).startswith(f"unrecognized options: {line.rsplit(maxsplit=1)[1]}; ")


def test_settings_may_be_given_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert "batch is 1" in _said(capsys, "train --preset cpu --data a --out b --set seed=3 --set training.batch=1")


def test_a_narrow_terminal_changes_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wide = _said(capsys, "evaluate x --pairs x")
    monkeypatch.setenv("COLUMNS", "30")
    assert _said(capsys, "evaluate x --pairs x") == wide


def test_a_command_is_called_with_its_arguments_when_asked() -> None:
    called = []

    def draw(out: Path, count: int = 3) -> None:
        """Draw.

        Args:
            out: Where.
            count: How many.
        """
        called.append((out, count))

    call = parse(["draw", "--out", "here", "--count", "4"], {"draw": draw, "other": draw}, "Draws.")
    assert called == []
    call()
    assert called == [(Path("here"), 4)]
