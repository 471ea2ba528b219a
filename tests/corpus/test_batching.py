"""Batches: padding, budget, one visit an epoch, and a state that resumes exactly where it was."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nmt.corpus.batching import Batch, BucketSampler, Lengths, cut, ordered_batches, train_batches
from nmt.corpus.prepare import prepare
from nmt.corpus.prepared import PreparedCorpus
from nmt.corpus.seeds import derive_seed
from nmt.corpus.settings import CorpusSettings
from nmt.errors import CheckpointError, CorpusError
from nmt.text.special_ids import BOS, EOS, PAD

UNHURRIED = settings(deadline=None, max_examples=60)

sentence = st.lists(st.integers(4, 99), max_size=9)
pairs = st.lists(st.tuples(sentence, sentence), min_size=1, max_size=12)


@UNHURRIED
@given(pairs)
def test_a_batch_holds_each_pair_and_padding_only(content: list[tuple[list[int], list[int]]]) -> None:
    batch = Batch.from_ids([src for src, _ in content], [tgt for _, tgt in content])
    assert len(batch) == len(content)
    for row, (src, tgt) in enumerate(content):
        n, m = int(batch.src_lengths[row]), int(batch.tgt_lengths[row])
        assert batch.src[row, :n].tolist() == [*src, EOS]
        assert batch.tgt_in[row, :m].tolist() == [BOS, *tgt]
        assert batch.tgt_out[row, :m].tolist() == [*tgt, EOS]
        assert (batch.src[row, n:] == PAD).all()
        assert (batch.tgt_out[row, m:] == PAD).all()
    assert batch.src.size(1) == int(batch.src_lengths.max())
    assert batch.tgt_in.shape == batch.tgt_out.shape == (len(content), int(batch.tgt_lengths.max()))
    assert batch.target_tokens == int((batch.tgt_out != PAD).sum())
    assert batch.source_tokens == int((batch.src != PAD).sum())
    assert {t.dtype for t in (batch.src, batch.tgt, batch.src_lengths, batch.tgt_lengths)} == {torch.int64}


def test_a_batch_moves_as_a_whole() -> None:
    batch = Batch.from_ids([[5]], [[6]]).to("meta")
    assert {t.device.type for t in (batch.src, batch.tgt, batch.src_lengths, batch.tgt_lengths)} == {"meta"}
    assert (batch.source_tokens, batch.target_tokens) == (2, 2)


def test_a_batch_needs_pairs() -> None:
    with pytest.raises(ValueError, match="as many targets as sources, got 1 and 2"):
        Batch.from_ids([[5]], [[6], [7]])
    with pytest.raises(ValueError, match="got 0 and 0"):
        Batch.from_ids([], [])


@UNHURRIED
@given(st.lists(st.integers(1, 40)), st.integers(1, 100), st.one_of(st.none(), st.integers(1, 5)))
def test_cutting(widths: list[int], budget: int, most: int | None) -> None:
    runs = cut(np.array(widths, np.int64), budget, most)
    assert [w for run in runs for w in widths[run]] == widths
    for run in runs:
        part = widths[run]
        assert len(part) == 1 or len(part) * max(part) <= budget
        assert most is None or len(part) <= most


def some_lengths(count: int, seed: int = 0) -> Lengths:
    rng = np.random.default_rng(seed)
    src = rng.integers(0, 30, count)
    return src, np.maximum(0, src + rng.integers(-4, 5, count))


sizes = st.integers(1, 300)


def drain(sampler: BucketSampler) -> list[list[int]]:
    return [indices.tolist() for indices in sampler]


@UNHURRIED
@given(sizes, st.integers(20, 300), st.integers(0, 3), st.sampled_from([7, 1 << 15]), st.sampled_from([0.0, 2.0]))
def test_each_sentence_once_an_epoch_within_the_budget(
    count: int, budget: int, seed: int, pool: int, noise: float
) -> None:
    lengths = some_lengths(count)
    sampler = BucketSampler(lengths, batch_tokens=budget, seed=seed, pool=pool, noise=noise)
    widths = np.maximum(*lengths) + 1
    for epoch in range(3):
        assert sampler.epoch == epoch
        expected = len(sampler)
        batches = drain(sampler)
        assert len(batches) == expected
        assert sorted(itertools.chain.from_iterable(batches)) == list(range(count))
        assert all(len(batch) == 1 or len(batch) * widths[batch].max() <= budget for batch in batches)


def test_epochs_and_seeds_differ_and_nothing_else_does() -> None:
    lengths = some_lengths(500)
    one, same = (BucketSampler(lengths, batch_tokens=100, seed=1) for _ in range(2))
    first = drain(one)
    torch.manual_seed(3)
    np.random.default_rng(3).random()
    assert drain(same) == first
    assert drain(one) != first
    assert drain(BucketSampler(lengths, batch_tokens=100, seed=2)) != first


def test_sentences_have_other_company_every_epoch() -> None:
    sampler = BucketSampler(some_lengths(3000), batch_tokens=200, seed=1)
    companies = [{frozenset(batch) for batch in drain(sampler) if len(batch) > 1} for _ in range(2)]
    assert len(companies[0] & companies[1]) < 0.1 * len(companies[0])


def test_batches_are_dense() -> None:
    """Sorting is what buckets are for: unsorted, half of the positions of these batches were padding."""
    src, tgt = some_lengths(5000)
    for batch_side in (src, tgt):
        batches = drain(BucketSampler((src, tgt), batch_tokens=1000, seed=1))
        padded = sum(len(batch) * (batch_side[batch].max() + 1) for batch in batches)
        assert (batch_side + 1).sum() / padded > 0.85


def test_max_sentences_bounds_a_batch() -> None:
    sampler = BucketSampler(some_lengths(100), batch_tokens=10_000, seed=1, max_sentences=8)
    assert max(map(len, drain(sampler))) == 8


def forever(sampler: BucketSampler) -> Iterator[tuple[list[int], dict[str, int]]]:
    while True:
        for indices in sampler:
            yield indices.tolist(), sampler.state_dict()


@UNHURRIED
@given(sizes, st.integers(0, 60), st.integers(0, 3))
def test_a_resumed_sampler_goes_on_exactly_there(count: int, steps: int, seed: int) -> None:
    lengths = some_lengths(count)

    def fresh() -> BucketSampler:
        return BucketSampler(lengths, batch_tokens=90, seed=seed)

    stopped = fresh()
    states = [stopped.state_dict(), *(state for _, state in itertools.islice(forever(stopped), steps))]
    expected = list(itertools.islice(forever(stopped), 30))
    resumed = fresh()
    resumed.load_state_dict(states[-1])
    assert resumed.state_dict() == states[-1]
    assert list(itertools.islice(forever(resumed), 30)) == expected


def test_a_finished_epoch_counts_with_its_last_batch() -> None:
    sampler = BucketSampler(some_lengths(100), batch_tokens=100, seed=1)
    count = len(sampler)
    states = [(state["epoch"], state["position"]) for _, state in itertools.islice(forever(sampler), count + 1)]
    assert states == [(0, position) for position in range(1, count)] + [(1, 0), (1, 1)]


@pytest.mark.parametrize("change", [{"seed": 2}, {"batch_tokens": 101}, {"world": 2}, {"count": 99}])
def test_a_state_of_other_batches_is_refused(change: dict[str, int]) -> None:
    def sampler(count: int = 100, seed: int = 1, batch_tokens: int = 100, world: int = 1) -> BucketSampler:
        return BucketSampler(some_lengths(count), batch_tokens=batch_tokens, seed=seed, world=world)

    state = sampler().state_dict()
    with pytest.raises(CheckpointError, match="the checkpoint's batches were made with"):
        sampler(**change).load_state_dict(state)
    with pytest.raises(CheckpointError, match="made with seed=None"):
        sampler().load_state_dict({})


@UNHURRIED
@example(6, 4, 20)  # single sentences, more than one too many
@given(st.integers(4, 200), st.integers(2, 4), st.integers(20, 500))
def test_ranks_share_an_epoch_out_evenly(count: int, world: int, budget: int) -> None:
    lengths = some_lengths(count)
    widths = np.maximum(*lengths) + 1
    samplers = [BucketSampler(lengths, batch_tokens=budget, seed=1, rank=rank, world=world) for rank in range(world)]
    for _ in range(2):
        shares = [drain(sampler) for sampler in samplers]
        assert len({len(share) for share in shares}) == 1
        visits = Counter(index for share in shares for batch in share for index in batch)
        assert visits == Counter(range(count))
        assert all(batch for share in shares for batch in share)
        if budget >= 4 * widths.max():  # else there may be nothing to share out but single sentences
            assert all(len(b) * widths[b].max() <= budget for share in shares for b in share)


def test_ranks_get_batches_of_like_length_at_a_time() -> None:
    lengths = some_lengths(4000)
    samplers = [BucketSampler(lengths, batch_tokens=400, seed=1, rank=rank, world=2) for rank in range(2)]
    widths = [[int(lengths[1][batch].max()) for batch in drain(sampler)] for sampler in samplers]
    assert np.mean([abs(a - b) for a, b in zip(*widths, strict=True)]) < 1


def test_bad_arguments_are_named() -> None:
    with pytest.raises(CorpusError, match="3 training pairs for 4 processes"):
        BucketSampler(some_lengths(3), batch_tokens=10, seed=1, world=4)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        BucketSampler(some_lengths(3), batch_tokens=10, seed=1, rank=2, world=2)
    with pytest.raises(ValueError, match="2 source lengths but 3"):
        BucketSampler((np.zeros(2, np.int64), np.zeros(3, np.int64)), batch_tokens=10, seed=1)
    with pytest.raises(ValueError, match="2 lengths for 3 sentences"):
        BucketSampler(some_lengths(3), batch_tokens=10, seed=1).set_lengths(some_lengths(2))


def test_derived_seeds_differ_and_fit() -> None:
    seeds = {derive_seed(seed, epoch) for seed in range(50) for epoch in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 1 << 32 for seed in seeds)


# With a corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    folder = tmp_path_factory.mktemp("corpus")
    words = ["dog", "cat", "house", "garden", "window", "lake", "letter", "morning"]
    lines = [" ".join(p) for n in (1, 2, 3) for p in itertools.permutations(words, n)]
    rows = [f"{line}\t{line[::-1]}\n" for line in lines]
    (folder / "train.tsv").write_text("".join(rows), "utf-8")
    files = (folder / "train.tsv",)
    return prepare(CorpusSettings(train_tsv=files, valid_size=40, vocabulary=80), Path(folder / "cache"))


def train_texts(corpus: PreparedCorpus, batch: Batch) -> list[tuple[str, str]]:
    decode = corpus.tokenizer.decode
    return [(decode(s), decode(t)) for s, t in zip(batch.src.tolist(), batch.tgt.tolist(), strict=True)]


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_an_epoch_of_batches_is_the_training_text(corpus: PreparedCorpus, alpha: float) -> None:
    sampler = BucketSampler(corpus.train.lengths, batch_tokens=200, seed=1)
    expected = sorted(zip(corpus.train.source_lines, corpus.train.target_lines, strict=True))
    for epoch in range(2):
        assert sampler.epoch == epoch
        batches = list(train_batches(corpus.train, sampler, corpus.tokenizer, sample_alpha=alpha, seed=5))
        assert sorted(text for batch in batches for text in train_texts(corpus, batch)) == expected
        assert all(len(b) == 1 or max(b.src.numel(), b.tgt_in.numel()) <= 200 for b in batches)


def stream(corpus: PreparedCorpus, sampler: BucketSampler, seed: int) -> Iterator[tuple[list[list[int]], float]]:
    while True:
        for batch in train_batches(corpus.train, sampler, corpus.tokenizer, sample_alpha=0.3, seed=seed):
            share = sampler.epoch + sampler.position / len(sampler)
            yield batch.src.tolist() + batch.tgt.tolist(), share


@pytest.mark.parametrize("steps", [1, 17, 60])
def test_sampled_batches_resume_exactly(corpus: PreparedCorpus, steps: int) -> None:
    """Batches, and the share of the epoch that a schedule may ask for before the first batch."""
    stopped = BucketSampler(corpus.train.lengths, batch_tokens=200, seed=1)
    run = stream(corpus, stopped, 5)
    share = [share for _, share in itertools.islice(run, steps)][-1]
    state = stopped.state_dict()
    expected = list(itertools.islice(run, 50))
    resumed = BucketSampler(corpus.train.lengths, batch_tokens=200, seed=1)
    resumed.load_state_dict(state)
    assert resumed.epoch + resumed.position / len(resumed) == share
    assert list(itertools.islice(stream(corpus, resumed, 5), 50)) == expected
    other = BucketSampler(corpus.train.lengths, batch_tokens=200, seed=1)
    other.load_state_dict(state)
    assert list(itertools.islice(stream(corpus, other, 6), 50)) != expected


def test_validation_batches_are_all_pairs_in_a_fixed_order(corpus: PreparedCorpus) -> None:
    batches = list(ordered_batches(corpus.valid, batch_tokens=100))
    texts = [text for batch in batches for text in train_texts(corpus, batch)]
    assert sorted(texts) == sorted(zip(corpus.valid.source_lines, corpus.valid.target_lines, strict=True))
    assert all(len(b) == 1 or max(b.src.numel(), b.tgt_in.numel()) <= 100 for b in batches)
    again = list(ordered_batches(corpus.valid, batch_tokens=100))
    assert all(torch.equal(a.src, b.src) for a, b in zip(batches, again, strict=True))
