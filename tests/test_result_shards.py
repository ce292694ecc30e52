"""Results in shards: each output once, in numbers without a gap, whatever was killed when."""

from __future__ import annotations

import errno
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from open_tunit import TUNIT, translate_files
from open_tunit.data.sharding import write_shards
from open_tunit.data.shards import read_index, read_sample
from open_tunit.parts import AT_ONCE
from open_tunit.scale import chunks
from open_tunit.scale.chunks import Worker
from open_tunit.scale.jobs import Job, begin
from open_tunit.scale.result_shards import put_shard
from open_tunit.scale.storage import Storage
from open_tunit.translation.references import Asked

EVERY = frozenset(range(99))


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SHARD", AT_ONCE)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def begun(model: TUNIT, source: Path, out: Path | str, **given: Any) -> Job:
    options: dict[str, Any] = {"strength": 1.0, "whole": False, "mask": None, "overwrite": False, "shards": True}
    options |= {"precision": "float32", "warn": print}
    return begin(model, str(source), str(out), Asked(domain=0), **options | given)


def work_on(job: Job, model: TUNIT, *, written: Collection[int] = EVERY, recorded: Collection[int] = EVERY) -> None:
    """Let a worker write some of the parts, and record some of them; as a command that ends there, or is killed."""
    worker = Worker(model, job.out, device="cpu", precision="float32", threads=1)
    for place, part in enumerate(job.parts):
        if place in written:
            outcome = worker.written(part)
            assert outcome.error is None
            if place in recorded:
                job.manifest.add(outcome.done, outcome.dead)
    job.manifest.flush()


def finished(model: TUNIT, source: Path, out: Path, **given: Any) -> Job:
    job = begun(model, source, out, **given)
    work_on(job, model)
    job.finish()
    return job


def held(out: Path) -> dict[str, dict[str, bytes]]:
    """Shard -> what it holds; there is an index of each."""
    shards = sorted(out.glob("*.tar"))
    assert [path.with_suffix(".json") for path in shards] == sorted(out.glob("0*.json"))
    indices = ((shard, read_index(str(shard), out / "none")) for shard in shards)
    return {
        shard.name: {sample.file: read_sample(str(shard), sample) for sample in index.samples}
        for shard, index in indices
    }


def recorded(out: Path) -> list[str]:
    lines = (line for path in (out / "manifest").glob("*.jsonl") for line in path.read_text().splitlines())
    return sorted(output for line in lines for output in json.loads(line).get("outputs", ()))


def check(out: Path, model: TUNIT, source: Path, tmp_path: Path) -> None:
    """Each output of the local engine is in the shards once, as it is there, and in the manifest once."""
    translate_files(model, source, tmp_path / "local", domain=0, overwrite=True)
    shards = held(out)
    assert list(shards) == [f"{number:06d}.tar" for number in range(len(shards))]
    assert recorded(out) == sorted(f"{shard}/{name}" for shard, names in shards.items() for name in names)
    every = [item for names in shards.values() for item in names.items()]
    assert dict(every) == {path.name: path.read_bytes() for path in (tmp_path / "local").glob("*.png")}
    assert len(dict(every)) == len(every)


def numbers(job: Job) -> list[int | None]:
    return [part.shard for part in job.parts]


def test_after_a_kill_the_rest_has_its_own_numbers(
    random_model: TUNIT, picture_folder: Path, out: Path, tmp_path: Path
) -> None:
    """Part 0 was written and not recorded, of part 2 there is an index without a shard."""
    first = begun(random_model, picture_folder, out)
    assert numbers(first) == [0, 1, 2]
    work_on(first, random_model, recorded={1})
    (out / "000002.tar").unlink()
    before = {path.name: path.read_bytes() for path in out.glob("0*")}
    second = begun(random_model, picture_folder, out)
    assert numbers(second) == [0, 2]
    work_on(second, random_model)
    second.finish()
    after = {path.name: path.read_bytes() for path in out.glob("0*")}
    assert {name: after[name] for name in before} == before
    check(out, random_model, picture_folder, tmp_path)
    third = begun(random_model, picture_folder, out)
    assert (third.parts, third.pattern) == ([], f"{out}/{{000000..000002}}.tar")


def test_dead_letters_that_are_mended_come_after_and_leave_no_gap(
    random_model: TUNIT, picture_folder: Path, out: Path, tmp_path: Path
) -> None:
    """All of part 1 is damaged, and one of part 2."""
    bad = [*sorted(picture_folder.iterdir())[AT_ONCE : 2 * AT_ONCE], picture_folder / "stripe_11.png"]
    whole = {path: path.read_bytes() for path in bad}
    for path in bad:
        path.write_bytes(b"")
    finished(random_model, picture_folder, out)
    assert [len(names) for names in held(out).values()] == [8, 0, 7]
    check(out, random_model, picture_folder, tmp_path)
    for _ in range(2):  # in vain
        assert numbers(finished(random_model, picture_folder, out)) == [1, 3]
        assert [len(names) for names in held(out).values()] == [8, 0, 7]
    for path in bad[1:]:
        path.write_bytes(whole[path])
    finished(random_model, picture_folder, out)
    assert [len(names) for names in held(out).values()] == [8, 7, 7, 1]
    bad[0].write_bytes(whole[bad[0]])
    finished(random_model, picture_folder, out)
    assert [len(names) for names in held(out).values()] == [8, 7, 7, 1, 1]
    files = [name for names in held(out).values() for name in names]
    assert len(files) == len(set(files)) == len(recorded(out)) == 24
    assert (out / "dead-letters.jsonl").read_text() == ""


def test_what_no_line_tells_of_goes_and_what_is_not_ours_stays(
    random_model: TUNIT, picture_folder: Path, out: Path, tmp_path: Path
) -> None:
    """Killed before the last part was recorded, whose sources are gone then; others put shards of theirs there."""
    work_on(begun(random_model, picture_folder, out), random_model, recorded={0})
    for path in sorted(picture_folder.iterdir())[AT_ONCE:]:
        path.unlink()
    write_shards(picture_folder, tmp_path / "theirs")
    for kind in (".tar", ".json"):
        (tmp_path / "theirs" / f"000000{kind}").rename(out / f"000077{kind}")
    (out / "000078.tar").write_bytes(b"without an index")
    assert [path.name for path in sorted(out.glob("*.tar"))] == [
        f"0000{number}.tar" for number in ("00", "01", "02", "77", "78")
    ]
    finished(random_model, picture_folder, out)
    assert [path.name for path in sorted(out.glob("0*"))] == [
        "000000.json",
        "000000.tar",
        "000077.json",
        "000077.tar",
        "000078.tar",
    ]


def test_a_number_that_no_line_has_any_more_is_an_empty_shard(
    random_model: TUNIT, picture_folder: Path, out: Path, tmp_path: Path
) -> None:
    """Killed before part 1 was recorded, whose sources are gone then."""
    work_on(begun(random_model, picture_folder, out), random_model, recorded={0, 2})
    for path in sorted(picture_folder.iterdir())[AT_ONCE : 2 * AT_ONCE]:
        path.unlink()
    finished(random_model, picture_folder, out)
    assert [len(names) for names in held(out).values()] == [8, 0, 8]
    check(out, random_model, picture_folder, tmp_path)


def test_a_shard_that_is_gone_is_written_again(
    random_model: TUNIT, picture_folder: Path, out: Path, tmp_path: Path
) -> None:
    finished(random_model, picture_folder, out)
    (out / "000001.tar").unlink()
    assert numbers(finished(random_model, picture_folder, out)) == [1]
    check(out, random_model, picture_folder, tmp_path)


def test_begun_anew_with_less(random_model: TUNIT, picture_folder: Path, out: Path, tmp_path: Path) -> None:
    finished(random_model, picture_folder, out)
    for path in sorted(picture_folder.iterdir())[AT_ONCE + 2 :]:
        path.unlink()
    finished(random_model, picture_folder, out, overwrite=True)
    check(out, random_model, picture_folder, tmp_path)
    assert len(held(out)) == 2


def test_added_sources_come_after(random_model: TUNIT, picture_folder: Path, out: Path, tmp_path: Path) -> None:
    later = sorted(picture_folder.iterdir())[2 * AT_ONCE :]
    for path in later:
        path.rename(tmp_path / path.name)
    work_on(begun(random_model, picture_folder, out), random_model, recorded={1})
    for path in later:
        (tmp_path / path.name).rename(path)
    finished(random_model, picture_folder, out)
    check(out, random_model, picture_folder, tmp_path)


def test_shards_and_files_are_not_mixed(random_model: TUNIT, picture_folder: Path, out: Path) -> None:
    begun(random_model, picture_folder, out)
    with pytest.raises(ValueError, match="another manner"):
        begun(random_model, picture_folder, out, shards=False)


def test_shards_that_are_there_are_not_replaced(random_model: TUNIT, picture_folder: Path, out: Path) -> None:
    pattern = write_shards(picture_folder, out, per_shard=99).pattern
    with pytest.raises(ValueError, match="lies in the folder of the sources"):
        begun(random_model, Path(pattern), out, overwrite=True)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="shards of `tunit shard`"):
            begun(random_model, picture_folder, out, overwrite=overwrite)
    (out / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"000000\.json exists already"):
        begun(random_model, picture_folder, out)
    assert not (out / "manifest").exists()


def test_films_are_left_out(random_model: TUNIT, picture_folder: Path, out: Path) -> None:
    (picture_folder / "film.mp4").write_bytes(b"")
    job = finished(random_model, picture_folder, out)
    assert job.sources == 24
    assert job.manifest.dead == {"film.mp4": "is a film, which shards do not hold"}


def test_a_full_temporary_folder_is_named(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tarfile.open", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/\w+/000007\.tar'"):
        put_shard(Storage.of(str(out)), 7, tmp_path, [])


def test_at_a_url(random_model: TUNIT, picture_folder: Path, out: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    first = begun(random_model, picture_folder, f"file://{out}")
    work_on(first, random_model, recorded={0})
    for path in sorted(picture_folder.iterdir())[2 * AT_ONCE :]:
        path.unlink()
    second = begun(random_model, picture_folder, f"file://{out}")
    work_on(second, random_model)
    second.finish()
    check(out, random_model, picture_folder, tmp_path)
    assert second.pattern == f"file://{out}/{{000000..000001}}.tar"
