"""Copies from a device to the host that neither of the two waits for, until the values are read.

In the way of the data: used by the **graphed batch**. On a CPU they are ordinary copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


class Download:
    """Copies of device tensors on the host, taken in the order of the current stream; `wait` returns them."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        """Start the copies; the tensors, at least one, may be overwritten by what the stream computes later."""
        # To the CPU, a copy that does not block goes to pinned memory.
        self._copies = [tensor.to("cpu", non_blocking=True, copy=True) for tensor in tensors]
        self._event: Any = None
        if tensors[0].is_cuda:
            self._event = torch.cuda.current_stream(tensors[0].device).record_event()

    def wait(self) -> list[Tensor]:
        """Return the copies, as soon as the stream has come to them."""
        if self._event is not None:
            self._event.synchronize()
        return self._copies


def second_stream(device: torch.device) -> AbstractContextManager[Any]:
    """Make a stream whose small work goes before that of the current stream, as a context that can be entered again."""
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device, priority=-1))
