"""`tunit push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def push(
    place: Annotated[Path, tyro.conf.Positional],
    name: Annotated[str, tyro.conf.Positional],
    license: str,
    private: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    no_samples: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    training_hashes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    intended_use: str | None = None,
    dry_run: Path | None = None,
) -> None:
    """Publish a model on the Hugging Face hub, with a model card.

    Args:
        place: A run (RUN: with its figures and sample grid) or a model folder.
        name: Where to, as user/name; made if it is not there.
        license: The model's licence, an identifier such as cc-by-4.0; your images may decide what it can be.
        private: Make it for your eyes only.
        no_samples: Leave out the sample grid, which shows images of your folder.
        training_hashes: Include hashes of the training images: who has an image can tell whether it was among them.
        intended_use: A sentence for the card, instead of the usual one.
        dry_run: Write the files into this new folder and upload nothing.
    """
    import tempfile

    from open_tunit.card import INTENDED_USE
    from open_tunit.interop.hub import Upload, stage
    from open_tunit.interop.hub import push as upload_folder

    upload = Upload(
        place=place,
        name=name,
        license=license,
        samples=not no_samples,
        training_hashes=training_hashes,
        intended_use=intended_use or INTENDED_USE,
    )
    if dry_run is not None:
        print(f"{', '.join(stage(upload, dry_run))} in {dry_run}; nothing uploaded")
        return
    with tempfile.TemporaryDirectory() as folder:
        files = stage(upload, Path(folder))
        print(f"{', '.join(files)} at {upload_folder(Path(folder), name, private=private)}")
