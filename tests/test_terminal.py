"""terminal.py: which process prints."""

from __future__ import annotations

import pytest

from open_tunit.terminal import TORCHRUN, leads


def test_of_torchruns_processes_the_first_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    assert leads()
    monkeypatch.setenv("RANK", "3")  # as other launchers set it
    assert leads()
    for name in TORCHRUN:
        monkeypatch.setenv(name, "1")
    assert not leads()
    monkeypatch.setenv("RANK", "0")
    assert leads()
