"""The page: where its pictures stand and what happens when one changes."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from open_tunit.web.components import picture, pictures
from open_tunit.web.studio import MAX_SIDE, Studio
from open_tunit.web.uploads import sentence

TITLE = "open-tunit"
AT_ONCE, WAITING = 2, 32
"""Answers computed at the same time, and visitors who may wait for theirs."""
STEPS_BETWEEN = 7
REFERENCE = "reference"
"""The choice of the style menu that is no domain."""
DELETED_EVERY_SECONDS = 60
CARD_HEIGHT = 300
"""Of the places where a picture is dropped or appears, in pixels."""


def build_page(studio: Studio, *, kept_seconds: int, address: str) -> Any:
    """The gr.Blocks of a model; uploads and results are deleted when they are `kept_seconds` old."""
    deletion = (min(DELETED_EVERY_SECONDS, kept_seconds), kept_seconds)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=deletion) as page:
        gr.HTML(_header(studio))
        with gr.Tab("Translate"):
            _translate_tab(page, studio)
        with gr.Tab("Grid") as tab:
            _grid_tab(tab, studio)
        with gr.Tab("In between") as tab:
            _between_tab(tab, studio)
        with gr.Tab("Sort") as tab:
            _sort_tab(tab, studio)
        with gr.Tab("From a script"):
            gr.Markdown(_script(address))
    page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)
    return page


def _translate_tab(page: gr.Blocks, studio: Studio) -> None:
    first, second = studio.opening()
    menu = [("the reference", REFERENCE), *((studio.label(k), str(k)) for k in studio.filled)]
    with gr.Row(elem_classes="cards"):
        with gr.Column(min_width=220):
            source = picture(label="Source: its pose and place stay", value=first, elem_id="source", height=CARD_HEIGHT)
            source_about = gr.HTML(elem_classes="about", elem_id="source-about")
            source_examples = _examples(studio, "source-examples")
        with gr.Column(min_width=220):
            reference = picture(
                label="Reference: its kind and look are taken", value=second, elem_id="reference", height=CARD_HEIGHT
            )
            reference_about = gr.HTML(elem_classes="about", elem_id="reference-about")
            reference_examples = _examples(studio, "reference-examples")
        with gr.Column(min_width=220):
            result = _result("Translation", "result", height=CARD_HEIGHT)
            strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength", elem_id="strength")
            style = gr.Dropdown(menu, value=REFERENCE, label="Take the style of", elem_id="style", filterable=False)
    gallery = gr.Gallery(
        label="Or the mean style of a domain: the source in each, examples below",
        columns=8,
        allow_preview=False,
        object_fit="contain",
        height="auto",
        format="png",
        elem_id="domains",
        buttons=[],
        visible=bool(studio.filled),
    )

    def redraw(source: str | None, reference: str | None, style: str, strength: float) -> tuple[Any, str, str]:
        domain = None if style == REFERENCE else int(style)
        about = _about(studio, source), _about(studio, reference)
        if source is None or (reference is None and domain is None):
            return None, *about
        return studio.translate(source, reference, domain, strength), *about

    changes = [page.load, source.change, reference.change, style.change, strength.release]
    _on(changes, redraw, [source, reference, style, strength], [result, source_about, reference_about])
    _on([page.load, source.change], studio.domain_gallery, [source], [gallery])
    _on([reference.upload], lambda: REFERENCE, [], [style])

    def choose_domain(chosen: gr.SelectData) -> str:
        return str(studio.filled[chosen.index])

    def choose_example(chosen: gr.SelectData) -> Path:
        return studio.examples[int(chosen.index)]

    def choose_reference(chosen: gr.SelectData) -> tuple[Path, str]:
        return studio.examples[chosen.index], REFERENCE

    gallery.select(choose_domain, None, style, api_visibility="private", show_progress="hidden")
    source_examples.select(choose_example, None, source, api_visibility="private", show_progress="hidden")
    chosen = [reference, style]
    reference_examples.select(choose_reference, None, chosen, api_visibility="private", show_progress="hidden")
    _api(studio)


def _grid_tab(tab: gr.Tab, studio: Studio) -> None:
    half = min(len(studio.examples) // 2, MAX_SIDE)
    with gr.Row():
        with gr.Column(min_width=220):
            sources = _uploads(f"Sources, up to {MAX_SIDE}", studio.examples[:half], "grid-sources")
        with gr.Column(min_width=220):
            references = _uploads(f"References, up to {MAX_SIDE}", studio.examples[half : 2 * half], "grid-references")
    result = _result("Every source after every reference", "grid-result", elem_classes="sheet")

    def draw(sources: list[str], references: list[str]) -> Image.Image | None:
        return studio.grid(sources, references) if sources and references else None

    _on([tab.select, sources.change, references.change], draw, [sources, references], [result])


def _between_tab(tab: gr.Tab, studio: Studio) -> None:
    first, second = studio.opening()
    with gr.Row(elem_classes="cards"):
        with gr.Column(min_width=160):
            source = picture(label="Source", value=first, elem_id="between-source", height=CARD_HEIGHT)
        with gr.Column(min_width=160):
            start = picture(label="From this reference", value=first, elem_id="between-start", height=CARD_HEIGHT)
        with gr.Column(min_width=160):
            end = picture(label="To this one", value=second, elem_id="between-end", height=CARD_HEIGHT)
        with gr.Column(min_width=160):
            here = _result("Here", "between-here", height=CARD_HEIGHT)
    position = gr.Slider(0, 1, value=0.5, step=0.05, label="Position", elem_id="between-position")
    strip = _result("The whole way", "between-strip", elem_classes="strip")

    def draw(source: str | None, start: str | None, end: str | None, position: float) -> list[Any]:
        if source is None or start is None or end is None:
            return [None, None]
        return studio.between(source, (start, end), position, STEPS_BETWEEN)

    changes = [tab.select, source.change, start.change, end.change, position.release]
    _on(changes, draw, [source, start, end, position], [here, strip])


def _sort_tab(tab: gr.Tab, studio: Studio) -> None:
    unsorted = _uploads("Pictures", studio.examples, "sort-pictures")
    result = gr.Gallery(
        label="By domain",
        columns=6,
        height="auto",
        buttons=[],
        elem_id="sort-result",
        format="png",
        allow_preview=False,
    )

    def draw(files: list[str]) -> list[tuple[Path, str]]:
        rows = studio.sort(files) if files else []
        return [(file, f"{studio.label(domain)}, {sure:.0%}") for file, domain, sure in rows]

    _on([tab.select, unsorted.change], draw, [unsorted], [result])


def _api(studio: Studio) -> None:
    """The one endpoint for scripts; it has no place on the page."""
    with gr.Row(visible=False):
        source, reference = picture(label="source"), picture(label="reference")
        domain, strength = gr.Number(label="domain", precision=0), gr.Number(1, label="strength")
        output = gr.Image(format="png", label="translation")

        def translate(
            source: str | None, reference: str | None = None, domain: int | None = None, strength: float = 1.0
        ) -> Image.Image:
            """Redraw the source after the reference, or in a domain's mean style."""
            return studio.translate(source, reference, domain, strength)

        gr.Button().click(
            _said(translate),
            [source, reference, domain, strength],
            output,
            api_name="translate",
            concurrency_id="model",
            concurrency_limit=AT_ONCE,
        )


def _on(triggers: list[Any], answer: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
    """Answer at once, and after a burst of changes the last one."""
    gr.on(
        triggers,
        _said(answer),
        inputs,
        outputs,
        trigger_mode="always_last",
        show_progress="minimal",
        api_visibility="private",
        concurrency_id="model",
        concurrency_limit=AT_ONCE,
    )


def _said(answer: Callable[..., Any]) -> Callable[..., Any]:
    """`answer`, whose errors the visitor reads as a sentence."""

    @functools.wraps(answer)
    def said(*values: Any) -> Any:
        try:
            return answer(*values)
        except (ValueError, FileNotFoundError) as error:
            raise gr.Error(sentence(error), title="That did not work", print_exception=False) from error

    return said


def _examples(studio: Studio, name: str) -> gr.Gallery:
    return gr.Gallery(
        [str(file) for file in studio.examples],
        label="Examples",
        show_label=False,
        columns=8,
        height="auto",
        allow_preview=False,
        object_fit="cover",
        buttons=[],
        format="png",
        elem_id=name,
        elem_classes="examples",
        visible=bool(studio.examples),
    )


def _uploads(label: str, files: list[Path], name: str) -> Any:
    return pictures(
        label=label,
        value=[str(file) for file in files],
        columns=4,
        height="auto",
        object_fit="cover",
        buttons=[],
        elem_id=name,
        elem_classes="uploads",
    )


def _result(label: str, name: str, **options: Any) -> gr.Image:
    options = {"interactive": False, "buttons": ["download", "fullscreen"], **options}
    return gr.Image(label=label, format="png", elem_id=name, **options)


def _about(studio: Studio, file: str | None) -> str:
    if file is None:
        return "Drop a picture."
    ((_, domain, sure),) = studio.sort([file])
    return html.escape(f"{studio.label(domain)}, {sure:.0%}")


def _header(studio: Studio) -> str:
    shapes, about = studio.model.config, studio.model.about
    data = about.get("data", {})
    known = "train" in data and "name" in data
    learned = f", trained on {data['train']:,} pictures of {html.escape(data['name'])}" if known else ""
    return (
        "<header><h1>Redraw a picture after another</h1>"
        "<p>The translation keeps the source's pose and place, and takes the reference's kind and look. "
        f"This model has {shapes.domains} domains{learned}; it works at {shapes.size} pixels."
        "</p></header>"
    )


def _script(address: str) -> str:
    return f"""
```python
from gradio_client import Client, handle_file  # pip install gradio_client

page = Client("{address}")
path = page.predict(handle_file("source.jpg"), handle_file("reference.jpg"), None, 1.0, api_name="/translate")
path = page.predict(handle_file("source.jpg"), None, 0, 1.0, api_name="/translate")  # in domain 0's mean style
```

`path` is a PNG of the source's shape. The arguments are source, reference, domain and strength (0 to 1); a domain goes
before a reference. What cannot be comes back as an `AppError` with a sentence.
"""
