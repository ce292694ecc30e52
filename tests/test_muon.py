"""Muon: singular values near 1, the library's own Muon on matrices, Adam on the rest."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from small_runs import tiny
from torch import Tensor, nn

from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan
from open_tunit.training.steps.muon import MOMENTUM, RATE, Muon, orthogonalised
from open_tunit.training.steps.state import new_state

RATE_OF_ADAM = 0.01
BETAS = 0.5, 0.99


def muon(parameters: Iterable[nn.Parameter]) -> Muon:
    """Of all parameters with two dimensions or more."""
    each = list(parameters)
    return Muon(each, [p for p in each if p.ndim >= 2], lr=RATE_OF_ADAM, betas=BETAS)


def moved(
    optimiser_of: Callable[[list[nn.Parameter]], torch.optim.Optimizer], weight: Tensor, gradients: list[Tensor]
) -> Tensor:
    """The weight after a step for each gradient."""
    parameter = nn.Parameter(weight.clone())
    optimiser = optimiser_of([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
    return parameter.detach()


def library_muon(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Muon(parameters, lr=RATE_OF_ADAM * RATE, momentum=MOMENTUM, weight_decay=0)


def random(*shape: int, seed: int = 0, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def test_singular_vectors_stay_and_their_values_become_one() -> None:
    for shape in ((2, 16, 40), (2, 40, 16)):
        matrices = torch.stack(random(*shape[1:], count=2)).double()
        U, _, Vh = torch.linalg.svd(matrices, full_matrices=False)
        inside = U.mT @ orthogonalised(matrices) @ Vh.mT
        values = inside.diagonal(dim1=1, dim2=2)
        assert values.min() > 0.65
        assert values.max() < 1.25
        torch.testing.assert_close(inside, torch.diag_embed(values), atol=1e-9, rtol=0)


def test_float32_suffices_for_few_directions_and_for_many_of_all_sizes() -> None:
    left, right = random(128, 1, 40, count=2)
    few = left.reshape(1, 128, 40)[:, :, :2] @ right.reshape(1, 40, 128)[:, :2]
    U, _, Vh = torch.linalg.svd(*random(1, 128, 300, count=1), full_matrices=False)
    cases = [(few, 1e-3), (U * torch.logspace(0, -8, 128) @ Vh, 1e-3), (torch.ones(1, 128, 1152), 5e-3)]
    for matrices, share in cases:
        exact = orthogonalised(matrices.double())
        assert (orthogonalised(matrices).double() - exact).norm() < share * exact.norm()


def test_the_size_of_a_gradient_does_not_matter_and_none_moves_nothing() -> None:
    (matrix,) = random(8, 20, count=1)
    torch.testing.assert_close(orthogonalised(1e-4 * matrix[None]), orthogonalised(1e3 * matrix[None]))
    assert orthogonalised(torch.zeros(1, 4, 8)).abs().max() == 0


def test_a_matrix_moves_as_with_the_librarys_muon() -> None:
    for rows, columns in ((16, 40), (40, 16)):
        weight, *gradients = random(rows, columns, count=4)
        ours = moved(muon, weight, gradients) - weight
        theirs = moved(library_muon, weight, gradients) - weight  # which iterates in bfloat16
        torch.testing.assert_close(ours, theirs, atol=0.02 * theirs.abs().max().item(), rtol=0)


def test_a_convolution_moves_as_its_matrix() -> None:
    weight, *gradients = random(8, 4, 3, 3, count=4)
    for layout in (torch.contiguous_format, torch.channels_last):
        ours = moved(muon, weight.to(memory_format=layout), gradients)
        flat = moved(muon, weight.flatten(1), [g.flatten(1) for g in gradients])
        torch.testing.assert_close(ours.flatten(1), flat, atol=1e-6, rtol=0)


def test_biases_move_as_with_adam() -> None:
    weight, *gradients = random(7, count=4)
    adam = moved(lambda p: torch.optim.Adam(p, lr=RATE_OF_ADAM, betas=BETAS, fused=True), weight, gradients)
    assert torch.equal(moved(muon, weight, gradients), adam)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.LazyLinear(2))


def test_weights_of_one_shape_move_as_each_alone() -> None:
    together, x = network(), random(4, 3, 9, 9, count=1)[0]
    together(x)
    alone = copy.deepcopy(together)
    for net, optimisers in (
        (together, [muon(together.parameters())]),
        (alone, [muon([p]) for p in alone.parameters()]),
    ):
        net(x).square().mean().backward()
        for optimiser in optimisers:
            optimiser.step()
    for one, other in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_loaded_state_goes_on_to_the_same_bits() -> None:
    first, x = network(), random(4, 3, 9, 9, count=1)[0]
    first(x)

    def step(net: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        net(x).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    optimiser = muon(first.parameters())
    step(first, optimiser)
    second = copy.deepcopy(first)
    resumed = muon(second.parameters())
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    step(first, optimiser)
    step(second, resumed)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def directions(gradients: list[Tensor]) -> list[Tensor]:
    """What each step adds to a weight."""
    parameter, added = nn.Parameter(torch.zeros_like(gradients[0])), []
    optimiser = muon([parameter])
    for gradient in gradients:
        before = parameter.detach().clone()
        parameter.grad = gradient.clone()
        optimiser.step()
        added.append(parameter.detach() - before)
    return added


def alignment(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()))


def test_a_gradient_of_rounding_is_forgotten_soon() -> None:
    usual, noise = random(16, 40, count=2)
    for place in (0, 10):  # the first one, and one in between
        gradients = [usual.clone() for _ in range(60)]
        gradients[place] = 1e12 * noise
        last = directions(gradients)[-1]
        assert alignment(last, -orthogonalised(usual[None])[0]) > 0.95


def test_without_gradients_it_stands_still() -> None:
    (usual,) = random(16, 40, count=1)
    moving, *standing = directions([usual, *(torch.zeros_like(usual) for _ in range(3))])
    assert moving.norm() > 0
    assert all(step.norm() == 0 for step in standing)


def test_a_copy_of_the_state_steps_to_the_same_bits() -> None:
    plan = tiny("cpu")
    state = new_state(plan, torch.device("cpu"))
    copied, x, style = (
        copy.deepcopy(state),
        random(2, 3, 32, 32, count=1)[0],
        torch.zeros(2, plan.config.model.style_dim),
    )
    for each in (state, copied):
        for _ in range(2):
            each.G(x, style).square().mean().backward()
            each.opt_G.step()
            each.opt_G.zero_grad()
    assert {int(values["step"]) for values in copied.opt_G.state.values()} == {2}
    for one, other in zip(state.G.parameters(), copied.G.parameters(), strict=True):
        assert torch.equal(one, other)


def of_adam(network: nn.Module, optimiser: torch.optim.Optimizer) -> set[str]:
    """Names of the weights with two dimensions or more that are not Muon's."""
    assert isinstance(optimiser, Muon)
    matrices = {id(p) for p in optimiser.matrices}
    return {name for name, p in network.named_parameters() if p.ndim >= 2 and id(p) not in matrices}


def test_the_networks_ends_are_adams() -> None:
    state = new_state(tiny("cpu", training__optimizer="muon"), torch.device("cpu"))
    assert of_adam(state.G, state.opt_G) == {"encoder.stem.weight", "decoder.out.weight", "mlp.4.weight"}
    heads = {f"{name}_head.weight" for name in ("domain", "style", "shape")}
    assert of_adam(state.E, state.opt_E) == {"trunk.0.weight", *heads}
    assert type(state.opt_D) is torch.optim.Adam


def test_e_is_adams_by_the_other_optimisers_and_where_it_is_pretrained() -> None:
    photos = Plan.of(Config.preset("photos", data="photos", out="run"))
    for plan in (tiny("cpu", training__optimizer="adam"), tiny("cpu", training__optimizer="rmsprop"), photos):
        assert type(new_state(plan, torch.device("cpu")).opt_E) is torch.optim.Adam


def test_a_rate_in_memory_counts_as_one_in_python() -> None:
    weight, gradients = random(8, 20, count=1)[0], random(8, 20, seed=1)

    def in_memory(parameters: list[nn.Parameter]) -> Muon:
        optimiser = muon(parameters)
        optimiser.param_groups[0]["lr"] = torch.tensor(RATE_OF_ADAM, dtype=torch.float64)
        return optimiser

    assert torch.equal(moved(in_memory, weight, gradients), moved(muon, weight, gradients))
