"""chunks.py: a chunk translated by a worker has the bytes of one long list, wherever it lies and goes."""

from __future__ import annotations

import dataclasses
import errno
import pickle
from pathlib import Path

import pytest
from PIL import Image

from open_tunit import TUNIT, translate_files
from open_tunit.data.dataset import open_dataset
from open_tunit.data.sharding import write_shards
from open_tunit.data.shards import read_index, read_sample
from open_tunit.parts import AT_ONCE
from open_tunit.scale import chunks as module
from open_tunit.scale.chunks import Outcome, Part, Worker, chunks
from open_tunit.scale.sources import sources_in
from open_tunit.scale.storage import Storage
from open_tunit.settings.config import Data
from open_tunit.translation.references import Asked
from open_tunit.translation.results import short_names
from open_tunit.translation.translating import work_for


@pytest.fixture
def reference(picture_folder: Path, tmp_path: Path) -> Path:
    return (picture_folder / "stripe_00.png").rename(tmp_path / "reference.png")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", AT_ONCE)


def every(model: TUNIT, source: Path | str, reference: Path, **manner: object) -> Part:
    """All of a translation as one chunk."""
    place, files, _ = sources_in(str(source))
    names = dict(zip(map(Path, files), short_names(files), strict=True))
    work = work_for(model, names, Path(), Asked(reference=reference), failed=print, **manner)  # type: ignore[arg-type]
    return Part(work=work, source=place)


def worker(model: TUNIT, out: Storage | Path) -> Worker:
    place = out if isinstance(out, Storage) else Storage.of(str(out))
    return Worker(model, place, device="cpu", precision="float32", threads=1)


def written(worker: Worker, part: Part) -> Outcome:
    outcome = pickle.loads(worker({"part": pickle.dumps(part)})["outcome"])
    assert isinstance(outcome, Outcome)
    return outcome


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_films_are_alone() -> None:
    sources = [Path(f"{number}.png") for number in range(module.CHUNK + 1)]
    found = list(chunks([Path("a.mp4"), *sources, Path("b.mov")], module.CHUNK))
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
    out = tmp_path / "out"
    out.mkdir()
    parts = list(every(random_model, picture_folder, reference, strength=strength).pieces())
    outcomes = [written(worker(random_model, out), part) for part in reversed(parts)]
    assert len(outcomes) == 3
    assert bytes_in(out) == bytes_in(tmp_path / "local")
    told = {source: outputs for outcome in outcomes for source, outputs in outcome.done.items()}
    assert sorted(output for outputs in told.values() for output in outputs) == sorted(bytes_in(out))
    assert told["deep/a.png"] == ["deep/a--reference.png"]
    dead = {source: reason for outcome in outcomes for source, reason in outcome.dead.items()}
    assert (list(dead), len(told)) == (["disc_03.png"], done.count)
    assert f"{picture_folder / 'disc_03.png'} {dead['disc_03.png']}" == str(done.left_out[0])


def packed(out: Path) -> dict[str, bytes]:
    """What the shards in `out` hold; each name once."""
    found: dict[str, bytes] = {}
    for shard in sorted(out.glob("*.tar")):
        for sample in read_index(str(shard), out / "none").samples:
            assert sample.file not in found
            found[sample.file] = read_sample(str(shard), sample)
    return found


@pytest.mark.usefixtures("small_chunks")
def test_from_shards_into_shards(
    random_model: TUNIT, picture_folder: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of the local engine on the folder, though a picture is damaged that the shards do not hold."""
    monkeypatch.setattr(module, "SHARD", 2 * AT_ONCE + 3)
    (picture_folder / "disc_03.png").write_text("no picture")
    translate_files(random_model, picture_folder, tmp_path / "local", reference)
    whole = every(random_model, write_shards(picture_folder, tmp_path / "shards", per_shard=7).pattern, reference)
    size = module.chunk_size(1, in_shard=True)
    assert (size, module.chunk_size(99, in_shard=True), module.chunk_size(99, in_shard=False)) == (16, 8, 8)
    for number, paths in enumerate(chunks(whole.sources, size)):
        source = whole.source.part(path.as_posix() for path in paths)
        part = Part(work=whole.work.part(paths), source=source, shard=number)
        outcome = written(worker(random_model, tmp_path / "out"), part)
        before = bytes_in(tmp_path / "out")
        assert outcome == written(worker(random_model, tmp_path / "out"), part)
        assert bytes_in(tmp_path / "out") == before
        assert all(output == f"00000{number}.tar/{Path(name).stem}--reference.png"
                   for name, (output,) in outcome.done.items())  # fmt: skip
        assert list(outcome.dead) == (["disc_03.png"] if number == 0 else [])
    assert bytes_in(tmp_path / "out").keys() == {
        f"00000{number}.{kind}" for number in (0, 1) for kind in ("tar", "json")
    }
    assert packed(tmp_path / "out") == bytes_in(tmp_path / "local")
    assert open_dataset(Data(folder=f"{tmp_path}/out/{{000000..000001}}.tar"), size=32, seed=0).images.shape[0] == 22


def test_a_shard_of_dead_letters_alone_is_not_written(
    random_model: TUNIT, picture_folder: Path, reference: Path, tmp_path: Path
) -> None:
    part = every(random_model, picture_folder, reference)
    for path in picture_folder.iterdir():
        path.write_bytes(b"")
    outcome = written(worker(random_model, tmp_path / "out"), dataclasses.replace(part, shard=0))
    assert (outcome.done, len(outcome.dead), outcome.error) == ({}, 23, None)
    assert not (tmp_path / "out").exists()


def test_from_a_url_to_a_url(random_model: TUNIT, picture_folder: Path, reference: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in picture_folder.iterdir():
        Image.linear_gradient("L").resize((48, 40)).save(masks / path.name)
    (masks / "disc_02.png").write_text("no mask")
    by_url, by_folder = (
        every(random_model, place, reference, mask=str(masks), whole=True)
        for place in (f"file://{picture_folder}", picture_folder)
    )
    (picture_folder / "disc_01.png").unlink()
    outcome = written(worker(random_model, Storage.of(f"file://{tmp_path}/out")), by_url)
    assert outcome.error is None
    assert outcome.dead.keys() == {"disc_01.png", "disc_02.png"}
    assert "does not exist" in outcome.dead["disc_01.png"]
    assert str(masks / "disc_02.png") in outcome.dead["disc_02.png"]
    (tmp_path / "again").mkdir()
    assert written(worker(random_model, tmp_path / "again"), by_folder)
    assert bytes_in(tmp_path / "out") == bytes_in(tmp_path / "again")
    assert len(bytes_in(tmp_path / "out")) == 21


def test_a_full_disk_is_an_error_and_no_dead_letter(
    random_model: TUNIT, picture_folder: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out/a.png")

    part = every(random_model, picture_folder, reference)
    monkeypatch.setattr("open_tunit.translation.folders.save_image", full)
    outcome = written(worker(random_model, tmp_path / "out"), part)
    assert (outcome.done, outcome.dead) == ({}, {})
    assert isinstance(outcome.error, OSError)
    assert (outcome.error.errno, outcome.error.filename) == (errno.ENOSPC, "out/a.png")


def test_an_error_that_nobody_expects_is_told_by_its_kind(
    random_model: TUNIT, picture_folder: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    part = every(random_model, picture_folder, reference)
    monkeypatch.setattr("open_tunit.translation.folders.save_image", broken)
    assert str(written(worker(random_model, tmp_path / "out"), part).error) == "KeyError: 'x'"
