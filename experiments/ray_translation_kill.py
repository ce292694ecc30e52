"""Many small pictures through Ray, the command killed on the way: every output once, as the local engine writes it.

    python experiments/ray_translation_kill.py [--count 10000 --size 32 --model critters --out /tmp/ray-kill] [--shards]

Draws critters, and beside every thousandth one a damaged file; translates them to one reference with the local engine
and with `--engine ray`, which gets SIGKILL when a part of the outputs is there and is begun again; compares, and prints
JSON. With `--shards` the command on Ray reads the sources from shards, and writes shards.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from open_tunit.data.critters import critter, draw
from open_tunit.data.sharding import write_shards
from open_tunit.data.shards import Index, read_index, read_sample
from open_tunit.files import TEMPORARY

SEED, SPECIES = 100, 5
LOOK_SECONDS = 0.5
EACH_DAMAGED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--model", default="critters")
    parser.add_argument("--kill-at", type=float, default=0.4, help="share of the outputs")
    parser.add_argument("--shards", action="store_true", help="read and written on Ray")
    parser.add_argument("--out", type=Path, default=Path("/tmp/ray-kill"))
    given = parser.parse_args()
    sources, reference = given.out / "sources", given.out / "reference.png"
    damaged = drawn(sources, reference, given.count, given.size)
    words = ["--model", given.model, "--reference", str(reference)]
    local, ray = given.out / "local", given.out / "ray"
    local_seconds = ended(command(*words, "--source", str(sources), "--out", str(local)))
    source = write_shards(sources, given.out / "shards").pattern if given.shards else str(sources)
    on_ray = (*words, "--source", source, "--out", str(ray), "--engine", "ray", *["--shards"] * given.shards)
    written = killed(command(*on_ray), ray, int(given.kill_at * given.count))
    seconds = ended(command(*on_ray))
    print(
        json.dumps(
            {
                "sources": given.count,
                "damaged": damaged,
                "local_seconds": round(local_seconds, 1),
                "written_when_killed": written,
                "seconds_of_the_second_command": round(seconds, 1),
                **compared(local, ray),
                **recorded(ray),
            },
            indent=1,
        )
    )


def drawn(folder: Path, reference: Path, count: int, size: int) -> int:
    """Draw the sources, unless they are there; returns how many damaged files there are."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(critter(SEED, count, species=SPECIES), size)).save(reference)
    for number in range(count):
        path = folder / f"{number // 1000:02d}" / f"{number:06d}.png"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(draw(critter(SEED, number, species=SPECIES), size)).save(path)
        if number % EACH_DAMAGED == EACH_DAMAGED // 2:
            path.with_name(f"{path.stem}-damaged.png").write_bytes(path.read_bytes()[:200])
    return len(list(folder.rglob("*-damaged.png")))


def command(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "open_tunit", "translate", *words])


def ended(process: subprocess.Popen[bytes]) -> float:
    """Seconds until it has ended, without an error."""
    begun = time.perf_counter()
    if process.wait():
        raise SystemExit(f"exit code {process.returncode}")
    return time.perf_counter() - begun


def killed(process: subprocess.Popen[bytes], out: Path, outputs: int) -> int:
    """Kill the command alone, none of Ray's processes, when so many outputs are there; returns how many there are."""
    while (count := counted(out)) < outputs:
        if process.poll() is not None:
            raise SystemExit(f"it ended before it was killed, with {count} outputs")
        time.sleep(LOOK_SECONDS)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return count


def counted(out: Path) -> int:
    return len(pictures(out)) + sum(len(index.samples) for _, index in shards(out))


def pictures(out: Path) -> dict[str, Path]:
    found = (path for path in out.rglob("*.png") if not TEMPORARY.fullmatch(path.name))
    return {path.relative_to(out).as_posix(): path for path in found}


def shards(out: Path) -> Iterator[tuple[str, Index]]:
    for path in sorted(out.glob("[0-9]*.tar")):
        yield str(path), read_index(str(path), out / "manifest")


def contents(out: Path) -> Iterator[tuple[str, bytes]]:
    """The outputs, of shards and of files; one that is in two shards comes twice."""
    yield from ((name, path.read_bytes()) for name, path in pictures(out).items())
    for shard, index in shards(out):
        yield from ((sample.file, read_sample(shard, sample)) for sample in index.samples)


def compared(local: Path, ray: Path) -> dict[str, int]:
    expected, found = dict(contents(local)), list(contents(ray))
    same = sum(expected.get(name) == content for name, content in found)
    leftover = sum(TEMPORARY.fullmatch(path.name) is not None for path in ray.rglob(".*"))
    return {
        "outputs": len(found),
        "names": len(dict(found)),
        "of_local": len(expected),
        "same_bytes": same,
        "shards": sum(1 for _ in shards(ray)),
        "temporary_files": leftover,
    }


def recorded(ray: Path) -> dict[str, int]:
    lines = [json.loads(line) for path in (ray / "manifest").glob("*.jsonl") for line in path.read_text().splitlines()]
    outputs = Counter(output for line in lines for output in line.get("outputs", ()))
    letters = (ray / "dead-letters.jsonl").read_text().splitlines()
    return {
        "outputs_in_the_manifest": len(outputs),
        "of_them_twice": sum(count > 1 for count in outputs.values()),
        "dead_letters": len(letters),
    }


if __name__ == "__main__":
    main()
