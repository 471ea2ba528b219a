"""Checkpoint files: tensors and plain values, written whole or not at all, with a digest that finds any damage.

In the way of the data: training state -> **checkpoint** -> export, or back into train.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from nmt.errors import CheckpointError
from nmt.files import atomic_write

FORMAT_VERSION = 3
"""raised when the names of the weights change; see `_RENAMED` for the older versions that can still be read"""
_RENAMED = {2: ((".ahead.", ".forward_cell."), (".back.", ".backward_cell."))}
"""by version: parts of weight names, before and after"""
_MAGIC = b"NMTCKPT1"


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`, whole or not at all."""
    write_checkpoint(path, checkpoint_bytes(content))


def checkpoint_bytes(content: dict[str, Any]) -> bytes:
    """Return what follows the digest in a checkpoint file: a copy of tensors and plain values, and the version."""
    buffer = io.BytesIO()
    torch.save({"format_version": FORMAT_VERSION, **content}, buffer)
    return buffer.getvalue()


def write_checkpoint(path: Path, data: bytes) -> None:
    """Write what `checkpoint_bytes` returned to `path`, whole or not at all."""
    with atomic_write(path) as file:
        file.write(_MAGIC + hashlib.sha256(data).digest())
        file.write(data)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; raises `CheckpointError` naming the file when it is missing or damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    head = len(_MAGIC) + 32
    if not content.startswith(_MAGIC[:-1]):
        raise CheckpointError(f"{path}: not a checkpoint of this program")
    if content[: len(_MAGIC)] != _MAGIC:
        raise CheckpointError(f"{path}: made by a newer version of this program, or damaged; upgrade, or train again")
    if hashlib.sha256(content[head:]).digest() != content[len(_MAGIC) : head]:
        raise CheckpointError(f"{path}: damaged (its digest does not match); restore it from a copy, or train again")
    try:
        loaded = torch.load(io.BytesIO(content[head:]), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    version = loaded["format_version"]
    if version > FORMAT_VERSION:
        raise CheckpointError(f"{path}: made by a newer version of this program; upgrade")
    if version < FORMAT_VERSION and version not in _RENAMED:
        raise CheckpointError(f"{path}: made by an older version of this program; train again, or export it with that")
    for named in ("model", "average"):
        if named in loaded:
            loaded[named] = {_rename(name, version): value for name, value in loaded[named].items()}
    return dict(loaded)


def _rename(name: str, version: int) -> str:
    """Return the present name of a weight that a checkpoint of `version` has under `name`."""
    for before, after in _RENAMED.get(version, ()):
        name = name.replace(before, after)
    return name
