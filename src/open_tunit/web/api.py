"""What scripts may ask the page for, and what the page tells them about it."""

from __future__ import annotations

import gradio as gr
from PIL import Image

from open_tunit.media.pictures import read_mask
from open_tunit.networks.style_code import Colours
from open_tunit.web.components import AT_ONCE, picture, said
from open_tunit.web.studio import Sample, Studio
from open_tunit.web.uploads import check_upload


def for_scripts(studio: Studio, ending: str) -> None:
    """The named endpoints; they have no place on the page, and end in `ending`."""
    with gr.Row(visible=False):
        source, reference = picture(label="source"), picture(label="reference")
        domain, strength = gr.Textbox(None, label="domain"), gr.Number(1, label="strength")
        seed = gr.Number(0, label="seed", precision=0)
        whole, mask = gr.Checkbox(False, label="whole"), picture(label="mask")
        colours = gr.Dropdown(["source", "reference"], value=None, label="colours")
        output = gr.Image(format="png", label="translation")

        def numbered(domain: str | None) -> int | None:
            if not domain:
                return None
            whole = domain.removesuffix(".0")  # JSON may have 1.0 for 1
            return studio.model.naming.number(whole if whole.isdecimal() else domain)

        def translate(
            source: str | None, reference: str | None = None, domain: str | None = None, strength: float = 1.0
        ) -> Image.Image:
            """Redraw the source after the reference, or in the typical style of a domain, its number or name."""
            return studio.translate(source, reference, numbered(domain), strength)

        def translate_with_options(
            source: str | None,
            reference: str | None = None,
            domain: str | None = None,
            strength: float = 1.0,
            colours: Colours | None = None,
            whole: bool = False,
            mask: str | None = None,
        ) -> Image.Image:
            """As /translate; the colours are the source's or the reference's, and white of the mask is redrawn."""
            painted = None if mask is None else read_mask(check_upload(mask))
            return studio.translate(source, reference, numbered(domain), strength, colours, whole, painted)

        def sample(source: str | None, domain: str | None = None, seed: int = 0, strength: float = 1.0) -> Image.Image:
            """Redraw the source in a style sampled from a domain."""
            number = numbered(domain)
            drawn = None if number is None else Sample(number, seed, 0)
            return studio.translate(source, None, None, strength, sample=drawn)

        for answer, asked in (
            (translate, [source, reference, domain, strength]),
            (translate_with_options, [source, reference, domain, strength, colours, whole, mask]),
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


def script(address: str, ending: str) -> str:
    """How to call them with gradio_client, in Markdown."""
    translate, sample = f"/translate{ending}", f"/sample{ending}"
    return f"""
```python
from gradio_client import Client, handle_file  # pip install gradio_client

page = Client("{address}")
path = page.predict(handle_file("source.jpg"), handle_file("reference.jpg"), None, 1.0, api_name="{translate}")
path = page.predict(handle_file("source.jpg"), None, 0, 1.0, api_name="{translate}")  # in domain 0's typical style
path = page.predict(handle_file("source.jpg"), 0, 7, 1.0, api_name="{sample}")  # in a style of it, drawn by seed 7
```

`path` is a PNG of the source's shape. The arguments of `{translate}` are source, reference, domain (its number or name)
and strength (0 to 1); a domain goes before a reference. `/translate_with_options{ending}` has three more: colours
(`"source"` or `"reference"`), whole (`True` for all of the picture) and mask (a picture, white where the source is
redrawn). Those of
`{sample}` are source, domain, seed and strength. What cannot be comes back as an `AppError` with a sentence.
"""
