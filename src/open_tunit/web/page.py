"""The page: where its pictures stand and what happens when one changes."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.navbar import Navbar
from PIL import Image

from open_tunit.web.components import AT_ONCE, answer_on, picture, result_picture, said, uploads
from open_tunit.web.options import COLOURS, options
from open_tunit.web.studio import MAX_SIDE, Studio

TITLE = "open-tunit"
WAITING = 32
"""Visitors who may wait for their answers."""
STEPS_BETWEEN = 7
REFERENCE = "reference"
"""The choice of the style menu that is no domain."""
DELETED_EVERY_SECONDS = 60
CARD_HEIGHT = 300
"""Of the places where a picture is dropped or appears, in pixels."""


def build_page(studios: Mapping[str, Studio], *, kept_seconds: int, address: str) -> Any:
    """The gr.Blocks of one or several models, a page for each by its name, the first one's at the address itself.

    Uploads and results are deleted when they are `kept_seconds` old.
    """
    deletion = (min(DELETED_EVERY_SECONDS, kept_seconds), kept_seconds)
    first, *others = studios
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=deletion) as page:
        Navbar(main_page_name=first)
        _page(page, studios[first], address, "")
    for name in others:
        with page.route(name):
            _page(page, studios[name], address, f"_{name}")
    page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)
    return page


def _page(page: gr.Blocks, studio: Studio, address: str, ending: str) -> None:
    """A model's page; `ending` is what scripts add to the names of the answers."""
    gr.HTML(_header(studio))
    with gr.Tab("Translate"):
        _translate_tab(page, studio)
        _api(studio, ending)
    with gr.Tab("Grid") as tab:
        _grid_tab(tab, studio)
    with gr.Tab("In between") as tab:
        _between_tab(tab, studio)
    with gr.Tab("Sort") as tab:
        _sort_tab(tab, studio)
    with gr.Tab("From a script"):
        gr.Markdown(_script(address, ending))


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
            result = result_picture("Translation", "result", height=CARD_HEIGHT)
            strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength", elem_id="strength")
            style = gr.Dropdown(menu, value=REFERENCE, label="Take the style of", elem_id="style", filterable=False)
            more = options(studio, source)
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

    def redraw(
        source: str | None, reference: str | None, style: str, strength: float, colours: str, *rest: Any
    ) -> tuple[Any, str, str]:
        domain = None if style == REFERENCE else int(style)
        about = _about(studio, source), _about(studio, reference)
        if source is None or (reference is None and domain is None):
            return None, *about
        return studio.translate(source, reference, domain, strength, COLOURS[colours], *rest), *about

    changes = [page.load, source.change, reference.change, style.change, strength.release, *more.changes]
    answer_on(changes, redraw, [source, reference, style, strength, *more], [result, source_about, reference_about])
    answer_on([page.load, source.change], studio.domain_gallery, [source], [gallery])
    answer_on([reference.upload], lambda: REFERENCE, [], [style])

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
    if studio.can_sample:
        _samples(page, studio, source, reference, style, strength, result)


def _samples(
    page: gr.Blocks, studio: Studio, source: Any, reference: Any, style: gr.Dropdown, strength: gr.Slider, result: Any
) -> None:
    """Styles drawn at random from the domain of the menu, or that of the reference."""
    gallery = gr.Gallery(
        label="Or a style sampled at random from the domain",
        columns=8,
        allow_preview=False,
        object_fit="contain",
        height="auto",
        format="png",
        elem_id="samples",
        buttons=[],
    )
    again = gr.Button("Sample others", elem_id="sample-others", size="sm")
    seed = gr.State(0)

    def domain_of(reference: str | None, style: str) -> int | None:
        return studio.domain_of(reference) if style == REFERENCE else int(style)

    def draw(source: str | None, reference: str | None, style: str, seed: int) -> list[tuple[Image.Image, str]]:
        return studio.sample_gallery(source, domain_of(reference, style), seed)

    def choose(
        chosen: gr.SelectData, source: str | None, reference: str | None, style: str, seed: int, strength: float
    ) -> Image.Image:
        return studio.sampled(source, domain_of(reference, style), seed, strength, number=chosen.index)

    asked = [source, reference, style, seed]
    answer_on([page.load, source.change, reference.change, style.change, seed.change], draw, asked, [gallery])
    again.click(lambda seed: seed + 1, seed, seed, api_visibility="private", show_progress="hidden")
    gallery.select(said(choose), [*asked, strength], result, api_visibility="private", concurrency_id="model")


def _grid_tab(tab: gr.Tab, studio: Studio) -> None:
    half = min(len(studio.examples) // 2, MAX_SIDE)
    with gr.Row():
        with gr.Column(min_width=220):
            sources = uploads(f"Sources, up to {MAX_SIDE}", studio.examples[:half], "grid-sources")
        with gr.Column(min_width=220):
            references = uploads(f"References, up to {MAX_SIDE}", studio.examples[half : 2 * half], "grid-references")
    result = result_picture("Every source after every reference", "grid-result", elem_classes="sheet")

    def draw(sources: list[str], references: list[str]) -> Image.Image | None:
        return studio.grid(sources, references) if sources and references else None

    answer_on([tab.select, sources.change, references.change], draw, [sources, references], [result])


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
            here = result_picture("Here", "between-here", height=CARD_HEIGHT)
    position = gr.Slider(0, 1, value=0.5, step=0.05, label="Position", elem_id="between-position")
    strip = result_picture("The whole way", "between-strip", elem_classes="strip")

    def draw(source: str | None, start: str | None, end: str | None, position: float) -> list[Any]:
        if source is None or start is None or end is None:
            return [None, None]
        return studio.between(source, (start, end), position, STEPS_BETWEEN)

    changes = [tab.select, source.change, start.change, end.change, position.release]
    answer_on(changes, draw, [source, start, end, position], [here, strip])


def _sort_tab(tab: gr.Tab, studio: Studio) -> None:
    unsorted = uploads("Pictures", studio.examples, "sort-pictures")
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

    answer_on([tab.select, unsorted.change], draw, [unsorted], [result])


def _api(studio: Studio, ending: str) -> None:
    """What scripts may ask for; it has no place on the page."""
    with gr.Row(visible=False):
        source, reference = picture(label="source"), picture(label="reference")
        domain, strength = gr.Number(label="domain", precision=0), gr.Number(1, label="strength")
        seed = gr.Number(0, label="seed", precision=0)
        output = gr.Image(format="png", label="translation")

        def translate(
            source: str | None, reference: str | None = None, domain: int | None = None, strength: float = 1.0
        ) -> Image.Image:
            """Redraw the source after the reference, or in a domain's mean style."""
            return studio.translate(source, reference, domain, strength)

        def sample(source: str | None, domain: int | None = None, seed: int = 0, strength: float = 1.0) -> Image.Image:
            """Redraw the source in a style sampled from a domain."""
            return studio.sampled(source, domain, seed, strength)

        for answer, asked in (
            (translate, [source, reference, domain, strength]),
            (sample, [source, domain, seed, strength]),
        ):
            gr.Button().click(
                said(answer),
                asked,
                output,
                api_name=answer.__name__ + ending,
                concurrency_id="model",
                concurrency_limit=AT_ONCE,
            )


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


def _script(address: str, ending: str) -> str:
    translate, sample = f"/translate{ending}", f"/sample{ending}"
    return f"""
```python
from gradio_client import Client, handle_file  # pip install gradio_client

page = Client("{address}")
path = page.predict(handle_file("source.jpg"), handle_file("reference.jpg"), None, 1.0, api_name="{translate}")
path = page.predict(handle_file("source.jpg"), None, 0, 1.0, api_name="{translate}")  # in domain 0's mean style
path = page.predict(handle_file("source.jpg"), 0, 7, 1.0, api_name="{sample}")  # in a style of it, drawn by seed 7
```

`path` is a PNG of the source's shape. The arguments of `{translate}` are source, reference, domain and strength (0 to
1); a domain goes before a reference. Those of `{sample}` are source, domain, seed and strength. What cannot be comes
back as an `AppError` with a sentence.
"""
