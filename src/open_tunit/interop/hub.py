"""A model onto the hub: its files, its card, and nothing of the training folder that need not be known."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

from open_tunit.card import (
    INTENDED_USE,
    Publication,
    own_held_out,
    published_card,
    without_path,
)
from open_tunit.files import read_json, write_atomic, write_text_atomic
from open_tunit.model import TUNIT
from open_tunit.model_files.hub_download import is_hub_id
from open_tunit.model_files.places import MODEL, TRAINING_HASHES
from open_tunit.runs import CONFIG, METRICS, SAMPLES, Run
from open_tunit.settings.config import Config

PICTURE = "samples.png"
LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


class HubError(ValueError):
    """The hub cannot be reached or refuses; the message says what it said."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upload:
    """What is published, and as what."""

    place: Path
    """A run, or a model folder."""
    name: str
    """user/name"""
    license: str
    """One of the hub's identifiers, such as cc-by-4.0 or apache-2.0."""
    intended_use: str = INTENDED_USE
    samples: bool = True
    """With the run's newest sample grid, which shows training or held-out images."""
    training_hashes: bool = False
    """With the training images' hashes, by which anyone who has an image can tell whether it was trained on."""

    def __post_init__(self) -> None:
        if not is_hub_id(self.name):
            raise ValueError(f"{self.name!r} is no hub id; expected user/name")
        if not LICENSE.fullmatch(self.license):
            raise ValueError(f"license is {self.license!r}; expected an identifier such as cc-by-4.0 or apache-2.0")


def stage(upload: Upload, folder: Path) -> list[str]:
    """Write what will be uploaded into the new folder `folder`; returns its file names.

    Names of the training folder's unreadable files are left out, and hashes of its images unless they are asked for.
    Figures are taken along only where they are of this very model, and of held-out images of its own data. Raises what
    TUNIT.from_pretrained raises, and ValueError where `folder` holds anything.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(f"{folder} exists already and is not an empty folder; name another")
    run = upload.place if (upload.place / CONFIG).is_file() else None
    model = TUNIT.from_pretrained(upload.place / MODEL if run else upload.place)
    config = Config.from_yaml((run / CONFIG).read_text(encoding="utf-8")) if run else None
    if "data" in model.about:
        model.about["data"].pop("unreadable", None)
        if not upload.training_hashes:
            model.about["data"].pop(TRAINING_HASHES, None)
    metrics = _metrics(run, config, model) if run and config else None
    picture, caption = _samples(run) if run and upload.samples else (None, "")
    card = Publication(
        name=upload.name,
        license=upload.license,
        intended_use=upload.intended_use,
        metrics=metrics,
        picture=PICTURE if picture else None,
        caption=caption,
        domain_names=model.naming.names,
    )
    model.save_pretrained(folder, card=published_card(model.config, model.about, card, run=config))
    if picture:
        write_atomic(folder / PICTURE, lambda path: shutil.copyfile(picture, path))
    if metrics:
        write_text_atomic(folder / METRICS, json.dumps(metrics, indent=1) + "\n")
    return sorted(path.name for path in folder.iterdir())


def push(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload a staged folder as one commit to the hub's model `name`, made where it is not there; returns its address.

    Uses the account of `hf auth login`. Raises HubError.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        address = api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload with open-tunit")
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = "; log in with an account that may write there: hf auth login" if status in (401, 403) else ""
        raise HubError(f"the hub refuses {name}: {_line(error)}{hint}") from error
    except Exception as error:  # which HTTP library it uses, and so what that raises, changes with its versions
        raise HubError(f"{name} cannot be uploaded: {_line(error)}") from error
    return str(getattr(address, "repo_url", address))


def _metrics(run: Path, config: Config, model: TUNIT) -> dict[str, Any] | None:
    """The run's figures of its own held-out images, when its model has not been trained on since."""
    values = read_json(run / METRICS)
    mine = values.get("steps") == model.about.get("step") and own_held_out(config, model.about, values)
    return without_path(values) if mine else None


def _samples(run: Path) -> tuple[Path | None, str]:
    """The newest sample grid and what it shows."""
    pictures = sorted((run / SAMPLES).glob("[0-9]*.png"))
    log = Run(run).log()
    if not pictures or not log:
        return None, ""
    if log[-1]["phase"] == "guiding":
        return pictures[-1], "Each row is a domain."
    return (
        pictures[-1],
        "Top row: references. Left column: sources. After the gap: each source in the domains' typical styles.",
    )


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
