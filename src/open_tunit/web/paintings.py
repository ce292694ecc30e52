"""What visitors paint: few layers are kept until they are asked for, and become masks."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

OPACITY = 0.6
"""Of the paint, so that the source is seen through it."""
MOST_BYTES, MOST_PIXELS = 4 * 2**20, 2**22
"""Of a layer; what is painted over is small (Studio.canvas)."""
MOST_WAITING = 16


class Paintings(dict[str, Any]):
    """Name -> what a Gradio editor was sent: its background, its layers, and both together, each as bytes or None."""

    def __setitem__(self, name: str, painting: Any) -> None:
        """Keep a painting; of more than MOST_WAITING the oldest is forgotten. Raises ValueError for a large one."""
        for content in (painting.background, painting.composite, *painting.layers):
            if content is not None and len(content) > MOST_BYTES:
                raise ValueError(f"a layer has more than {MOST_BYTES} bytes")
        self.pop(name, None)
        while len(self) >= MOST_WAITING:
            del self[next(iter(self))]
        super().__setitem__(name, painting)

    def mask(self, sent: Any) -> Image.Image | None:
        """The mask of what an editor sends: the name of a painting, which is kept no longer, or its layers' files.

        8-bit grey, white where the paint is; None where nothing is painted. Raises ValueError for a large layer.
        """
        if sent is None:
            return None
        painting = sent if sent.id is None else self.pop(sent.id, None)
        layers = [] if painting is None else [layer for layer in painting.layers if layer is not None]
        return _mask(layers[0]) if layers else None


def _mask(layer: Any) -> Image.Image | None:
    """How much of the paint lies on each pixel of a layer: bytes, or an object with a path."""
    with Image.open(io.BytesIO(layer) if isinstance(layer, bytes) else layer.path, formats=("PNG", "WEBP")) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError("The painting is too large.")
        alpha = picture.convert("RGBA").getchannel("A")
    mask = alpha.point([min(255, round(level / OPACITY)) for level in range(256)])
    return mask if mask.getbbox() else None
