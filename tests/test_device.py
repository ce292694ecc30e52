"""Where a run computes, and in which precision."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from untrained import untrained
from without_float64 import without_float64

from open_tunit import device
from open_tunit.data.pairs import lightness_codes
from open_tunit.device import alike, in_float64, use_half
from open_tunit.metrics.distances import frechet_distance, kernel_distance
from open_tunit.metrics.diversity import diversity
from open_tunit.metrics.neighbours import fidelity_and_diversity, nearest, neighbour_hits
from open_tunit.model_files.naming import Naming
from open_tunit.networks.colour_transfer import with_colours_of
from open_tunit.networks.projected import Projection
from open_tunit.training.fitting.clustering import agreement, kmeans, within_class_whitening
from open_tunit.training.fitting.domain_count import information_at
from open_tunit.training.fitting.pretrained import whitening


@pytest.mark.parametrize("multiplies", [True, False])
def test_bfloat16_that_a_gpu_emulates_is_not_taken(multiplies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: multiplies or including_emulation
    )
    assert use_half("auto", torch.device("cuda")) == multiplies


PRECISIONS = """
import torch
from open_tunit.device import exact_float32
from torch import backends
def told(): return [backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision]
for as_set in (
    "backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = True",
    "torch.set_float32_matmul_precision('high')",
    "backends.fp32_precision = 'tf32'; torch.set_float32_matmul_precision('medium')",
    "backends.cuda.matmul.fp32_precision = 'ieee'",
    "backends.cudnn.conv.fp32_precision = 'ieee'",
    "backends.cuda.matmul.fp32_precision = backends.cudnn.conv.fp32_precision = 'tf32'",
):
    exec(as_set)
    before = told()
    with exact_float32():
        print("ieee" in before, *told(), end=" ")
        torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3))
    print(told() == before)
"""


def test_true_float32_by_whichever_of_pytorchs_names_it_was_set_before() -> None:
    """In a process of its own, whose settings they are. A GPU alone multiplies as they say."""
    told = subprocess.run([sys.executable, "-c", PRECISIONS], check=True, capture_output=True, text=True).stdout
    cases = [line.split() for line in told.splitlines()]
    assert [case[0] for case in cases] == ["False", "False", "False", "True", "True", "False"]
    assert all(case[1:] == ["ieee", "ieee", "True"] for case in cases)


@pytest.mark.parametrize(
    ("tiles", "bf16", "vendor", "half"),
    [
        (True, True, "GenuineIntel", True),
        (False, True, "GenuineIntel", False),
        (False, True, "AuthenticAMD", True),
        (False, False, "AuthenticAMD", False),
    ],
)
def test_bfloat16_that_a_cpu_is_slower_in_is_not_taken(
    tiles: bool, bf16: bool, vendor: str, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(device.Path, "read_text", lambda *_, **__: f"vendor_id : {vendor}")
    assert use_half("auto", torch.device("cpu")) == half
    assert use_half("bfloat16", torch.device("cpu"))


def test_what_is_computed_in_float64_is_so_on_the_cpu_where_the_device_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    features, others, views = torch.rand(40, 6), torch.rand(30, 6), torch.rand(3, 40, 6)
    domains, counts = torch.arange(40) % 3, torch.tensor([3, 4, 5])
    levels = [torch.rand(4, channels, 2, 2) for channels in (3, 4)]

    def work() -> list[Any]:
        model = untrained()
        model.measure_domains([torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))])
        measured = model.domain_styles.clone()
        model.take_domain_styles(torch.cat([features, features[:, :2]], dim=1), domains)
        projected = Projection((3, 4), width=2)
        projected.measure(levels)
        sizes = np.random.default_rng(0)
        return [
            measured,
            model.domain_styles,
            *Naming.of({"both": [0, 1]}, 3).merged_means(torch.ones(3, 6), counts),
            *(projected.get_buffer(name) for name in ("mean0", "deviation0", "mean1", "deviation1")),
            *whitening(features, 4),
            within_class_whitening(views),
            agreement(torch.arange(40)[:, None].expand(40, 2), domains),
            kmeans(features, 3, sizes),
            information_at(features, views, 2, sizes),
            lightness_codes(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))),
            fidelity_and_diversity(features, others),
            nearest(features, others)[0],
            neighbour_hits(features, domains),
            diversity(views),
            frechet_distance(features, others),
            kernel_distance(features, others, subsets=3),
            with_colours_of(views, views.flip(0)),
        ]

    expected = work()
    with without_float64(monkeypatch):
        found = work()
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_the_stand_in_for_such_a_device_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(3)
    with without_float64(monkeypatch):
        for wrong in (x.double, lambda: x.to(torch.float64), lambda: torch.zeros_like(x, dtype=torch.float64)):
            with pytest.raises(TypeError, match="float64"):
                wrong()
        with pytest.raises(RuntimeError, match="same device"):
            in_float64(x) * x
        with pytest.raises(RuntimeError, match="same device"):
            torch.from_numpy(np.ones(3)) + x
        assert torch.equal(alike(in_float64(x) * 2, x) + x, 3 * x)
