"""Parts of the page. Uploaded files are handed on unread, nothing is fetched from addresses, errors are sentences."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from open_tunit.web.paintings import OPACITY, Paintings
from open_tunit.web.uploads import sentence

AT_ONCE = 2
"""Answers computed at the same time."""
PAINT = "#14b8a6"
NO_ADDRESSES = "Please upload the picture itself; addresses are not fetched."

# Methods of the instances are exchanged, since Gradio writes a .pyi file beside the source of every derived class.


def picture(**options: Any) -> Any:
    """A gr.Image: one uploaded picture, as its file's path; Gradio's own would open it before we look at its size."""
    component: Any = gr.Image(type="filepath", image_mode=None, sources=["upload", "clipboard"], **options)
    component.preprocess = lambda payload: None if payload is None else payload.path
    return _uploads_only(component)


def pictures(**options: Any) -> Any:
    """A gr.Gallery: several uploaded pictures, as their files' paths."""
    component: Any = gr.Gallery(type="filepath", interactive=True, file_types=["image"], **options)
    component.preprocess = lambda payload: [] if payload is None else [element.image.path for element in payload.root]
    return _uploads_only(component)


def mask_painter(**options: Any) -> Any:
    """A gr.ImageEditor that gives what was painted as a mask, or None."""
    paint = (PAINT, OPACITY)
    component: Any = gr.ImageEditor(
        sources=(),
        transforms=(),
        layers=False,
        brush=gr.Brush(colors=[paint], default_color=paint, color_mode="fixed"),
        format="png",
        buttons=[],
        **options,
    )
    component.blob_storage = paintings = Paintings()
    component.preprocess = paintings.mask
    return component


def answer_on(triggers: list[Any], answer: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
    """Answer at once, and after a burst of changes the last one."""
    gr.on(
        triggers,
        said(answer),
        inputs,
        outputs,
        trigger_mode="always_last",
        show_progress="minimal",
        api_visibility="private",
        concurrency_id="model",
        concurrency_limit=AT_ONCE,
    )


def held(component: Any, opening: Path | list[str] | None) -> gr.State:
    """What a picture or gallery that begins with `opening` holds. Its `change` comes once; theirs repeats itself."""
    value = gr.State(opening)
    component.change(
        lambda held: held,
        component,
        value,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )
    return value


def said(answer: Callable[..., Any]) -> Callable[..., Any]:
    """`answer`, whose errors the visitor reads as a sentence."""

    @functools.wraps(answer)
    def answered(*values: Any) -> Any:
        try:
            return answer(*values)
        except (ValueError, FileNotFoundError) as error:
            raise gr.Error(sentence(error), title="That did not work", print_exception=False) from error

    return answered


def uploads(label: str, files: list[str], name: str) -> Any:
    """A gallery called `name` in which pictures are dropped, and that begins with `files`."""
    return pictures(
        label=label,
        value=files,
        columns=4,
        height="auto",
        object_fit="cover",
        buttons=[],
        elem_id=name,
        elem_classes="uploads",
    )


def result_picture(label: str, name: str, **options: Any) -> gr.Image:
    """A picture called `name` that the page shows, to save and to enlarge."""
    options = {"interactive": False, "buttons": ["download", "fullscreen"], **options}
    return gr.Image(label=label, format="png", elem_id=name, **options)


def _uploads_only(component: Any) -> Any:
    """Refuse addresses, so that whoever reaches the page cannot make this machine fetch one."""
    keep: Callable[[Any], Awaitable[str | None]] = component.async_move_resource_to_block_cache

    async def keep_uploads(resource: Any) -> str | None:
        if str(resource).lower().startswith(("http://", "https://")):
            raise gr.Error(NO_ADDRESSES, print_exception=False)
        return await keep(resource)

    component.async_move_resource_to_block_cache = keep_uploads
    return component
