"""Lines on the terminal: plain text, as wide as it is, one prefix for warnings."""

from __future__ import annotations

import os

from rich.console import Console


def leads() -> bool:
    """Whether this process tells the user what happens: of those that torchrun starts, the first does."""
    return os.environ.get("RANK", "0") == "0"


def print_line(console: Console, text: str) -> None:
    """Print `text` without markup or line breaks of rich's own."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def print_warning(console: Console, text: str) -> None:
    """Print `text` behind `warning:`."""
    print_line(console, f"warning: {text}")
