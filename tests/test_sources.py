"""sources.py: what is translated, of folders, URLs and shards, and that no name from a shard leads anywhere else."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from open_tunit.data.sharding import write_shards
from open_tunit.scale.sources import Files, lies_among, sources_in
from open_tunit.scale.storage import Storage


def theirs(shard: Path, files: dict[str, bytes]) -> Path:
    """A tar file without an index, as others write it."""
    shard.parent.mkdir(exist_ok=True)
    with tarfile.open(shard, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return shard


def test_the_same_sources_of_a_folder_and_of_a_url(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    for name in ("b.png", "deep/a.JPG", "film.mp4", "text.txt", ".hidden.png", "deep/.x/c.png", "d.heic"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    folder, names, refused = sources_in(str(tmp_path))
    assert names == ["b.png", "deep/a.JPG", "film.mp4"]
    assert list(refused) == ["d.heic"]
    url, *same = sources_in(f"file://{tmp_path}")
    assert same == [names, refused]
    assert (str(folder), str(url)) == (str(tmp_path), f"file://{tmp_path}")
    assert sources_in(str(tmp_path / "b.png"))[:2] == (Files(Storage(str(tmp_path))), ["b.png"])


def test_no_sources(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        sources_in(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="no images in file://"):
        sources_in(f"file://{tmp_path}")


def test_shards_have_the_names_and_bytes_of_their_folder(picture_folder: Path, tmp_path: Path) -> None:
    (picture_folder / "deep").mkdir()
    (picture_folder / "stripe_05.png").rename(picture_folder / "deep" / "a.png")
    (picture_folder / "disc_03.png").write_text("no picture")
    written = write_shards(picture_folder, tmp_path / "shards", per_shard=7)
    source, names, refused = sources_in(written.pattern)
    assert (names, refused) == (sources_in(str(picture_folder))[1], {})
    assert str(source) == written.pattern
    some = ["deep/a.png", "disc_03.png", "stripe_00.png"]
    root, unreadable = source.part(some).fetched(some, tmp_path / "spare")
    assert unreadable == dict(written.unreadable)
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}
    assert found == {name: (picture_folder / name).read_bytes() for name in ("deep/a.png", "stripe_00.png")}


def test_a_sample_of_other_bytes_is_unreadable_and_a_shard_that_goes_is_an_error(
    picture_folder: Path, tmp_path: Path
) -> None:
    source, names, _ = sources_in(write_shards(picture_folder, tmp_path / "shards").pattern)
    shard = tmp_path / "shards" / "000000.tar"
    index = json.loads(shard.with_suffix(".json").read_text())
    content = bytearray(shard.read_bytes())
    content[index["samples"][2][1] + 5] ^= 1
    shard.write_bytes(content)
    _, unreadable = source.fetched(names, tmp_path / "spare")
    assert unreadable == {names[2]: "has other bytes than when it was indexed"}
    assert not (tmp_path / "spare" / names[2]).exists()
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"000000\.tar"):
        source.fetched(names, tmp_path / "again")


def test_names_that_several_shards_have(picture_folder: Path, tmp_path: Path) -> None:
    one, other, third = (path.read_bytes() for path in sorted(picture_folder.glob("*.png"))[:3])
    theirs(tmp_path / "s" / "0.tar", {"./a.png": one, "b.png": other, "1/a.png": third, "b.txt": b"text"})
    theirs(tmp_path / "s" / "1.tar", {"a.png": other, "c/d.png": one, "bad.png": b"no picture"})
    theirs(tmp_path / "s" / "2.tar", {"bad.png": third})
    source, names, refused = sources_in(f"{tmp_path}/s/{{0..2}}.tar")
    assert names == ["0/a.png", "1/1/a.png", "1/a.png", "1/bad.png", "2/bad.png", "b.png", "c/d.png"]
    assert refused == {}
    root, unreadable = source.fetched(names, tmp_path / "spare")
    assert list(unreadable) == ["1/bad.png"]
    expected = {
        "0/a.png": one,
        "1/1/a.png": other,
        "1/a.png": third,
        "2/bad.png": third,
        "b.png": other,
        "c/d.png": one,
    }
    assert {name: (root / name).read_bytes() for name in expected} == expected


def test_a_name_that_one_shard_has_very_often(picture_folder: Path, tmp_path: Path) -> None:
    count = 5000
    write_shards(picture_folder, tmp_path / "s")
    shard = tmp_path / "s" / "000000.tar"
    index = json.loads(shard.with_suffix(".json").read_text())
    index["samples"] = [["a.png", *index["samples"][0][1:]]] * count + [["000000/2/a.png", *index["samples"][1][1:]]]
    shard.with_suffix(".json").write_text(json.dumps(index))
    _, names, refused = sources_in(str(shard))
    assert sorted(names) == sorted(
        ["000000/a.png", *(f"000000/{number}/a.png" for number in range(1, count)), "000000/1/000000/2/a.png"]
    )
    assert refused == {}


def test_no_name_leads_out_of_the_folder(picture_folder: Path, tmp_path: Path) -> None:
    picture = (picture_folder / "disc_00.png").read_bytes()
    bad = [
        "/etc/a.png",
        "../b.png",
        "c/../../d.png",
        "c/..",
        ".e.png",
        "f/.g/h.png",
        "i" * 300 + ".png",
        "j/" * 1500 + "k.png",
    ]
    shard = theirs(tmp_path / "0.tar", dict.fromkeys([*bad, "good.png"], picture))
    theirs(tmp_path / "bad.tar", {"/etc/a.png": picture})
    _, names, refused = sources_in(str(shard))
    assert names == ["good.png"]
    assert refused.keys() == {name for name in bad if name.endswith(".png")}
    assert refused["../b.png"] == refused["/etc/a.png"] == "would lie outside the folder, by its name"
    theirs(tmp_path / "1.tar", {"/etc/a.png": picture, "../b.png": picture})
    _, names, refused = sources_in(f"{tmp_path}/{{0..1}}.tar")
    assert (names, len(refused)) == (["good.png"], 9)
    inside = theirs(tmp_path / "inside.tar", {"a.png/b.png": picture, "a.png": picture, "a.png/c/d.png": picture})
    assert sources_in(str(inside))[1] == ["a.png"]
    with pytest.raises(ValueError, match="no picture"):
        sources_in(str(tmp_path / "bad.tar"))


def test_names_of_a_strangers_index(picture_folder: Path, tmp_path: Path) -> None:
    write_shards(picture_folder, tmp_path / "shards")
    index = json.loads((tmp_path / "shards" / "000000.json").read_text())
    bad = ["", "a\0b.png", "\ud800.png", "film.mp4", "letter.txt", "/a.png", "../a.png"]
    for sample, name in zip(index["samples"], bad, strict=False):
        sample[0] = name
    (tmp_path / "shards" / "000000.json").write_text(json.dumps(index))
    _, names, refused = sources_in(str(tmp_path / "shards" / "000000.tar"))
    assert len(names) == 24 - len(bad)
    assert len(refused) == len(bad)
    assert all(refused.values())


def test_results_beside_shards(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/shards/{{0..1}}.tar"
    (tmp_path / "shards").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "shards")
    for place, among in (("shards", True), ("link", True), ("shards/out", False), ("out", False)):
        assert lies_among(Storage.of(str(tmp_path / place)), pattern) is among
    (tmp_path / "far").mkdir()
    (tmp_path / "shards" / "0.tar").symlink_to(tmp_path / "far" / "0.tar")
    assert lies_among(Storage.of(str(tmp_path / "far")), pattern)
    pytest.importorskip("fsspec")
    assert lies_among(Storage.of(str(tmp_path / "far")), f"file://{pattern}")
    assert lies_among(Storage.of("memory://a/b/"), "memory://a/b/0.tar")
    assert lies_among(Storage.of("memory://a//x/../b"), "memory://a/b/0.tar")
    assert not lies_among(Storage.of("memory://a/c"), "memory://a/b/0.tar")


@pytest.mark.parametrize("written", [
    "file://{}", "local://{}", "file://{}/", "file:///{}", "file://{}/../shards", "simplecache::file://{}",
    "{}/../shards",
])  # fmt: skip
def test_the_sources_own_folder_however_it_is_written(tmp_path: Path, written: str) -> None:
    pytest.importorskip("fsspec")
    folder = tmp_path / "shards"
    folder.mkdir()
    same = written.format(folder)
    for source in (f"{folder}/{{0..1}}.tar", f"file://{folder}/{{0..1}}.tar", str(folder), f"file://{folder}"):
        assert lies_among(Storage.of(same), source)
        assert not lies_among(Storage.of(f"{same.rstrip('/')}-2"), source)
    assert lies_among(Storage.of(f"{same}/deep"), str(folder))
    assert lies_among(Storage.of(str(folder)), f"{same}/0.tar")


def test_no_shards(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no tar" * 1000)
    for name in ("text.tar", "nowhere.tar"):
        with pytest.raises((ValueError, FileNotFoundError), match=name):
            sources_in(str(tmp_path / name))
