"""training/distillation.py and `tunit distil`: targets, losses and what is lost, computed again plainly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_backbone import random_backbone

from open_tunit import TUNIT
from open_tunit.cli.main import main
from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset, open_dataset
from open_tunit.media.images import from_uint8
from open_tunit.model_files.naming import Naming
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.networks.pretrained_guiding import PretrainedGuiding
from open_tunit.rng import Stream, rng
from open_tunit.settings.config import Data, Model
from open_tunit.training import distillation
from open_tunit.training.distillation import SEEN, VIEWS, DistillationSet, distil

SHAPES = Model(
    size=32, domains=3, trunk="efficientnet-lite0", style_dim=6, palette_dim=3, generator_width=4, style_mlp_width=8
)
CPU = torch.device("cpu")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module", autouse=True)
def _small_trunk() -> Iterator[None]:
    """A trunk that sees pictures of 32 pixels, and a student of few channels."""
    with pytest.MonkeyPatch.context() as patch:
        assert PretrainedGuiding.__init__.__kwdefaults__ is not None
        patch.setitem(PretrainedGuiding.__init__.__kwdefaults__, "side", 32)
        patch.setattr(distillation, "WIDTH", 4)
        patch.setattr(distillation, "BATCH", 8)
        yield


@pytest.fixture(scope="module")
def model() -> TUNIT:
    """A pretrained trunk of random weights, whose heads tell colours apart."""
    torch.manual_seed(0)
    found = TUNIT(SHAPES).eval()
    assert isinstance(found.E, PretrainedGuiding)
    found.E.trunk.load_state_dict(random_backbone().state_dict())
    with torch.no_grad():
        for head in (found.E.domain_head, found.E.style_head, found.E.palette_head):
            head.weight.normal_(std=0.05)
    found.name_domains(Naming.of({"cat": 1}, 3))
    found.about = {"seed": 0, "step": 3}
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat colours with a little noise: 20 to train on, 8 in test/."""
    place, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for number in range(28):
        part = place / ("test" if number >= 20 else "train")
        part.mkdir(exist_ok=True)
        pixels = random.integers(0, 200, 3) + random.integers(0, 50, (32, 32, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(part / f"{number:02d}.png")
    return place


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return open_dataset(Data(folder=str(folder)), size=32, seed=0)


def examples_of(model: TUNIT, dataset: Dataset, seed: int = 0) -> DistillationSet:
    batches = Batches(dataset.images, dataset.labels, dataset.indices("train"), seed=seed, view=SEEN, device=CPU)
    return DistillationSet(model.E, model.G, batches, seed, lambda *_: None)


@torch.no_grad()
def test_targets_are_what_the_pretrained_network_gives_for_each_view(model: TUNIT, dataset: Dataset) -> None:
    examples, train = examples_of(model, dataset, seed=5), dataset.indices("train")
    for view in (0, 1, VIEWS):
        draws = views.draw(rng(5, Stream.DISTILLATION, view), len(train))
        for row in (0, 7):
            x = from_uint8(np.asarray(dataset.images)[train[[row]]])
            if view:
                x = views.augmented_view(x, {name: values[[row]] for name, values in draws.items()}, SEEN)
            guidance = model.E(x)
            near = {"rtol": 1e-3, "atol": 1e-3}
            torch.testing.assert_close(examples.targets.styles[view, row], guidance.style[0], **near)
            torch.testing.assert_close(examples.targets.logits[view, row], guidance.logits[0], **near)


def test_a_batch_follows_from_seed_and_step_and_an_epoch_has_every_image(model: TUNIT, dataset: Dataset) -> None:
    examples = examples_of(model, dataset)
    images, styles, logits = examples.batch(3)
    again = examples_of(model, dataset).batch(3)
    assert torch.equal(images, again[0])
    assert torch.equal(styles, again[1])
    with torch.no_grad():
        guidance = model.E(images)
    torch.testing.assert_close(guidance.style, styles, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(guidance.logits.softmax(dim=1), logits.softmax(dim=1), rtol=1e-3, atol=1e-3)
    assert not torch.equal(images, examples_of(model, dataset, seed=1).batch(3)[0])
    steps = len(dataset.indices("train")) // 8
    seen = [examples.batch(VIEWS * steps + 1 + step) for step in range(steps)]
    assert len(torch.cat([part[1] for part in seen]).unique(dim=0)) == steps * 8


def test_the_loss_is_adains_missed_variance_and_the_domains_divergence(model: TUNIT, dataset: Dataset) -> None:
    examples = examples_of(model, dataset)
    x, styles, logits = examples.batch(0)
    with torch.no_grad():
        guidance = GuidingNetwork(distillation._student(model, 0).config)(x)
    objective = examples.loss(guidance, styles, logits)
    with torch.no_grad():
        every = model.G.mlp(examples.targets.styles.flatten(0, 1)).double().numpy()
        missed = (model.G.mlp(guidance.style) - model.G.mlp(styles)).double().numpy()
    style = (missed**2).mean() / every.var(axis=0).mean()
    log_p, log_q = (
        values - np.log(np.exp(values).sum(axis=1, keepdims=True))
        for values in (logits.double().numpy(), guidance.logits.double().numpy())
    )
    domain = (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    assert objective.terms["style"].item() == pytest.approx(style, rel=1e-4)
    assert objective.terms["domain"].item() == pytest.approx(domain, rel=1e-4)
    assert objective.total.item() == pytest.approx(style + domain, rel=1e-4)


def test_the_student_learns_and_tells_what_is_lost(
    model: TUNIT, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    honest = DistillationSet.loss

    def recorded(self: DistillationSet, *given: Any) -> Any:
        objective = honest(self, *given)
        losses.append(float(objective.terms["style"]))
        return objective

    monkeypatch.setattr(DistillationSet, "loss", recorded)
    small = distil(model, dataset, steps=60)
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert isinstance(small.E, GuidingNetwork)
    assert small.config.trunk == "vgg11"
    assert all(torch.equal(value, small.G.state_dict()[name]) for name, value in model.G.state_dict().items())
    assert small.naming == model.naming
    x = from_uint8(np.asarray(dataset.images)[np.flatnonzero(dataset.split != "train")])
    with torch.no_grad():
        wanted, found = (model.G.mlp(m.style(x)).double().numpy() for m in (model, small))
        drawn, own = (model.G(x, m.style(x).roll(-1, 0)) for m in (model, small))
    r_squared = 1 - ((wanted - found) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum()
    same = (model.domains(x).argmax(dim=1) == small.domains(x).argmax(dim=1)).float().mean().item()
    lost = small.about["distilled"]
    assert lost["adain_r_squared"] == pytest.approx(r_squared, abs=1e-3)
    assert lost["translation_difference"] == pytest.approx((drawn - own).abs().mean().item() * 127.5, abs=0.02)
    assert lost["domain_agreement"] == pytest.approx(same, abs=1e-4)
    assert (lost["steps"], lost["images"], lost["part"], lost["from"]) == (60, len(x), "held out", "efficientnet-lite0")
    assert small.about["step"] == 3
    train = from_uint8(np.asarray(dataset.images)[dataset.indices("train")])
    counts = small.domains(train).argmax(dim=1).bincount(minlength=3).tolist()
    assert small.domain_counts.tolist() == small.about["domain_counts"] == counts
    assert small.domain_spreads is not None


def test_the_same_seed_gives_the_same_student(model: TUNIT, dataset: Dataset) -> None:
    first, again, other = (distil(model, dataset, steps=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.E.style_head.weight, again.E.style_head.weight)
    assert not torch.equal(first.E.style_head.weight, other.E.style_head.weight)


def test_minutes_are_turned_into_steps(model: TUNIT, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    honest = DistillationSet.batch

    def slow(self: DistillationSet, step: int) -> Any:
        now[0] += 2.0
        return honest(self, step)

    monkeypatch.setattr(DistillationSet, "batch", slow)
    small = distil(model, dataset, minutes=0.5, clock=lambda: now[0])
    assert small.about["distilled"]["steps"] == 15


def test_what_has_no_pretrained_trunk(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="guiding network is vgg11"):
        distil(TUNIT(Model(size=32, domains=2, guiding_width=4, generator_width=4)), dataset, steps=1)


def _main(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def saved(model: TUNIT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("saved")
    model.save_pretrained(place / "model", examples=[Image.new("RGB", (32, 32), "red")])
    return place / "model"


def test_the_command_writes_a_folder_that_needs_no_trunk(
    capsys: Capture, saved: Path, folder: Path, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "small"
    assert _main("distil", "--model", saved, "--data", folder, "--out", out, "--steps", 2) == 0
    said = capsys.readouterr().out
    assert "distilling: step 2 of 2" in said
    assert f"on {(dataset.split != 'train').sum()} held-out images" in said
    assert f"model: {out}" in said
    small = TUNIT.from_pretrained(out)
    assert small.config.trunk == "vgg11"
    assert {path.name for path in out.iterdir()} == {
        "config.json", "model.safetensors", "README.md", "domains.yaml", "examples"
    }  # fmt: skip
    assert (out / "model.safetensors").stat().st_size < 0.2 * (saved / "model.safetensors").stat().st_size
    assert "efficientnet-lite0" in (out / "README.md").read_text() or "data" not in small.about
    words = ("translate", "--model", out, "--source", folder / "test", "--domain", "all")
    assert _main(*words, "--out", tmp_path / "translated") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--steps", 2, "--minutes", 1), "--minutes or --steps, not both"),
        (("--steps", 0), "--steps is 0"),
        (("--minutes", -1), "--minutes is -1"),
        (("--steps", 2), "is not a run; name the images"),
    ],
)
def test_refusals(capsys: Capture, saved: Path, tmp_path: Path, words: tuple[object, ...], said: str) -> None:
    assert _main("distil", "--model", saved, "--out", tmp_path / "small", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "small").exists()
    assert _main("distil", "--model", saved, "--out", saved, "--steps", 1) == 2
    assert "is not an empty folder" in capsys.readouterr().err


def test_a_strangers_numbers_are_checked(saved: Path, tmp_path: Path) -> None:
    values = json.loads((saved / "config.json").read_text())
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    for wrong in ("much", {"steps": 1}, {"from": "", "part": "", "steps": "many"}):
        (tmp_path / "config.json").write_text(json.dumps(values | {"about": {"distilled": wrong}}))
        with pytest.raises(ValueError, match=r"about\.distilled is"):
            TUNIT.from_pretrained(tmp_path)
