"""The device to compute on: its choice, its fast number types, its memory, and copies to it."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import warnings

import torch
from torch import Tensor

from nmt.errors import ConfigError


def pick_device(name: str) -> torch.device:
    """Return the device named `auto`, `cpu`, `cuda` or `cuda:N`; raises `ConfigError` if there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        # Our LSTM keeps two weight matrices, not cuDNN's single buffer. It copies them together, in little time.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk", UserWarning)
        if (device.index or 0) >= torch.cuda.device_count():
            raise ConfigError(
                f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA devices; use cpu or auto"
            )
    return device


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices in hardware (a CPU by AVX512-BF16 or AMX, 4 x float32)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host to `device`; the host does not wait for a CUDA device.

    That takes pinned (page-locked) memory. torch keeps it for later copies, each after the device is done with it.
    """
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next allocation instead of returning it to the system.

    Training and decoding free and allocate the same large tensors at each step. Zeroing fresh pages for them took a
    third of a training step on a CPU. For programs, not for libraries: the process keeps its largest size. Does nothing
    with other C libraries.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    _glibc("mallopt", m_mmap_threshold, 1 << 30)
    _glibc("mallopt", m_trim_threshold, (1 << 31) - 1)


def limit_heaps(count: int) -> None:
    """Let glibc have at most so many heaps for all threads; each keeps free memory of its own."""
    m_arena_max = -8
    _glibc("mallopt", m_arena_max, count)


def return_freed_memory() -> None:
    """Return the memory that glibc has kept to the system, once. For what will not be allocated again soon."""
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    """Call a function of glibc; do nothing with other C libraries."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            getattr(ctypes.CDLL("libc.so.6"), function)(*arguments)
