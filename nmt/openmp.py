"""How OpenMP's threads wait for each other. It has to be chosen before torch is loaded, because libgomp reads it once.

By default waiting threads run in a busy loop. Beside another busy process the loop occupies the cores that the awaited
threads need, and most of the speed is lost. Medians on two cores, free and beside one busy process:

    waiting                          one request, ms     translate, lines/s     training, tokens/s
    busy loop (libgomp's default)    22    unusable      330    unusable        6,300    unusable
    short loop (1,000 rounds)        23    39            341    195             4,800    3,300
    sleep at once (passive)          26    22            291    299             4,000    3,800

So translation sleeps at once. Training has many more short parallel regions and waits in a short loop.
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
