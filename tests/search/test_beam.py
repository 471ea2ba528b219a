"""Beam search: exhaustive with a wide beam, greedy with beam 1, within its limits, and the same when scripted."""

from __future__ import annotations

import io
import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nmt.errors import SearchError
from nmt.search.beam import BeamSearch, best_continuations, is_done, length_penalty, plain_limits
from nmt.search.engine import Engine, Hypothesis, Request, SearchOptions
from nmt.search.padding import pad_ids
from nmt.search.running_batch import set_stop_at
from nmt.search.slots import walk_back
from nmt.text.special_ids import BOS, EOS, PAD, UNK
from tests.toy_model import ToyModel, all_complete, greedy

SRC = (4, 5, 6, 4, EOS)
SEEDS = range(6)


def translate(model: ToyModel, options: SearchOptions, prefix: tuple[int, ...] = ()) -> list[Hypothesis]:
    """Return the hypotheses of SRC."""
    (result,) = Engine(BeamSearch(model)).run([Request(0, SRC, options, prefix)])
    if result.error is not None:
        raise result.error
    return result.hypotheses


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
def test_wide_beam_is_exhaustive(seed: int, alpha: float) -> None:
    model = ToyModel(vocabulary=6, seed=seed)
    best = all_complete(model, SRC, 4, (UNK, 4, 5), alpha)[:5]
    found = translate(model, SearchOptions(beam=128, n_best=5, length_penalty=alpha, max_length=4))
    assert [hypothesis.ids for hypothesis in found] == [ids for _, ids in best]
    assert [hypothesis.score for hypothesis in found] == pytest.approx([score for score, _ in best], abs=1e-5)
    assert all(hypothesis.complete for hypothesis in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_wide_beam_is_exhaustive_within_constraints(seed: int) -> None:
    model = ToyModel(vocabulary=6, seed=seed)
    options = SearchOptions(beam=128, n_best=4, max_length=5, min_length=3, no_repeat_ngram=2, allow_unknown=False)

    def allowed(ids: list[int]) -> bool:
        pairs = list(itertools.pairwise(ids))
        return ids[:1] == [5] and len(ids) >= 2 and len(set(pairs)) == len(pairs)

    best = [pair for pair in all_complete(model, SRC, 5, (4, 5)) if allowed(pair[1])][:4]
    found = translate(model, options, prefix=(5,))
    assert [hypothesis.ids for hypothesis in found] == [ids for _, ids in best]
    assert [hypothesis.score for hypothesis in found] == pytest.approx([score for score, _ in best], abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_beam_1_is_greedy(seed: int) -> None:
    model = ToyModel(seed=seed)
    (found,) = translate(model, SearchOptions(beam=1, max_length=9))
    assert found.ids + [EOS] * found.complete == greedy(model, SRC, 9)


@pytest.mark.parametrize("beam", [1, 3, 8])
def test_score_equals_forced_decoding(beam: int) -> None:
    for seed in SEEDS:
        model = ToyModel(seed=seed)
        for found in translate(model, SearchOptions(beam=beam, n_best=beam)):
            tgt = found.ids + [EOS] * found.complete
            log_probs = BeamSearch(model).score(torch.tensor([SRC]), torch.tensor([len(SRC)]), torch.tensor([tgt]))
            assert found.token_log_probs == pytest.approx(log_probs[0].tolist(), abs=1e-5)
            assert found.log_prob == pytest.approx(sum(found.token_log_probs), abs=1e-5)
            penalty = length_penalty(torch.tensor(len(tgt)), torch.tensor(1.0))
            assert found.score == pytest.approx(found.log_prob / float(penalty), abs=1e-5)


def test_forced_decoding_scores_padding_zero() -> None:
    search = BeamSearch(ToyModel())
    src, lengths = torch.tensor([SRC, SRC]), torch.tensor([5, 5])
    both = search.score(src, lengths, torch.tensor([[4, 5, EOS], [6, EOS, PAD]]))
    assert both[1, 2] == 0
    assert torch.allclose(both[1, :2], search.score(src[1:], lengths[1:], torch.tensor([[6, EOS]]))[0], atol=1e-6)


def test_attention_is_that_of_the_hypothesis() -> None:
    """Traced back through the beams, each row equals the weights that the model gives after the same prefix."""
    model = ToyModel(seed=3)
    for found in translate(model, SearchOptions(beam=6, n_best=6)):
        memory, state = model.encode(torch.tensor([SRC]), torch.tensor([len(SRC)]))
        assert found.attention.shape == (len(found.token_log_probs), len(SRC))
        for piece, row in zip([BOS, *found.ids], found.attention, strict=False):
            _, state, attention = model.step(torch.tensor([piece]), state, memory)
            assert torch.allclose(row, attention[0], atol=1e-6)


def test_n_best_is_sorted_and_distinct() -> None:
    for seed in SEEDS:
        found = translate(ToyModel(seed=seed), SearchOptions(beam=8, n_best=8, max_length=6))
        assert len({(tuple(hypothesis.ids), hypothesis.complete) for hypothesis in found}) == len(found) == 8
        order = [(not hypothesis.complete, -hypothesis.score) for hypothesis in found]
        assert order == sorted(order)


def test_length_limits() -> None:
    for seed in SEEDS:
        for found in translate(ToyModel(seed=seed), SearchOptions(beam=4, n_best=4, min_length=3, max_length=5)):
            length = len(found.token_log_probs)
            assert 3 <= length <= 5
            assert length == len(found.ids) + found.complete


def test_a_hypothesis_truncated_by_the_limit_is_marked() -> None:
    never_ends = ToyModel(eos_bias=-50.0)
    found = translate(never_ends, SearchOptions(beam=2, n_best=2, max_length=7))
    assert [(len(hypothesis.ids), hypothesis.complete) for hypothesis in found] == [(7, False)] * 2
    (found_by_source,) = translate(never_ends, SearchOptions(beam=2, max_length_factor=1.5, max_length_extra=2))
    assert len(found_by_source.ids) == math.ceil(1.5 * len(SRC)) + 2


def test_it_stops_when_no_better_hypothesis_is_possible() -> None:
    ends_at_once = ToyModel(eos_bias=50.0)
    search = CountingSearch(ends_at_once)
    result = Engine(search).run([Request(0, SRC, SearchOptions(beam=4, length_penalty=1.0))])[0]
    assert result.hypotheses[0].ids == []
    assert search.steps == 1  # by the exact bound, as only one of K = 4 hypotheses has finished


@pytest.mark.parametrize(
    ("live", "pool", "done"),
    [
        (-1.0, (-2.0, -3.0), False),  # two have finished, but the live one, at -1 / 2, is better
        (-6.0, (-2.0, -3.0), True),  # now it is not
        (-6.0, (-2.0, -math.inf), False),  # one has finished, and at 100 pieces the live one could be better
        (-40.0, (-2.0, -math.inf), True),  # even at 100 pieces it could not: -40 / 17.5
        (-40.0, (-math.inf, -math.inf), False),
        (-math.inf, (-math.inf, -math.inf), True),  # no live hypothesis
    ],
)
def test_when_a_slot_is_done(live: float, pool: tuple[float, float], done: bool) -> None:
    slots = BeamSearch(ToyModel()).open(
        torch.tensor([SRC]), torch.tensor([5]), plain_limits(torch.tensor([5]), 100, 1.0), 2
    )
    slots = slots._replace(scores=torch.tensor([[live, -50.0]]), pool=torch.tensor([pool]), time=torch.tensor([7]))
    assert is_done(slots).tolist() == [done]


@pytest.mark.parametrize("stop_at", [1, 2, 4])
def test_it_stops_at_so_many_finished_hypotheses(stop_at: int) -> None:
    """The search is a beginning of the full one: it takes the best of the hypotheses that finished until then."""
    for seed in SEEDS:
        counting, full = CountingSearch(ToyModel(seed=seed)), CountingSearch(ToyModel(seed=seed))
        options = SearchOptions(beam=4, stop_at=stop_at)
        (found,) = Engine(counting).run([Request(0, SRC, options)])[0].hypotheses
        Engine(full).run([Request(0, SRC, SearchOptions(beam=4))])
        assert counting.steps <= full.steps
        assert not found.complete or len(found.token_log_probs) <= counting.steps


def test_stop_at_is_the_matter_of_its_own_slot() -> None:
    search = BeamSearch(ToyModel(seed=2))
    options = [SearchOptions(beam=4), SearchOptions(beam=4, stop_at=1), SearchOptions(beam=4, stop_at=3)]
    together = Engine(search).run([Request(n, SRC, o) for n, o in enumerate(options)])
    for result, o in zip(together, options, strict=True):
        (alone,) = Engine(search).run([Request(0, SRC, o)])
        assert [h.ids for h in alone.hypotheses] == [h.ids for h in result.hypotheses]


def test_an_older_file_refuses_stop_at() -> None:
    old: Any = SimpleNamespace()  # slots without that field
    set_stop_at(old, [Request(0, SRC)])
    with pytest.raises(SearchError, match="export the model again"):
        set_stop_at(old, [Request(0, SRC, SearchOptions(stop_at=1))])


@pytest.mark.parametrize(("n_best", "stop_at"), [(1, 6), (3, 2), (1, -1)])
def test_stop_at_is_from_n_best_to_beam(n_best: int, stop_at: int) -> None:
    with pytest.raises(SearchError, match="stop_at"):
        SearchOptions(beam=5, n_best=n_best, stop_at=stop_at)


def test_no_ngram_is_repeated() -> None:
    """Without it this model repeats itself."""

    def repeats(ids: list[int], n: int) -> bool:
        grams = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
        return len(grams) != len(set(grams))

    model = ToyModel(vocabulary=12, eos_bias=-50.0)
    for n in (1, 2, 3):
        options = SearchOptions(beam=3, n_best=3, max_length=8)
        assert any(repeats(hypothesis.ids, n) for hypothesis in translate(model, options))
        options = SearchOptions(beam=3, n_best=3, max_length=8, no_repeat_ngram=n)
        assert not any(repeats(hypothesis.ids, n) for hypothesis in translate(model, options))


def test_hypotheses_begin_with_the_prefix() -> None:
    for seed in SEEDS:
        model = ToyModel(seed=seed)
        for found in translate(model, SearchOptions(beam=3, n_best=3), prefix=(6, 6, 4)):
            assert found.ids[:3] == [6, 6, 4]


def test_unknown_piece_can_be_forbidden() -> None:
    model = ToyModel()
    model.output.bias.data[UNK] += 20.0
    assert UNK in translate(model, SearchOptions(beam=1))[0].ids
    for found in translate(model, SearchOptions(beam=2, n_best=2, allow_unknown=False)):
        assert UNK not in found.ids


def test_special_pieces_are_never_generated() -> None:
    model = ToyModel()
    model.output.bias.data[[PAD, BOS]] += 20.0
    for found in translate(model, SearchOptions(beam=4, n_best=4)):
        assert not {PAD, BOS, EOS} & set(found.ids)


def test_scripted_equals_eager() -> None:
    eager = BeamSearch(ToyModel(vocabulary=9, seed=2)).eval()
    loaded = reload(eager)
    src, lengths = torch.tensor([SRC, (6, 5, EOS, PAD, PAD), (5, EOS, PAD, PAD, PAD)]), torch.tensor([5, 3, 2])
    for beam in (1, 4):
        tokens, scores = eager(src, lengths, beam, 12, 1.0)
        loaded_tokens, loaded_scores = loaded(src, lengths, beam, 12, 1.0)
        assert torch.equal(tokens, loaded_tokens)
        assert torch.allclose(scores, loaded_scores, atol=1e-6)
    assert torch.allclose(eager.score(src, lengths, src), loaded.score(src, lengths, src), atol=1e-6)


def test_engine_gives_the_same_results_with_a_scripted_search() -> None:
    eager = BeamSearch(ToyModel(vocabulary=9, seed=2)).eval()
    plain = SearchOptions(beam=4, n_best=2)
    constrained = SearchOptions(beam=4, n_best=2, no_repeat_ngram=2, allow_unknown=False, min_length=4)
    requests = [Request(0, SRC, plain), Request(1, SRC[2:], constrained, prefix=(7,))]
    for one, other in zip(Engine(eager).run(requests), Engine(reload(eager)).run(requests), strict=True):
        assert one.error is None
        assert [h.ids for h in one.hypotheses] == [h.ids for h in other.hypotheses]
        assert [h.score for h in one.hypotheses] == pytest.approx([h.score for h in other.hypotheses], abs=1e-6)


def test_whole_decode_equals_the_engine() -> None:
    search = BeamSearch(ToyModel(vocabulary=9, seed=5))
    sources = [SRC, (6, EOS), (8, 7, EOS), (4, 4, 4, EOS)]
    tokens, scores = search(*pad_ids(sources), 3, 10, 1.0)
    options = SearchOptions(beam=3, max_length=10, max_length_factor=10)
    for row, score, result in zip(
        tokens.tolist(), scores.tolist(), Engine(search).run([Request(s, s, options) for s in sources]), strict=True
    ):
        (found,) = result.hypotheses
        assert row == (found.ids + [EOS] * found.complete + [PAD] * 10)[:10]
        assert score == pytest.approx(found.score, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_are_float32_whatever_the_model_is(dtype: torch.dtype) -> None:
    search = BeamSearch(ToyModel(seed=1).to(dtype))
    limits = plain_limits(torch.tensor([5]), 10, 1.0)
    slots = search.open(torch.tensor([SRC]), torch.tensor([5]), limits, 3)
    assert (slots.scores.dtype, slots.pool.dtype, slots.state[0].dtype) == (torch.float32, torch.float32, dtype)
    (found,) = translate(search.model, SearchOptions(beam=3))  # type: ignore[arg-type]
    tgt = torch.tensor([found.ids + [EOS] * found.complete])
    log_probs = search.score(torch.tensor([SRC]), torch.tensor([5]), tgt)
    assert log_probs.dtype == torch.float32
    assert found.token_log_probs == pytest.approx(log_probs[0].tolist(), abs=1e-5)


def test_length_penalty_in_closed_form() -> None:
    """Wu et al. 2016, eq. 14: ((5 + |Y|) / (5 + 1))^alpha."""
    length = torch.tensor([1, 1, 7, 7, 7])
    alpha = torch.tensor([0.0, 1.0, 0.0, 1.0, 2.0])
    assert length_penalty(length, alpha).tolist() == [1.0, 1.0, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("vocabulary", [1, 4, 39, 40, 41, 79, 1000, 8001])
@pytest.mark.parametrize("beam", [1, 2, 5, 30])
def test_best_continuations_are_the_best(vocabulary: int, beam: int) -> None:
    """Integers, so that there are ties; also sorted rows, and pieces or hypotheses at minus infinity."""
    generator = torch.Generator().manual_seed(vocabulary)
    log_probs = torch.randint(-90, 90, (4, beam, vocabulary), generator=generator).float()
    scores = torch.randint(-9, 9, (4, beam), generator=generator).float()
    log_probs[0] = log_probs[0].sort().values
    log_probs[1, :, ::2] = -math.inf
    scores[2, 1:] = -math.inf
    sums, index = best_continuations(scores, log_probs)
    every = (scores.unsqueeze(2) + log_probs).flatten(1)
    assert torch.equal(sums, every.topk(beam, dim=1).values)
    assert torch.equal(sums, every.gather(1, index))
    possible = [
        {i for i, s in zip(*row, strict=True) if s > -math.inf}
        for row in zip(index.tolist(), sums.tolist(), strict=True)
    ]
    assert [len(row) for row in possible] == (sums > -math.inf).sum(1).tolist()


def test_walk_back_by_hand() -> None:
    """Row 0 descends from row 1, row 1 and row 0; a hypothesis of two pieces keeps its row from time 2 on."""
    parents = torch.tensor([[[0, 0], [0, 1], [1, 0]]])  # (B, L, K): the parents at times 0, 1, 2
    path = walk_back(parents, torch.tensor([[0, 1]]), torch.tensor([[3, 2]]))
    assert path.tolist() == [[[0, 1, 1, 0], [0, 1, 1, 1]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "beam is 0"),
        ({"beam": 2, "n_best": 3}, "give a beam of 3"),
        ({"length_penalty": -1.0}, "length_penalty is -1.0"),
        ({"length_penalty": math.nan}, "length_penalty is nan"),
        ({"max_length": 0}, "max_length is 0"),
        ({"max_length_factor": math.inf}, "max_length_factor is inf"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram is -1"),
        ({"max_length": 3, "min_length": 4}, "min_length is 4"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        SearchOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("src", "prefix", "message"),
    [((), (), "empty source"), ((4, EOS), (EOS,), "special piece"), ((4, EOS), (4,) * 14, "no room")],
)
def test_invalid_requests(src: tuple[int, ...], prefix: tuple[int, ...], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        Request(0, src, SearchOptions(), prefix)


def test_no_hypothesis_within_the_limits_is_an_error() -> None:
    options = SearchOptions(beam=2, min_length=9, no_repeat_ngram=1, allow_unknown=False)  # three pieces are possible
    with pytest.raises(SearchError, match="no hypothesis meets"):
        translate(ToyModel(vocabulary=7), options)


class CountingSearch(BeamSearch):
    """A search that counts its steps."""

    steps = 0

    def advance(self, *args: object) -> torch.Tensor:
        self.steps += 1
        return super().advance(*args)  # type: ignore[arg-type]


def reload(search: BeamSearch) -> BeamSearch:
    """Return the search as an exported file holds it: scripted, saved and loaded."""
    for name in BeamSearch.SCRIPTED:
        torch.jit.export(getattr(BeamSearch, name))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(search), buffer)
    buffer.seek(0)
    loaded: BeamSearch = torch.jit.load(buffer)
    return loaded
