"""The text of an experiment: its files, the prepared corpus, and the target pieces seen up to a step.

In the way of the data: the user's files -> **material** -> the prepared corpus that all members train on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt.config import Config
from nmt.corpus.batching import Batch, BucketSampler, make_batch
from nmt.corpus.prepared import PreparedCorpus, Split
from nmt.corpus.reading import read_pair
from nmt.errors import ConfigError
from nmt.files import atomic_write


def limit_validation(config: Config, pairs: int, folder: Path) -> Config:
    """Return the config with the first `pairs` of its validation pairs only.

    They are written below `folder`, which becomes `data.root`, with links to the other files. So the file names in the
    config show the limit, and the names and the config's digest are the same on all machines.
    """
    data = config.data
    if data.valid_src is None or data.valid_tgt is None:
        return config.model_copy(update={"data": data.model_copy(update={"valid_size": pairs})})
    text = read_pair(data.root / data.valid_src, data.root / data.valid_tgt)
    changes: dict[str, Any] = {"root": folder}
    for key, path, lines in (("valid_src", data.valid_src, text.src), ("valid_tgt", data.valid_tgt, text.tgt)):
        plain = path.name.removesuffix(".gz")
        stem, _, language = plain.rpartition(".")
        name = Path(f"{stem or language}-{pairs}{'.' * bool(stem)}{language if stem else ''}")
        name = name if path.is_absolute() else path.parent / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / name) as file:
            file.write("".join(f"{line}\n" for line in lines[:pairs]).encode())
        changes[key] = name
    tests = [path for path in (data.test_src, data.test_tgt) if path is not None]
    for path in (*data.train_src, *data.train_tgt, *data.train_tsv, *tests):
        if not path.is_absolute():
            _link(data.root / path, folder / path)
    return config.model_copy(update={"data": data.model_copy(update=changes)})


def _link(path: Path, name: Path) -> None:
    if name.exists():
        return
    name.parent.mkdir(parents=True, exist_ok=True)
    name.unlink(missing_ok=True)
    try:
        name.symlink_to(path.resolve())
    except OSError:  # a file system without links
        shutil.copyfile(path, name)


def test_split(corpus: PreparedCorpus) -> Split:
    """Return the test pairs; raises `ConfigError` if the corpus has none."""
    if corpus.test is None:
        raise ConfigError("no test text: set data.test_src and data.test_tgt, or data.test_size")
    return corpus.test


def training_batches(config: Config, corpus: PreparedCorpus) -> Iterator[NDArray[np.int64]]:
    """Yield the indices (B,) of each batch of a run, in the order of its steps, without end."""
    options = config.training
    sampler = BucketSampler(corpus.train.lengths, batch_tokens=options.batch_tokens, seed=options.seed)
    while True:
        yield from sampler


def first_batches(config: Config, corpus: PreparedCorpus, count: int) -> list[Batch]:
    """Return the batches of a run's first `count` steps."""
    return [make_batch(corpus.train, indices) for indices in islice(training_batches(config, corpus), count)]


def target_tokens(config: Config, corpus: PreparedCorpus, steps: int) -> NDArray[np.int64]:
    """Count the target pieces (steps + 1,) that a run has seen after each step, EOS included; equal for all members."""
    lengths = corpus.train.target.lengths + 1
    seen = [int(lengths[indices].sum()) for indices in islice(training_batches(config, corpus), steps)]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.asarray(seen, np.int64))])
