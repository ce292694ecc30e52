"""Lines on the terminal: plain text, as wide as it is, one prefix for warnings."""

from __future__ import annotations

import os

from rich.console import Console

TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables that torchrun sets, all of them; others, such as MPI's wrappers, set some."""


def by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return all(name in os.environ for name in TORCHRUN)


def leads() -> bool:
    """Whether this process prints what happens: of those that torchrun starts, the first does."""
    return not by_torchrun() or os.environ["RANK"] == "0"


def print_line(console: Console, text: str) -> None:
    """Print `text` without markup or line breaks of rich's own."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def print_warning(console: Console, text: str) -> None:
    """Print `text` behind `warning:`."""
    print_line(console, f"warning: {text}")
