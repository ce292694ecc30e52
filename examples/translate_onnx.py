"""Translate with onnxruntime, numpy and Pillow alone: python translate_onnx.py EXPORT SOURCE REFERENCE OUT"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # pip install onnxruntime
from PIL import Image, ImageOps

if len(sys.argv) != 5:
    sys.exit(__doc__)
folder, source, reference, out = sys.argv[1:]
guiding, generator = (onnxruntime.InferenceSession(f"{folder}/{name}.onnx") for name in ("guiding", "generator"))
facts = json.loads(Path(folder, "export.json").read_text())
size, fit, background = facts["size"], facts["fit"], facts["background"]
READ = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def read(path):
    """The picture as the model was trained on: square, by the fit and on the background of export.json."""
    image = ImageOps.exif_transpose(Image.open(path, formats=READ)).convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    if fit == "crop":
        side = min(opaque.size)
        left, top = (opaque.width - side) // 2, (opaque.height - side) // 2
        centre = opaque.crop((left, top, left + side, top + side))
        square = centre.resize((size, size), Image.Resampling.LANCZOS)
    elif fit == "pad":
        whole = ImageOps.contain(opaque, (size, size), Image.Resampling.LANCZOS)
        square = Image.new("RGB", (size, size), background)
        square.paste(whole, ((size - whole.width) // 2, (size - whole.height) // 2))
    else:  # squash
        square = opaque.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1  # (1, 3, S, S) in [-1, 1]


domains, style = guiding.run(None, {"image": read(reference)})
(translation,) = generator.run(None, {"image": read(source), "style": style})
pixels = ((translation[0].transpose(1, 2, 0) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
Image.fromarray(pixels).save(out)
print(f"domain {domains[0].argmax()} with probability {domains[0].max():.2f}; {out}")
