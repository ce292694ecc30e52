"""ray_translation.py: `tunit translate --engine ray`, on a Ray of its own, beside the local engine."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Capture, new_process, refused
from PIL import Image

from open_tunit import TUNIT
from open_tunit.data.sharding import write_shards
from open_tunit.scale import ray_translation
from open_tunit.scale.chunks import CHUNK, Outcome
from open_tunit.scale.jobs import begin
from open_tunit.scale.ray_translation import Actors
from open_tunit.translation.references import Asked


@pytest.fixture
def sources(picture_folder: Path, tmp_path: Path) -> Path:
    """Pictures for two chunks, one of them damaged, and a reference in tmp_path/r.png."""
    folder = tmp_path / "sources"
    shutil.copytree(picture_folder, folder / "a")
    (folder / "b").mkdir()
    for path in picture_folder.iterdir():
        with Image.open(path) as picture:
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "b" / path.name)
    (folder / "a" / "disc_03.png").write_text("no picture")
    shutil.copy(picture_folder / "disc_00.png", tmp_path / "r.png")
    return folder


def pictures_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def recorded(out: Path) -> list[str]:
    lines = (line for path in (out / "manifest").glob("*.jsonl") for line in path.read_text().splitlines())
    return sorted(json.loads(line)["source"] for line in lines)


def test_from_shards_the_bytes_of_the_local_engine_and_what_is_left_after_a_kill(
    random_model: TUNIT, model: Path, sources: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install -e '.[scale]'")
    out = tmp_path / "out"
    words = ("translate", "--model", model, "--reference", tmp_path / "r.png")
    local = new_process(*words, "--source", sources, "--out", tmp_path / "local")
    assert local.returncode == 0, local.stderr
    expected = pictures_in(tmp_path / "local")
    assert len(expected) == 47
    pattern = write_shards(sources, tmp_path / "shards", per_shard=20).pattern
    words = (*words, "--source", pattern, "--engine", "ray", "--out", out)
    # as a command leaves it that was killed: one chunk is in the manifest, of the other one some pictures are there
    asked = Asked(reference=tmp_path / "r.png")
    job = begin(
        random_model, pattern, str(out), asked, strength=1.0, whole=False, mask=None, overwrite=False,
        shards=False, precision="float32", warn=print,
    )  # fmt: skip
    rest = [path.as_posix() for path in job.parts[1].sources]
    for name in rest:
        (out / name).parent.mkdir(exist_ok=True)
    done = {name: [f"{name.removesuffix('.png')}--r.png"] for name in rest}
    for (output,) in done.values():
        shutil.copy(tmp_path / "local" / output, out / output)
    (out / "a").mkdir()
    (out / "a" / "disc_00--r.png").write_bytes(b"half of a pict")
    job.manifest.add(done, {})
    job.manifest.flush()

    ray = new_process(*words, timeout=280)
    assert ray.returncode == 0, ray.stdout + ray.stderr
    assert "Traceback" not in ray.stderr
    assert f"{len(rest)} of 48 sources are done already" in ray.stdout
    assert f"{CHUNK - 1} of them now" in ray.stdout
    assert pictures_in(out) == expected
    assert recorded(out) == sorted(path.relative_to(sources).as_posix() for path in sources.rglob("*.png"))
    (letter,) = (out / "dead-letters.jsonl").read_text().splitlines()
    assert json.loads(letter)["path"] == "a/disc_03.png"
    assert json.loads(letter)["reason"]


def test_without_ray(
    model: Path, picture_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ("translate", "--model", model, "--source", picture_folder, "--domain", 0, "--out", tmp_path / "out")
    line = refused(capsys, *words, "--engine", "ray")
    assert "ray is not installed" in line
    assert "[scale]" in line
    assert not (tmp_path / "out").exists()
    for source, *more in (("s3://b",), (tmp_path / "{0..3}.tar",), (picture_folder, "--shards")):
        line = refused(capsys, "translate", "--source", source, "--domain", 0, "--out", tmp_path / "out", *more)
        assert "--engine ray" in line


def test_actors_by_what_the_nodes_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def node(alive: bool = True, **resources: float) -> dict[str, object]:
        return {"Alive": alive, "Resources": resources}

    nodes = [node(CPU=5.0), node(CPU=8.0), node(CPU=64.0, alive=False)]
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    assert ray_translation._actors(nodes, "auto", most=99) == Actors(count=6, device="cpu", threads=2, cpus=2)
    assert ray_translation._actors(nodes, "cpu", most=3).count == 3
    monkeypatch.setattr("torch.get_num_threads", lambda: 96)
    assert ray_translation._actors(nodes, "auto", most=99) == Actors(count=1, device="cpu", threads=96, cpus=8)
    with pytest.raises(ValueError, match="device is cuda"):
        ray_translation._actors(nodes, "cuda", most=99)
    nodes.append(node(CPU=8.0, GPU=4.0))
    assert ray_translation._actors(nodes, "auto", most=99) == Actors(count=4, device="cuda", threads=96, cpus=0)
    assert ray_translation._actors(nodes, "cpu", most=99).device == "cpu"
    with pytest.raises(ValueError, match="device is cuda:1"):
        ray_translation._actors(nodes, "cuda:1", most=99)


def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        ray_translation._check_address(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    ray = types.SimpleNamespace(is_initialized=lambda: False)
    with pytest.raises(OSError, match=f"RAY_ADDRESS is {address}"), ray_translation._running(ray):
        pass
    for address in ("", "auto", "local"):
        ray_translation._check_address(address)


@pytest.mark.parametrize(("message", "line"), [
    ("The actor died unexpectedly.\n\tclass_name: Worker\n\tpid: 7", "The actor died unexpectedly."),
    ("Traceback (most recent call last):\n  File a.py, line 1\n    b()\nKeyError: 'x'\nmore\n\n"
     "The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n"
     "  File c.py, line 2\nUserCodeException: UDF failed to process a data block.", "KeyError: 'x'"),
    ("The actor died, in its creation task, ray::f()\n  File a.py, line 1\nRuntimeError: no\n", "RuntimeError: no"),
    ("", ""),
])  # fmt: skip
def test_why_ray_stopped(message: str, line: str) -> None:
    assert ray_translation._reason(message) == line


def test_an_error_of_a_worker_is_the_commands_and_what_was_done_is_kept(
    random_model: TUNIT, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[scale]'")
    pytest.importorskip("ray.data")
    first = {path.name: [f"{path.stem}--domain0.png"] for path in picture_folder.glob("disc_0?.png")}
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "out"))
    ended: list[str] = []

    def outcomes(*_: object) -> Iterator[Outcome]:
        try:
            yield from (Outcome(done=first), Outcome(error=full), Outcome(dead={"never": "seen"}))
        finally:
            ended.append("the actors")

    @contextlib.contextmanager
    def running(_: object) -> Iterator[None]:
        try:
            yield
        finally:
            ended.append("Ray")

    monkeypatch.setattr(ray_translation, "_running", running)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    monkeypatch.setattr(ray_translation, "_outcomes", outcomes)
    monkeypatch.setattr(ray_translation, "REPORT_SECONDS", -1)
    told: list[str] = []
    with pytest.raises(OSError, match="No space left") as raised:
        ray_translation.translate_on_ray(
            random_model, str(picture_folder), str(tmp_path / "out"), Asked(domain=0), tell=told.append
        )
    assert raised.value.errno == errno.ENOSPC
    assert ended == ["the actors", "Ray"], "what asks Ray for anything after its end starts it again, and hangs"
    assert recorded(tmp_path / "out") == sorted(first)
    assert [line.startswith("10 of 24 sources") for line in told] == [True]
