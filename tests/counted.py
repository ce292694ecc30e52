"""How many images each network is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from open_tunit import TUNIT


@contextmanager
def counted(model: TUNIT) -> Iterator[dict[str, int]]:
    """Images through E, G's encoder and G's decoder inside `with`, all of them in inference mode."""
    parts = {"E": model.E.trunk[0], "encoder": model.G.encoder, "decoder": model.G.decoder}
    images = dict.fromkeys(parts, 0)

    def counter(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert output.is_inference()
            images[name] += len(inputs[0])

        return count

    hooks = [part.register_forward_hook(counter(name)) for name, part in parts.items()]
    try:
        yield images
    finally:
        for hook in hooks:
            hook.remove()
