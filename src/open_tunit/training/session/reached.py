"""How far a run came: what a checkpoint holds, or the weights that the run starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from open_tunit.model import TUNIT
from open_tunit.networks.pretrained_guiding import PretrainedGuiding
from open_tunit.runs import DifferentRunError, Run
from open_tunit.training.distributed.group import Group
from open_tunit.training.plan import Plan
from open_tunit.training.session.same_run import check_same_recipe
from open_tunit.training.steps.state import State, alter, new_state

OTHER_SHAPES = "loading state_dict"
"""In PyTorch's message where names or shapes are others."""


@dataclasses.dataclass(kw_only=True)
class Reached:
    """The state, and what goes with it."""

    state: State
    seconds: float = 0.0
    """Of training so far."""
    first_domains: list[int] | None = None
    """The domains of the watched images when the domains began (alarms.Watch)."""
    retries: int = 0
    """How often the run went back from losses that were no numbers: other draws since then."""
    good_step: int = 0
    """Step of the last report's checkpoint, or 0: where the run would go back to."""

    def checkpoint(self, plan: Plan) -> dict[str, Any]:
        """Tensors and plain values, for `Run.save_checkpoint`."""
        more = {"seconds": self.seconds, "first_domains": self.first_domains, "recipe": dataclasses.asdict(plan.recipe)}
        return {**self.state.state_dict(), **more, "retries": self.retries, "good_step": self.good_step}


def reached(run: Run, plan: Plan, device: torch.device, checkpoint: Mapping[str, Any] | None, group: Group) -> Reached:
    """The state of a checkpoint; without one the beginning, with the weights of `config.init`.

    Raises DifferentRunError for the checkpoint of another recipe or of other networks, ValueError for a model of other
    shapes.
    """
    state, init = new_state(plan, device), plan.config.init
    if checkpoint is None:
        if init is not None:
            alter(state, group, lambda: _take_weights(state, TUNIT.from_pretrained(init), init))
        return Reached(state=state)
    values = dict(checkpoint)
    recipe = values.pop("recipe", None)
    group.first(lambda: check_same_recipe(recipe, plan.recipe, run.folder))
    seconds, first_domains = values.pop("seconds"), values.pop("first_domains", None)
    retries, good_step = values.pop("retries", 0), values.pop("good_step", values["step"])
    with group.alike_errors(DifferentRunError):
        _take_state(state, values, run)
    return Reached(state=state, seconds=seconds, first_domains=first_domains, retries=retries, good_step=good_step)


def _take_state(state: State, values: dict[str, Any], run: Run) -> None:
    try:
        state.load_state_dict(values)
    except (KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and OTHER_SHAPES not in str(error):
            raise
        raise DifferentRunError(
            f"the checkpoint of {run.folder} does not fit this run's networks: it is of another version of open-tunit, "
            "or damaged; name another folder for a new run"
        ) from error


def _take_weights(state: State, model: TUNIT, name: str) -> None:
    """Fine-tuning: E and G begin as another model's; a head for another number of domains begins anew."""
    seen, sees = (E.side if isinstance(E, PretrainedGuiding) else None for E in (model.E, state.E))
    if seen and sees and seen != sees:  # the heads are fitted to the features at that side
        raise ValueError(f"{name} reads pictures at {seen} px, this run at {sees}: set model.trunk_side={seen}")
    heads = ("domain_head.", "shape_head.")
    guiding, fresh = model.E.state_dict(), state.E.state_dict()
    for key in {key for key in (*guiding, *fresh) if key.startswith(heads)}:
        if key not in fresh:
            del guiding[key]
        elif key not in guiding or guiding[key].shape != fresh[key].shape:
            guiding[key] = fresh[key]
    try:
        for network, values in (
            *((E, guiding) for E in (state.E, state.E_ema)),
            *((G, model.G.state_dict()) for G in (state.G, state.G_ema)),
        ):
            network.load_state_dict(values)
    except RuntimeError as error:
        raise ValueError(f"{name} has networks of other shapes than this run: give its preset and size") from error
