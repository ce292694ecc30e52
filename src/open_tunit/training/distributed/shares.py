"""A process's share of a batch: its rows, and what it computes together with the other processes.

The loss of a process is the mean over its rows or, where rows are compared with each other, that of all rows, whose
outputs it gathers. The loss of the batch, and its gradient, is then the mean over the processes, each weighted by its
part of the rows: that of one process with the whole batch. torch's DistributedDataParallel, whose hooks wait for one
backward pass each, does not go with R1, nor with losses of several networks.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from open_tunit.networks.guiding import Guidance

BUCKET_BYTES = 2**26
"""Of gradients that are reduced at once."""


def rows_of(rank: int, size: int, total: int) -> slice:
    """The rows of a batch of `total` that are process `rank`'s of `size`: in order, nearly as many for each."""
    each, more = divmod(total, size)
    first = rank * each + min(rank, more)
    return slice(first, first + each + (rank < more))


@dataclasses.dataclass(frozen=True)
class Share:
    """The rows of process `rank` of `size` in a batch of `total` images; of one process all, with nothing to do."""

    rank: int
    size: int
    total: int

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def rows(self) -> slice:
        """Which of the batch's rows are this process's."""
        return slice(None) if self.alone else rows_of(self.rank, self.size, self.total)

    @property
    def counts(self) -> list[int]:
        """Rows of each process."""
        found = (rows_of(rank, self.size, self.total) for rank in range(self.size))
        return [rows.stop - rows.start for rows in found]

    @property
    def weight(self) -> float:
        """This process's part of the rows."""
        return self.counts[self.rank] / self.total

    def gather(self, guidance: Guidance) -> Guidance:
        """E's outputs for all rows of the batch, from those for this process's; differentiable."""
        if self.alone:
            return guidance
        return Guidance(*_Gathered.apply(self, *guidance))  # type: ignore[no-untyped-call]

    def mean(self, losses: Sequence[Tensor]) -> list[Tensor]:
        """The losses () of the batch from those of this process; without gradients where there are others."""
        if self.alone:
            return list(losses)
        return list(self.sum(torch.stack([loss.detach() for loss in losses])).unbind())

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes of `values`, each weighted by its part of the rows; without gradients."""
        weighted = values.detach() * self.weight
        dist.all_reduce(weighted)
        return weighted

    def reduce(self, parameters: Iterable[nn.Parameter]) -> None:
        """Turn the gradients of this process's loss into those of the batch's, in few large buckets."""
        if self.alone:
            return
        pending = []
        for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
            flat = torch.cat([gradient.flatten() for gradient in bucket]).mul_(self.weight)
            pending.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in pending:
            work.wait()
            for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(part.view(gradient.shape))

    def batch_norm(self) -> contextlib.AbstractContextManager[Any]:
        """Within it batch norm in train mode takes the statistics of all rows of the batch."""
        return contextlib.nullcontext() if self.alone else _GlobalBatchNorm(self)


WHOLE = Share(0, 1, 1)
"""All rows, whatever their number: the share of one process alone."""


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and sum(g.nbytes for g in bucket) + gradient.nbytes > BUCKET_BYTES:
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


class _Gathered(Function):
    """Of tensors (N, d) with this process's rows those of all rows (total, d), in one exchange each way."""

    @staticmethod
    def forward(ctx: Any, share: Share, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.share = share
        ctx.set_materialize_grads(False)
        rows = torch.cat(tensors, dim=1)
        padded = rows.new_zeros(max(share.counts), rows.shape[1])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(share.size)]
        dist.all_gather(parts, padded)
        gathered = torch.cat([part[:count] for part, count in zip(parts, share.counts, strict=True)])
        return tuple(part.contiguous() for part in gathered.split([tensor.shape[1] for tensor in tensors], dim=1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """What no loss reads stays without gradient: an optimiser then leaves its weights alone."""
        share: Share = ctx.share
        read = [gradient for gradient in gradients if gradient is not None]
        own = share.sum(torch.cat(read, dim=1))[share.rows] / share.weight
        parts = iter(own.split([gradient.shape[1] for gradient in read], dim=1))
        return None, *(None if gradient is None else next(parts) for gradient in gradients)


class _GlobalBatchNorm(TorchFunctionMode):
    """Takes the place of F.batch_norm."""

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.share = share

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """`func`, unless it is batch norm with statistics of the batch."""
        named = kwargs or {}
        if func is F.batch_norm and named.get("training"):
            return _global_batch_norm(self.share, *args, **named)
        return func(*args, **named)


def _global_batch_norm(
    share: Share,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """As F.batch_norm; x (N, C, ...) are the rows of this process."""
    cells = x[0, 0].numel()
    with torch.no_grad():
        kept = torch.promote_types(x.dtype, torch.float32)
        own = torch.stack(torch.batch_norm_update_stats(x.to(kept), None, None, 0.0)).double()  # (2, C)
        parts = [torch.empty_like(own) for _ in range(share.size)]
        dist.all_gather(parts, own)
        means, variances = torch.stack(parts, dim=1)  # (size, C) each
        weights = means.new_tensor(share.counts)[:, None] / share.total
        mean = (weights * means).sum(dim=0)
        variance = (weights * (variances + (means - mean).square())).sum(dim=0)
        if running_mean is not None and running_var is not None:
            count = share.total * cells
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    y: Tensor = _Normalised.apply(x, weight, bias, mean.to(kept), variance.to(kept), eps, share)  # type: ignore[no-untyped-call]
    return y


class _Normalised(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        share: Share,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.share = eps, share
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """u = (x - mean) * rate: x gets weight * rate * (g - mean(g) - u * mean(g u)), the means over all rows."""
        x, weight, mean, variance = ctx.saved_tensors
        share: Share = ctx.share
        d_x, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(
            g, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )  # as if mean and variance were constants
        g_u, g_sum = share.sum(torch.stack([d_weight, d_bias])) / share.weight
        rate = torch.rsqrt(variance + ctx.eps)
        gain = (rate if weight is None else rate * weight) / (share.total * x[0, 0].numel())
        slope = gain * rate * g_u
        shape = (1, -1, *[1] * (x.ndim - 2))
        d_x = d_x - torch.addcmul((gain * g_sum - slope * mean).view(shape), x, slope.view(shape))
        affine = (None, None) if weight is None else (d_weight, d_bias)
        return d_x.to(x.dtype), *affine, None, None, None, None
