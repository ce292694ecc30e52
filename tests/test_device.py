"""Where a run computes, and in which precision."""

from __future__ import annotations

import contextlib

import pytest
import torch

from open_tunit.device import use_half


@pytest.mark.parametrize("multiplies", [True, False])
def test_bfloat16_that_a_gpu_emulates_is_not_taken(multiplies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: multiplies or including_emulation
    )
    assert use_half("auto", torch.device("cuda")) == multiplies
