"""`tunit serve`."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def serve(model: Path, host: str = "127.0.0.1", port: int = 7860, device: str = "auto") -> None:
    """Open a page to translate pictures in; Ctrl-C ends it.

    Args:
        model: Model folder, such as RUN/model; its examples/ are what the page opens with.
        host: Address to listen at; 0.0.0.0 lets other machines in, without any password.
        port: Port to listen at.
        device: auto, cpu, cuda, cuda:1, ...
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the page needs gradio: pip install 'open-tunit[web]'")
    from open_tunit.model import TUNIT
    from open_tunit.training.device import choose_device
    from open_tunit.web.server import serve as run

    network = TUNIT.from_pretrained(model).to(choose_device(device))
    run(network, examples=model / "examples", host=host, port=port)
