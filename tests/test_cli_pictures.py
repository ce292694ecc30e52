"""`tunit translate` and `interpolate` on pictures of every kind, films and folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from open_tunit import TUNIT
from open_tunit.cli.main import main

Capture = pytest.CaptureFixture[str]


def _main(*words: object) -> int:
    return main([str(word) for word in words])


def _refused(capsys: Capture, *words: object) -> str:
    capsys.readouterr()
    assert _main(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "I;16", "RGB"])
def test_pictures_of_any_mode_and_shape(tmp_path: Path, model: Path, mode: str) -> None:
    suffix = ".tif" if mode == "CMYK" else ".png"
    Image.linear_gradient("L").resize((61, 37)).convert(mode).save(tmp_path / f"source{suffix}")
    words = ("--source", tmp_path / f"source{suffix}", "--domain", 1, "--out", tmp_path / "out")
    assert _main("translate", "--model", model, *words) == 0
    with Image.open(tmp_path / "out" / "source--domain1.png") as drawn:
        assert (drawn.mode, drawn.size) == ("RGB", (61, 37))


def test_a_picture_that_is_not_square_is_told(capsys: Capture, tmp_path: Path, model: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, size in (("square", (40, 40)), ("wide", (50, 40)), ("wider", (80, 40))):
        Image.new("RGB", size, "red").save(tmp_path / "a" / f"{name}.png")
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "a" / "cut.png").write_bytes((tmp_path / "a" / "wider.png").read_bytes()[:-30])
    wide, words = tmp_path / "a" / "wide.png", ("--model", model, "--domain", 1)
    told = f"{wide} is not square: its middle square was redrawn; --whole redraws all of it"
    cases = (
        (tmp_path / "a", (), True),
        (wide, (), True),
        (wide, ("--whole",), False),
        (wide, ("--mask", wide), False),
        (tmp_path / "a" / "square.png", (), False),
    )
    for number, (source, more, expected) in enumerate(cases):
        assert _main("translate", "--source", source, *words, "--out", tmp_path / f"o{number}", *more) == 0
        assert (told in capsys.readouterr().out.splitlines()) == expected, (source, more)
    padded = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(padded | {"fit": "pad"}))
    assert _main("translate", "--source", wide, *words, "--out", tmp_path / "padded") == 0
    assert "is not square" not in capsys.readouterr().out


@pytest.mark.parametrize("out", ["a", "a/b", "a/../a/b", "link/c"])
def test_results_among_the_pictures_that_are_read_are_refused(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path, picture_folder: Path, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(picture_folder, "a")
    Path("link").symlink_to("a")
    source = sorted(Path("a").rglob("*.png"))[0]
    before = sorted(Path("a").rglob("*"))
    for words in (
        ("translate", "--model", model, "--source", "a", "--domain", 1, "--out", out),
        ("translate", "--model", model, "--source", source, "--reference", "a", "--out", out),
        (
            "translate",
            "--model",
            model,
            "--source",
            source,
            "--reference",
            source,
            "--neighbours",
            1,
            "--among",
            "a",
            "--out",
            out,
        ),
        ("interpolate", "--model", model, "--source", "a", "--domain", 0, 1, "--out", f"{out}/b.gif"),
        ("domains", "--model", model, "--data", "a", "--out", out),
        ("train", "--preset", "cpu", "--data", "a", "--steps", 2, "--out", out),
    ):
        said = (
            f"{out} lies in {tmp_path / 'a' if words[0] == 'train' else 'a'}, whose pictures are read; name one outside"
        )
        if words[0] == "train" and out == "a":
            said = "a is not empty and holds no run; name another folder"
        if words[0] == "interpolate":
            said = f"{out}/b.gif lies in a, whose pictures are read; name one outside"
        assert _refused(capsys, *words) == f"tunit: {said}"
    assert sorted(Path("a").rglob("*")) == before
    (tmp_path / "elsewhere").mkdir()
    Path("a/linked").symlink_to(tmp_path / "elsewhere")
    words = ("translate", "--model", model, "--source", "a", "--domain", 1)
    assert "lies in a, whose pictures" in _refused(capsys, *words, "--out", "a/linked/b")
    assert "lies in a, whose pictures" in _refused(capsys, *words, "--out", "elsewhere/../link/b")
    assert _main("translate", "--model", model, "--source", source, "--domain", 1, "--out", "a/@eaDir/b") == 0
    assert _main("translate", "--model", model, "--source", source, "--domain", 1, "--out", "a/.hidden") == 0
    assert _main("translate", "--model", model, "--source", "a", "--domain", 1, "--out", "a/.hidden/more") == 0


def test_transparency_is_kept(tmp_path: Path, model: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (37, 61, 4), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "source.png")
    words = ("--source", tmp_path / "source.png", "--domain", 1, "--out", tmp_path / "out")
    assert _main("translate", "--model", model, *words) == 0
    drawn = _pixels(tmp_path / "out" / "source--domain1.png")
    assert np.array_equal(drawn[..., 3], colours[..., 3])
    layered = colours[..., :3] * (colours[..., 3:] / 255) + 255 * (1 - colours[..., 3:] / 255)
    opaque = TUNIT.from_pretrained(model).translate(Image.fromarray(layered.round().astype(np.uint8)), domain=1)
    assert np.abs(drawn[..., :3].astype(int) - np.asarray(opaque)).max() <= 3


def test_the_precision_that_is_asked_for(tmp_path: Path, model: Path, picture_folder: Path) -> None:
    words = ("translate", "--model", model, "--source", picture_folder / "disc_00.png", "--domain", 1)
    for precision in ("float32", "bfloat16"):
        assert _main(*words, "--out", tmp_path / precision, "--precision", precision) == 0
    expected = TUNIT.from_pretrained(model)
    exact = np.asarray(expected.translate(picture_folder / "disc_00.png", domain=1))
    expected.in_bfloat16 = True
    rounded = np.asarray(expected.translate(picture_folder / "disc_00.png", domain=1))
    assert not np.array_equal(exact, rounded)
    assert np.array_equal(_pixels(tmp_path / "float32" / "disc_00--domain1.png"), exact)
    assert np.array_equal(_pixels(tmp_path / "bfloat16" / "disc_00--domain1.png"), rounded)


def test_domains_without_images_are_told(
    capsys: Capture, tmp_path: Path, random_model: TUNIT, picture_folder: Path
) -> None:
    random_model.domain_counts[1:] = 0
    random_model.save_pretrained(tmp_path / "model")
    words = ("translate", "--model", tmp_path / "model", "--source", picture_folder / "disc_00.png", "--domain", "all")
    assert _main(*words, "--out", tmp_path / "out") == 0
    assert f"warning: {random_model.config.domains - 1} domains have no images" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_styles_sampled_without_a_reference(
    capsys: Capture, tmp_path: Path, random_model: TUNIT, picture_folder: Path
) -> None:
    files = sorted(picture_folder.iterdir())
    random_model.measure_domains([random_model.squares(files)])
    domain, out = int(random_model.domain_counts.argmax()), tmp_path / "out"
    random_model.save_pretrained(tmp_path / "model")
    words = ("translate", "--model", tmp_path / "model", "--source", files[0], "--domain")
    assert _main(*words, domain, "--sample", 2, "--out", out) == 0
    assert _main(*words, domain, "--sample", 2, "--seed", 7, "--out", out) == 0
    assert "2 translations in" in capsys.readouterr().out
    names = [f"disc_00--domain{domain}-seed{seed}-{k}.png" for seed in (0, 7) for k in (0, 1)]
    assert sorted(path.name for path in out.iterdir()) == names
    expected = random_model.translate(files[0], domain=domain, samples=2, seed=7)
    assert np.array_equal(_pixels(out / names[3]), np.asarray(expected[1]))
    assert f"{names[0]} exists already" in _refused(capsys, *words, domain, "--sample", 1, "--out", out)
    assert _main(*words, "all", "--sample", 1, "--out", tmp_path / "all") == 0
    filled = int((random_model.domain_counts > 0).sum())
    assert len(list((tmp_path / "all").iterdir())) == filled
    told = f"warning: {3 - filled} domain" if filled < 3 else ""
    assert told in capsys.readouterr().out
    assert _main(*words, domain, "--sample", 1, "--out", tmp_path / "one.png") == 0
    refusals = {
        ("--domain", domain, "--sample", 0): "samples is 0",
        ("--domain", domain, "--sample", 1, "--seed", -1): "seed is -1",
        ("--reference", files[1], "--sample", 2): "--sample 2 needs --domain",
        ("--domain", domain, "--seed", 2): "--seed is 2",
    }
    for more, said in refusals.items():
        assert said in _refused(capsys, *words[:-1], *more, "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_file_where_the_results_folder_should_be(
    capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    words = ("translate", "--model", model, "--source", picture_folder / "disc_00.png", "--domain", 1)
    line = _refused(capsys, *words, "--out", tmp_path / "taken")
    assert f"{tmp_path / 'taken'} is not a folder; name another --out" in line
    assert (tmp_path / "taken").read_text() == "mine"


def test_one_translation_under_its_own_name(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    source = picture_folder / "disc_00.png"
    words = ("translate", "--model", model, "--source", source, "--domain")
    assert _main(*words, 1, "--out", tmp_path / "new" / "mine.png") == 0
    expected = TUNIT.from_pretrained(model).translate(source, domain=1)
    assert np.array_equal(_pixels(tmp_path / "new" / "mine.png"), np.asarray(expected))
    assert "mine.png exists already" in _refused(capsys, *words, 0, "--out", tmp_path / "new" / "mine.png")
    several = _refused(capsys, *words, "all", "--out", tmp_path / "all.jpg")
    assert "all.jpg is a file's name, but there are 2 translations; name a folder" in several
    assert "of another kind than the source" in _refused(capsys, *words, 1, "--out", tmp_path / "a.mp4")
    misspelt = _refused(capsys, *words, 1, "--out", tmp_path / "a.pngg")
    assert (
        "a.pngg ends in '.pngg'; name a folder, or a .png, .jpg, .jpeg, .webp, .tif, .tiff, .mp4, .mov file" in misspelt
    )
    assert "b.bmp ends in '.bmp'" in _refused(capsys, *words, "all", "--out", tmp_path / "b.bmp")
    assert _main(*words, 1, "--out", tmp_path / "my.photos") == 0
    assert len(list((tmp_path / "my.photos").iterdir())) == 1
    Image.new("LA", (40, 40)).save(tmp_path / "clear.png")
    words = ("translate", "--model", model, "--source", tmp_path / "clear.png", "--domain", 1)
    assert "cannot hold transparency" in _refused(capsys, *words, "--out", tmp_path / "clear.jpg")
    (tmp_path / "folder.png").mkdir()
    assert _main(*words, "--out", tmp_path / "folder.png") == 0
    assert (tmp_path / "folder.png" / "clear--domain1.png").is_file()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["clear.png"]


def test_unreadable_pictures_of_a_folder_are_named_and_left_out(
    capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path
) -> None:
    sources = tmp_path / "sources"
    (sources / "deep").mkdir(parents=True)
    shutil.copy(picture_folder / "disc_00.png", sources / "deep" / "good.png")
    (sources / "broken.png").write_text("no picture")
    words = ("translate", "--model", model, "--source", sources, "--domain", 0, "--out", tmp_path / "out")
    assert _main(*words) == 0
    said = capsys.readouterr().out
    assert "warning: " in said
    assert "broken.png is not an image" in said
    assert "1 translation in" in said
    written = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")]
    assert written == ["deep/good--domain0.png"]
    references = ("translate", "--model", model, "--source", picture_folder / "disc_00.png", "--reference", sources)
    assert _main(*references, "--out", tmp_path / "styled") == 0
    assert "broken.png is not an image" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "styled").iterdir()] == ["disc_00--deep-good.png"]
    shutil.copy(sources / "deep" / "good.png", sources / "deep-good.png")
    assert "both be called deep-good" in _refused(capsys, *references, "--out", tmp_path / "both")
    (sources / "deep-good.png").unlink()
    shutil.rmtree(sources / "deep")
    assert "broken.png is not an image" in _refused(capsys, *words, "--overwrite")
    assert "broken.png is not an image" in _refused(capsys, *references, "--out", tmp_path / "none")


def test_a_film_in_a_film_out(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra `video`")
    from open_tunit.media.video import read_film, write_film

    sources = tmp_path / "sources" / "deep"
    sources.mkdir(parents=True)
    pictures = [Image.open(path).convert("RGB") for path in sorted(picture_folder.glob("disc_*.png"))]
    write_film(sources / "a.mp4", pictures, 5)
    (sources / "bad.mp4").write_text("no film")
    shutil.copy(picture_folder / "disc_00.png", sources)
    reference, out = picture_folder / "stripe_00.png", tmp_path / "out"
    words = ("translate", "--model", model, "--source", tmp_path / "sources", "--reference", reference, "--out", out)
    assert _main(*words) == 0
    assert "bad.mp4 is not a film" in capsys.readouterr().out
    assert sorted(path.name for path in out.rglob("*.*")) == ["a--stripe_00.mp4", "disc_00--stripe_00.png"]
    network = TUNIT.from_pretrained(model)
    one = ("translate", "--model", model, "--source", sources / "a.mp4", "--domain", 0)
    assert _main(*one, "--out", tmp_path / "mine.mp4") == 0
    with read_film(tmp_path / "mine.mp4") as film:
        assert (film.frames_per_second, len(list(film.frames))) == (5, len(pictures))
    with read_film(sources / "a.mp4") as film:
        translations = [network.translate(frame, reference) for frame in film.frames]
    write_film(tmp_path / "expected.mp4", translations, 5)
    with read_film(tmp_path / "expected.mp4") as film:
        expected = [np.asarray(frame, dtype=float) for frame in film.frames]
    with read_film(out / "deep" / "a--stripe_00.mp4") as film:
        drawn = [np.asarray(frame, dtype=float) for frame in film.frames]
    assert film.frames_per_second == 5
    assert len(drawn) == len(expected) == 12
    lost, apart = (
        max(np.abs(np.asarray(a) - b).mean() for a, b in zip(translations, film, strict=True))
        for film in (expected, drawn)
    )
    assert 0 < apart < 1.1 * lost, "more than what the coder loses of a film"
    assert np.abs(drawn[0] - np.asarray(pictures[0])).mean() > 24
    assert "a--stripe_00.mp4 exists already" in _refused(capsys, *words)


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.gif", "GIF"), ("a.jpg", "JPEG")])
def test_interpolate_writes_what_the_suffix_says(
    capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path, name: str, kind: str
) -> None:
    references = sorted(picture_folder.glob("stripe_*.png"))[:3]
    out = tmp_path / "new" / name
    words = ("interpolate", "--model", model, "--source", picture_folder / "disc_00.png", "--out", out, "--frames", 2)
    assert _main(*words, "--reference", *references) == 0
    assert f"5 {'frames' if kind == 'GIF' else 'pictures'} along 3 styles in {out}" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.format == kind
        if kind == "GIF":
            assert (picture.size, picture.n_frames) == ((48, 40), 5)
            assert picture.info["duration"] == 80
            assert picture.info["loop"] == 0
        else:
            assert picture.size == (6 * 34 + 2, 34 + 2)
    before = out.read_bytes()
    assert "exists already; give --overwrite" in _refused(capsys, *words, "--reference", *references)
    assert out.read_bytes() == before
    assert _main(*words, "--domain", "all", "--loop", "--overwrite") == 0
    assert out.read_bytes() != before


def test_interpolate_writes_a_grid_film(tmp_path: Path, model: Path, picture_folder: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra `video`")
    from open_tunit.media.video import read_film

    sources = tmp_path / "sources"
    sources.mkdir()
    for index in range(3):
        shutil.copy(picture_folder / f"disc_0{index}.png", sources)
    words = ("--source", sources, "--domain", 0, 1, "--frames", 3, "--fps", 10, "--out", tmp_path / "grid.mp4")
    assert _main("interpolate", "--model", model, *words) == 0
    with read_film(tmp_path / "grid.mp4") as film:
        sizes = [frame.size for frame in film.frames]
    assert film.frames_per_second == 10
    assert sizes == [(3 * 34 + 2, 3 * 34 + 2)] * 6


def test_interpolations_that_cannot_be(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    source, out = picture_folder / "disc_00.png", tmp_path / "out" / "a.png"
    words = ("interpolate", "--model", model, "--source", source, "--out", out)
    assert "and not both" in _refused(capsys, *words)
    assert "and not both" in _refused(capsys, *words, "--reference", source, source, "--domain", 0, 1)
    assert "there is nothing between 1 reference" in _refused(capsys, *words, "--reference", source)
    assert "domain 2 has no typical style" in _refused(capsys, *words, "--domain", 0, 2)
    assert "domain is cats; this model has domains 0 to 2" in _refused(capsys, *words, "--domain", 0, "cats")
    assert "frames is 0" in _refused(capsys, *words, "--domain", "all", "--frames", 0)
    assert "fps is 0;" in _refused(capsys, *words, "--domain", "all", "--fps", 0)
    assert "no.png does not exist" in _refused(capsys, *words, "--reference", source, tmp_path / "no.png")
    wrong = _refused(capsys, *words, "--domain", "all", "--out", tmp_path / "a.xyz")
    assert "ends in '.xyz'; expected .png, .jpg or .webp (a strip), .gif or .mp4" in wrong
    assert not out.exists()
    assert not (tmp_path / "a.xyz").exists()


def test_interpolate_leaves_out_what_cannot_be_read(
    capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path
) -> None:
    (picture_folder / "broken.png").write_text("no picture")
    (picture_folder / "IMG.HEIC").write_bytes(b"x")
    words = ("interpolate", "--model", model, "--source", picture_folder, "--reference", picture_folder)
    assert _main(*words, "--frames", 1, "--out", tmp_path / "a.png") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(told) == 2
    assert "broken.png" in told[0] + told[1]
    with Image.open(tmp_path / "a.png") as strip:
        assert strip.height == 24 * 34 + 2


def test_rates_that_no_gif_shows(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    words = ("interpolate", "--model", model, "--source", picture_folder / "disc_00.png", "--domain", 0, 1)
    for rate in (60, 0.001):
        line = _refused(capsys, *words, "--frames", 1, "--fps", rate, "--out", tmp_path / "a.gif")
        assert "frames per second; a GIF can show 0.0015 to 50" in line
    assert _main(*words, "--frames", 1, "--fps", 50, "--out", tmp_path / "a.gif") == 0
    with Image.open(tmp_path / "a.gif") as film:
        assert film.info["duration"] == 20


def test_a_film_that_is_cut_off_is_said(capsys: Capture, tmp_path: Path, model: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra `video`")
    from open_tunit.media.video import write_film

    write_film(tmp_path / "whole.mp4", [Image.effect_noise((64, 48), 90).convert("RGB") for _ in range(30)], 5)
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    words = ("translate", "--model", model, "--source", tmp_path / "cut.mp4", "--domain", 0)
    line = _refused(capsys, *words, "--out", tmp_path / "out")
    assert "cut.mp4 is cut off or damaged: only" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cut--domain0.mp4"]


def test_a_whole_picture_under_a_mask(tmp_path: Path, model: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 61, 4), dtype=np.uint8)
    mask = np.random.default_rng(1).choice(np.array([0, 255], dtype=np.uint8), (37, 61))
    for folder, kind in (("sources", pixels), ("masks", mask)):
        (tmp_path / folder / "deep").mkdir(parents=True)
        Image.fromarray(kind).save(tmp_path / folder / "deep" / "a.png")
    words = ("translate", "--model", model, "--source", tmp_path / "sources", "--domain", 1, "--whole")
    assert _main(*words, "--mask", tmp_path / "masks", "--out", tmp_path / "masked") == 0
    assert _main(*words, "--out", tmp_path / "free") == 0
    drawn, free = (_pixels(tmp_path / out / "deep" / "a--domain1.png") for out in ("masked", "free"))
    assert np.array_equal(drawn[mask == 0], pixels[mask == 0])
    assert np.array_equal(drawn[mask == 255], free[mask == 255])
    assert _main(*words, "--mask", tmp_path / "masks" / "deep" / "a.png", "--out", tmp_path / "one.png") == 0
    assert np.array_equal(_pixels(tmp_path / "one.png"), drawn)


def test_masks_that_do_not_fit_are_one_line(capsys: Capture, tmp_path: Path, model: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "masks").mkdir()
    for name, size in (("a", (60, 40)), ("b", (60, 40))):
        Image.new("RGB", size, "teal").save(tmp_path / "sources" / f"{name}.png")
    Image.new("L", (60, 40), 255).save(tmp_path / "masks" / "a.png")
    words = ("translate", "--model", model, "--source", tmp_path / "sources", "--domain", 1, "--out", tmp_path / "out")
    assert "b.png" in _refused(capsys, *words, "--mask", tmp_path / "masks")
    assert "none.png does not exist" in _refused(capsys, *words, "--mask", tmp_path / "none.png")
    assert "no transparent pixels" in _refused(capsys, *words, "--mask", "alpha")
    assert not (tmp_path / "out").exists()
    Image.new("L", (40, 60), 255).save(tmp_path / "masks" / "b.png")
    capsys.readouterr()
    assert _main(*words, "--mask", tmp_path / "masks") == 0
    said = capsys.readouterr().out
    assert "b.png has 60 x 40 pixels, and its mask 40 x 60" in said
    assert "1 translation in" in said


def test_colours_by_word_or_number(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    source, reference = picture_folder / "disc_00.png", picture_folder / "stripe_00.png"
    words = ("translate", "--source", source, "--reference", reference)
    bundled = TUNIT.from_pretrained("critters")
    for colours, value in (("source", "source"), ("reference", "reference"), ("0.25", 0.25)):
        assert _main(*words, "--colours", colours, "--out", tmp_path / f"{colours}.png") == 0
        expected = bundled.translate(source, reference, colours=value)
        assert np.array_equal(_pixels(tmp_path / f"{colours}.png"), np.asarray(expected))
    assert "colours" in _refused(capsys, *words, "--colours", "both", "--out", tmp_path / "a.png")
    assert "colours is 2; expected 0" in _refused(capsys, *words, "--colours", 2, "--out", tmp_path / "a.png")
