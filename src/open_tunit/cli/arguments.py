"""The words of a command line to a call; what they get wrong in one line, where tyro draws a box."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tyro

Command = Callable[..., int | None]
"""Returns the exit code; None is 0."""
REFUSED = 2
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
RULE = re.compile(r"╭|╰|[─-]{4,}")
"""Between the parts of tyro's box: title, reason, usage; plain where the terminal is not known to take UTF-8."""
KINDS, NONE = {"INT": "a whole number", "FLOAT": "a number"}, "{None}"
ONCE = {"source": "name a folder", "reference": "name a folder", "domain": "take all", "data": "name a folder of both"}
"""Options that name things, of which several may be meant where they are given again, and what to do; of others the
last one counts."""
HELP_INDENT = 8
"""Of the help of an argument, in tyro's box of those that are missing."""


def parse(words: Sequence[str], commands: Mapping[str, Command], description: str) -> Callable[[], int | None]:
    """The command that `words` name, with its arguments, still to be called.

    Raises SystemExit for `--help`, and ValueError, saying what came and what was expected, for words that are none.
    """
    if words and words[0] not in commands and not words[0].startswith("-"):
        raise ValueError(f"{words[0]!r} is no command; expected one of {', '.join(commands)}")
    command = f"tunit {words[0]}" if words and words[0] in commands else "tunit"
    more = f"; {command} --help says what there is"
    if twice := _given_twice(words[1:]):
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
        if words and words[0] in commands and reason.startswith("unrecognized"):
            reason = _strange(words[1:], commands[words[0]]) or reason
        raise ValueError(reason + more) from None
    return call


def _given_twice(words: Sequence[str]) -> str | None:
    given = [_option(word) for word in words if word.startswith("--")]
    twice = next((name for name in ONCE if given.count(name) > 1), None)
    return None if twice is None else f"--{twice} is given {given.count(twice)} times and taken once; {ONCE[twice]}"


def _option(word: str) -> str:
    return word.removeprefix("--").partition("=")[0].replace("_", "-")


def _strange(words: Sequence[str], command: Command) -> str | None:
    """What is wrong with words of which some are neither an option of the command nor its value; None if not seen."""
    known = [name.replace("_", "-") for name in inspect.signature(command).parameters]
    for name in (_option(word) for word in words if word.startswith("--")):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            return f"--{name} is no option" + (f" (did you mean --{near[0]}?)" if near else "")
    files = [word for word in words if Path(word).is_file()]
    if len(files) > 1:
        return f"{len(files)} files where an option takes one, {files[1]} the second; name their folder"
    return None


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
