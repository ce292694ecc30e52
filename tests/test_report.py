"""evaluation/report: one page that needs no network, with names that people read."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.figures import names_of
from open_tunit.evaluation.report import captions
from open_tunit.evaluation.run import evaluate_run


def test_every_loss_has_a_name_for_its_curve(tiny_run: Path) -> None:
    logged = {name for line in (tiny_run / "log.jsonl").read_text().splitlines() for name in json.loads(line)}
    losses = {name for name in logged if name.startswith("loss/")}
    assert {"loss/d_mismatched", "loss/reconstruction"} <= losses <= set(captions.CURVES)


@pytest.mark.parametrize(("value", "said"), [(0.08241, "0.0824"), (66.2, "66.2"), (999.7, "1000"), (1043.2, "1043")])
def test_numbers_beside_a_curve_have_no_exponent(value: float, said: str) -> None:
    assert captions.short(value) == said


def test_figures_of_a_network_of_any_name_are_shown() -> None:
    network = FeatureNetwork("net--v2 (1).ts", "", "", run=torch.nn.Identity())
    name = names_of(network)("label_reached")
    shown = captions.present({"protocol": {"features": network.name}, name: 1.0})
    assert [list(rows) for rows in shown.values()] == [[name]]


def test_the_report_of_a_run_stands_alone(tiny_run: Path) -> None:
    figures = evaluate_run(tiny_run)
    assert json.loads((tiny_run / "metrics.json").read_text()) == json.loads(json.dumps(figures))
    assert figures["steps"] == 2
    page = (tiny_run / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//[\w.]+\.\w", re.sub(r"base64,[^\"]*", "", page))
    links = re.sub(r"base64,[^\"]*", "base64,", page)
    sources = re.findall(r'(?:src|href|url\()\s*=?\s*"?([^"\s>)]{0,30})', links)
    assert len(sources) >= 6
    assert all(re.match(r"data:image/(png|jpeg);base64,|#", source) for source in sources)
    assert f"{figures['reconstruction_error']:.3f}" in page
    for part in ("Reference-guided", "Domain-guided", "Interpolations", "Styles", "Best and worst", "Training", "Cost"):
        assert f">{part}</h2>" in page, part
    assert "images/s" in page
    assert sorted(path.name for path in (tiny_run / "report").iterdir()) == ["cost.json", "index.html", "pictures"]


def test_the_report_is_called_as_the_folder_is(tiny_run: Path) -> None:
    pictures = Path(evaluate_run(tiny_run)["protocol"]["data"])
    (pictures / "train").mkdir(exist_ok=True)
    model = tiny_run / "model"
    evaluate_run(model, data=f"{pictures}/train/..")
    assert f"<h1>{pictures.name}: 2 domains" in (model / "report" / "index.html").read_text(encoding="utf-8")


def test_the_caption_of_the_style_map_names_its_method(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def caption() -> str:
        evaluate_run(tiny_run)
        page = (tiny_run / "report" / "index.html").read_text(encoding="utf-8")
        return re.findall(r"<figcaption>(20 images by [^<]*)<", page)[0]

    assert caption().startswith("20 images by t-SNE of their style codes")
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    assert re.fullmatch(r"20 images by .* \(PCA\): \d+% of the variance\.", caption())


def test_the_report_shows_the_users_names_of_domains(tiny_run: Path) -> None:
    (tiny_run / "model" / "domains.yaml").write_text("a <b>: 1\n")
    evaluate_run(tiny_run)
    page = (tiny_run / "report" / "index.html").read_text(encoding="utf-8")
    assert "</i>a &lt;b&gt;</h3>" in page
    assert "</i>Domain 0</h3>" in page
    assert "</i>Domain 1</h3>" not in page


@pytest.mark.browser
@pytest.mark.timeout(1200)
def test_the_report_fits_a_phone(tiny_run: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium")
    evaluate_run(tiny_run)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in (390, 1280):
            view = browser.new_page(viewport={"width": width, "height": 800})
            view.set_default_timeout(600_000)
            view.goto((tiny_run / "report" / "index.html").as_uri())
            assert view.evaluate("document.documentElement.scrollWidth") == width
            narrowest = "Math.min(...[...document.querySelectorAll('td')].map(cell => cell.clientWidth))"
            assert view.evaluate(narrowest) > 40
        browser.close()
