"""chunks.py: a chunk translated by a worker has the bytes of one long list, wherever it lies and goes."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest
from PIL import Image

from open_tunit import TUNIT, translate_files
from open_tunit.parts import AT_ONCE
from open_tunit.scale import chunks as module
from open_tunit.scale.chunks import Outcome, Worker, chunks
from open_tunit.scale.storage import Storage, sources_in
from open_tunit.translation.references import Asked
from open_tunit.translation.results import short_names
from open_tunit.translation.translating import Work, work_for


@pytest.fixture
def reference(picture_folder: Path, tmp_path: Path) -> Path:
    return (picture_folder / "stripe_00.png").rename(tmp_path / "reference.png")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", AT_ONCE)


def work(model: TUNIT, source: Path, reference: Path, **manner: object) -> Work:
    _, files, _ = sources_in(str(source))
    names = dict(zip(map(Path, files), short_names(files), strict=True))
    return work_for(model, names, Path(), Asked(reference=reference), failed=print, **manner)  # type: ignore[arg-type]


def worker(model: TUNIT, source: Storage, out: Storage) -> Worker:
    return Worker(model, source, out, device="cpu", precision="float32", threads=1)


def written(worker: Worker, part: Work) -> Outcome:
    outcome = pickle.loads(worker({"work": pickle.dumps(part)})["outcome"])
    assert isinstance(outcome, Outcome)
    return outcome


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_films_are_alone() -> None:
    sources = [Path(f"{number}.png") for number in range(module.CHUNK + 1)]
    found = list(chunks([Path("a.mp4"), *sources, Path("b.mov")]))
    assert found == [sources[: module.CHUNK], sources[module.CHUNK :], [Path("a.mp4")], [Path("b.mov")]]
    assert module.CHUNK % AT_ONCE == 0


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_chunks_in_any_order_have_the_bytes_of_one_list(
    random_model: TUNIT, picture_folder: Path, reference: Path, tmp_path: Path, strength: float
) -> None:
    (picture_folder / "disc_03.png").write_text("no picture")
    (picture_folder / "deep").mkdir()
    (picture_folder / "stripe_05.png").rename(picture_folder / "deep" / "a.png")
    done = translate_files(random_model, picture_folder, tmp_path / "local", reference, strength=strength)
    every = work(random_model, picture_folder, reference, strength=strength)
    out = tmp_path / "out"
    out.mkdir()
    one = worker(random_model, Storage.of(str(picture_folder)), Storage.of(str(out)))
    parts = [every.part(chunk) for chunk in chunks(list(every.results.names))]
    outcomes = [written(one, part) for part in reversed(parts)]
    assert len(outcomes) == 3
    assert bytes_in(out) == bytes_in(tmp_path / "local")
    told = {source: outputs for outcome in outcomes for source, outputs in outcome.done.items()}
    assert sorted(output for outputs in told.values() for output in outputs) == sorted(bytes_in(out))
    assert told["deep/a.png"] == ["deep/a--reference.png"]
    dead = {source: reason for outcome in outcomes for source, reason in outcome.dead.items()}
    assert (list(dead), len(told)) == (["disc_03.png"], done.count)
    assert f"{picture_folder / 'disc_03.png'} {dead['disc_03.png']}" == str(done.left_out[0])


def test_from_a_url_to_a_url(random_model: TUNIT, picture_folder: Path, reference: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in picture_folder.iterdir():
        Image.linear_gradient("L").resize((48, 40)).save(masks / path.name)
    (masks / "disc_02.png").write_text("no mask")
    every = work(random_model, picture_folder, reference, mask=str(masks), whole=True)
    (picture_folder / "disc_01.png").unlink()
    one = worker(random_model, Storage.of(f"file://{picture_folder}"), Storage.of(f"file://{tmp_path}/out"))
    outcome = written(one, every)
    assert outcome.error is None
    assert outcome.dead.keys() == {"disc_01.png", "disc_02.png"}
    assert "does not exist" in outcome.dead["disc_01.png"]
    assert str(masks / "disc_02.png") in outcome.dead["disc_02.png"]
    (tmp_path / "again").mkdir()
    assert written(worker(random_model, Storage.of(str(picture_folder)), Storage.of(str(tmp_path / "again"))), every)
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "again")
    assert len(bytes_in(tmp_path / "out")) == 21


def test_a_full_disk_is_an_error_and_no_dead_letter(
    random_model: TUNIT, picture_folder: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out/a.png")

    every = work(random_model, picture_folder, reference)
    monkeypatch.setattr("open_tunit.translation.folders.save_image", full)
    outcome = written(worker(random_model, Storage.of(str(picture_folder)), Storage.of(str(tmp_path / "out"))), every)
    assert (outcome.done, outcome.dead) == ({}, {})
    assert isinstance(outcome.error, OSError)
    assert (outcome.error.errno, outcome.error.filename) == (errno.ENOSPC, "out/a.png")
