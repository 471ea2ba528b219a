"""How OpenMP's threads wait for each other. It has to be chosen before torch is loaded, because libgomp reads it once.

By default waiting threads run in a busy loop. Beside another busy process the loop occupies the cores that the awaited
threads need, and most of the speed is lost. Measured on two cores (Intel Xeon), free | beside one busy process:

    waiting                          one request, ms     translate, lines/s    training, tokens/s
    busy loop, libgomp's default     22 | not finished   330 | not finished    11,800 | not finished
    busy loop, 10,000 rounds         23 | 144            325 | 107             13,300 |  2,800
    busy loop, 1,000 rounds          23 |  39            341 | 195             11,700 |  6,400
    sleep at once (passive)          26 |  22            291 | 299             10,800 |  6,600

So translation sleeps at once. Training, with many more short parallel regions, waits in a loop of 1,000 rounds.
"""

from __future__ import annotations

import os

SPIN_ROUNDS = 1000


def choose_waiting(*, spin: bool) -> None:
    """Make waiting threads sleep at once or, with `spin`, after a short loop, unless the environment says otherwise."""
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        return
    if spin:
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_ROUNDS)
    else:
        os.environ["OMP_WAIT_POLICY"] = "passive"
