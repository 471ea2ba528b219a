"""The shortlist: the plain search over the candidates, which depend on the sentence alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.artifact import load_bytes
from nmt.config import ModelConfig
from nmt.export import Shortlist, build
from nmt.model.seq2seq import Seq2Seq
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Hypothesis, Request, SearchOptions
from nmt.text.special_ids import BOS, EOS, PAD, UNK
from tests.copy_model import CopyRun, tokenizer
from tests.toy_model import ToyModel

VOCABULARY = 16
SRCS = [(4, 5, 6, EOS), (7, EOS), (9, 4, 4, 8, 10, EOS)]


class Masked(ToyModel):
    """A toy model that has only the pieces `allowed`: the others are masked, so that softmax is over these."""

    allowed: list[int]

    def step(self, tokens: Tensor, state: list[Tensor], memory: Any) -> tuple[Tensor, list[Tensor], Tensor]:
        logits, state, attention = super().step(tokens, state, memory)
        others = [v for v in range(VOCABULARY) if v not in self.allowed]
        logits[:, others] = float("-inf")
        return logits, state, attention


def lexicon() -> Tensor:
    """Two pieces for each source piece."""
    table = torch.full((VOCABULARY, 2), PAD, dtype=torch.int16)
    for piece in range(EOS + 1, VOCABULARY):
        table[piece] = torch.tensor([4 + piece % 8, 4 + 3 * piece % 8])
    return table


FREQUENT = torch.tensor([5, 11], dtype=torch.int16)


def candidates(src: tuple[int, ...], prefix: tuple[int, ...]) -> list[int]:
    return sorted({UNK, BOS, EOS, *FREQUENT.tolist(), *prefix, *lexicon()[list(src)].flatten().tolist()} - {PAD})


def run(search: BeamSearch, requests: list[Request], slots: int = 8) -> list[list[Hypothesis]]:
    results = Engine(search, rows=slots * requests[0].options.beam).run(requests)
    assert [result.error for result in results] == [None] * len(results)
    return [result.hypotheses for result in results]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert [h.ids for h in one] == [h.ids for h in other]
        for first, second in zip(one, other, strict=True):
            assert first.token_log_probs == pytest.approx(second.token_log_probs, abs=1e-5)


OPTIONS = [
    (SearchOptions(beam=1), ()),
    (SearchOptions(beam=5, n_best=5), ()),
    (SearchOptions(beam=4, n_best=2, no_repeat_ngram=2, allow_unknown=False, min_length=3), ()),
    (SearchOptions(beam=4, n_best=3, no_repeat_ngram=1), (9, 14)),
]


@pytest.mark.parametrize(("options", "prefix"), OPTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_plain_search_over_the_candidates(seed: int, options: SearchOptions, prefix: tuple[int, ...]) -> None:
    requests = [Request(n, src, options, prefix) for n, src in enumerate(SRCS)]
    found = run(BeamSearch(ToyModel(VOCABULARY, seed=seed), lexicon(), FREQUENT), requests)
    for request, hypotheses in zip(requests, found, strict=True):
        model = Masked(VOCABULARY, seed=seed)
        model.allowed = candidates(request.src, prefix)
        assert len(model.allowed) < VOCABULARY - 1
        assert_same([hypotheses], run(BeamSearch(model), [request]))


@pytest.mark.parametrize(("options", "prefix"), OPTIONS)
def test_with_all_pieces_as_candidates_only_pad_is_missing(options: SearchOptions, prefix: tuple[int, ...]) -> None:
    model = Masked(VOCABULARY, seed=4)
    model.allowed = list(range(1, VOCABULARY))
    every = torch.arange(VOCABULARY, dtype=torch.int32)
    requests = [Request(n, src, options, prefix) for n, src in enumerate(SRCS)]
    short = BeamSearch(ToyModel(VOCABULARY, seed=4), torch.zeros(VOCABULARY, 1, dtype=torch.int32), every)
    assert_same(run(short, requests), run(BeamSearch(model), requests))


def test_it_can_be_switched_off() -> None:
    model, requests = ToyModel(VOCABULARY), [Request(n, src) for n, src in enumerate(SRCS)]
    search = BeamSearch(model, lexicon(), FREQUENT)
    search.shortlist = False
    assert_same(run(search, requests), run(BeamSearch(model), requests))


@pytest.mark.parametrize("input_feeding", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_exported(dtype: str, input_feeding: bool) -> None:
    """A sentence has the same translation alone and in company, and with all pieces that of the file without it."""
    torch.manual_seed(5)
    sizes = {"embedding": 24, "encoder": {"hidden": 16}, "decoder": {"hidden": 24, "attention_size": 16}}
    sizes["decoder"]["input_feeding"] = input_feeding  # type: ignore[index]
    vocabulary = tokenizer().vocabulary
    model = Seq2Seq(ModelConfig.model_validate(sizes), vocabulary).eval()
    model.output.bias.data += 2 * torch.randn(vocabulary)
    table = torch.randint(EOS + 1, vocabulary, (vocabulary, 8), dtype=torch.int16)
    content, manifest, _ = build(CopyRun(model=model), dtype, shortlist=Shortlist(table, FREQUENT))
    assert manifest.shortlist == 8
    options = SearchOptions(beam=3, n_best=2, max_length=12)
    requests = [Request(n, src, options) for n, src in enumerate([*SRCS, (*range(20, 60), EOS)])]
    search = load_bytes(content, "x", kernels=False).search
    together = run(search, requests)
    tolerance = {"float32": 1e-4, "bfloat16": 0.05, "int8": 1e-4}[dtype]
    for request, hypotheses in zip(requests, together, strict=True):
        (alone,) = run(search, [request], slots=1)
        assert abs(alone[0].log_prob - hypotheses[0].log_prob) < tolerance
        allowed = {UNK, *FREQUENT.tolist(), *table[list(request.src)].flatten().tolist()}
        assert all(set(hypothesis.ids) <= allowed for hypothesis in hypotheses)
    plain = load_bytes(content, "x", kernels=False, shortlist=False).search
    expected = run(load_bytes(build(CopyRun(model=model), dtype)[0], "x", kernels=False).search, requests)
    assert_same(run(plain, requests), expected)
