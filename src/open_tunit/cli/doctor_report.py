"""`tunit doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from rich.table import Table

    from open_tunit.data.doctor import Examination, Finding

LEFT_OUT = 1
"""Exit code where a picture is not used."""


def doctor(folder: Annotated[Path, tyro.conf.Positional], size: int | None = None, out: Path | None = None) -> int:
    """Check a folder before training: which files are used, converted or left out, and why; changes nothing in it.

    Exit code 0: every picture is used; 1: some are left out; 2: there is nothing to check.

    Args:
        folder: Folder of images (any nesting).
        size: Side of the images that training would use, in pixels (that of the preset that tunit train takes unnamed);
            smaller pictures are reported.
        out: JSON file for what became of each file; on the terminal counts and the first names are reported.
    """
    from rich.console import Console

    from open_tunit.cli.usual_preset import of_folders
    from open_tunit.data.doctor import findings, save_manifest
    from open_tunit.settings.presets import PRESETS
    from open_tunit.terminal import print_line

    if out is not None and (out.exists() or not out.parent.is_dir()):
        raise ValueError(f"{out} exists already; name another file" if out.exists() else f"{out.parent} is no folder")
    size = PRESETS[of_folders()]["model.size"] if size is None else size
    if size < 1:
        raise ValueError(f"--size is {size}; expected 1 pixel or more")
    examination = _examined(folder, size)
    found = findings(examination)
    console = Console()
    if found:
        console.print(_table(found))
    for line in _summary(examination, found):
        print_line(console, line)
    if out is not None:
        save_manifest(examination, out, found)
        print_line(console, f"every file is in {out}")
    return LEFT_OUT if examination.left_out else 0


def _examined(folder: Path, size: int) -> Examination:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from open_tunit.data.doctor import examine

    console = Console(stderr=True)
    columns = TextColumn("reading images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        return examine(folder, size=size, progress=lambda done, total: bar.update(task, completed=done, total=total))


def _table(found: list[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("files", "", "what", "such as", box=None, pad_edge=False, header_style="bold")
    table.columns[0].justify = "right"
    table.columns[1].no_wrap = True
    for finding in found:
        names = [f"{file} ({detail})" if finding.name and detail else file for file, detail in finding.examples()]
        table.add_row(f"{len(finding.files):,}", finding.use, Text(finding.what), Text("\n".join(names)))
    return table


def _summary(examination: Examination, found: list[Finding]) -> list[str]:
    converted = {file for finding in found if finding.use == "converted" for file in finding.files}
    used, left_out = len(examination.files), len(examination.left_out)
    return [f"{used:,} pictures are used, {len(converted):,} of them converted; {left_out:,} are left out"]
