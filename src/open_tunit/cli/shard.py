"""`tunit shard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def shard(folder: Annotated[Path, tyro.conf.Positional], out: Path, images: int = 1000) -> None:
    """Write a folder's pictures into WebDataset tar shards, which train and translate --engine ray read.

    Args:
        folder: Folder of images, any nesting.
        out: Folder for the shards, their indices and manifest.json; the same command again goes on.
        images: Pictures in each shard.
    """
    from rich.console import Console

    from open_tunit.data.sharding import write_shards
    from open_tunit.terminal import print_line, print_warning

    console = Console()

    def progress(done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            print_line(console, f"shards: {done}/{total}")

    written = write_shards(folder, out, per_shard=images, progress=progress)
    if written.unreadable:
        file, reason = written.unreadable[0]
        print_warning(console, f"{len(written.unreadable)} files are left out, such as {file}, which {reason}")
    print(f"{written.images} images; tunit train --data '{written.pattern}'")
