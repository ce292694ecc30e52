"""The report: one HTML file with its pictures inside, so that it opens anywhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from open_tunit.evaluation.protocol import Evaluation
from open_tunit.evaluation.report import captions as names
from open_tunit.evaluation.report import panels
from open_tunit.evaluation.report.charts import curves
from open_tunit.evaluation.report.markup import document, note, table, terms
from open_tunit.files import write_text_atomic
from open_tunit.media import images
from open_tunit.runs import PAGE
from open_tunit.settings.config import called

TILES = (
    "true_answer_error_ratio",
    "species_reached",
    "content_kept",
    "fid",
    "mfid",
    "pseudo_label_accuracy",
    "domain_reached",
    "reconstruction_error",
    "label_free_score",
    "cycle_error",
)
MOST_TILES = 4


def write_report(
    folder: Path, evaluation: Evaluation, *, log: Sequence[Mapping[str, Any]], cost: Mapping[str, str]
) -> None:
    """Write FOLDER/index.html, and some measured pictures to try the model with as FOLDER/pictures/0.png, ..."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(panels.shown_images(evaluation)[: panels.SHOWN]):
        images.save_image(images.to_pil(picture), folder / "pictures" / f"{index}.png")
    figures, model = evaluation.figures, evaluation.model.config
    protocol = figures["protocol"]
    title = f"{called(protocol['data'])}: {model.domains} domains at {model.size}\u00a0px"
    subtitle = (
        f"Measured on {names.measured_on(figures)} and {protocol['pairs']} translations"
        f"{_trained(evaluation.model.about)}."
    )
    sections = (
        ("Reference-guided", panels.reference_grid(evaluation)),
        ("Figures", _figures(figures)),
        ("Domain-guided", panels.domain_grid(evaluation)),
        ("Sampled styles", panels.sample_grid(evaluation)),
        ("Interpolations", panels.interpolations(evaluation)),
        ("Domains", panels.domain_sheets(evaluation)),
        ("Styles", panels.style_panel(evaluation)),
        ("Against the true answers", panels.true_answers(evaluation)),
        ("Best and worst", panels.best_and_worst(evaluation)),
        ("Nearest training images", panels.copies(evaluation)),
        ("Training", curves(log)),
        ("Cost", terms(cost)),
        ("How it was measured", _protocol(protocol)),
    )
    write_text_atomic(folder / PAGE, document(title, subtitle, sections, _tiles(figures)))


def _trained(about: Mapping[str, Any]) -> str:
    if "seconds" not in about:
        return ""
    return (
        f"; preset {about['preset']}, seed {about['seed']}, {about['step']} steps, "
        f"{about['seconds'] / 60:.1f} minutes of training"
    )


def _tiles(figures: Mapping[str, Any]) -> str:
    words = {name: text for group in names.present(figures).values() for name, text in group.items()}
    chosen = [name for name in TILES if name in words][:MOST_TILES]
    cells = "".join(
        f'<div class="tile"><b>{names.number(figures[name])}</b><span>{html.escape(words[name][0])}</span>'
        f"<i>{html.escape(names.interval(figures, name) or words[name][1])}</i></div>"
        for name in chosen
    )
    return f'<div class="tiles">{cells}</div>'


def _figures(figures: Mapping[str, Any]) -> str:
    parts = []
    for group, rows in names.present(figures).items():
        cells = [
            (_label(*text), names.number(figures[name]), names.interval(figures, name)) for name, text in rows.items()
        ]
        heading = f"<h3>{html.escape(group)}</h3>"
        if group == names.FEATURES:
            heading += note(f"Features: {names.features(figures)}.")
        parts.append(f"{heading}{table(('', 'value', '95 % interval'), cells)}")
    left_out = "".join(f"<li>{html.escape(line)}</li>" for line in figures["notes"])
    return "".join(parts) + _classifiers(figures) + (f"<h3>Warnings</h3><ul>{left_out}</ul>" if left_out else "")


def _label(words: str, explanation: str) -> str:
    return html.escape(words) + (f"<small>{html.escape(explanation)}</small>" if explanation else "")


def _classifiers(figures: Mapping[str, Any]) -> str:
    if "classifier_accuracy" not in figures:
        return ""
    kept = figures["content_kept_by_factor"]
    rows = [
        (html.escape(name), names.number(value), names.number(kept[name]) if name in kept else "–")
        for name, value in figures["classifier_accuracy"].items()
    ]
    return "<h3>The classifiers, and the content levels that they find kept</h3>" + table(
        ("factor", "accuracy on real critters", "kept"), rows
    )


def _protocol(protocol: Mapping[str, Any]) -> str:
    rows = {name.replace("_", " "): value for name, value in protocol.items()}
    return note("The same protocol, data and seed give the same figures.") + terms(rows)
