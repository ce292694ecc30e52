"""Ctrl-C and SIGTERM that wait for a good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class Interrupted(KeyboardInterrupt):
    """A Ctrl-C or SIGTERM; `exit_code` is 128 and the signal's number, 130 and 143."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


class Interrupts:
    """Within it the first signal is only noted, but where work may be left undone; the second one stops at once."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        """That came so far."""
        self._may_leave = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM)
            self._previous = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def unless_interrupted(self, work: Callable[[], Result]) -> Result | None:
        """What `work` gives; None where a signal came, which ends it wherever it is."""
        self._may_leave = True
        try:
            return None if self.signals else work()
        except Interrupted:
            if len(self.signals) > 1:
                raise
            return None
        finally:
            self._may_leave = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)
        if self._may_leave or len(self.signals) > 1:
            raise Interrupted(number)
