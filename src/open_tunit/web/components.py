"""Gradio's picture and gallery, handing on the uploaded files unread and fetching nothing from addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr

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


def _uploads_only(component: Any) -> Any:
    """Refuse addresses, so that whoever reaches the page cannot make this machine fetch one."""
    keep: Callable[[Any], Awaitable[str | None]] = component.async_move_resource_to_block_cache

    async def keep_uploads(resource: Any) -> str | None:
        if str(resource).lower().startswith(("http://", "https://")):
            raise gr.Error(NO_ADDRESSES, print_exception=False)
        return await keep(resource)

    component.async_move_resource_to_block_cache = keep_uploads
    return component
