"""A model folder from the hub, kept in the hub's own cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a hub id, `user/name`."""
    return HUB_ID.fullmatch(name) is not None


def download(name: str, needed: Sequence[str], *, optional: Sequence[str] = (), revision: str | None = None) -> Path:
    """The folder that holds these files of the hub's model `name`, all of one revision (None = main); fetched once.

    Where the hub cannot be reached, what the cache has of that revision. Raises FileNotFoundError, saying why.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ModuleNotFoundError as error:
        raise FileNotFoundError(
            f"{name} is no folder here; if it is a model on the hub, pip install huggingface_hub"
        ) from error
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*needed, *optional]))
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{name} is neither a folder here nor a model on the hub (for a private one: hf auth login)"
        ) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(f"{name} on the hub has no revision {revision}") from error
    except Exception as error:  # which HTTP library it uses, and so what that raises, changes with its versions
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].removeprefix("Got: ")
        raise FileNotFoundError(f"{name} is no folder here and cannot be had from the hub: {reason}") from None
    missing = [file for file in needed if not (folder / file).is_file()]
    if missing:
        raise FileNotFoundError(f"{name} on the hub is not a model of open-tunit: it has no {', '.join(missing)}")
    return folder
