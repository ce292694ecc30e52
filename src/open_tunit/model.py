"""TUNIT: the trained guiding network and generator as one thing that translates."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from open_tunit import images
from open_tunit.config import FORMAT_VERSION, Fit, Model, model_from_dict, read_model_config
from open_tunit.files import write_atomic, write_text_atomic
from open_tunit.naming import Naming, read_naming, write_naming
from open_tunit.networks.generator import Generator
from open_tunit.networks.guiding import Guidance, GuidingNetwork
from open_tunit.places import CARD, CONFIG, EXAMPLES, WEIGHTS, model_folder

Picture = str | os.PathLike[str] | Image.Image
Pictures = Picture | Sequence[Picture] | Tensor
Layers = tuple[Image.Image, Image.Image | None]
"""A picture's colours and its transparency, as `images.read_layers` gives them."""

CHUNK = 32


class TUNIT(nn.Module):
    """E, G and the domains' mean styles (Baek et al. 2021). Safe to share between threads: nothing is stashed.

    Pictures come as paths or PIL images (any size; a list for several), or as a float tensor (N, 3, S, S) in
    [-1, 1]. Paths and PIL give PIL back, in the source's shape and with its transparency; tensors give tensors.
    """

    domain_styles: Tensor
    domain_counts: Tensor

    def __init__(self, config: Model, *, fit: Fit = "crop", background: str = "#ffffff") -> None:
        super().__init__()
        self.config, self.fit, self.background = config, fit, background
        self.E = GuidingNetwork(config)
        self.G = Generator(config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("domain_styles", torch.zeros(config.domains, config.style_dim))
        self.register_buffer("domain_counts", torch.zeros(config.domains, dtype=torch.int64))
        self.about: dict[str, Any] = {}
        self.naming = Naming.plain(config.domains)

    @torch.inference_mode()
    def translate(
        self,
        source: Pictures,
        reference: Pictures | None = None,
        *,
        domain: int | str | None = None,
        strength: float = 1.0,
    ) -> Any:
        """Redraw each source in the style of its reference, or in the mean style of `domain` (number or name).

        N sources with N references (pairwise), 1 with N, or N with 1. `strength` walks from the source's own style
        (0) to the reference's (1). Returns a PIL image for one picture and one reference, a list when either is a
        list, a tensor (N, 3, S, S) for tensors. Raises ValueError, FileNotFoundError.
        """
        styles = self._target_styles(reference, domain)
        drawn = self.redraw(source, styles, strength=strength)
        one = not isinstance(source, (list, tuple, Tensor)) and not isinstance(reference, (list, tuple, Tensor))
        return drawn[0] if one else drawn

    @torch.inference_mode()
    def redraw(self, source: Pictures, styles: Tensor, *, strength: float = 1.0) -> Any:
        """Redraw each source with its style code, of `styles` (N, style_dim): N with N, 1 with N, or N with 1.

        The codes are those of `style` and `domain_style`, or mixtures; `strength` as in `translate`. Returns a list of
        PIL images, or a tensor (N, 3, S, S) for a tensor. Raises ValueError, FileNotFoundError.
        """
        x, pictures = self._tensor(source)
        count = max(len(x), len(styles))
        if not {len(x), len(styles)} <= {1, count}:
            raise ValueError(f"{len(x)} sources and {len(styles)} references do not pair; expected N and N, 1 or N")
        codes = styles.to(x).expand(count, -1)
        if strength != 1:
            codes = torch.lerp(self.style(x).expand(count, -1), codes, strength)
        output = self._decode(x, codes)
        if pictures is None:
            return output
        return [self._unfit(output[i], pictures[i if len(pictures) > 1 else 0]) for i in range(count)]

    @torch.inference_mode()
    def grid(self, sources: Pictures, references: Pictures) -> Tensor:
        """All M x N translations of M sources and N references: a tensor (M, N, 3, S, S) in [-1, 1].

        Each source is encoded once, each reference once.
        """
        styles = self.style(references)
        rows = []
        for x in self._tensor(sources)[0]:
            content = self.G.encode(x[None])
            rows.append(_chunked(lambda s, c=content: self.G.decode(c.expand(len(s), -1, -1, -1), s), styles))
        return torch.stack(rows)

    def squares(self, pictures: Pictures) -> Tensor:
        """N pictures as the networks see them: (N, 3, S, S) in [-1, 1]."""
        return self._tensor(pictures)[0]

    @torch.inference_mode()
    def style(self, pictures: Pictures) -> Tensor:
        """The style codes (N, style_dim) of N pictures."""
        return self._guidance(pictures).style

    @torch.inference_mode()
    def domains(self, pictures: Pictures) -> Tensor:
        """The probabilities (N, K) of N pictures belonging to each domain.

        Domains that the user merged (domains.yaml) count at the smallest of their numbers, the others have 0.
        """
        return self._probabilities(self._guidance(pictures))

    @torch.inference_mode()
    def measure_domains(self, batches: Iterable[Tensor]) -> None:
        """Set each domain's mean style and count from batches of images (N, 3, S, S)."""
        styles = torch.zeros_like(self.domain_styles, dtype=torch.float64)
        counts = torch.zeros_like(self.domain_counts)
        for batch in batches:
            guidance = self._guidance(batch)
            labels = self._probabilities(guidance).argmax(dim=1)
            member = nn.functional.one_hot(labels, self.config.domains)  # (N, K)
            styles += member.T.to(styles) @ guidance.style.to(styles)
            counts += member.sum(dim=0)
        self.domain_styles.copy_(styles / counts.clamp(min=1)[:, None])
        self.domain_counts.copy_(counts)

    def domain_style(self, domain: int | str) -> Tensor:
        """The mean style (style_dim,) of a domain; ValueError when there is no such domain or it is empty."""
        number = self.naming.number(domain)
        if not self.domain_counts[number]:
            raise ValueError(f"domain {domain} has no mean style: no training image was sorted into it")
        return self.domain_styles[number]

    def name_domains(self, naming: Naming) -> None:
        """Call the domains by the user's names, and count those that are merged as one from now on."""
        self.naming = naming
        styles, counts = naming.merged_means(self.domain_styles, self.domain_counts)
        self.domain_styles.copy_(styles)
        self.domain_counts.copy_(counts)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        card: str | None = None,
        examples: Sequence[Image.Image] = (),
        half: bool = False,
    ) -> None:
        """Write config.json, model.safetensors, domains.yaml where domains are named; given them, README.md, examples/.

        `card` is the README, and `examples` become examples/0.png, ... With `half` the weights take half the room, in
        float16; loaded, they are float32 again. Each file is whole or absent.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        if half:
            tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
        values = {
            "format_version": FORMAT_VERSION,
            "model": dataclasses.asdict(self.config),
            "fit": self.fit,
            "background": self.background,
            "about": self.about,
        }
        write_atomic(target / WEIGHTS, lambda path: safetensors.torch.save_file(tensors, path))
        write_text_atomic(target / CONFIG, json.dumps(values, indent=1) + "\n")
        write_naming(target, self.naming)
        if card is not None:
            write_text_atomic(target / CARD, card)
        for index, example in enumerate(examples):
            (target / EXAMPLES).mkdir(exist_ok=True)
            images.save_image(example, target / EXAMPLES / f"{index}.png")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], *, revision: str | None = None) -> TUNIT:
        """The model of a folder that `save_pretrained` wrote (a run's `model/`), in eval mode on the CPU.

        `folder` may be `critters`, the model that comes with the package, or a hub id, `user/name`, with `revision` its
        branch, tag or commit; a model folder of that name here comes first. Nothing in the files is run. Raises
        FileNotFoundError when it is not there, ValueError when it is damaged or of a newer version.
        """
        source = model_folder(folder, revision=revision)
        where = str(source / CONFIG)
        values = read_model_config((source / CONFIG).read_text(encoding="utf-8"), where)
        model = cls(model_from_dict(values["model"]), fit=values["fit"], background=values["background"])
        model.about = values.get("about", {})
        try:
            model.load_state_dict(safetensors.torch.load_file(source / WEIGHTS))
        except (safetensors.SafetensorError, RuntimeError) as error:
            detail = " ".join(str(error).split())[:160]
            raise ValueError(f"{source / WEIGHTS} is not this model's safetensors file: {detail}") from error
        model.name_domains(read_naming(source, model.config.domains))
        return model.eval()

    def _target_styles(self, reference: Pictures | None, domain: int | str | None) -> Tensor:
        if reference is not None and domain is None:
            return self.style(reference)
        if domain is not None and reference is None:
            return self.domain_style(domain)[None]
        raise ValueError("translate needs a reference or a domain, and not both")

    def _probabilities(self, guidance: Guidance) -> Tensor:
        return self.naming.merged(guidance.logits.softmax(dim=1))

    def _decode(self, x: Tensor, styles: Tensor) -> Tensor:
        if len(x) == 1:
            content = self.G.encode(x)
            return _chunked(lambda s: self.G.decode(content.expand(len(s), -1, -1, -1), s), styles)
        return _chunked(self.G, x, styles)

    def _guidance(self, pictures: Pictures) -> Guidance:
        x, _ = self._tensor(pictures)
        parts = [self.E(part) for part in x.split(CHUNK)]
        return Guidance(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _tensor(self, pictures: Pictures) -> tuple[Tensor, list[Layers] | None]:
        """Images (N, 3, S, S) on the model's device, and the layers they came from (None for a tensor)."""
        weight = self.domain_styles
        size = self.config.size
        if isinstance(pictures, Tensor):
            if pictures.ndim != 4 or pictures.shape[1:] != (3, size, size) or not pictures.is_floating_point():
                raise ValueError(
                    f"the tensor is {pictures.dtype} {tuple(pictures.shape)}; expected float (N, 3, {size}, {size})"
                )
            return pictures.to(weight), None
        several: Sequence[Picture] = pictures if isinstance(pictures, (list, tuple)) else [pictures]  # type: ignore[list-item]
        if not several:
            raise ValueError("the list of pictures is empty")
        opened = [images.read_layers(picture, background=self.background) for picture in several]
        fitted = [images.to_tensor(images.fit(colours, size, self.fit, self.background)) for colours, _ in opened]
        return torch.stack(fitted).to(weight), opened

    def _unfit(self, output: Tensor, original: Layers) -> Image.Image:
        colours, transparency = original
        drawn = images.unfit(images.to_pil(output), colours.size, self.fit, colours)
        if transparency is not None:
            drawn.putalpha(transparency)
        return drawn


def _chunked(function: Any, *tensors: Tensor) -> Tensor:
    return torch.cat([function(*parts) for parts in zip(*(t.split(CHUNK) for t in tensors), strict=True)])
