"""Optional C++ kernels: the same results as the plain code, in less time on a CPU. `python -m nmt.kernels` builds them.

In the way of the data: below the artifact, which decodes by them where they are there, and below training. A library is
used only if it was built from these sources for this very version of torch; else `load` returns False, `reason` says
why, and the plain code runs. `NMT_KERNELS=off` in the environment turns them off.
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
from pathlib import Path
from typing import Final

import torch

SOURCES: Final = Path(__file__).with_name("csrc")
LIBRARIES: Final = Path(__file__).with_name("lib")
"""where `nmt/kernels/build.py` writes them"""
CAPABILITIES: Final = ("AVX512", "AVX2") if platform.machine().lower() in ("x86_64", "amd64") else ("DEFAULT",)
"""the instruction sets of this architecture that there is a library for, as torch names them"""

reason = "not loaded yet"
"""why the kernels are not used; empty if they are"""
_lock = threading.Lock()
_loaded: bool | None = None


def load() -> bool:
    """Load the library for this CPU, once in a process; return whether the kernels are there."""
    global _loaded, reason
    with _lock:
        if _loaded is None:
            reason = _load()
            _loaded = not reason
    return _loaded and os.environ.get("NMT_KERNELS") != "off"


def library(capability: str) -> Path:
    """Return the path of the library for one instruction set; its name identifies the sources and torch's version."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    return LIBRARIES / f"nmt-{capability.lower()}-torch-{torch.__version__}-{digest.hexdigest()[:12]}.so"


def _load() -> str:
    """Load the library; return why that is impossible, or an empty string."""
    if os.environ.get("NMT_KERNELS") == "off":
        return "turned off by NMT_KERNELS=off"
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in CAPABILITIES:
        if CAPABILITIES != ("DEFAULT",):
            return f"there is no library for {capability}, only for {' and '.join(CAPABILITIES)}"
        capability = "DEFAULT"
    path = library(capability)
    if not path.is_file():
        others = any(LIBRARIES.glob("nmt-*.so"))
        return f"{'built for another version' if others else 'not built'}: run `python -m nmt.kernels`"
    try:
        torch.ops.load_library(path)
    except (OSError, RuntimeError) as error:
        why = str(error).splitlines()[0][:200]
        return f"{path.name} cannot be loaded ({why}): remove it and run `python -m nmt.kernels`"
    return ""
