"""One process at a time in a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LONGEST_NOTE = 200
"""Bytes that are read of another process's note."""
LOCKED_BYTE = 2**30
"""Windows locks bytes, which nobody else can read then: one far behind the note."""


class RunInUseError(ValueError):
    """Another process trains the run."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, with a note of who does; its folder is made, and removed again if it stays empty.

    The system lets go of the lock when the process ends: a file that a killed one left is taken over. Raises
    RunInUseError where another process holds it, OSError where it cannot be written. File systems without locks
    refuse nobody.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = _taken(path)
        try:
            yield
        finally:
            _give_up(path, descriptor)
    finally:
        with suppress(OSError):  # the first that is not empty
            for folder in made:
                folder.rmdir()


def _taken(path: Path) -> int:
    """The open file, locked, that has this name."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                os.truncate(descriptor, 0)
                os.write(descriptor, _note().encode())
                return descriptor
        except FileNotFoundError:  # its former holder has just deleted it
            pass
        except BlockingIOError:
            holder = os.read(descriptor, LONGEST_NOTE).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise RunInUseError(f"{path.parent} is being trained by {holder}; stop that one, or wait for it") from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _give_up(path: Path, descriptor: int) -> None:
    if sys.platform == "win32":  # which deletes no open file; who has it by then keeps it
        os.close(descriptor)
    with suppress(OSError):
        path.unlink()
    if sys.platform != "win32":
        os.close(descriptor)


def _note() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where another process holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            pass
