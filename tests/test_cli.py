"""`tunit`: help, refusals, and what holds for every command."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import USER_ERROR, Capture, new_process, train_words, tunit

from open_tunit import __version__
from open_tunit.cli.main import COMMANDS


@pytest.mark.parametrize("words", [("--help",), ("train", "--help")])
def test_help_imports_nothing_that_takes_long(words: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom open_tunit.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('imported:', *sorted({'torch', 'numpy', 'PIL', 'gradio', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["imported:"]


def test_help_names_the_commands() -> None:
    said = new_process("--help").stdout
    assert set(COMMANDS) == {
        "train", "doctor", "translate", "interpolate", "serve", "domains", "evaluate", "info", "cache", "critters",
        "shard", "distil", "export", "push", "import-official",
    }  # fmt: skip
    assert all(name in said for name in COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_commands_help_fits_a_screen(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        tunit(command, "--help")
    assert caught.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) <= 45


def test_version(capsys: Capture) -> None:
    assert tunit("--version") == 0
    assert capsys.readouterr().out == f"tunit {__version__}\n"


def test_a_new_process_says_one_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = new_process(*train_words(tmp_path / "empty", tmp_path / "run", "--domains", 3))
    assert (done.returncode, done.stdout) == (USER_ERROR, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"no images in {tmp_path / 'empty'}" in done.stderr


@pytest.mark.parametrize("command", ["train", "translate", "interpolate", "domains", "export"])
def test_no_permission_to_write(tmp_path: Path, picture_folder: Path, command: str) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    source = picture_folder / "disc_00.png"
    words: dict[str, tuple[object, ...]] = {
        "train": train_words(picture_folder, locked / "run")[1:],
        "translate": ("--source", source, "--domain", 0, "--out", locked / "out"),
        "interpolate": ("--source", source, "--domain", 0, 1, "--out", locked / "out.png"),
        "domains": ("--data", picture_folder, "--out", locked / "out"),
        "export": ("--out", locked / "out"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "open_tunit", command, *map(str, words[command])],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, capture_output=True, timeout=300,
        preexec_fn=_lose_the_right_to_write_anywhere,
    )  # fmt: skip
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("tunit: ")
    assert str(locked) in line
    assert "Permission denied" in line
    assert list(locked.iterdir()) == []


def _lose_the_right_to_write_anywhere() -> None:
    """Let root be held to a folder's permissions, as everybody else is: drop CAP_DAC_OVERRIDE from what exec gets."""
    if os.geteuid() == 0:
        PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)


def test_words_that_no_command_knows() -> None:
    for words in (("train", "--date", "photos"), ("trian",), ()):
        done = new_process(*words)
        assert done.returncode == USER_ERROR
        assert "Traceback" not in done.stderr
