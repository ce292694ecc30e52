"""A full disk and too little memory: a line that says so, and nothing half-written."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import train_tiny

from open_tunit.cli import main as command
from open_tunit.files import write_atomic
from open_tunit.runs import Run

resource = pytest.importorskip("resource")
WRITE = """
import resource, sys
from pathlib import Path
import safetensors.torch, torch
from open_tunit.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
tensors = {"a": torch.zeros(100_000)}
save = torch.save if sys.argv[2] == "torch" else safetensors.torch.save_file
try:
    write_atomic(Path(sys.argv[1]), lambda path: save(tensors, path))
except OSError as error:
    print(error.errno, error.filename)
"""


@pytest.mark.parametrize("writer", ["torch", "safetensors"])
def test_what_does_not_fit_names_its_file(tmp_path: Path, writer: str) -> None:
    target = tmp_path / "weights"
    target.write_bytes(b"old")
    words = [sys.executable, "-c", WRITE, str(target), writer]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said == f"{errno.EFBIG} {target}\n"
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_without_a_reason_names_its_file_where_the_disk_is_full(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(tmp_path / "a.json", write)
    assert caught.value.filename == str(tmp_path / "a.json")


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_tiny(picture_folder, tmp_path / "run", steps=2)
    before = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}

    def full(values: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("unexpected pos 704 vs 598 (os error 28)")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left") as caught:
        train_tiny(picture_folder, run, steps=3)
    assert caught.value.filename == str(run / "checkpoints" / "00000003.pt")
    assert {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_log_that_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        Run(tmp_path).append_log({"step": 1})
    assert caught.value.filename == str(tmp_path / "log.jsonl")


@pytest.mark.parametrize("error", [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
])  # fmt: skip
def test_too_little_memory_is_told_with_what_helps(
    picture_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("open_tunit.training.loop.batch_of", fail)
    words = ["--size", "32", "--steps", "2", "--domains", "2", "--set", "training.batch=4"]
    words = ["train", "--preset", "cpu", "--data", str(picture_folder), "--out", str(tmp_path / "run"), *words]
    assert command.main(words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "tunit: not enough memory for batches of 4 at 32 px: --set training.batch=2 --set training.guiding_batch=16 "
        "(about half as much) needs less"
    )


def test_other_commands_say_it_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def read(path: Path) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("open_tunit.model_files.model_config.read_model_config", read)
    assert command.main(["info", "critters"]) == 2
    assert capsys.readouterr().err.startswith("tunit: not enough memory: DefaultCPUAllocator")
