"""Everything that must survive a crash: networks, averages, optimisers, queues, the step."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from open_tunit.networks.backbone import load_backbone
from open_tunit.networks.discriminator import Discriminator
from open_tunit.networks.generator import Generator
from open_tunit.networks.guides import Guide, guiding_network
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.networks.pretrained_guiding import PretrainedGuiding
from open_tunit.networks.projected import ProjectedDiscriminator
from open_tunit.settings.recipes import Recipe
from open_tunit.training.distributed.group import Group
from open_tunit.training.plan import Plan
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.muon import Muon

Result = TypeVar("Result")
NETWORKS = ("E", "E_ema", "G", "G_ema", "D")
ADVERSARIAL_BETA_2 = 0.99
GUIDING_BETAS, GUIDING_WEIGHT_DECAY = (0.9, 0.999), 1e-3
LOGITS_QUEUE = 1024
"""Recent logits that balanced prototypes are balanced over, beside the batch."""
OPTIMISERS = ("opt_E", "opt_G", "opt_D")


class Queue:
    """The newest rows, at most `size` of them; grows from empty. Once full, `rows` stays the same memory."""

    def __init__(self, size: int, rows: Tensor) -> None:
        self.size = size
        self.rows = rows[-size:].detach().clone() if size else rows[:0].detach()

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Add rows (N, d); the oldest fall out."""
        newest = torch.cat([self.rows, rows.detach().to(self.rows.dtype)])[-self.size :]
        if self.full:
            self.rows.copy_(newest)
        else:
            self.rows = newest

    @property
    def full(self) -> bool:
        """Whether a push drops as many rows as it adds."""
        return len(self.rows) == self.size


@dataclasses.dataclass
class State:
    """The state of a run after `step` steps."""

    E: Guide
    E_ema: Guide
    G: Generator
    G_ema: Generator
    D: Discriminator | ProjectedDiscriminator
    opt_E: torch.optim.Optimizer
    opt_G: torch.optim.Optimizer
    opt_D: torch.optim.Optimizer
    keys: Queue
    """Style contrast: recent codes of the momentum copy, (<= queue, style_dim)."""
    logits: Queue
    """Balanced prototypes: recent logits of the momentum copy, (<= LOGITS_QUEUE, K)."""
    step: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, so that torch.load(weights_only=True) reads it."""
        values: dict[str, Any] = {name: getattr(self, name).state_dict() for name in (*NETWORKS, *OPTIMISERS)}
        for group in (group for name in OPTIMISERS for group in values[name]["param_groups"]):
            group["lr"] = float(group["lr"])  # E's may be a tensor: set_rate
        return values | {"keys": self.keys.rows, "logits": self.logits.rows, "step": self.step}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for name in (*NETWORKS, *OPTIMISERS):
            getattr(self, name).load_state_dict(values[name])
        self.keys = Queue(self.keys.size, values["keys"].to(self.keys.rows.device))
        self.logits = Queue(self.logits.size, values["logits"].to(self.logits.rows.device))
        self.step = values["step"]

    def check(self) -> None:
        """Raise NotFiniteError unless every weight is a number."""
        if not self.is_finite():
            raise NotFiniteError(f"weights are not finite after step {self.step}")

    def is_finite(self) -> bool:
        """Whether every weight is a number."""
        weights = [value for name in NETWORKS for value in getattr(self, name).parameters()]
        return all(bool(torch.isfinite(value).all()) for value in weights)

    def guide(self) -> Guide:
        """The momentum copy of E as users get it: eval mode, with E's batch-norm averages; a copy."""
        guide = copy.deepcopy(self.E_ema)
        copy_buffers(guide, self.E)
        return guide.eval()


def alter(state: State, group: Group, change: Callable[[], Result]) -> Result:
    """What `change` gives, which process 0 alone does, and which changes the state of all."""
    if group.size == 1:
        return change()
    result, values = group.first(lambda: (change(), state.state_dict()))
    if not group.leads:
        state.load_state_dict(values)
    return result


def check_weights(recipe: Recipe) -> None:
    """Raises ValueError where `new_state` of such a recipe would miss the weights of its pretrained network."""
    if recipe.pretrained:
        load_backbone()


def new_state(plan: Plan, device: torch.device, dtype: torch.dtype = torch.float32) -> State:
    """Fresh networks, a function of the config's seed; the queues are empty."""
    config, training = plan.config, plan.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        E, G = guiding_network(config.model), Generator(config.model)
        D = _discriminator(plan)
    if isinstance(E, PretrainedGuiding):
        E.trunk.load_state_dict(load_backbone().state_dict())
    if plan.recipe.plain_start:
        G.start_plain()
    for network in (E, G, D):
        network.to(device, dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return State(
        E=E,
        E_ema=copy.deepcopy(E).requires_grad_(False),
        G=G,
        G_ema=copy.deepcopy(G).requires_grad_(False).eval(),
        D=D,
        opt_E=_guide(E, plan),
        opt_G=_adversary(G, plan),
        opt_D=_adversary(D, plan),
        keys=Queue(training.queue, torch.empty(0, config.model.style_dim, device=device, dtype=dtype)),
        logits=Queue(LOGITS_QUEUE, torch.empty(0, config.model.domains, device=device, dtype=dtype)),
    )


def _discriminator(plan: Plan) -> Discriminator | ProjectedDiscriminator:
    config = plan.config
    if plan.recipe.pretrained:
        return ProjectedDiscriminator(config.model.domains, width=config.discriminator.width, seed=config.seed)
    return Discriminator(config.model, config.discriminator)


def _guide(E: Guide, plan: Plan) -> torch.optim.Optimizer:
    rate = plan.training.guiding_learning_rate
    if plan.training.optimizer == "muon" and isinstance(E, GuidingNetwork):
        return Muon(E.parameters(), E.hidden_matrices(), lr=rate, betas=GUIDING_BETAS)
    return torch.optim.Adam(E.parameters(), lr=rate, betas=GUIDING_BETAS, weight_decay=GUIDING_WEIGHT_DECAY, fused=True)


def _adversary(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    training = plan.training
    rate, decay = training.learning_rate, training.weight_decay
    betas = plan.recipe.adversarial_beta, ADVERSARIAL_BETA_2
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), lr=rate, alpha=0.99, weight_decay=decay)
    if training.optimizer == "muon" and isinstance(network, Generator):
        return Muon(network.parameters(), network.hidden_matrices(), lr=rate, betas=betas)
    return torch.optim.Adam(network.parameters(), lr=rate, betas=betas, weight_decay=decay, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate, in its place where that is a tensor, which CUDA graphs read."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def full(x: Tensor) -> Tensor:
    """`x` in at least float32: losses are never computed in half precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def decay_at(step: int, *, decay: float, warmup: bool) -> float:
    """The decay of the update after `step` (from 0); with `warmup` it rises as (1 + t) / (10 + t) up to `decay`."""
    return min(decay, (1 + step) / (10 + step)) if warmup else decay


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """average <- decay * average + (1 - decay) * network, parameters only."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)


@torch.no_grad()
def copy_buffers(average: nn.Module, network: nn.Module) -> None:
    """Give the average the network's buffers (batch-norm averages), as is done when the copy is used."""
    for target, source in zip(average.buffers(), network.buffers(), strict=True):
        target.copy_(source)
