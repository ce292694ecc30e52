"""Translate with onnxruntime, numpy and Pillow alone: python translate_onnx.py EXPORT SOURCE REFERENCE OUT"""

import sys

import numpy as np
import onnxruntime  # pip install onnxruntime
from PIL import Image, ImageOps

if len(sys.argv) != 5:
    sys.exit(__doc__)
folder, source, reference, out = sys.argv[1:]
guiding, generator = (onnxruntime.InferenceSession(f"{folder}/{name}.onnx") for name in ("guiding", "generator"))
size = guiding.get_inputs()[0].shape[-1]


def read(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    square = ImageOps.fit(opaque, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1  # (1, 3, S, S) in [-1, 1]


domains, style = guiding.run(None, {"image": read(reference)})
(translation,) = generator.run(None, {"image": read(source), "style": style})
pixels = ((translation[0].transpose(1, 2, 0) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
Image.fromarray(pixels).save(out)
print(f"domain {domains[0].argmax()} with probability {domains[0].max():.2f}; {out}")
