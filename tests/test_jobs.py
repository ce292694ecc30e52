"""jobs.py: what is left of a large translation, and what is refused before anything is translated."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from open_tunit import TUNIT
from open_tunit.data.sharding import write_shards
from open_tunit.parts import AT_ONCE
from open_tunit.scale import chunks, jobs
from open_tunit.scale.chunks import Worker
from open_tunit.scale.jobs import Job, begin
from open_tunit.scale.sources import Samples
from open_tunit.translation.references import Asked


def begun(model: TUNIT, source: Path | str, out: Path | str, asked: Asked | None = None, **given: Any) -> Job:
    options: dict[str, Any] = {"strength": 1.0, "whole": False, "mask": None, "overwrite": False, "shards": False}
    options |= {"precision": "float32", "warn": print}
    return begin(model, str(source), str(out), asked or Asked(domain=0), **options | given)


def parts(job: Job) -> list[list[str]]:
    return [[path.as_posix() for path in part.sources] for part in job.parts]


def test_after_a_kill_the_rest_is_in_the_same_chunks(
    random_model: TUNIT, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", AT_ONCE)
    (picture_folder / "z.heic").write_bytes(b"")
    first = begun(random_model, picture_folder, tmp_path / "out")
    whole = parts(first)
    assert [len(part) for part in whole] == [AT_ONCE] * 3
    assert [name for part in whole for name in part] == sorted(path.name for path in picture_folder.glob("*.png"))
    done, (bad, *good) = whole[2], whole[0]
    first.manifest.add({name: [f"{name}--domain0.png"] for name in [*done, *good]}, {bad: "is cut short"})
    first.manifest.flush()
    second = begun(random_model, picture_folder, tmp_path / "out")
    assert parts(second) == [whole[1], [bad]]
    assert (second.sources, second.left) == (24, AT_ONCE + 1)
    assert second.manifest.dead.keys() == {bad, "z.heic"}
    assert parts(begun(random_model, picture_folder, tmp_path / "out", overwrite=True)) == whole


def test_places_are_absolute_for_actors_that_work_elsewhere(
    random_model: TUNIT, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(picture_folder, tmp_path / "shards", per_shard=20)
    monkeypatch.chdir(tmp_path)
    job = begun(random_model, "shards/{000000..000001}.tar", "out", mask=picture_folder.name)
    monkeypatch.chdir("/")
    assert isinstance(job.parts[0].source, Samples)
    assert {place.shard for place in job.parts[0].source.places.values()} == {
        f"{tmp_path}/shards/000000.tar", f"{tmp_path}/shards/000001.tar"
    }  # fmt: skip
    worker = Worker(random_model, job.out, device="cpu", precision="float32", threads=1)
    outcome = worker.written(job.parts[0])
    assert (outcome.error, outcome.dead, len(outcome.done)) == (None, {}, 24)
    alpha = begun(random_model, picture_folder, tmp_path / "alpha", mask="alpha").parts[0]
    assert set(alpha.work.manner.masks.values()) == {"alpha"}


def test_a_folder_that_has_a_results_name(random_model: TUNIT, picture_folder: Path, tmp_path: Path) -> None:
    """Of shards it is left out; a folder's is refused, for it can be called otherwise."""
    (picture_folder / "disc_00--domain0.png").mkdir()
    (picture_folder / "disc_01.png").rename(picture_folder / "disc_00--domain0.png" / "b.png")
    pattern = write_shards(picture_folder, tmp_path / "shards").pattern
    job = begun(random_model, pattern, tmp_path / "out", shards=True)
    assert job.manifest.dead == {
        "disc_00--domain0.png/b.png": "would lie within another's result, disc_00--domain0.png"
    }
    assert (job.sources, job.left) == (23, 23)
    with pytest.raises(ValueError, match=r"a folder for disc_00--domain0\.png/b\.png's; rename one"):
        begun(random_model, picture_folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_cannot_be(random_model: TUNIT, picture_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for place, named in (
        (picture_folder / "out", "lies in the folder of the sources"),
        (picture_folder, "lies in the folder of the sources"),
        (tmp_path / "a.png", "a.png is a file's name"),
    ):
        with pytest.raises(ValueError, match=named):
            begun(random_model, picture_folder, place)
    out.mkdir()
    (out / "disc_00--domain0.png").write_bytes(b"mine")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"disc_00--domain0\.png exists already"):
            begun(random_model, picture_folder, out)
    assert [path.name for path in out.iterdir()] == ["disc_00--domain0.png"]
    assert begun(random_model, picture_folder, out, overwrite=True).left == 24
    assert begun(random_model, picture_folder, out).left == 24


def test_a_job_does_not_go_on_where_pictures_are_drawn_otherwise(
    random_model: TUNIT, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(random_model, picture_folder, tmp_path / "out")
    monkeypatch.setattr(jobs, "DRAWING", jobs.DRAWING + 1)
    with pytest.raises(ValueError, match="another manner"):
        begun(random_model, picture_folder, tmp_path / "out")


def test_another_job_is_told_from_this_one(random_model: TUNIT, picture_folder: Path, tmp_path: Path) -> None:
    reference = (picture_folder / "disc_00.png").rename(tmp_path / "r.png")
    out, asked = tmp_path / "out", Asked(reference=reference)
    begun(random_model, picture_folder, out, asked)
    with pytest.raises(ValueError, match="another manner"):
        begun(random_model, picture_folder, out, asked, strength=0.5)
    with pytest.raises(ValueError, match="another style"):
        begun(random_model, picture_folder, out, Asked(domain=0))
    for mask, other in ((tmp_path / "masks", "disc_03.png"), (tmp_path / "mask.png", "")):
        with pytest.raises(ValueError, match="another mask"):
            begun(random_model, picture_folder, out, asked, mask="alpha")
        shutil.copytree(picture_folder, mask) if other else shutil.copy(picture_folder / "disc_01.png", mask)
        masked = tmp_path / f"{mask.stem}-out"
        for _ in range(2):
            begun(random_model, picture_folder, masked, asked, mask=str(mask))
        shutil.copy(picture_folder / "disc_02.png", mask / other)
        with pytest.raises(ValueError, match="another mask;"):
            begun(random_model, picture_folder, masked, asked, mask=str(mask))
    begun(random_model, picture_folder, out, asked)
    (picture_folder / "disc_01.png").rename(reference)
    with pytest.raises(ValueError, match="another style"):
        begun(random_model, picture_folder, out, asked)
    random_model.domain_styles[0, 0] += 1
    with pytest.raises(ValueError, match="another model, style"):
        begun(random_model, picture_folder, out, asked)
