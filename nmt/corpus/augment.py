"""Data augmentation: some training pairs as people type them, in lower case or without a full stop.

In the way of the data: prepared text -> **augment** -> pieces, once per epoch. The target of a source in lower case
stays as it is: such text is typed in haste, and its translation is still read with the usual capitals. ALL CAPS and
Title Case need no training, see `nmt.text.letter_case`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nmt.corpus.settings import Augment

_STOPS = ".。।"


def vary(source: Sequence[str], target: Sequence[str], augment: Augment, seed: int) -> dict[int, tuple[str, str]]:
    """Return the pairs that `augment` changes, by their index; a pure function of its arguments."""
    case, stop = np.random.Generator(np.random.PCG64(seed)).random((2, len(source)))
    changed: dict[int, tuple[str, str]] = {}
    for n in np.flatnonzero((case < augment.lower + augment.lower_first) | (stop < augment.drop_stop)).tolist():
        src, tgt = source[n], target[n]
        if stop[n] < augment.drop_stop and _ends_with_stop(src) and _ends_with_stop(tgt):
            src, tgt = src[:-1].rstrip(), tgt[:-1].rstrip()
        if case[n] < augment.lower:
            src = src.lower()
        elif case[n] < augment.lower + augment.lower_first:
            src = src[:1].lower() + src[1:]
        if (src, tgt) != (source[n], target[n]):
            changed[n] = src, tgt
    return changed


def _ends_with_stop(text: str) -> bool:
    """Return whether `text` ends with one full stop after something else."""
    return len(text) > 1 and text[-1] in _STOPS and text[-2] not in _STOPS
