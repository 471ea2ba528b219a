"""A service over a real model whose engines fail when a file says so, for a process of a test's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def serve_faulty(port: int, models: str, orders: str, **settings: Any) -> int:
    """Serve; return the exit code. The next step of an engine does what the file ``orders`` says, which it removes.

    fail: an exception. exit: the end of its thread. hang: no end. slow: 20 ms more from now on.
    """
    from nmt.search.engine import Engine
    from service.server import serve
    from service.settings import load_settings

    file, step = Path(orders), Engine.step
    slow = False

    def faulty_step(engine: Engine) -> int:
        nonlocal slow
        order = ""
        if file.exists() and engine.active:
            order = file.read_text()
            file.unlink(missing_ok=True)
        slow |= order == "slow"
        if order == "fail":
            raise RuntimeError("a step failed")
        if order == "exit":
            raise SystemExit("a thread ended")
        time.sleep(3600 if order == "hang" else 0.02 if slow else 0)
        return step(engine)

    setattr(Engine, "step", faulty_step)  # noqa: B010  # the type of an unbound method cannot be written
    return serve(load_settings(port=port, models=models, beam=1, **settings))
