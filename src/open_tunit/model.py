"""TUNIT: the trained guiding network and generator as one thing that translates."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from open_tunit.domain_styles import SPREADS, TYPICAL, DomainStyles
from open_tunit.files import write_text_atomic
from open_tunit.media import images
from open_tunit.media.pictures import (
    Frame,
    Mask,
    Opened,
    Picture,
    Pictures,
    counted_pixels,
    listed,
    open_picture,
    to_redraw,
)
from open_tunit.model_files.model_config import ModelConfig, read_model_config, write_model_config
from open_tunit.model_files.naming import read_naming, write_naming
from open_tunit.model_files.places import CARD, CONFIG, EXAMPLES, WEIGHTS, model_folder
from open_tunit.model_files.weights import ShapesOnly, read_weights, write_weights
from open_tunit.networks.generator import Generator
from open_tunit.networks.guides import guiding_network
from open_tunit.networks.guiding import Guidance
from open_tunit.networks.inference import guidance, redrawn
from open_tunit.networks.style_code import Colours, Strength, Strengths, needs_own, strengths
from open_tunit.parts import groups
from open_tunit.settings.config import Fit, Model

SQUARES_AT_ONCE = 256
"""Of a list of pictures that E sees."""
FARTHEST = 2.0
"""From 0, of a tensor's values: resampling goes a little beyond [-1, 1], values of 0 to 255 go far."""


class TUNIT(DomainStyles):
    """E, G and the domains' styles (Baek et al. 2021). Safe to share between threads: nothing is stashed.

    Pictures come as paths or PIL images (any size; a list for several), read already or not (`open`), or as a float
    tensor (N, 3, S, S) in [-1, 1]. Those give PIL back, in the source's shape and with its transparency; tensors give
    tensors. Any number is computed in parts that the memory holds.
    """

    in_bfloat16: bool = False
    """Whether G and the style codes are computed in bfloat16; domains never are. Results are float32 all the same."""

    def __init__(self, config: Model, *, fit: Fit = "crop", background: str = "#ffffff") -> None:
        super().__init__(config)
        self.fit, self.background = fit, background
        self.E = guiding_network(config)
        self.G = Generator(config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.about: dict[str, Any] = {}

    @torch.inference_mode()
    def translate(
        self,
        source: Pictures,
        reference: Pictures | None = None,
        *,
        domain: int | str | None = None,
        samples: int | None = None,
        seed: int = 0,
        strength: float = 1.0,
        colours: Colours | None = None,
        whole: bool = False,
        mask: Mask | Sequence[Mask] | None = None,
    ) -> Any:
        """Redraw each source in the style of its reference, or in the typical style of `domain` (number or name).

        N sources with N references (pairwise), 1 with N, or N with 1; `samples` styles of the domain, drawn by the
        `seed`, count as so many references. `strength` walks from the source's own style (0) to the reference's (1).
        `colours` are the `source`'s own; "reference" gives the source itself its translation's; or a strength for them.
        With `whole` all of a picture is redrawn, not its middle square. A `mask`, for all sources or one each, is white
        where they are redrawn, grey where both are mixed, and black where each pixel stays the source's; "alpha" stands
        for the source's own alpha channel.

        Returns a PIL image for one picture and one reference, a list when there may be several of either, a tensor
        (N, 3, S, S) for tensors. Raises ValueError, FileNotFoundError.
        """
        walk = strengths(strength, colours)
        styles = self.target_styles(reference, domain, samples, seed)
        drawn = self.redraw(to_redraw(source, whole=whole, mask=mask), styles, strength=walk)
        several = (list, tuple, Tensor)
        one = samples is None and not isinstance(source, several) and not isinstance(reference, several)
        return drawn[0] if one else drawn

    @torch.inference_mode()
    def redraw(self, source: Pictures, styles: Tensor, *, strength: Strength = 1.0) -> Any:
        """Redraw each source with its style code, of `styles` (N, style_dim): N with N, 1 with N, or N with 1.

        The codes are those of `style`, `domain_style` and `sample_styles`, or mixtures; `strength` as in `translate`.
        Returns a list of PIL images, or a tensor (N, 3, S, S) for a tensor. Raises ValueError, FileNotFoundError.
        """
        several = source if isinstance(source, Tensor) else listed(source)
        count = max(len(several), len(styles))
        if not {len(several), len(styles)} <= {1, count}:
            raise ValueError(
                f"{len(several)} sources and {len(styles)} references do not pair; expected N and N, 1 or N"
            )
        codes = styles.expand(count, -1)
        codes = codes[None] if len(several) == 1 else codes[:, None]  # (1, N, D) or (N, 1, D)
        if isinstance(several, Tensor):
            return torch.cat(list(self._drawn(self._checked(several), codes, strength)))
        return list(self._redrawn(several, codes, strength))

    @torch.inference_mode()
    def redraw_all(
        self, sources: Sequence[Picture], styles: Tensor, *, strength: Strength = 1.0
    ) -> Iterator[Image.Image]:
        """All M x N translations of M pictures with N style codes (N, style_dim), the first picture's first.

        They are given out as they are drawn, so that the memory grows neither with M nor with N. Each picture is read
        and encoded once. `strength` and errors as in `redraw`.
        """
        yield from self._redrawn(sources, styles.expand(len(sources), -1, -1), strength)

    @torch.inference_mode()
    def grid(self, sources: Pictures, references: Pictures) -> Tensor:
        """All M x N translations of M sources and N references: a tensor (M, N, 3, S, S) in [-1, 1].

        Each source is encoded once, each reference once.
        """
        styles = self.style(references)
        x = self.squares(sources)
        drawn = torch.cat(list(self._drawn(x, styles.expand(len(x), -1, -1))))
        return drawn.reshape(len(x), len(styles), *x.shape[1:])

    def open(self, picture: Picture) -> Opened:
        """The picture, read and brought to the model's size: what takes time and needs no network.

        Raises FileNotFoundError, UnreadableImage, RefusedPicture (ValueErrors).
        """
        multiple = 2**self.config.halvings
        frame = Frame(size=self.config.size, fit=self.fit, background=self.background, multiple=multiple)
        return open_picture(picture, frame)

    def squares(self, pictures: Pictures) -> Tensor:
        """N pictures as the networks see them: (N, 3, S, S) in [-1, 1], on the model's device."""
        if isinstance(pictures, Tensor):
            return self._checked(pictures)
        return torch.stack([self.open(picture).square for picture in listed(pictures)]).to(self.domain_styles)

    @torch.inference_mode()
    def style(self, pictures: Pictures) -> Tensor:
        """The style codes (N, style_dim) of N pictures."""
        return self._guidance(pictures, half=self.in_bfloat16).style

    @torch.inference_mode()
    def domains(self, pictures: Pictures) -> Tensor:
        """The probabilities (N, K) of N pictures belonging to each domain.

        Domains that the user merged (domains.yaml) count at the smallest of their numbers, the others have 0.
        """
        return self._probabilities(self._guidance(pictures))

    @torch.no_grad()
    def measure_domains(self, batches: Iterable[Tensor], *, nearest: bool = False) -> None:
        """`take_domain_styles` of batches of images (N, 3, S, S)."""
        seen = [self._guidance(batch) for batch in batches]
        domains = torch.cat([self._probabilities(guidance).argmax(dim=1) for guidance in seen])
        self.take_domain_styles(torch.cat([guidance.style for guidance in seen]), domains, nearest=nearest)

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
        # a pretrained trunk's weights are numbers of half precision already
        halved = "" if half else "E.trunk." if self.config.trunk != "vgg11" else None
        write_weights(target / WEIGHTS, self.state_dict(), halved=halved)
        write_model_config(
            target / CONFIG, ModelConfig(self.config, self.fit, self.background, self.about, self.naming.labels)
        )
        write_naming(target, self.naming)
        if card is not None:
            write_text_atomic(target / CARD, card)
        for index, example in enumerate(examples):
            (target / EXAMPLES).mkdir(exist_ok=True)
            images.save_image(example, target / EXAMPLES / f"{index}.png")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], *, revision: str | None = None) -> TUNIT:
        """The model of a folder that `save_pretrained` wrote (a run's `model/`), in eval mode on the CPU.

        `folder` may be a bundled checkpoint's name (`critters`), or a hub id, `user/name`, with `revision` its
        branch, tag or commit; a model folder of that name here comes first. Nothing in the files is run. Raises
        FileNotFoundError when it is not there, ValueError when it is damaged or of a newer version.
        """
        source = model_folder(folder, revision=revision)
        config = read_model_config(source / CONFIG)
        naming = read_naming(source, config.model.domains, config.labels)
        with ShapesOnly():
            shapes = cls(config.model)
            optional = {SPREADS: torch.empty(shapes.spreads_shape), TYPICAL: torch.empty(shapes.domain_styles.shape)}
        weights = read_weights(source / WEIGHTS, shapes.state_dict(), optional=optional)
        model = cls(config.model, fit=config.fit, background=config.background)
        model.about = config.about
        for name in weights.keys() & optional.keys():
            setattr(model, name, torch.empty(weights[name].shape))
        model.load_state_dict(weights)
        model.name_domains(naming)
        return model.eval()

    def target_styles(
        self, reference: Pictures | None, domain: int | str | None, samples: int | None = None, seed: int = 0
    ) -> Tensor:
        """Style codes (N, style_dim) of N references, of N samples of a domain, or its typical one: as `translate`."""
        if reference is not None and domain is None:
            if samples is not None:
                raise ValueError(f"samples is {samples}, and there is a reference; a domain's styles are sampled")
            return self.style(reference)
        if domain is None or reference is not None:
            raise ValueError("translate needs a reference or a domain, and not both")
        return self.domain_style(domain)[None] if samples is None else self.sample_styles(domain, samples, seed=seed)

    def _probabilities(self, guidance: Guidance) -> Tensor:
        return self.naming.merged(guidance.logits.softmax(dim=1))

    def _redrawn(self, sources: Sequence[Picture], codes: Tensor, strength: Strength) -> Iterator[Image.Image]:
        """M pictures, each with its N style codes (M, N, D): the M * N translations, few pictures in memory at once."""
        rest = iter(codes)
        for group in groups(map(self.open, sources), lambda opened: opened.pixels):
            theirs = torch.stack(list(itertools.islice(rest, len(group))))
            yield from self._redrawn_group(group, theirs, strength)
            del group  # so that it is freed before the next one is read

    def _redrawn_group(self, group: list[Opened], codes: Tensor, strength: Strength) -> Iterator[Image.Image]:
        own = self._own(self.squares(group)) if needs_own(strength) else None
        codes, start = codes.to(self.domain_styles), 0
        for _, alike in itertools.groupby(group, lambda opened: opened.content.shape):
            some = list(alike)
            theirs = slice(start, start + len(some))
            x = torch.stack([opened.content for opened in some]).to(codes)
            parts = redrawn(
                self.G,
                x,
                None if own is None else own[theirs],
                codes[theirs],
                strength,
                half=self.in_bfloat16,
                counted=counted_pixels(some) if isinstance(strength, Strengths) else None,
            )
            drawn = itertools.chain.from_iterable(parts)
            for original in some:
                yield from map(original.with_output, itertools.islice(drawn, codes.shape[1]))
            start = theirs.stop

    def _drawn(self, x: Tensor, codes: Tensor, strength: Strength = 1.0) -> Iterator[Tensor]:
        """M squares (M, 3, S, S), each with its N style codes (M, N, D): the M * N translations, in parts."""
        own = self._own(x) if needs_own(strength) else None
        return redrawn(self.G, x, own, codes.to(self.domain_styles), strength, half=self.in_bfloat16)

    def _own(self, squares: Tensor) -> Tensor:
        """The squares' own style codes (M, 1, D)."""
        return self.style(squares)[:, None]

    def _guidance(self, pictures: Pictures, *, half: bool = False) -> Guidance:
        """E's outputs for N pictures, `half` in bfloat16."""
        if isinstance(pictures, Tensor):
            some: Iterable[Tensor] = [self._checked(pictures)]
        else:
            several = listed(pictures)
            starts = range(0, len(several), SQUARES_AT_ONCE)
            some = (self.squares(several[start : start + SQUARES_AT_ONCE]) for start in starts)
        return guidance(self.E, some, width=self.config.guiding_width, half=half)

    def _checked(self, x: Tensor) -> Tensor:
        """Images (N, 3, S, S), on the model's device."""
        size = self.config.size
        if x.ndim != 4 or x.shape[1:] != (3, size, size) or not x.is_floating_point():
            raise ValueError(f"the tensor is {x.dtype} {tuple(x.shape)}; expected float (N, 3, {size}, {size})")
        if not len(x):
            raise ValueError("the tensor holds no images")
        low, high = (float(value) for value in x.aminmax())
        if not -FARTHEST <= low <= high <= FARTHEST:
            raise ValueError(
                f"the tensor has values from {low:g} to {high:g}; expected -1 to 1 (0 to 255: x / 127.5 - 1)"
            )
        return x.to(self.domain_styles)
