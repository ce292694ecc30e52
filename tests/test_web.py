"""web/: what the page answers, without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from open_tunit import TUNIT
from open_tunit.media.images import UnreadableImage
from open_tunit.model_files.naming import Naming
from open_tunit.web.studio import CANVAS, MAX_SIDE, MAX_SORTED, SAMPLES, Sample, Studio
from open_tunit.web.uploads import check_upload, check_uploads, sentence

SIZE = 32


@pytest.fixture
def model(random_model: TUNIT) -> TUNIT:
    return random_model


@pytest.fixture
def studio(model: TUNIT, picture_folder: Path) -> Studio:
    return Studio(model, picture_folder)


@pytest.fixture
def files(picture_folder: Path) -> list[str]:
    return sorted(map(str, picture_folder.iterdir()))


def test_a_good_upload_is_let_through(files: list[str]) -> None:
    assert check_upload(files[0]) == Path(files[0])


def test_large_uploads_are_refused_before_they_are_decoded(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    size = Path(files[0]).stat().st_size
    check_upload(files[0], max_bytes=size, max_pixels=48 * 40)
    with pytest.raises(ValueError, match=r"^disc_00\.png is larger than 0 MB\. Please"):
        check_upload(files[0], max_bytes=size - 1)
    with pytest.raises(ValueError, match=r"^disc_00\.png has 48 x 40 pixels, more than 0 million\. Please"):
        check_upload(files[0], max_pixels=48 * 40 - 1)


def test_uploads_that_are_no_pictures(tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"^text\.png is not a picture, or is damaged\. Please"):
        check_upload(tmp_path / "text.png")
    with pytest.raises(ValueError, match="no longer here"):
        check_upload(tmp_path / "gone.png")
    assert sentence(UnreadableImage("/home/me/a.png", "is truncated")).startswith("a.png is not a picture")
    assert sentence(ValueError("so it is")) == "so it is"


def test_translations_are_the_models(model: TUNIT, studio: Studio, files: list[str]) -> None:
    drawn = studio.translate(files[0], files[-1], None, 0.5)
    assert np.array_equal(np.asarray(drawn), np.asarray(model.translate(files[0], files[-1], strength=0.5)))
    drawn = studio.translate(files[0], files[-1], 1)
    assert np.array_equal(np.asarray(drawn), np.asarray(model.translate(files[0], domain=1)))


def test_whole_pictures_colours_and_masks_are_the_models(model: TUNIT, studio: Studio, files: list[str]) -> None:
    mask = Image.new("L", (24, 20))
    mask.paste(255, (0, 0, 12, 20))
    drawn = studio.translate(files[0], files[-1], whole=True, mask=mask)
    assert np.array_equal(np.asarray(drawn), np.asarray(model.translate(files[0], files[-1], whole=True, mask=mask)))
    over_another = studio.translate(files[0], files[-1], mask=mask.resize((20, 20)))
    assert np.array_equal(np.asarray(over_another), np.asarray(model.translate(files[0], files[-1])))
    drawn = studio.translate(files[0], files[-1], colours="source")
    assert np.array_equal(np.asarray(drawn), np.asarray(model.translate(files[0], files[-1], colours="source")))
    assert max(studio.canvas(files[0]).size) == CANVAS


def test_translations_that_cannot_be(studio: Studio, files: list[str]) -> None:
    for values, said in (
        ((None, files[0]), "There is no source"),
        ((files[0], None), "There is no reference"),
        ((files[0], files[0], None, 2.0), "strength is 2.0"),
        ((files[0], None, 2), "domain 2 has no typical style"),
    ):
        with pytest.raises(ValueError, match=said):
            studio.translate(*values)


def test_sampled_styles_are_the_models(model: TUNIT, studio: Studio, files: list[str]) -> None:
    assert not studio.can_sample
    model.measure_domains([model.squares(files)])
    studio = Studio(model)
    assert studio.can_sample
    domain = studio.domain_of(files[0])
    assert domain == int(model.domains(files[0]).argmax())
    several = model.translate(files[-1], domain=domain, samples=3, seed=4, strength=0.5)
    for number, expected in enumerate(several):
        drawn = studio.translate(files[-1], None, strength=0.5, sample=Sample(domain, 4, number))
        assert np.array_equal(np.asarray(drawn), np.asarray(expected))
    gallery = studio.sample_gallery(files[-1], domain, 4)
    assert [caption for _, caption in gallery] == [f"domain {domain}, {k + 1}" for k in range(SAMPLES)]
    drawn = model.redraw(model.squares(files[-1]), model.sample_styles(domain, SAMPLES, seed=4))
    expected = (drawn.permute(0, 2, 3, 1).numpy() + 1) * 127.5
    for number, (tile, _) in enumerate(gallery):
        shown = np.asarray(tile.resize((SIZE, SIZE), Image.Resampling.BOX))
        assert np.abs(expected - shown).mean(axis=(1, 2, 3)).argmin() == number
    assert studio.sample_gallery(None, domain, 0) == studio.sample_gallery(files[0], None, 0) == []
    for source, at, strength, number, said in (
        (None, domain, 1.0, 0, "no source"),
        (files[0], domain, 2.0, 0, "strength is 2.0"),
        (files[0], 7, 1.0, 0, "domain is 7"),
        (files[0], domain, 1.0, 10**12, "8 sampled styles"),
        (files[0], domain, 1.0, -1, "8 sampled styles"),
    ):
        with pytest.raises(ValueError, match=said):
            studio.translate(source, None, strength=strength, sample=Sample(at, 0, number))


def test_sorting_is_by_domain_and_surest_first(model: TUNIT, studio: Studio, files: list[str]) -> None:
    rows = studio.sort(files)
    probabilities = model.domains(files)
    expected = {Path(file): (int(p.argmax()), float(p.max())) for file, p in zip(files, probabilities, strict=True)}
    assert {file: (domain, pytest.approx(sure)) for file, domain, sure in rows} == expected
    assert len({domain for _, domain, _ in rows}) > 1
    assert rows == sorted(rows, key=lambda row: (row[1], -row[2]))
    with pytest.raises(ValueError, match=f"sorts {MAX_SORTED} at a time"):
        studio.sort(files * 5)


def test_the_opening_shows_two_domains(studio: Studio) -> None:
    source, reference = studio.opening()
    domains = dict(zip(studio.examples, studio.example_domains, strict=True))
    assert domains[source] != domains[reference]


def test_without_examples_the_page_begins_empty(model: TUNIT, tmp_path: Path, files: list[str]) -> None:
    for place in (None, tmp_path / "none"):
        bare = Studio(model, place)
        assert (bare.examples, bare.opening()) == ([], (None, None))
        assert bare.domain_gallery(None) == []
        assert [caption for _, caption in bare.domain_gallery(files[0])] == ["domain 0", "domain 1"]


def test_the_domain_gallery_shows_the_source_in_each_mean(model: TUNIT, studio: Studio, files: list[str]) -> None:
    gallery = studio.domain_gallery(files[0])
    assert [caption for _, caption in gallery] == ["domain 0", "domain 1"]
    for domain, (tile, _) in enumerate(gallery):
        mean = model.G(model.squares(files[0]), model.domain_styles[domain][None])[0]
        shown = np.asarray(tile.convert("RGB").crop((0, 0, 180, 180)).resize((SIZE, SIZE), Image.Resampling.BOX))
        expected = ((mean.detach() + 1) * 127.5).permute(1, 2, 0).numpy()
        assert np.abs(shown - expected).mean() < 8
        members = studio.example_domains.count(domain)
        opaque = np.asarray(tile.getchannel("A"))[200] > 0
        assert opaque.sum() == 60 * min(members, 3)


def test_domains_are_called_by_their_names(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio.model, "naming", Naming.of({"discs": 1}, 3))
    assert [studio.label(k) for k in range(3)] == ["domain 0", "discs", "domain 2"]
    assert [caption for _, caption in studio.domain_gallery(str(studio.examples[0]))] == ["domain 0", "discs"]


def test_the_grid_has_every_pair(model: TUNIT, studio: Studio, files: list[str]) -> None:
    sheet = np.asarray(studio.grid(files[:2], files[-3:]))
    step = SIZE + 2
    assert sheet.shape == (3 * step + 2, 4 * step + 2, 3)
    pair = sheet[2 + 2 * step : 2 + 2 * step + SIZE, 2 + 3 * step : 2 + 3 * step + SIZE]
    expected = model.translate(model.squares(files[1]), model.squares(files[-1]))[0]
    assert np.abs(pair - ((expected + 1) * 127.5).permute(1, 2, 0).numpy()).max() < 1
    with pytest.raises(ValueError, match="at least one"):
        studio.grid([], files[:1])
    with pytest.raises(ValueError, match=f"up to {MAX_SIDE} sources"):
        studio.grid(files[: MAX_SIDE + 1], files[:1])


def test_between_ends_where_the_references_are(model: TUNIT, studio: Studio, files: list[str]) -> None:
    for position, reference in ((0.0, files[1]), (1.0, files[-1])):
        here, way = studio.between(files[0], (files[1], files[-1]), position, 5)
        assert np.array_equal(np.asarray(here), np.asarray(model.translate(files[0], reference)))
        assert way.size == (5 * (SIZE + 2) + 2, SIZE + 4)


def test_a_request_is_bounded_by_its_pixels(studio: Studio, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_uploads(files[:3], max_pixels=3 * 48 * 40) == [Path(file) for file in files[:3]]
    with pytest.raises(ValueError, match=r"more than 0 million pixels together\. Please"):
        check_uploads([files[0]] * 3, max_pixels=3 * 48 * 40 - 1)
    monkeypatch.setattr(check_uploads, "__kwdefaults__", {"max_pixels": 5 * 48 * 40})
    for ask in (lambda: studio.sort([files[0]] * 6), lambda: studio.grid(files[:3], files[:3])):
        with pytest.raises(ValueError, match="pixels together"):
            ask()


def test_an_upload_is_of_a_kind_that_we_mean(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"^a\.png is not a picture"):
        check_upload(tmp_path / "a.png")


def test_a_bad_example_stops_nothing(model: TUNIT, tmp_path: Path, files: list[str]) -> None:
    folder = tmp_path / "examples"
    folder.mkdir()
    assert Studio(model, folder).examples == []
    (folder / "0.png").write_text("no picture")
    (folder / "1.png").write_bytes(Path(files[0]).read_bytes())
    (folder / "2.png").write_bytes(Path(files[0]).read_bytes()[:200])
    with pytest.warns(UserWarning, match=r"example [02]\.png is left out") as told:
        studio = Studio(model, folder)
    assert studio.examples == [folder / "1.png"]
    assert len(told) == 2
