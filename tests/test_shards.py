"""Shards: written from a folder, read at any place, each picture's own bytes."""

from __future__ import annotations

import gc
import hashlib
import json
import tarfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from open_tunit.cli.main import main
from open_tunit.data.sharding import Written, write_shards
from open_tunit.data.shards import expand, read_index, read_sample

PER_SHARD = 10


@pytest.fixture
def written(picture_folder: Path, tmp_path: Path) -> Written:
    (picture_folder / "deeper").mkdir()
    (picture_folder / "stripe_03.png").rename(picture_folder / "deeper" / "a.b.png")
    (picture_folder / "no_picture.png").write_bytes(b"text")
    return write_shards(picture_folder, tmp_path / "shards", per_shard=PER_SHARD)


def test_a_pattern_counts() -> None:
    assert expand("a/{008..011}.tar") == [f"a/{number:03d}.tar" for number in (8, 9, 10, 11)]
    assert expand("{0..1}/{1..2}.tar") == ["0/1.tar", "0/2.tar", "1/1.tar", "1/2.tar"]
    assert expand("s3://bucket/one.tar") == ["s3://bucket/one.tar"]
    with pytest.raises(ValueError, match="5"):
        expand("{5..3}.tar")
    for many in ("{0..999999999}.tar", "{0..9999}/{0..100}.tar"):
        with pytest.raises(ValueError, match="at most 1,000,000"):
            expand(many)


def test_each_picture_is_in_one_shard(written: Written, picture_folder: Path, tmp_path: Path) -> None:
    shards = expand(written.pattern)
    assert [Path(shard).name for shard in shards] == ["000000.tar", "000001.tar", "000002.tar"]
    found = {}
    for shard in shards:
        for sample in read_index(shard, tmp_path / "cache").samples:
            assert sample.file not in found
            found[sample.file] = read_sample(shard, sample)
    expected = {path.relative_to(picture_folder).as_posix(): path for path in picture_folder.rglob("*.png")}
    assert written.unreadable[0][0] == "no_picture.png"
    del expected["no_picture.png"]
    assert found == {file: path.read_bytes() for file, path in expected.items()}
    assert written.images == 24


def test_the_manifest_has_checksums(written: Written) -> None:
    folder = Path(written.pattern).parent
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sum(shard["images"] for shard in manifest["shards"]) == manifest["images"] == 24
    for shard in manifest["shards"]:
        content = (folder / shard["file"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (shard["sha256"], shard["bytes"])


def test_webdataset_reads_them(written: Written, picture_folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves files open
        samples = list(webdataset.WebDataset(expand(written.pattern), shardshuffle=False))
        gc.collect()
    assert len(samples) == 24
    for sample in samples:
        about = json.loads(sample["json"])
        assert sample["png"] == (picture_folder / about["file"]).read_bytes()


def test_begun_again_it_goes_on(written: Written, picture_folder: Path) -> None:
    folder = Path(written.pattern).parent
    (folder / "000001.json").unlink()  # as a process leaves it that was killed
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert write_shards(picture_folder, folder, per_shard=PER_SHARD) == written
    rewritten = {path.name for path in folder.glob("*.tar") if path.stat().st_mtime_ns != times[path.name]}
    assert rewritten == {"000001.tar"}
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after.keys() == before.keys() | {"000001.json"}
    assert all(after[name] == content for name, content in before.items())


def test_what_changed_is_written_anew(written: Written, picture_folder: Path) -> None:
    folder = Path(written.pattern).parent
    outside = folder.parent / "000000.tar"
    for path in (folder / "2024-backup.tar", outside):
        path.write_bytes(b"mine")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"] += [{"file": "2024-backup.tar"}, {"file": f"../{outside.name}"}]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for path in sorted(picture_folder.glob("stripe_*.png"))[1:]:
        path.unlink()
    again = write_shards(picture_folder, folder, per_shard=PER_SHARD)
    assert again.images == 14
    assert {path.name for path in folder.glob("*.tar")} == {"000000.tar", "000001.tar", "2024-backup.tar"}
    assert not (folder / "000002.json").exists()
    assert outside.exists()


def test_other_files_are_left_alone(written: Written, picture_folder: Path, tmp_path: Path) -> None:
    folder = Path(written.pattern).parent
    for changed in ({"per_shard": 5}, {}):
        place = picture_folder / "deeper" if not changed else picture_folder
        with pytest.raises(ValueError, match=str(folder)):
            write_shards(place, folder, **({"per_shard": PER_SHARD} | changed))
    (tmp_path / "mine").mkdir()
    for other in ("letter.txt", "manifest.json"):
        (tmp_path / "mine" / other).write_text('{"name": "an app"}')
        with pytest.raises(ValueError, match="mine"):
            write_shards(picture_folder, tmp_path / "mine")


def test_shards_of_others_are_indexed_once(picture_folder: Path, tmp_path: Path) -> None:
    shard = tmp_path / "theirs.tar"
    with tarfile.open(shard, "w") as tar:
        for path in sorted(picture_folder.glob("*.png"))[:3]:
            tar.add(path, arcname=f"cats/{path.name}")
            tar.addfile(tarfile.TarInfo(f"cats/{path.stem}.json"))
    index = read_index(str(shard), tmp_path / "cache")
    assert [sample.file for sample in index.samples] == [f"cats/disc_0{number}.png" for number in range(3)]
    assert read_sample(str(shard), index.samples[2]) == (picture_folder / "disc_02.png").read_bytes()
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text(kept.read_text().replace("disc_00", "disc_77"))
    assert read_index(str(shard), tmp_path / "cache").samples[0].file == "cats/disc_77.png"


def member(name: str, data: bytes, size: bytes | None = None, **about: Any) -> bytes:
    """A tar's member, with another size in its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in about.items():
        setattr(info, key, value)
    header = bytearray(info.tobuf(tarfile.PAX_FORMAT))
    if size is not None:
        header[-388:-376] = size
        header[-364:-356] = b" " * 8
        header[-364:-356] = b"%06o\0 " % sum(header[-512:])
    return bytes(header) + data + bytes(-len(data) % 512)


def base256(number: int) -> bytes:
    return b"\xff" + (2**88 + number).to_bytes(11, "big") if number < 0 else b"\x80" + number.to_bytes(11, "big")


SPARSE = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**40), "GNU.sparse.name": "b.png"}


@pytest.mark.parametrize("damaged", [
    *(member("b.png", b"", base256(size)) for size in (-5, -512, -1536, 2**40, 2**80)),
    *(member("b.txt", b"", base256(size)) for size in (-1536, 2**70)),
    *(member("b", b"", base256(size), type=kind) for kind in (b"L", b"x", b"S") for size in (-512, 2**40)),
    member("b.png", b"x", pax_headers={"size": "-1024"}),
    b"\xff" + member("b.png", b"text")[1:],
    bytes(512) + member("b.png", b"text")[512:],
], ids=lambda _: "damaged")  # fmt: skip
@pytest.mark.timeout(20)
def test_a_damaged_tar_is_told_and_not_cut_short(picture_folder: Path, tmp_path: Path, damaged: bytes) -> None:
    picture = (picture_folder / "disc_00.png").read_bytes()
    shard = tmp_path / "theirs.tar"
    shard.write_bytes(member("a.png", picture) + damaged + member("c.png", picture) + bytes(1024))
    with pytest.raises(ValueError, match=r"theirs\.tar is no tar file, or a damaged one"):
        read_index(str(shard), tmp_path / "cache")


def test_tars_of_others_that_are_whole(picture_folder: Path, tmp_path: Path) -> None:
    """Sparse files are told, an appended file is found, an empty tar is one, and the end may be missing."""
    picture = (picture_folder / "disc_00.png").read_bytes()
    sparse = member("a.png", picture) + member("b.png", b"", pax_headers=SPARSE) + member("c.png", picture)
    for name, content, files in (
        ("sparse", sparse + bytes(1024), ["a.png", "c.png"]),
        ("endless", sparse, ["a.png", "c.png"]),
        ("empty", bytes(10240), []),
    ):
        (tmp_path / f"{name}.tar").write_bytes(content)
        index = read_index(str(tmp_path / f"{name}.tar"), tmp_path / "cache")
        assert [sample.file for sample in index.samples] == files
        assert [file for file, _ in index.unreadable] == ["b.png"] * bool(files)
    with tarfile.open(tmp_path / "empty.tar", "a") as tar:
        tar.add(picture_folder / "disc_00.png", "d.png")
    pytest.importorskip("fsspec", reason="needs the extra data")
    for place in ("", "file://"):
        (sample,) = read_index(f"{place}{tmp_path}/empty.tar", tmp_path / "cache").samples
        assert sample.file == "d.png"


def test_what_is_no_shard(written: Written, tmp_path: Path) -> None:
    folder = Path(written.pattern).parent
    with pytest.raises(FileNotFoundError, match=r"000007\.tar"):
        read_index(str(folder / "000007.tar"), tmp_path)
    text = tmp_path / "text.tar"
    text.write_text("no tar" * 1000)
    with pytest.raises(ValueError, match=r"text\.tar"):
        read_index(str(text), tmp_path)
    shard = folder / "000000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"000000\.tar"):
        read_index(str(shard), tmp_path)


@pytest.mark.parametrize("text", [
    "", "[]", "7", "{}", '{"format_version": 1}', '{"format_version": "new"}', '{"format_version": 99}',
    '{"format_version": 1, "bytes": 1, "samples": [["a"]], "unreadable": []}',
    '{"format_version": 1, "bytes": 1, "samples": 5, "unreadable": []}',
    '{"format_version": 1, "bytes": null, "samples": [], "unreadable": []}',
    '{"format_version": 1, "bytes": 1e999, "samples": [], "unreadable": []}',
    *(f'{{"format_version": 1, "bytes": 9, "samples": [["a", {place}, ""]], "unreadable": []}}'
      for place in ("-1, 5", "1, -1", "5, 5", "1e999, 1", "0, 1180591620717411303424")),
    pytest.param("[" * 200_000, id="deep"),
])  # fmt: skip
def test_what_is_no_index(written: Written, tmp_path: Path, text: str) -> None:
    folder = Path(written.pattern).parent
    (folder / "000000.json").write_text(text)
    with pytest.raises(ValueError, match=r"index of .*000000\.tar"):
        read_index(str(folder / "000000.tar"), tmp_path)


def test_a_url_is_read_as_a_file_is(written: Written, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs the extra data")
    memory = fsspec.filesystem("memory")
    for path in Path(written.pattern).parent.iterdir():
        memory.pipe_file(f"/shards/{path.name}", path.read_bytes())
    url = "memory://shards/000000.tar"
    index = read_index(url, tmp_path)
    local = str(Path(written.pattern).parent / "000000.tar")
    assert index == read_index(local, tmp_path)
    assert read_sample(url, index.samples[3]) == read_sample(local, index.samples[3])
    memory.rm("/shards/000000.json")
    names = [sample.digest for sample in read_index(url, tmp_path).samples]
    assert names == [sample.digest for sample in index.samples]
    with pytest.raises(FileNotFoundError, match=r"shards/5\.tar"):
        read_index("memory://shards/5.tar", tmp_path)


def test_a_url_that_fails_now_and_then(written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused twice is read, with and without an index; what is refused always is an error with its name."""
    fsspec = pytest.importorskip("fsspec", reason="needs the extra data")
    memory = fsspec.filesystem("memory")
    monkeypatch.setattr("open_tunit.data.shards.PAUSE_SECONDS", 0)
    times: Counter[tuple[str, str]] = Counter()
    refusals = [2]

    def failing(name: str) -> Callable[..., Any]:
        whole = getattr(type(memory), name)

        def method(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
            times[name, path] += 1
            if times[name, path] <= refusals[0]:
                raise RuntimeError("503 slow down")
            return whole(self, path, *args, **kwargs)

        return method

    for kind in ("tar", "json"):
        memory.pipe_file(f"/few/0.{kind}", (Path(written.pattern).parent / f"000000.{kind}").read_bytes())
    for name in ("_open", "cat_file"):
        monkeypatch.setattr(type(memory), name, failing(name))
    indexed = read_index("memory://few/0.tar", tmp_path)
    memory.rm("/few/0.json")
    times.clear()
    scanned = read_index("memory://few/0.tar", tmp_path)
    assert [sample.digest for sample in scanned.samples] == [sample.digest for sample in indexed.samples]
    refusals[0] = 99
    with pytest.raises(OSError, match=r"few/0\.json cannot be read: 503 slow down"):
        read_index("memory://few/0.tar", tmp_path)


def test_a_url_without_a_version_or_length(
    written: Written, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs the extra data")
    memory = fsspec.filesystem("memory")
    about: dict[str, Any] = {}
    monkeypatch.setattr(type(memory), "info", lambda self, path, **_: {"name": path, "type": "file"} | about)
    for number in range(2):
        content = (Path(written.pattern).parent / f"00000{number}.tar").read_bytes()
        memory.pipe_file("/bare/0.tar", content)
        about["size"] = len(content)
        first = read_index("memory://bare/0.tar", tmp_path / "cache").samples[0].digest
        local = read_index(str(Path(written.pattern).parent / f"00000{number}.tar"), tmp_path).samples[0]
        assert first == local.digest
    assert not (tmp_path / "cache").exists()
    about |= {"last_modified": "today"}
    read_index("memory://bare/0.tar", tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    about["size"] = None
    with pytest.raises(OSError, match=r"bare/0\.tar does not tell its length"):
        read_index("memory://bare/0.tar", tmp_path / "cache")


def test_a_url_whose_package_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="needs the extra data")
    with pytest.raises(ValueError, match="dropbox://"):
        read_index("dropbox://pictures/0.tar", tmp_path)


@pytest.mark.parametrize(("data", "named"), [("{0..1}.tar", "1.tar"), ("2.tar", "2.tar"), ("{2..0}.tar", "{2..0}.tar")])
def test_training_on_no_shards(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, named: str
) -> None:
    """One is not there, or none: no tar file, or a pattern that counts down."""
    shards = tmp_path / "shards"
    write_shards(picture_folder, shards)
    (shards / "000000.tar").rename(shards / "0.tar")
    (shards / "2.tar").write_text("no tar" * 1000)
    assert main(["train", "--preset", "cpu", "--data", f"{shards}/{data}", "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{shards}/{named}" in line
    assert not (tmp_path / "run").exists()


def test_the_command(picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shard", str(picture_folder), "--out", str(tmp_path / "out"), "--images", "12"]) == 0
    assert f"24 images; tunit train --data '{tmp_path}/out/{{000000..000001}}.tar'" in capsys.readouterr().out
    assert main(["shard", str(picture_folder), "--out", str(tmp_path / "other"), "--images", "0"]) == 2
    assert "0" in capsys.readouterr().err
