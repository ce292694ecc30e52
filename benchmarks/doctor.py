"""`tunit doctor` on a folder of pictures of 256 to 512 px, three quarters JPEG, one PNG; doctor.json.

python benchmarks/doctor.py [--pictures 2000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
import torch
from PIL import Image

from open_tunit.data.doctor import examine, findings

SHORTEST, LONGEST = 256, 512
TOLD = 10_000
"""Pictures that the seconds are also given for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    pictures = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name), pictures)
        wall, processor = time.perf_counter(), time.process_time()
        findings(examine(name, size=128))
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    result = {
        "pictures": pictures,
        "seconds": wall,
        "processor_seconds": processor,
        "processor_seconds_for_10000": processor / pictures * TOLD,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    machine.write("doctor", torch.device("cpu"), result)
    for key, value in result.items():
        print(f"{key:28} {value:8.1f}")


def draw(folder: Path, count: int) -> None:
    """Pictures with as much detail as a photograph: noise, enlarged eight times, with some grain."""
    for number in range(count):
        random = np.random.default_rng(number)
        width, height = (int(side) for side in random.integers(SHORTEST, LONGEST + 1, 2))
        small = random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = random.integers(-6, 7, smooth.shape, dtype=np.int16)
        picture = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
        name = f"{number}.png" if number % 4 == 0 else f"{number}.jpg"
        picture.save(folder / name, quality=90, compress_level=1)


if __name__ == "__main__":
    main()
