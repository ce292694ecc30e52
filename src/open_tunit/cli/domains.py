"""`tunit domains`."""

from __future__ import annotations

from pathlib import Path


def domains(model: Path, data: Path, out: Path, device: str = "auto") -> None:
    """Sort a folder of pictures into the model's domains: domains.csv and a contact sheet per domain.

    Args:
        model: Model folder, such as RUN/model.
        data: Folder of pictures.
        out: Folder for domains.csv (file, domain, probability) and domain0.png, domain1.png, ...
        device: auto, cpu, cuda, cuda:1, ...
    """
    from open_tunit.evaluation.sorting import sort_folder
    from open_tunit.model import TUNIT
    from open_tunit.training.device import choose_device

    counts, unreadable = sort_folder(TUNIT.from_pretrained(model).to(choose_device(device)), data, out)
    for path, reason in unreadable:
        print(f"left out {path}: {reason}")
    print("images per domain: " + ", ".join(f"{k}: {count}" for k, count in enumerate(counts)))
    print(f"table and contact sheets in {out}")
