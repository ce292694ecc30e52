"""Feature networks behind one interface: images (N, 3, S, S) in [-1, 1] to features (N, d)."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit.evaluation.features.inception import SHA256_PREFIX, SIDE, URL, load_inception
from open_tunit.evaluation.features.weights_download import file_sha256
from open_tunit.model import TUNIT
from open_tunit.networks.pretrained_guiding import PretrainedGuiding

CHUNK = 32
OWN, INCEPTION = "own", "inception"
RANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "0..255": lambda pixels: pixels,
    "0..1": lambda pixels: pixels / 255,
    "-1..1": lambda pixels: pixels / 127.5 - 1,
    "imagenet": lambda pixels: (pixels / 255 - pixels.new_tensor(IMAGENET_MEAN)) / pixels.new_tensor(IMAGENET_STD),
}
"""What a network wants its pixels as; the last is 0..1 standardised by ImageNet's colour statistics."""
IMAGENET_MEAN: list[list[list[float]]] = [[[0.485]], [[0.456]], [[0.406]]]
IMAGENET_STD: list[list[list[float]]] = [[[0.229]], [[0.224]], [[0.225]]]


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """A network, its name, and how it is given its pixels."""

    name: str
    rule: str
    """How images become its input, in words."""
    identity: str
    """SHA-256 of its weights, or of the file they came in."""
    run: Callable[[Tensor], Tensor]
    """Pixels (N, 3, S, S), whole numbers 0 to 255 as float32, to features (N, d)."""
    own: bool = False
    """Whether it is E itself, whose features are not kept on disk."""

    @property
    def slug(self) -> str:
        """The name, fit for the name of a figure."""
        return slug(self.name)

    @property
    def is_inception(self) -> bool:
        """Whether a Fréchet distance on its features is an FID."""
        return self.identity.startswith(SHA256_PREFIX)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Float images (N, 3, S, S) in [-1, 1], rounded to 8 bits as a saved file is, to float32 (N, d) on the CPU."""
        pixels = images.add(1).mul(127.5).round().clamp(0, 255)
        return torch.cat([self.run(part).float().cpu() for part in pixels.split(CHUNK)])


def slug(name: str) -> str:
    """A network's name, as it ends the names of its figures."""
    return re.sub(r"\W+", "_", name)


def open_features(
    spec: str | None, model: TUNIT, *, cache_root: Path, side: int | None = None, pixel_range: str = "0..255"
) -> FeatureNetwork:
    """The network that `--features` names: `own` or None (E), `inception`, or a file.

    A file is TorchScript, torch.export (.pt2), ONNX (.onnx) or, by its hash, FID's weights (.pth). It gets RGB pixels
    in `pixel_range` (a key of RANGES), resized to `side` if given or if an ONNX file fixes it; otherwise as they are,
    to resize by itself. Raises FileNotFoundError, and ValueError for what is no network or gives no (N, d).
    """
    if pixel_range not in RANGES:
        raise ValueError(f"features range is {pixel_range!r}; expected one of {', '.join(RANGES)}")
    if side is not None and side < 1:
        raise ValueError(f"features side is {side}; at least 1 pixel is needed")
    if spec in (None, OWN):
        return own_features(model)
    device = model.domain_styles.device
    if spec == INCEPTION:
        return _inception(cache_root, None, device)
    path = Path(str(spec)).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"features is {path}, which is no file; expected {OWN}, {INCEPTION} or a network's file"
        )
    if path.suffix == ".pth" and file_sha256(path).startswith(SHA256_PREFIX):
        return _inception(cache_root, path, device)
    return _from_file(path, device, side, pixel_range, model.config.size)


def own_features(model: TUNIT) -> FeatureNetwork:
    """E's pooled features: always at hand, but E also trained the generator that is measured."""
    digest = hashlib.sha256()
    for value in model.E.trunk.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    device = model.domain_styles.device

    def run(pixels: Tensor) -> Tensor:
        features, _ = model.E.features(pixels.to(device) / 127.5 - 1)
        return features

    resized = f", to {model.E.side} px" if isinstance(model.E, PretrainedGuiding) else ""
    rule = f"{model.config.size} px as they are, 8 bits, to -1..1{resized}"
    return FeatureNetwork("E", rule, digest.hexdigest(), run, own=True)


def resize(pixels: Tensor, side: int) -> Tensor:
    """Pixels (N, 3, S, S) in 0 to 255 at (side, side): antialiased bicubic in float, as clean-fid does with Pillow.

    Parmar et al. 2022. Values beyond 0 and 255 are clamped, nothing is rounded.
    """
    resized = F.interpolate(pixels, (side, side), mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 255)


def _inception(cache_root: Path, file: Path | None, device: torch.device) -> FeatureNetwork:
    network = load_inception(cache_root, file).to(device)

    def run(pixels: Tensor) -> Tensor:
        features: Tensor = network(RANGES["-1..1"](resize(pixels.to(device), SIDE)))
        return features

    rule = f"8 bits, antialiased bicubic (clean-fid) to {SIDE} px, to -1..1; weights {URL.rpartition('/')[2]}"
    return FeatureNetwork(INCEPTION, rule, SHA256_PREFIX, run)


def _from_file(path: Path, device: torch.device, side: int | None, pixel_range: str, size: int) -> FeatureNetwork:
    openers = {".onnx": _open_onnx, ".pt2": _open_exported}
    try:
        if path.suffix != ".onnx" and not zipfile.is_zipfile(path):
            raise ValueError("not an archive")
        network, fixed = openers.get(path.suffix, _open_torchscript)(path, device)
    except (ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # on bytes that are no network these readers raise nearly anything
        raise ValueError(
            f"{path} is no TorchScript, torch.export or ONNX network, and not FID's weights: {_short(error)}"
        ) from error
    target = side or fixed

    def run(pixels: Tensor) -> Any:
        sized = pixels if target is None else resize(pixels, target)
        features = network(RANGES[pixel_range](sized))
        pooled = isinstance(features, Tensor) and features.ndim == 4 and features.shape[2:] == (1, 1)
        return features.flatten(1) if pooled else features

    _check_output(run, path, size)
    how = "as they are (the network resizes)" if target is None else f"antialiased bicubic (clean-fid) to {target} px"
    return FeatureNetwork(path.stem, f"8 bits, {how}, to {pixel_range}", file_sha256(path), run)


def _check_output(run: Callable[[Tensor], Any], path: Path, size: int) -> None:
    """Raise ValueError unless two images give finite features (2, d)."""
    pixels = torch.arange(2.0 * 3 * size * size).remainder(256).reshape(2, 3, size, size)
    try:
        with torch.inference_mode():
            features = run(pixels)
    except Exception as error:  # what a stranger's network raises is its own affair
        raise ValueError(f"{path} does not take images (N, 3, {size}, {size}): {_short(error)}") from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2 or not features.isfinite().all():
        came = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"{path} gives {came} for 2 images; expected finite features (2, d)")


def _open_torchscript(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Any], int | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit still reads what the field has published
        network = torch.jit.load(str(path), map_location=device).eval()
    return lambda pixels: network(pixels.to(device)), None


def _open_exported(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Any], int | None]:
    logger = logging.getLogger("torch.export")  # which prints a traceback
    before, logger.disabled = logger.disabled, True
    try:
        network = torch.export.load(path).module().to(device)
    except RuntimeError as error:
        raise ValueError("no archive of torch.export, or a damaged one") from error
    finally:
        logger.disabled = before
    return lambda pixels: network(pixels.to(device)), None


def _open_onnx(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Any], int | None]:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("ONNX files need onnxruntime", name="onnxruntime") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs; expected one of each")
    (given,) = inputs
    whole = "uint8" in given.type
    fixed = given.shape[-1] if isinstance(given.shape[-1], int) else None

    def run(pixels: Tensor) -> Tensor:
        values = pixels.round().to(torch.uint8) if whole else pixels
        return torch.from_numpy(session.run(None, {given.name: values.cpu().numpy()})[0])

    return run, fixed


def _short(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join((lines or [type(error).__name__])[-1].split())[:160]
