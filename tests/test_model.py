"""model.py: what a user holds: translate, grid, style, domains; saved and loaded again."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counted import counted
from PIL import Image
from torch import Tensor
from untrained import untrained

from open_tunit import TUNIT
from open_tunit.media.images import fit, to_tensor
from open_tunit.settings.config import Model

SIZE, DOMAINS = 32, 3
SHAPES = Model(
    size=SIZE, domains=DOMAINS, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16, projection_dim=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> TUNIT:
    return untrained(SHAPES)


@pytest.fixture
def files(picture_folder: Path) -> list[Path]:
    return sorted(picture_folder.iterdir())


def _square(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return to_tensor(fit(picture.convert("RGB"), SIZE, "crop"))


def _batch(paths: list[Path]) -> Tensor:
    return torch.stack([_square(path) for path in paths])


def _close(result: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def _plain(model: TUNIT, source: Tensor, style: Tensor) -> Tensor:
    """One translation (3, S, S), from the networks themselves."""
    return model.G.decode(model.G.encode(source[None]), style[None])[0]


@torch.no_grad()
def _code(model: TUNIT, picture: Tensor) -> Tensor:
    return model.E(picture[None]).style[0]


def test_tensors_are_translated_pairwise(model: TUNIT, files: list[Path]) -> None:
    sources, references = _batch(files[:3]), _batch(files[-3:])
    result = model.translate(sources, references)
    expected = [_plain(model, s, _code(model, r)) for s, r in zip(sources, references, strict=True)]
    assert result.shape == (3, 3, SIZE, SIZE)
    _close(result, torch.stack(expected))
    assert (expected[0] - _plain(model, sources[0], _code(model, references[1]))).abs().max() > 1e-2


@pytest.mark.parametrize(("count", "others"), [(1, 4), (4, 1), (1, 1)])
def test_one_goes_with_many(model: TUNIT, files: list[Path], count: int, others: int) -> None:
    sources, references = _batch(files[:count]), _batch(files[-others:])
    result = model.translate(sources, references)
    most = max(count, others)
    expected = [_plain(model, sources[i % count], _code(model, references[i % others])) for i in range(most)]
    _close(result, torch.stack(expected))


def test_more_pictures_than_one_pass_takes(model: TUNIT, files: list[Path]) -> None:
    sources = _batch(files * 2)[:37]
    references = sources.flip(0)
    result = model.translate(sources, references)
    for index in (0, 31, 32, 36):
        _close(result[index], _plain(model, sources[index], _code(model, references[index])))
    _close(model.translate(sources[:1], references)[36], _plain(model, sources[0], _code(model, references[36])))


@pytest.mark.parametrize(("count", "others"), [(2, 3), (3, 2)])
def test_other_numbers_do_not_pair(model: TUNIT, files: list[Path], count: int, others: int) -> None:
    with pytest.raises(ValueError, match=rf"{count} sources and {others} references do not pair"):
        model.translate(_batch(files[:count]), _batch(files[:others]))


def test_a_path_and_a_picture_give_the_same_picture(model: TUNIT, files: list[Path]) -> None:
    source, reference = files[0], files[-1]
    with Image.open(source) as opened, Image.open(reference) as other:
        opened.load()
        other.load()
        from_pictures = model.translate(opened, other)
    for how in (str, Path):
        drawn = model.translate(how(source), how(reference))
        assert isinstance(drawn, Image.Image)
        assert np.array_equal(np.asarray(drawn), np.asarray(from_pictures))


def test_lists_give_lists_and_one_picture_gives_one(model: TUNIT, files: list[Path]) -> None:
    several = model.translate(files[:2], files[-2:])
    assert [type(drawn) for drawn in several] == [Image.Image] * 2
    assert isinstance(model.translate(files[0], files[-1]), Image.Image)
    assert len(model.translate(files[0], files[-3:])) == 3
    assert len(model.translate(files[:3], files[-1])) == 3
    assert len(model.translate([files[0]], files[-1])) == 1
    assert np.array_equal(np.asarray(several[1]), np.asarray(model.translate(files[1], files[-1])))


def test_the_picture_has_the_sources_shape_and_border(model: TUNIT, files: list[Path]) -> None:
    with Image.open(files[0]) as opened:
        before = np.asarray(opened.convert("RGB"))
    after = np.asarray(model.translate(files[0], files[-1]))
    assert after.shape == before.shape == (40, 48, 3)
    assert np.array_equal(after[:, :4], before[:, :4])
    assert np.array_equal(after[:, 44:], before[:, 44:])
    assert not np.array_equal(after[:, 4:44], before[:, 4:44])


@pytest.mark.parametrize("how", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(90, 30), (17, 64)])
def test_every_fit_gives_back_the_shape(how: str, shape: tuple[int, int]) -> None:
    model = TUNIT(SHAPES, fit=how).eval()  # type: ignore[arg-type]
    source = Image.new("RGB", shape, "teal")
    assert model.translate(source, Image.new("RGB", (20, 20), "red")).size == shape
    assert [drawn.size for drawn in model.translate(source, [source] * 2)] == [shape] * 2


def test_the_grid_is_every_pair(model: TUNIT, files: list[Path]) -> None:
    sources, references = _batch(files[:2]), _batch(files[-3:])
    grid = model.grid(sources, references)
    assert grid.shape == (2, 3, 3, SIZE, SIZE)
    for row, source in enumerate(sources):
        for column, reference in enumerate(references):
            _close(grid[row, column], model.translate(source[None], reference[None])[0])
    _close(model.grid(files[:2], files[-3:]), grid)


def test_a_domain_is_its_mean_style(model: TUNIT, files: list[Path]) -> None:
    sources = _batch(files[:2])
    for domain in (0, 1):
        expected = [_plain(model, source, model.domain_styles[domain]) for source in sources]
        _close(model.translate(sources, domain=domain), torch.stack(expected))


def test_styles_sampled_from_a_domain_stand_for_references(files: list[Path]) -> None:
    model, sources = untrained(SHAPES), _batch(files[:2])
    model.measure_domains([_batch(files)])
    domain = int(model.domain_counts.argmax())
    codes = model.sample_styles(domain, 2, seed=5)
    expected = [_plain(model, source, code) for source, code in zip(sources, codes, strict=True)]
    _close(model.translate(sources, domain=domain, samples=2, seed=5), torch.stack(expected))
    _close(model.translate(sources, domain=domain, samples=1, seed=5)[1], _plain(model, sources[1], codes[0]))
    drawn = model.translate(files[0], domain=domain, samples=3, seed=5)
    assert [picture.size for picture in drawn] == [(48, 40)] * 3
    assert np.array_equal(np.asarray(drawn[1]), np.asarray(model.redraw(files[0], codes)[1]))
    assert isinstance(model.translate(files[0], domain=domain, samples=1), list)
    with pytest.raises(ValueError, match="2 sources and 3 references do not pair"):
        model.translate(sources, domain=domain, samples=3)
    with pytest.raises(ValueError, match="samples is 2, and there is a reference"):
        model.translate(sources, sources, samples=2)
    with pytest.raises(ValueError, match="a reference or a domain, and not both"):
        model.translate(sources, samples=2)


def test_strength_walks_from_the_own_style_to_the_references(model: TUNIT, files: list[Path]) -> None:
    sources, references = _batch(files[:2]), _batch(files[-2:])
    _close(model.translate(sources, references, strength=0), model.translate(sources, sources))
    _close(model.translate(sources, domain=1, strength=0), model.translate(sources, sources))
    assert torch.equal(model.translate(sources, references, strength=1), model.translate(sources, references))
    half = [_plain(model, s, (_code(model, s) + _code(model, r)) / 2) for s, r in zip(sources, references, strict=True)]
    _close(model.translate(sources, references, strength=0.5), torch.stack(half))
    many = model.translate(sources[:1], references, strength=0)
    _close(many, model.translate(sources[:1], sources[:1]).expand(2, -1, -1, -1))


def test_domains_are_probabilities_and_styles_are_codes(model: TUNIT, files: list[Path]) -> None:
    pictures = _batch(files)
    probabilities = model.domains(pictures)
    assert probabilities.shape == (len(files), DOMAINS)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(files)))
    with torch.no_grad():
        logits = model.E(pictures).logits.double()
    _close(probabilities.double(), logits.exp() / logits.exp().sum(dim=1, keepdim=True))
    assert model.style(files[:2]).shape == (2, SHAPES.style_dim)
    _close(model.style(files[1])[0], _code(model, pictures[1]))


def test_mean_styles_are_taken_over_each_domains_pictures(files: list[Path]) -> None:
    model, pictures = untrained(SHAPES), _batch(files)
    domains, styles = model.domains(pictures).argmax(dim=1), model.style(pictures).double()
    model.measure_domains(pictures.split(7))
    assert model.domain_counts.tolist() == np.bincount(domains.numpy(), minlength=DOMAINS).tolist()
    assert len(set(domains.tolist())) > 1
    for domain in set(domains.tolist()):
        _close(model.domain_style(domain).double(), styles[domains == domain].mean(dim=0))


def test_a_tensor_without_images(model: TUNIT) -> None:
    for ask in (model.style, model.domains, model.squares):
        with pytest.raises(ValueError, match="the tensor holds no images"):
            ask(torch.zeros(0, 3, SIZE, SIZE))


@pytest.mark.parametrize(("domain", "message"), [
    (3, "domain is 3; this model has domains 0 to 2"), (-1, "domain is -1"), (1.7, "domain is 1.7"),
    (2, "domain 2 has no typical style"),
])  # fmt: skip
def test_domains_that_are_not_there(model: TUNIT, domain: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.translate(torch.zeros(1, 3, SIZE, SIZE), domain=domain)


def test_a_reference_or_a_domain_and_not_both(model: TUNIT) -> None:
    x = torch.zeros(1, 3, SIZE, SIZE)
    for given in ({}, {"reference": x, "domain": 0}):
        with pytest.raises(ValueError, match="a reference or a domain, and not both"):
            model.translate(x, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("x", [
    torch.zeros(1, 3, SIZE, SIZE - 1), torch.zeros(3, SIZE, SIZE), torch.zeros(1, 1, SIZE, SIZE),
    torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8),
])  # fmt: skip
def test_tensors_of_another_kind_are_named(model: TUNIT, x: Tensor) -> None:
    with pytest.raises(ValueError, match=r"the tensor is torch\.\w+ \(.*expected float \(N, 3, 32, 32\)"):
        model.style(x)


@pytest.mark.parametrize("wrong", [200.0, -3.0, float("nan"), float("inf")])
def test_tensors_of_another_range_are_named(model: TUNIT, wrong: float) -> None:
    x = torch.zeros(2, 3, SIZE, SIZE)
    x[1, 2, 3, 4] = wrong
    asked = (
        lambda: model.style(x),
        lambda: model.domains(x),
        lambda: model.translate(x[:1], x),
        lambda: model.grid(x, x),
    )
    for ask in asked:
        with pytest.raises(ValueError, match=rf"the tensor has values from .*{wrong:g}.*; expected -1 to 1"):
            ask()
    assert model.style(x.clamp(-1.2, 1.2).nan_to_num(0)).shape == (2, SHAPES.style_dim)  # as resampling leaves them


def test_pictures_that_are_not_there(model: TUNIT, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.png does not exist"):
        model.translate(tmp_path / "no.png", tmp_path / "no.png")
    with pytest.raises(ValueError, match="the list of pictures is empty"):
        model.style([])


def test_threads_share_a_model(model: TUNIT, files: list[Path]) -> None:
    pictures = _batch(files)
    jobs = [(pictures[i : i + 2], pictures[[-1 - i]]) for i in range(6)] * 3
    alone = [model.translate(*job) for job in jobs]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda job: model.translate(*job), jobs))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    assert not torch.equal(alone[0], alone[1])


@pytest.mark.parametrize("projection", [0, 8])
def test_saved_and_loaded_again_it_is_the_same(tmp_path: Path, files: list[Path], projection: int) -> None:
    shapes = Model(size=SIZE, domains=DOMAINS, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16,
                   guiding_depths=(1, 2, 1, 1, 1), projection_dim=projection)  # fmt: skip
    torch.manual_seed(projection)
    model = TUNIT(shapes, fit="pad", background="#102030").eval()
    model.domain_styles.normal_()
    model.domain_counts.fill_(5)
    model.about = {"step": 7, "data": {"name": "photos"}}
    model.save_pretrained(tmp_path / "model", card="# a card\n")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    loaded = TUNIT.from_pretrained(tmp_path / "model")
    assert not loaded.training
    assert (loaded.config, loaded.fit, loaded.background) == (shapes, "pad", "#102030")
    assert loaded.about == model.about
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    drawn, again = (m.translate(files[0], files[1]) for m in (model, loaded))
    assert np.array_equal(np.asarray(drawn), np.asarray(again))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    untrained(SHAPES).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _one_line(error: BaseException, *parts: object) -> None:
    text = str(error)
    assert "\n" not in text
    assert all(str(part) in text for part in parts), text


def _edit(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        TUNIT.from_pretrained(saved)
    _one_line(caught.value, saved, name)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a model folder"):
        TUNIT.from_pretrained(tmp_path / "no")
    with pytest.raises(FileNotFoundError, match=r"crittters is not .* bundled checkpoint is called critters"):
        TUNIT.from_pretrained("crittters")


def test_a_newer_version_is_refused(saved: Path) -> None:
    _edit(saved, format_version=99)
    with pytest.raises(ValueError, match="format_version 99, newer than") as caught:
        TUNIT.from_pretrained(saved)
    _one_line(caught.value, saved)


@pytest.mark.parametrize("kind", ["pickle", "torch", "empty", "cut", "text"])
def test_weights_that_are_no_safetensors(saved: Path, kind: str) -> None:
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    if kind == "torch":
        torch.save(untrained(SHAPES).state_dict(), path)
    else:
        path.write_bytes({"pickle": pickle.dumps({}), "empty": b"", "cut": whole[:-100], "text": b"hello " * 99}[kind])
    with pytest.raises(ValueError, match="safetensors") as caught:
        TUNIT.from_pretrained(saved)
    _one_line(caught.value, path)


def test_weights_of_other_shapes(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    _edit(saved, model={**config["model"], "style_dim": 9})
    with pytest.raises(ValueError, match="is not this model's safetensors file") as caught:
        TUNIT.from_pretrained(saved)
    _one_line(caught.value, saved)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"format_version": 1}', '{"format_version": "1"}'])
def test_a_config_that_says_too_little(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json") as caught:
        TUNIT.from_pretrained(saved)
    _one_line(caught.value)


def test_a_config_with_unknown_shapes(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    _edit(saved, model={**config["model"], "attention": 4})
    with pytest.raises(ValueError, match="not of this version of open-tunit: model has no setting 'attention'"):
        TUNIT.from_pretrained(saved)


def test_each_picture_is_encoded_once(model: TUNIT, files: list[Path]) -> None:
    with counted(model) as images:
        model.translate(files[0], files[1:17])
    assert images == {"E": 16, "encoder": 1, "decoder": 16}
    with counted(model) as images:
        model.grid(files[:3], files[3:8])
    assert images == {"E": 5, "encoder": 3, "decoder": 15}
    with counted(model) as images:
        list(model.redraw_all(files[:3], model.style(files[3:8]), strength=0.5))
    assert images == {"E": 8, "encoder": 3, "decoder": 15}


def test_the_memory_that_is_there_changes_nothing(
    model: TUNIT, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, styles = model.grid(files[:3], files[3:8]), model.style(files[3:8])
    decode, encode, features = model.G.decode, model.G.encode, model.E.features

    def scarce(function: Any) -> Any:
        def within(x: Tensor, *rest: Tensor) -> Any:
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return function(x, *rest)

        return within

    monkeypatch.setattr(model.G, "decode", scarce(decode))
    monkeypatch.setattr(model.G, "encode", scarce(encode))
    monkeypatch.setattr(model.E, "features", scarce(features))
    torch.testing.assert_close(model.grid(files[:3], files[3:8]), expected, rtol=1e-3, atol=1e-4)
    _close(model.style(files[3:8]), styles)


def test_all_translations_come_one_after_the_other(model: TUNIT, files: list[Path]) -> None:
    styles = model.style(files[-3:])
    drawn = model.redraw_all(files[:2], styles, strength=0.5)
    for source in files[:2]:
        for style in styles:
            (expected,) = model.redraw([source], style[None], strength=0.5)
            assert np.abs(np.asarray(next(drawn), dtype=int) - np.asarray(expected, dtype=int)).max() <= 1
    assert next(drawn, None) is None


def test_an_opened_picture_stands_for_its_file(model: TUNIT, files: list[Path]) -> None:
    opened = model.open(files[0])
    assert np.array_equal(
        np.asarray(model.translate(opened, files[-1])), np.asarray(model.translate(*files[:: len(files) - 1]))
    )
    assert model.open(opened) is opened


def test_bfloat16_leaves_domains_alone_and_gives_float32(files: list[Path]) -> None:
    model = untrained(SHAPES)
    sources, references = _batch(files[:3]), _batch(files[-3:])
    domains, drawn, styles = model.domains(sources), model.translate(sources, references), model.style(references)
    model.in_bfloat16 = True
    assert torch.equal(model.domains(sources), domains)
    rounded = model.style(references)
    for result, expected in ((model.translate(sources, references), drawn), (rounded, styles)):
        assert result.dtype == torch.float32
        assert not torch.equal(result, expected)
    assert float((rounded - styles).norm() / styles.norm()) < 0.02
    assert float((model.translate(sources, references) - drawn).abs().mean()) < 0.02
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model.G(sources, rounded).float()
    _close(model.redraw(sources, rounded), expected)
