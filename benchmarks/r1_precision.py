"""What R1 in bfloat16 would gain and cost, which no setting offers: r1_precision_*.json.

python benchmarks/r1_precision.py [--preset paper --size 64 --batch 8 --device auto --rounds 5 --steps 20]
The time of a step with R1; and how far D's gradient is from float64's (relative norm of the difference), of its loss
and of R1 alone, on new networks and after some steps.
"""

from __future__ import annotations

import argparse
import copy
import statistics

import machine
import torch
from torch import Tensor, nn
from train_step import ours, pictures

from open_tunit import losses
from open_tunit.device import choose_device, keep_freed_memory
from open_tunit.networks.discriminator import Discriminator
from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan
from open_tunit.training.steps.state import State, full, new_state


class HalfDiscriminator(Discriminator):
    """D in bfloat16 also where the step asks for float32: where R1 differentiates it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return full(super().forward(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    config = Config.preset(arguments.preset, data="critters:5", out="unused", size=arguments.size)
    if arguments.batch:
        config = config.replace({"training.batch": arguments.batch})
    device = choose_device(arguments.device)
    keep_freed_memory()
    state, batch = new_state(Plan.of(config), device), pictures(config, device)
    fresh = gradient_differences(config, state, batch.x)
    runs = {"float32": ours(config, copy.deepcopy(state), batch, half=True, every=1)}
    runs["bfloat16"] = ours(config, with_half_D(state), batch, half=True, every=1)
    seconds = machine.by_turns(runs, device, arguments.rounds)
    step = ours(config, state, batch, half=True, every=1)
    for _ in range(arguments.steps):
        step()
    result = {
        "size": config.model.size,
        "batch": config.training.batch,
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "times_as_fast": machine.ratio(seconds["float32"], seconds["bfloat16"]),
        "gradient_difference": {"new": fresh, "later": gradient_differences(config, state, batch.x)},
        "steps": arguments.steps,
    }
    machine.write(f"r1_precision_{arguments.preset}_{config.model.size}", device, result)
    for name, value in result.items():
        print(name, value)


def with_half_D(state: State) -> State:
    found = copy.deepcopy(state)
    found.D.__class__ = HalfDiscriminator
    return found


def gradient_differences(config: Config, state: State, x: Tensor) -> dict[str, dict[str, float]]:
    """By the precision that R1 is computed in, for R1's gradient alone and with the hinge loss of real images."""
    domains = torch.arange(len(x), device=x.device) % config.model.domains
    found: dict[str, dict[str, float]] = {}
    for weights, name in ((0.0, "R1 alone"), (1.0, "loss of real images and R1")):
        exact = gradient(config, copy.deepcopy(state.D).double(), x.double(), domains, weights)
        for precision, D in (("float32", state.D), ("bfloat16", with_half_D(state).D)):
            difference = gradient(config, D, x, domains, weights) - exact
            found.setdefault(precision, {})[name] = float(difference.norm() / exact.norm())
    return found


def gradient(config: Config, D: nn.Module, x: Tensor, domains: Tensor, hinge_weight: float) -> Tensor:
    images = x.detach().requires_grad_()
    judged = D(images).gather(1, domains[:, None])[:, 0]
    loss = config.training.r1_weight * losses.r1_penalty(judged, images) + hinge_weight * torch.relu(1 - judged).mean()
    return torch.cat(
        [
            g.double().flatten()
            for g in torch.autograd.grad(loss, list(D.parameters()), allow_unused=True)
            if g is not None
        ]
    )


if __name__ == "__main__":
    main()
