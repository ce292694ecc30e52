"""Very large folders translated on Ray Data: actors hold the model, the command schedules, and a restart goes on."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import logging
import os
import pickle
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch

from open_tunit.model import TUNIT
from open_tunit.networks.style_code import Strength
from open_tunit.scale.chunks import Outcome, Worker
from open_tunit.scale.jobs import Job, begin
from open_tunit.settings.config import Precision
from open_tunit.translation.references import Asked

REPORT_SECONDS = 10
"""Between two lines of progress, each with a part of the manifest: what a killed command does twice."""

ANSWER_SECONDS = 10
"""In which a cluster takes a connection."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Translated:
    """What became of the sources."""

    now: int
    """Translated by this call."""
    before: int
    """Translated by earlier ones."""
    dead: dict[str, str]
    """Source -> why it was left out."""
    seconds: float
    """Of this call's translations, with the start of the actors and without that of Ray."""
    actors: int
    pattern: str | None
    """Names the shards of the results, as `train --data` takes it; None where they are files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Actors:
    """How many processes hold the model, and what each of them computes with."""

    count: int
    device: str
    threads: int
    cpus: int
    """That Ray keeps for each, where it keeps no GPU."""


def translate_on_ray(
    model: TUNIT,
    source: str,
    out: str,
    asked: Asked,
    *,
    strength: Strength = 1.0,
    whole: bool = False,
    mask: str | None = None,
    overwrite: bool = False,
    shards: bool = False,
    device: str = "auto",
    precision: Precision = "float32",
    tell: Callable[[str], object] = print,
) -> Translated:
    """Translate the folder, URL or shards `source` into the folder or URL `out`, as `translate_files`, on Ray Data.

    Ray is the cluster that RAY_ADDRESS names or that runs on this machine, else it is started for this call. Each actor
    computes with a GPU, or with as many threads as this process would: on the same hardware the results have the same
    bytes as those of `translate_files`. OUT/manifest tells what is done: the same call goes on from there, and tries
    again what was left out (OUT/dead-letters.jsonl); with `overwrite` it begins anew. With `shards` the results go into
    WebDataset shards, OUT/000000.tar and so on, with an index beside each, as `tunit shard` writes them.

    Raises ModuleNotFoundError without Ray, ValueError, FileNotFoundError, OSError.
    """
    ray: Any = importlib.import_module("ray")
    importlib.import_module("ray.data")
    job = begin(
        model, source, out, asked, strength=strength, whole=whole, mask=mask, overwrite=overwrite, shards=shards,
        precision=precision, warn=lambda error: tell(f"warning: {error}"),
    )  # fmt: skip
    before = job.sources - job.left
    if before:
        tell(f"{before:,} of {job.sources:,} sources are done already")
    now, seconds, count = 0, 0.0, 0
    try:
        if job.parts:
            with _running(ray):
                actors = _actors(ray.nodes(), device, most=len(job.parts))
                begun, count = time.perf_counter(), actors.count
                with closing(_outcomes(ray, job, model, actors, precision)) as outcomes:  # before Ray is stopped
                    now = _take(outcomes, job, tell)
                seconds = time.perf_counter() - begun
    finally:
        job.manifest.flush()
    dead = job.manifest.dead
    if not job.manifest.done:
        raise ValueError("nothing was translated: {} {}".format(*min(dead.items())))
    job.finish()
    return Translated(now=now, before=before, dead=dead, seconds=seconds, actors=count, pattern=job.pattern)


@contextmanager
def _running(ray: Any) -> Iterator[None]:
    """Ray within, quiet: the cluster that there is, or one on this machine, stopped afterwards. Raises OSError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    begins = not ray.is_initialized()
    if begins:
        _check_address(os.environ.get("RAY_ADDRESS", ""))
        try:
            ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        except RuntimeError as error:  # such as a cluster with another version
            raise OSError(f"Ray cannot be used: {' '.join(str(error).split())}") from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if begins:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Raise OSError where a cluster's address does not answer, of which Ray would go on asking for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not port.isdigit():  # auto, local or none
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise OSError(f"RAY_ADDRESS is {address}, where no Ray answers: {error.strerror or error}") from error


def _actors(nodes: list[dict[str, Any]], device: str, *, most: int) -> Actors:
    """As many actors as the cluster's nodes have GPUs, or as many cores as this process has threads; at most `most`.

    Raises ValueError for a device that no actor could have.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device}; on Ray it is auto, cpu or cuda, and each actor has a GPU of its own")
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    gpus, threads = int(sum(node.get("GPU", 0) for node in resources)), torch.get_num_threads()
    if device == "cuda" and not gpus:
        raise ValueError("device is cuda, and Ray has no GPU; give --device cpu")
    if gpus and device != "cpu":
        return Actors(count=min(most, gpus), device="cuda", threads=threads, cpus=0)
    cores = [int(node.get("CPU", 0)) for node in resources]
    cpus = max(1, min(threads, max(cores)))
    count = max(1, sum(its // cpus for its in cores))
    return Actors(count=min(most, count), device="cpu", threads=threads, cpus=cpus)


def _outcomes(ray: Any, job: Job, model: TUNIT, actors: Actors, precision: Precision) -> Generator[Outcome]:
    """What becomes of each part of a job, as they are finished."""
    rows = [{"part": pickle.dumps(part)} for part in job.parts]
    results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Worker,
        fn_constructor_args=(copy.deepcopy(model).cpu(), job.out),
        fn_constructor_kwargs={"device": actors.device, "precision": precision, "threads": actors.threads},
        compute=ray.data.ActorPoolStrategy(size=actors.count),
        **({"num_gpus": 1} if actors.device == "cuda" else {"num_cpus": actors.cpus}),
    )
    try:
        yield from (pickle.loads(row["outcome"]) for row in results.iter_rows())
    except ray.exceptions.RayError as error:
        raise OSError(f"Ray stopped: {_reason(str(error))}") from error


def _reason(message: str) -> str:
    """The first line of what made Ray stop: of the first error, after its traceback where there is one."""
    lines = message.partition("\n\nThe above exception was")[0].strip().splitlines() or [message]
    after = max((place + 1 for place, line in enumerate(lines) if line.startswith("  ")), default=0)
    return lines[min(after, len(lines) - 1)].strip()


def _take(outcomes: Iterable[Outcome], job: Job, tell: Callable[[str], object]) -> int:
    """Put outcomes into the manifest, with a line of progress now and then; returns how many sources were translated.

    Raises the error of an outcome that has one.
    """
    begun = told = time.perf_counter()
    left, done, translated = job.left, 0, 0
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
        job.manifest.add(outcome.done, outcome.dead)
        translated += len(outcome.done)
        done += len(outcome.done) + len(outcome.dead)
        now = time.perf_counter()
        if now - told > REPORT_SECONDS:
            job.manifest.flush()
            told = now
            tell(f"{done:,} of {left:,} sources, {done / (now - begun):.3g} a second")
    return translated
