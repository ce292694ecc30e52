"""The words of a command line to a call; what they get wrong in one line, where tyro draws a box."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence

import tyro

Command = Callable[..., int | None]
"""Returns the exit code; None is 0."""
REFUSED = 2
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
RULE = re.compile(r"╭|╰|[─-]{4,}")
"""Between the parts of tyro's box: title, reason, usage; plain where the terminal is not known to take UTF-8."""
KINDS, NONE = {"INT": "a whole number", "FLOAT": "a number"}, "{None}"
ONCE = {"source": "name a folder", "reference": "name a folder", "domain": "take all"}
"""Options that name things, of which several may be meant where they are given again, and what to do; of others the
last one counts."""
UNRECOGNISED = re.compile(r"unrecognized(?: or misplaced)? options: (.*)")
HELP_INDENT = 8
"""Of the help of an argument, in tyro's box of those that are missing."""


def parse(words: Sequence[str], commands: Mapping[str, Command], description: str) -> Callable[[], int | None]:
    """The command that `words` name, with its arguments, still to be called.

    Raises SystemExit for `--help`, and ValueError, saying what came and what was expected, for words that are none.
    """
    if words and words[0] not in commands and not words[0].startswith("-"):
        raise ValueError(f"{words[0]!r} is no command; expected one of {', '.join(commands)}")
    command = commands.get(words[0]) if words else None
    options = {} if command is None else _options(command)
    more = f"; {'tunit' if command is None else f'tunit {words[0]}'} --help says what there is"
    if twice := _given_twice(words[1:], options):
        raise ValueError(twice + more)
    later = {name: _deferred(command) for name, command in commands.items()}
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            call: Callable[[], int | None] = tyro.extras.subcommand_cli_from_dict(
                later, prog="tunit", description=description, args=words
            )
    except SystemExit as stopped:
        if stopped.code != REFUSED:
            raise
        reason = _reason(box.getvalue())
        strange = UNRECOGNISED.match(reason)
        if strange is not None:
            reason = _misspelt(words[1:], options) or _too_many(strange[1].split(", ")) or reason
        raise ValueError(reason + more) from None
    return call


def _options(command: Command) -> dict[str, bool]:
    """The command's options, and whether each takes several values."""
    kinds = {name: str(given.annotation) for name, given in inspect.signature(command).parameters.items()}
    return {name.replace("_", "-"): "tuple[" in kind for name, kind in kinds.items() if "Positional" not in kind}


def _named(words: Sequence[str]) -> list[str]:
    """The options among the words."""
    return [word.removeprefix("--").partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]


def _given_twice(words: Sequence[str], options: Mapping[str, bool]) -> str | None:
    given = _named(words)
    twice = next((name for name in ONCE if name in options and given.count(name) > 1), None)
    if twice is None:
        return None
    instead = f"name all after one --{twice}" if options[twice] else ONCE[twice]
    return f"--{twice} is given {given.count(twice)} times and taken once; {instead}"


def _misspelt(words: Sequence[str], options: Mapping[str, bool]) -> str | None:
    for name in _named(words):
        if name not in options:
            near = difflib.get_close_matches(name, options, n=1)
            return f"--{name} is no option" + (f" (did you mean --{near[0]}?)" if near else "")
    return None


def _too_many(words: Sequence[str]) -> str | None:
    """Of words that no option takes: what to do where the shell made several files of one name with a star."""
    files = [word for word in words if os.path.isfile(word)]
    return f"{files[0]} is one file too many; name a folder where there are several" if files else None


def _deferred(command: Command) -> Callable[..., Callable[[], int | None]]:
    @functools.wraps(command)
    def defer(*values: object, **named: object) -> Callable[[], int | None]:
        return functools.partial(command, *values, **named)

    return defer


def _reason(box: str) -> str:
    """What tyro's box says, in one line: `NAME is VALUE; expected WHAT` of a value, else its first paragraph."""
    parts: list[list[str]] = [[]]
    for line in COLOURS.sub("", box).splitlines():
        if RULE.match(line.lstrip(" │")):
            parts.append([])
        else:
            parts[-1].append(line[2:].rstrip(" │"))
    reason, usage = (*parts, [], [])[1:3]
    paragraph = "\n".join(reason).partition("\n\n")[0].splitlines()
    text = " ".join(line.strip() for line in paragraph if not line.startswith(" " * HELP_INDENT)).rstrip(".")
    choice = re.fullmatch(r"invalid choice ('.*') for argument '(.+)'\. Expected one of \((.*)\)", text)
    if choice is not None:
        return f"{choice[2]} is {choice[1]}; expected {choice[3].replace(chr(39), '').replace(', ', ' or ')}"
    wrong = re.fullmatch(r"Error parsing (\S+): .*?('.*').*", text)
    if wrong is None:
        return text[:1].lower() + text[1:]
    kinds = [kind for kind in usage[1].split(maxsplit=1)[-1].split("|") if kind != NONE]
    return f"{wrong[1]} is {wrong[2]}; expected {' or '.join(KINDS.get(kind, kind.strip('{}')) for kind in kinds)}"
