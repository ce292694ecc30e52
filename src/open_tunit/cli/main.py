"""`tunit`: which command, and how its errors look."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence

from open_tunit.cli.arguments import Command, parse
from open_tunit.cli.cache_contents import cache
from open_tunit.cli.critters_pictures import critters
from open_tunit.cli.distil import distil
from open_tunit.cli.doctor_report import doctor
from open_tunit.cli.domains import domains
from open_tunit.cli.evaluate import evaluate
from open_tunit.cli.export import export
from open_tunit.cli.import_official import import_official
from open_tunit.cli.info import info
from open_tunit.cli.interpolate import interpolate
from open_tunit.cli.push import push
from open_tunit.cli.serve import serve
from open_tunit.cli.shard import shard
from open_tunit.cli.train import train
from open_tunit.cli.translate import translate
from open_tunit.terminal import leads

COMMANDS: dict[str, Command] = {
    "train": train,
    "doctor": doctor,
    "translate": translate,
    "interpolate": interpolate,
    "serve": serve,
    "domains": domains,
    "evaluate": evaluate,
    "info": info,
    "cache": cache,
    "critters": critters,
    "shard": shard,
    "distil": distil,
    "export": export,
    "push": push,
    "import-official": import_official,
}
EXTRAS = {
    **{"huggingface_hub": "hub", "onnx": "export", "onnxruntime": "export", "onnxscript": "export"},
    **{"fsspec": "data", "pyarrow": "scale", "ray": "scale"},
}
"""Optional package -> the extra that brings it, where that is not `eval`."""
DESCRIPTION = "Image-to-image translation learned from one folder of images without any labels."
USER_ERROR, INTERRUPTED = 2, 130
LONGEST_REASON = 200
"""Characters of what PyTorch says of memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0, or what the command returns; 2 for what a user can mend (one line says what); 130 for Ctrl-C, and 143 where
    training stopped at SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the console cannot show stops no command
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        from importlib.metadata import version

        print(f"tunit {version('open-tunit')}")
        return 0
    warnings.formatwarning = _warning_line
    try:
        return parse(words, COMMANDS, DESCRIPTION)() or 0
    except KeyboardInterrupt as signal:
        if leads():
            saved = "; the same command resumes from the last checkpoint" if hasattr(signal, "exit_code") else ""
            print(f"interrupted{saved}", file=sys.stderr)
        return getattr(signal, "exit_code", INTERRUPTED)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).partition(".")[0], "eval")
        how = f"pip install -e '.[{extra}]' in open-tunit's folder"
        print(f"tunit: {error.name} is not installed; {how} brings it", file=sys.stderr)
        return USER_ERROR
    except (ValueError, ArithmeticError, OSError, MemoryError) as error:
        if not getattr(error, "silent", False):
            print(f"tunit: {_one_line(error)}", file=sys.stderr)
        return USER_ERROR
    except RuntimeError as error:
        from open_tunit.device import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        print(f"tunit: not enough memory: {_one_line(error)[:LONGEST_REASON]}", file=sys.stderr)
        return USER_ERROR


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"warning: {' '.join(str(message).split())}\n"


def _one_line(error: Exception) -> str:
    if isinstance(error, FileExistsError) and error.filename is not None:
        return f"{error.filename} is not a folder; name another --out"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError) and not str(error):
        return "not enough memory"
    return " ".join(str(error).split())
