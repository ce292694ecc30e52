"""Model folders and checkpoints from strangers: nothing in them may run, fill the memory, or end in a traceback."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from cases import Outcome, Place, command, ended
from stopped_runs import straight

Random = np.random.Generator
Spoil = Callable[[Path, Random, Path], None]
"""Changes a good model folder; the path is that of a file which code in it would make."""
HUGE = 2**40


class Harmful:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.canary}'",)


def tried(place: Place, random: Random, number: int) -> Outcome:
    """One model folder, spoilt, to the commands that read it."""
    model, canary, out = place.fresh("model"), place.fresh("canary"), place.fresh("out")
    shutil.copytree(straight(place)[0] / "model", model)
    spoil = SPOILT[number % len(SPOILT)]
    spoil(model, random, canary)
    source, reference, *_ = place.some_pictures()
    sessions = [
        ended(command("info", model)),
        ended(command("translate", "--model", model, "--source", source, "--reference", reference, "--out", out)),
        ended(command("import-official", model / "model.safetensors", "--out", place.fresh("imported"))),
    ]
    faults = [fault for each in sessions for fault in each.faults(0, 2)]
    if canary.exists():
        faults.append("code was run")
    return Outcome(kind=spoil.__name__.strip("_"), ended=sessions, faults=faults)


def _pickled_weights(model: Path, random: Random, canary: Path) -> None:
    (model / "model.safetensors").write_bytes(pickle.dumps(Harmful(canary)))


def _pickled_checkpoint(model: Path, random: Random, canary: Path) -> None:
    torch.save({"epoch": 3, "E_EMA_state_dict": Harmful(canary)}, model / "model.safetensors")


def _pickled_config(model: Path, random: Random, canary: Path) -> None:
    (model / "config.json").write_bytes(pickle.dumps(Harmful(canary)))


def _yaml_object(model: Path, random: Random, canary: Path) -> None:
    text = f"!!python/object/apply:os.system ['touch {canary}']\n"
    for name in ("config.json", "domains.yaml"):
        (model / name).write_text(text)
    if random.random() < 0.5:
        shutil.copy(model / "domains.yaml", model / "config.json")


def _yaml_names(model: Path, random: Random, canary: Path) -> None:
    (model / "domains.yaml").write_text(f"names: !!python/object/apply:os.system ['touch {canary}']\n")


def _yaml_aliases(model: Path, random: Random, canary: Path) -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{here}: &{here} [{','.join([f'*{before}'] * 9)}]" for before, here in itertools.pairwise("abcdefgh")]
    (model / ("config.json", "domains.yaml")[int(random.integers(2))]).write_text("\n".join(lines))


def _huge_shape(model: Path, random: Random, canary: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    name = random.choice(["size", "domains", "style_dim", "generator_width", "generator_blocks", "guiding_width"])
    config["model"][name] = int(random.choice([HUGE, 10**9, 2**15, -1, 0]))
    (model / "config.json").write_text(json.dumps(config))


def _strange_value(model: Path, random: Random, canary: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    values: list[Any] = [None, [], {}, "x" * 10**6, 1e308, True, "../../etc/passwd", [[[]]] * 1000, "\u202e\0"]
    section = config["model"] if random.random() < 0.5 else config
    section[str(random.choice(list(section)))] = values[int(random.integers(len(values)))]
    (model / "config.json").write_text(json.dumps(config))


def _nested_json(model: Path, random: Random, canary: Path) -> None:
    (model / "config.json").write_text("[" * int(random.integers(10**3, 10**5)))


def _large_json(model: Path, random: Random, canary: Path) -> None:
    with (model / "config.json").open("w") as file:
        file.write('{"format_version": 2, "x": "')
        file.truncate(int(random.integers(2**20, 2**32)))


def _lying_header(model: Path, random: Random, canary: Path) -> None:
    path = model / "model.safetensors"
    body = path.read_bytes()
    length = int(random.choice([0, 1, 2**31, HUGE, 2**63 - 1, len(body)]))
    path.write_bytes(length.to_bytes(8, "little") + body[8:])


def _huge_tensor(model: Path, random: Random, canary: Path) -> None:
    path = model / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    name = str(random.choice(list(tensors)))
    header = {name: {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)


def _other_tensors(model: Path, random: Random, canary: Path) -> None:
    path = model / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    name = str(random.choice(list(tensors)))
    change = int(random.integers(4))
    if change == 0:
        del tensors[name]
    elif change == 1:
        tensors[name] = torch.zeros(3, 1, 4)
    elif change == 2:
        tensors["../" + name] = torch.zeros(1)
    else:
        tensors[name] = tensors[name].to(torch.complex64)
    safetensors.torch.save_file(tensors, path)


def _no_numbers(model: Path, random: Random, canary: Path) -> None:
    path = model / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    name = str(random.choice([key for key, value in tensors.items() if value.is_floating_point()]))
    tensors[name] = torch.full_like(tensors[name], float(random.choice([np.nan, np.inf, 1e38])))
    safetensors.torch.save_file(tensors, path)


def _other_bytes(model: Path, random: Random, canary: Path) -> None:
    path = model / ("config.json", "model.safetensors")[int(random.integers(2))]
    content = bytearray(path.read_bytes())
    for place in random.integers(0, min(len(content), 4096), int(random.integers(1, 40))):
        content[place] = int(random.integers(256))
    path.write_bytes(content)


def _cut(model: Path, random: Random, canary: Path) -> None:
    path = model / ("config.json", "model.safetensors")[int(random.integers(2))]
    os.truncate(path, int(random.integers(path.stat().st_size)))


def _pointer(model: Path, random: Random, canary: Path) -> None:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 3137560\n"
    (model / ("config.json", "model.safetensors")[int(random.integers(2))]).write_text(text)


def _link(model: Path, random: Random, canary: Path) -> None:
    path = model / ("config.json", "model.safetensors", "domains.yaml")[int(random.integers(3))]
    path.unlink(missing_ok=True)
    path.symlink_to(str(random.choice(["/dev/zero", "/dev/null", "/nowhere", "/proc/self/mem", "."])))


SPOILT: list[Spoil] = [
    _pickled_weights, _pickled_checkpoint, _pickled_config, _yaml_object, _yaml_names, _yaml_aliases, _huge_shape,
    _strange_value, _nested_json, _large_json, _lying_header, _huge_tensor, _other_tensors, _no_numbers, _other_bytes,
    _cut, _pointer, _link,
]  # fmt: skip
