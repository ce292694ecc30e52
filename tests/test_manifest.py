"""manifest.py: what of a large translation is done, whatever was killed when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from open_tunit.scale.manifest import Manifest
from open_tunit.scale.storage import Storage

JOB = {"source": "photos", "model": "a1"}


def begun(out: Path, job: dict[str, str] = JOB, *, overwrite: bool = False) -> Manifest:
    manifest = Manifest(Storage.of(str(out)))
    manifest.begin(job, overwrite=overwrite)
    return manifest


def letters(out: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (out / "dead-letters.jsonl").read_text().splitlines()]
    assert all(line.keys() == {"path", "reason"} for line in lines)
    return {line["path"]: line["reason"] for line in lines}


def recorded(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in (out / "manifest").glob("*.jsonl") for line in path.read_text().splitlines()]


def test_what_was_flushed_is_there_the_next_time(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.add({"a.png": ["a--r.png"], "b.png": ["b--r.png"]}, {"c.png": "is cut short"})
    first.flush()
    first.add({"d.png": ["d--r.png"]}, {})  # and is killed
    second = begun(tmp_path)
    assert second.exists
    assert second.done == {"a.png", "b.png"}
    assert second.dead == letters(tmp_path) == {"c.png": "is cut short"}
    second.add({"d.png": ["d--r.png"]}, {})
    second.flush()
    assert sorted(str(line["source"]) for line in recorded(tmp_path)) == ["a.png", "b.png", "c.png", "d.png"]
    assert {"source": "d.png", "outputs": ["d--r.png"]} in recorded(tmp_path)


def test_a_dead_letter_is_told_once_and_goes_when_its_source_is_done(tmp_path: Path) -> None:
    for _ in range(2):
        manifest = begun(tmp_path)
        manifest.add({}, {"c.png": "is cut short", "d.png": "is empty"})
        manifest.flush()
    assert len(recorded(tmp_path)) == 2
    manifest.add({"c.png": ["c--r.png"]}, {})
    manifest.flush()
    assert letters(tmp_path) == {"d.png": "is empty"}
    again = begun(tmp_path)
    assert (again.done, again.dead) == ({"c.png"}, {"d.png": "is empty"})


def test_a_kill_between_the_manifest_and_the_dead_letters(tmp_path: Path) -> None:
    manifest = begun(tmp_path)
    manifest.add({}, {"c.png": "is cut short"})
    manifest.flush()
    (tmp_path / "dead-letters.jsonl").unlink()
    (tmp_path / "manifest" / ".x.tunit-abcdefgh.jsonl").write_text('{"source": "half')
    again = begun(tmp_path)
    assert again.dead == {"c.png": "is cut short"}
    again.flush()
    assert letters(tmp_path) == {"c.png": "is cut short"}


def test_lines_that_are_none_are_passed_over(tmp_path: Path) -> None:
    begun(tmp_path)
    lines = ['{"a": 1}', '{"source": "q.png"}', '{"source": 5, "outputs": []}', "[1]", "half", '{"reason": "none"}']
    (tmp_path / "manifest" / "odd.jsonl").write_text(
        "\n".join([*lines, '{"source": "a.png", "outputs": ["a--r.png"]}'])
    )
    (tmp_path / "manifest" / "other.jsonl").write_bytes(b"\xff\xfe")
    again = begun(tmp_path)
    assert (again.done, again.dead) == ({"a.png"}, {})


def test_sources_of_a_shard_that_is_gone_are_not_done(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.add({f"{number}.png": [f"00000{number}.tar/{number}--r.png"] for number in range(3)}, {"c.png": "is empty"})
    first.flush()
    for number in (0, 2):
        (tmp_path / f"00000{number}.tar").write_bytes(b"")
    second = begun(tmp_path)
    assert (second.done, second.shards, second.dead) == ({"0.png", "2.png"}, {0, 2}, {"c.png": "is empty"})
    (tmp_path / "000001.tar").write_bytes(b"of other sources")
    third = begun(tmp_path)
    assert (third.done, third.dead) == (second.done, second.dead)


def test_another_job_is_refused_unless_it_begins_anew(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.add({"a.png": ["a--r.png"]}, {"c.png": "is empty"})
    first.flush()
    other = JOB | {"model": "b2"}
    with pytest.raises(ValueError, match=rf"{tmp_path} has translations of another model"):
        begun(tmp_path, other)
    anew = begun(tmp_path, other, overwrite=True)
    anew.flush()
    assert (anew.done, anew.dead, recorded(tmp_path), letters(tmp_path)) == (set(), {}, [], {})
    assert begun(tmp_path, other).exists
    (tmp_path / "manifest" / "job.json").write_text("{")
    with pytest.raises(ValueError, match="another source, model"):
        begun(tmp_path, other)
