"""Data-parallel training on several GPUs or machines, started by `torchrun`.

Each process trains on its own share of the batches. Gradients and token counts are summed before each update, so that
the update is that of one large batch. With one process every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Processes:
    """The processes of a run; rank 0 prepares the corpus, saves and logs."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def start(cls, device: torch.device) -> Processes:
        """Join the process group if torchrun has set the environment; each process has its own GPU."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls(0, 1, device)
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), size, device)

    def close(self) -> None:
        """Leave the group, all at once: gloo may abort a process whose peer is still sending."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    @contextmanager
    def first(self) -> Iterator[None]:
        """Run the block in rank 0 before the other processes."""
        if self.size > 1 and self.rank > 0:
            dist.barrier()
        yield
        if self.size > 1 and self.rank == 0:
            dist.barrier()

    def broadcast(self, model: nn.Module) -> None:
        """Copy the weights of rank 0 to all processes."""
        if self.size > 1:
            for parameter in model.parameters():
                dist.broadcast(parameter.data, 0)

    def sum(self, value: int) -> int:
        """Return the sum of `value` over the processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, device=self.device)
        dist.all_reduce(total)
        return int(total)

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is set in any process."""
        return self.sum(int(flag)) > 0

    def sum_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its sum over the processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))
