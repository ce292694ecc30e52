"""Below the translation: the whole picture, whose colours, and a mask to paint."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from open_tunit.networks.style_code import Colours
from open_tunit.web.components import answer_on, mask_painter
from open_tunit.web.studio import Studio

TAKEN = "reference's"
COLOURS: dict[str, Colours | None] = {TAKEN: None, "source's": "source", "reference's, and nothing else": "reference"}
"""What the visitor reads -> the translation's `colours`."""
PAINTING_HEIGHT = 300


class Options(NamedTuple):
    """The components, in the order in which `Studio.translate` takes their values."""

    colours: gr.Radio
    whole: gr.Checkbox
    mask: gr.State
    """What was painted, or None."""

    @property
    def changes(self) -> list[Any]:
        """What makes a new translation."""
        return [self.colours.change, self.whole.change, self.mask.change]


def options(studio: Studio, source: Any) -> Options:
    """Closed at first; the mask is painted over the source."""
    with gr.Accordion("More: all of the picture, colours, a mask", open=False, elem_id="more") as more:
        whole = gr.Checkbox(label="Translate all of the picture, not its middle square", elem_id="whole")
        colours = gr.Radio(list(COLOURS), value=TAKEN, label="Colours", elem_id="colours")
        painter = mask_painter(label="Paint what is redrawn", elem_id="mask", height=PAINTING_HEIGHT)
    mask = gr.State(None)  # of its own, since a painter sends its pictures with every event that it is an input of
    shown = gr.State(False)  # the painter takes its first change for its own, so it gets the source when it is there

    def canvas(source: str | None, shown: bool) -> tuple[dict[str, Image.Image | list[Any] | None] | None, None]:
        if source is None or not shown:
            return None, None
        return {"background": studio.canvas(source), "layers": [], "composite": None}, None

    more.expand(lambda: True, None, shown, api_visibility="private", show_progress="hidden")
    answer_on([shown.change, source.change], canvas, [source, shown], [painter, mask])
    answer_on([painter.change], lambda painted: painted, [painter], [mask])
    return Options(colours, whole, mask)
