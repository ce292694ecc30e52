"""`tunit serve`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from open_tunit.cli.models import USUAL, open_model
from open_tunit.model_files.places import EXAMPLES, bundled_names, is_bundled, model_folder


def serve(
    model: Path = USUAL,
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: str | None = None,
    device: str = "auto",
) -> None:
    """Open a page to translate pictures in; Ctrl-C ends it.

    Args:
        model: Model folder, such as RUN/model, a hub id, or a bundled checkpoint; with a bundled one, all bundled
            models are served. Its examples/ open the page.
        host: Address to listen at; 0.0.0.0 lets other machines in.
        port: Port to listen at.
        auth: USER:PASSWORD that visitors must give (HTTP Basic; not encrypted by itself).
        device: auto, cpu, cuda, cuda:1, ...
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the page needs gradio: pip install -e '.[web]' in open-tunit's folder brings it")
    from open_tunit.web.server import serve as run

    shown = [model]
    if is_bundled(model):
        shown += [Path(name) for name in bundled_names() if Path(name) != model and is_bundled(name)]
    models = {place.name: (open_model(place, device), model_folder(place) / EXAMPLES) for place in shown}
    run(models, host=host, port=port, auth=auth)
