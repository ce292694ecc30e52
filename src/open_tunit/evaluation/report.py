"""The report: one HTML file with its pictures inside, so that it opens anywhere."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from open_tunit import images
from open_tunit.config import Config
from open_tunit.files import write_text_atomic
from open_tunit.model import TUNIT

SHOWN = 8
SHEET = 24
LEAST_SIDE = 64
"""Small pictures are enlarged in whole steps up to this many pixels."""

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{margin-top:2.2rem;font-size:1.2rem}p.note{color:#555}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd}
td.n{text-align:right;font-variant-numeric:tabular-nums}figure{margin:1rem 0;overflow-x:auto}
img{max-width:100%;height:auto;image-rendering:auto}figcaption{color:#555;font-size:.9rem}
"""

FIGURES = (
    ("pseudo_label_accuracy", "Images sorted into their true domain (best matching)"),
    ("true_answer_error_ratio", "Error against the true answer, unchanged source = 1"),
    ("baseline_background_recoloured", "… of the source with the reference's background"),
    ("baseline_reference_copied", "… of the reference itself"),
    ("true_answer_error_ratio_head", "The same on the head alone"),
    ("baseline_background_recoloured_head", "… of the source with the reference's background"),
    ("baseline_reference_copied_head", "… of the reference itself"),
    ("species_reached", "Translations of the reference's species, by a judge"),
    ("content_kept", "Content levels kept, by judges"),
    ("reconstruction_error", "Mean absolute error of a picture redrawn in its own style, 0 to 1"),
    ("domain_reached_by_own_judgement", "Translations that the model itself sorts into the reference's domain"),
    ("training_seconds", "Seconds of training"),
)


@dataclasses.dataclass(frozen=True)
class Page:
    """What the report draws from."""

    model: TUNIT
    held_out: Tensor
    """(N, 3, S, S) images the model never trained on."""
    answers: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
    """Sources, references, translations and true answers, where they are known."""


def write_report(folder: Path, page: Page, figures: dict[str, Any], config: Config) -> None:
    """Write FOLDER/index.html, and a few held-out pictures to try the model with as FOLDER/pictures/0.png, ..."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(page.held_out[:SHOWN]):
        images.save_image(images.to_pil(picture), folder / "pictures" / f"{index}.png")
    model = config.model
    title = f"{html.escape(config.data.folder)}: {model.domains} domains at {model.size} px"
    sections = [_table(figures), _judges(figures), _grid(page), _domain_grid(page), _sheets(page), _answers(page)]
    note = html.escape(str(figures.get("protocol", "")))
    write_text_atomic(
        folder / "index.html",
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><h1>{title}</h1>"
        f'<p class="note">Preset {config.preset_name}, seed {config.seed}, {figures["steps"]} steps, '
        f"{figures['training_seconds'] / 60:.1f} minutes of training.</p>"
        + "".join(sections)
        + f'<h2>How it was measured</h2><p class="note">{note}.</p></html>\n',
    )


def _table(figures: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{label}</td><td class="n">{figures[name]:.3f}</td></tr>'
        if name != "training_seconds"
        else f'<tr><td>{label}</td><td class="n">{figures[name]:.0f}</td></tr>'
        for name, label in FIGURES
        if figures.get(name) is not None
    )
    return f"<h2>Figures on held-out images</h2><table>{rows}</table>"


def _judges(figures: dict[str, Any]) -> str:
    if "judge_accuracy" not in figures:
        return ""
    kept = figures["content_kept_by_factor"]
    rows = "".join(
        f'<tr><td>{name}</td><td class="n">{value:.3f}</td>'
        f'<td class="n">{f"{kept[name]:.3f}" if name in kept else "–"}</td></tr>'
        for name, value in figures["judge_accuracy"].items()
    )
    return (
        "<h2>The judges, and what they say of each content factor</h2>"
        f"<table><tr><th>factor</th><th>judge's own accuracy</th><th>kept by the translations</th></tr>{rows}</table>"
    )


def _grid(page: Page) -> str:
    sources, references = page.held_out[:SHOWN], page.held_out[SHOWN : 2 * SHOWN]
    if not len(references):
        return ""
    blank = torch.ones_like(sources[:1])
    body = page.model.grid(sources, references).cpu()
    rows = [torch.cat([blank, references])]
    rows += [torch.cat([source[None], row]) for source, row in zip(sources, body, strict=True)]
    return _figure("Reference-guided", "Top row: references. Left column: sources.", torch.stack(rows))


def _domain_grid(page: Page) -> str:
    filled = [k for k in range(page.model.config.domains) if page.model.domain_counts[k]]
    sources = page.held_out[:SHOWN]
    columns = [sources, *(page.model.translate(sources, domain=k).cpu() for k in filled)]
    return _figure(
        "Domain-guided",
        "Left column: sources; then each redrawn in the mean style of domain " + ", ".join(map(str, filled)) + ".",
        torch.stack(columns, dim=1),
    )


def _sheets(page: Page) -> str:
    domains = page.model.domains(page.held_out).argmax(dim=1).cpu()
    parts = ["<h2>Domains</h2>"]
    for domain in range(page.model.config.domains):
        members = page.held_out[domains == domain]
        caption = f"Domain {domain}: {len(members)} of {len(page.held_out)} held-out images"
        sheet = torch.ones(SHEET, *page.held_out.shape[1:])
        sheet[: min(len(members), SHEET)] = members[:SHEET]
        parts.append(_picture(caption, sheet.unflatten(0, (2, SHEET // 2))))
    return "".join(parts)


def _answers(page: Page) -> str:
    if page.answers is None:
        return ""
    columns = torch.stack([part[: 2 * SHOWN].cpu() for part in page.answers])
    return _figure("Against the true answers", "Rows: source, reference, translation, true answer.", columns)


def _figure(title: str, caption: str, rows: Tensor) -> str:
    return f"<h2>{title}</h2>{_picture(caption, rows)}"


def _picture(caption: str, rows: Tensor) -> str:
    picture = images.grid(rows)
    gain = max(1, LEAST_SIDE // rows.shape[-1])
    picture = picture.resize((picture.width * gain, picture.height * gain), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
