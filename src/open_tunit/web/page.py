"""The page: where its pictures stand and what happens when one changes."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.navbar import Navbar
from PIL import Image

from open_tunit.web.api import for_scripts, script
from open_tunit.web.components import AT_ONCE, answer_on, held, picture, result_picture, said, uploads
from open_tunit.web.options import COLOURS, options
from open_tunit.web.studio import MAX_SIDE, Sample, Studio

TITLE = "open-tunit"
WAITING = 32
"""Visitors who may wait for their answers."""
STEPS_BETWEEN = 7
REFERENCE = "reference"
"""The choice of the style menu that is no domain."""
CARD_HEIGHT = 300
"""Of the places where a picture is dropped or appears, in pixels."""


def build_page(studios: Mapping[str, Studio], *, deletion: tuple[int, int], address: str) -> Any:
    """The gr.Blocks of one or several models, a page for each by its name, the first one's at the address itself.

    `deletion`: every so many seconds, uploads and results are deleted that are so many seconds old.
    """
    first, *others = studios
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=deletion) as page:
        Navbar(main_page_name=first)
        _page(page, studios[first], address, "")
    for name in others:
        with page.route(name):
            Navbar(main_page_name=first)
            _page(page, studios[name], address, f"_{name}")
    page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)
    return page


def _page(page: gr.Blocks, studio: Studio, address: str, ending: str) -> None:
    """A model's page; `ending` is what scripts add to the names of the answers."""
    gr.HTML(_header(studio))
    with gr.Tab("Translate"):
        _translate_tab(page, studio)
        for_scripts(studio, ending)
    with gr.Tab("Grid") as tab:
        _grid_tab(tab, studio)
    with gr.Tab("In between") as tab:
        _between_tab(tab, studio)
    with gr.Tab("Sort") as tab:
        _sort_tab(tab, studio)
    with gr.Tab("From a script"):
        gr.Markdown(script(address, ending))


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
            source_file, reference_file = held(source, first), held(reference, second)
            more = options(studio, source_file)
    gallery = gr.Gallery(
        label="Or the typical style of a domain: the source in each, examples below",
        columns=8,
        allow_preview=False,
        object_fit="contain",
        height="auto",
        format="png",
        elem_id="domains",
        buttons=[],
        visible=bool(studio.filled),
    )
    sample = gr.State(None)  # until another style is chosen

    def redraw(
        source: str | None, reference: str | None, style: str, strength: float, colours: str, *rest: Any
    ) -> tuple[Any, str, str]:
        domain = None if style == REFERENCE else int(style)
        about = _about(studio, source), _about(studio, reference)
        if source is None or (reference is None and domain is None):
            return None, *about
        return studio.translate(source, reference, domain, strength, COLOURS[colours], *rest), *about

    followed: list[Any] = [source_file, reference_file, style, sample]
    changes = [page.load, *(value.change for value in followed), strength.release, *more.changes]
    asked = [source_file, reference_file, style, strength, *more, sample]
    answer_on(changes, redraw, asked, [result, source_about, reference_about])
    answer_on([page.load, source_file.change], studio.domain_gallery, [source_file], [gallery])
    answer_on([reference.upload], lambda: REFERENCE, [], [style])
    for changed in (reference_file.change, style.change):
        changed(lambda: None, None, sample, api_visibility="private", show_progress="hidden", queue=False)

    def choose_domain(chosen: gr.SelectData) -> tuple[str, None]:
        return str(studio.filled[chosen.index]), None

    def choose_example(chosen: gr.SelectData) -> Path:
        return studio.examples[int(chosen.index)]

    def choose_reference(chosen: gr.SelectData) -> tuple[Path, str]:
        return studio.examples[chosen.index], REFERENCE

    gallery.select(choose_domain, None, [style, sample], api_visibility="private", show_progress="hidden")
    source_examples.select(choose_example, None, source, api_visibility="private", show_progress="hidden")
    chosen = [reference, style]
    reference_examples.select(choose_reference, None, chosen, api_visibility="private", show_progress="hidden")
    if studio.can_sample:
        _samples(page, studio, source_file, reference_file, style, sample)


def _samples(
    page: gr.Blocks, studio: Studio, source: gr.State, reference: gr.State, style: gr.Dropdown, sample: gr.State
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

    def choose(chosen: gr.SelectData, reference: str | None, style: str, seed: int) -> Sample | None:
        domain = domain_of(reference, style)
        return None if domain is None else Sample(domain, seed, chosen.index)

    asked: list[Any] = [source, reference, style, seed]
    answer_on([page.load, *(value.change for value in asked)], draw, asked, [gallery])
    again.click(lambda seed: seed + 1, seed, seed, api_visibility="private", show_progress="hidden")
    gallery.select(said(choose), [reference, style, seed], sample, api_visibility="private", show_progress="hidden")


def _grid_tab(tab: gr.Tab, studio: Studio) -> None:
    half = min(len(studio.examples) // 2, MAX_SIDE)
    left, top = _paths(studio)[:half], _paths(studio)[half : 2 * half]
    with gr.Row():
        with gr.Column(min_width=220):
            sources = uploads(f"Sources, up to {MAX_SIDE}", left, "grid-sources")
        with gr.Column(min_width=220):
            references = uploads(f"References, up to {MAX_SIDE}", top, "grid-references")
    result = result_picture("Every source after every reference", "grid-result", elem_classes="sheet")

    def draw(sources: list[str], references: list[str]) -> Image.Image | None:
        return studio.grid(sources, references) if sources and references else None

    asked = [held(sources, left), held(references, top)]
    answer_on([tab.select, *(value.change for value in asked)], draw, asked, [result])


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

    asked = [held(source, first), held(start, first), held(end, second)]
    changes = [tab.select, *(value.change for value in asked), position.release]
    answer_on(changes, draw, [*asked, position], [here, strip])


def _sort_tab(tab: gr.Tab, studio: Studio) -> None:
    unsorted = uploads("Pictures", _paths(studio), "sort-pictures")
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

    files = held(unsorted, _paths(studio))
    answer_on([tab.select, files.change], draw, [files], [result])


def _paths(studio: Studio) -> list[str]:
    return [str(file) for file in studio.examples]


def _examples(studio: Studio, name: str) -> gr.Gallery:
    return gr.Gallery(
        _paths(studio),
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
