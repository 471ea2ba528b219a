"""Decoding by the kernels gives what the plain search gives, for every member that they can compute."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from nmt import kernels
from nmt.artifact import load_bytes
from nmt.export import build, convert
from nmt.kernels.search import KernelSearch, fit
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Hypothesis, Request, SearchOptions
from nmt.text.special_ids import EOS
from tests.copy_model import CopyRun, tokenizer
from tests.family import DEFAULTS, Choice, covering_array, member, name, seeded

pytestmark = pytest.mark.skipif(not kernels.load(), reason=f"no kernels: {kernels.reason}")

CPU = torch.device("cpu")
DTYPES = ("float32", "bfloat16", "int8")
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.15, "int8": 0.05}
"""of a piece's log-probability; in bfloat16 the plain path rounds every result, the kernels only products' inputs"""
WIRINGS = ("gnmt", "bahdanau", "luong", "conditional")
MEMBERS: tuple[dict[str, Any], ...] = (
    {},
    *({"decoder.wiring": wiring, "decoder.layers": layers} for wiring in WIRINGS for layers in (1, 3)),
    {"cell_norm": True},
    {"cell_norm": True, "decoder.wiring": "conditional", "layer_norm": False},
    {"layer_norm": False, "decoder.deep_output": False, "tying": "none"},
    {"encoder.bidirectional": False, "decoder.initial_state": "mean", "reverse_source": True},
    {"encoder.layers": 2, "encoder.connections": "residual", "decoder.initial_state": "zero"},
    {"decoder.layers": 3, "decoder.connections": "residual", "encoder.layers": 2, "tying": "target"},
)
REFUSED: dict[str, dict[str, Any]] = {
    "gru": {"decoder.cell": "gru"},
    "rnn": {"encoder.cell": "rnn"},
    "highway": {"encoder.connections": "highway", "encoder.layers": 2},
    "dense": {"decoder.connections": "dense"},
    "luongdot": {"decoder.attention": "luong_dot"},
    "fixedcontext": {"decoder.attention": "none"},
    "multihead": {"decoder.heads": 2},
    "input feeding": {"decoder.input_feeding": True},
}


def model_of(choice: Choice, vocabulary: int = 13, **sizes: Any) -> Any:
    """A member with so clear preferences that rounding does not decide what it says."""
    model = seeded(member({**DEFAULTS, **choice}, **sizes), vocabulary)
    model.output.bias.data += 2 * torch.randn(vocabulary)
    model.output.weight.data *= 3
    return model


def both(model: Any, dtype: str = "float32") -> tuple[Any, Any]:
    """The plain search of a model and the one by the kernels."""
    plain = BeamSearch(convert(model, dtype)).eval()
    found, reason = fit(plain, CPU)
    if dtype != "float32" and reason.endswith("on this CPU"):
        pytest.skip(reason)
    assert isinstance(found, KernelSearch), reason
    return plain, found


def requests(count: int, vocabulary: int = 13, seed: int = 1, **options: Any) -> list[Request]:
    """Requests with sources of unlike lengths."""
    draw = random.Random(seed)
    sources = [(*draw.choices(range(EOS + 1, vocabulary), k=(3 * i) % 7), EOS) for i in range(count)]
    prefixes = options.pop("prefixes", [()])
    chosen = SearchOptions(**{"max_length": 12, **options})
    return [Request(i, src, chosen, prefix=prefixes[i % len(prefixes)]) for i, src in enumerate(sources)]


@torch.inference_mode()
def search(searcher: Any, asked: Sequence[Request], slots: int = 64) -> list[list[Hypothesis]]:
    """The hypotheses of each request."""
    results = Engine(searcher, rows=slots * asked[0].options.beam).run(asked)
    assert [result.error for result in results] == [None] * len(asked)
    return [result.hypotheses for result in results]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]], atol: float = 1e-4) -> None:
    """Assert the same pieces, probabilities and attention."""
    for ours, theirs in zip(found, expected, strict=True):
        assert [(h.ids, h.complete) for h in ours] == [(h.ids, h.complete) for h in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score == pytest.approx(other.score, abs=atol)
            assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=atol)
            torch.testing.assert_close(one.attention, other.attention, atol=atol, rtol=0)


@pytest.mark.parametrize("choice", MEMBERS, ids=lambda choice: name({**DEFAULTS, **choice}))
def test_members_decode_as_by_the_plain_search(choice: Choice) -> None:
    plain, found = both(model_of(choice))
    asked = requests(9, beam=3, n_best=2)
    assert_same(search(found, asked), search(plain, asked))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("choice", MEMBERS, ids=lambda choice: name({**DEFAULTS, **choice}))
def test_probabilities_are_those_of_the_plain_model(choice: Choice, dtype: str) -> None:
    """Hypotheses may differ by rounding in narrow types; their probabilities may not."""
    plain, found = both(model_of(choice), dtype)
    asked = requests(7, beam=2, min_length=4)
    for request, (best,) in zip(asked, search(found, asked), strict=True):
        pieces = torch.tensor([best.ids + [EOS] * best.complete])
        with torch.inference_mode():
            expected = plain.score(torch.tensor([request.src]), torch.tensor([len(request.src)]), pieces)
        assert best.token_log_probs == pytest.approx(expected[0].tolist(), abs=TOLERANCE[dtype])


@pytest.mark.parametrize("choice", covering_array(), ids=name)
def test_every_member_fits_or_is_refused_by_name(choice: Choice) -> None:
    plain = BeamSearch(convert(seeded(member(choice), 13), "float32")).eval()
    found, reason = fit(plain, CPU)
    if reason:
        assert found is plain
        assert reason.startswith("no kernel for ")
        assert "form" not in reason
    else:
        asked = requests(4, beam=2)
        assert_same(search(found, asked), search(plain, asked), atol=1e-3)


@pytest.mark.parametrize("part", REFUSED)
def test_the_refused_part_is_named(part: str) -> None:
    choice = {**DEFAULTS, **REFUSED[part]}
    _, reason = fit(BeamSearch(convert(seeded(member(choice), 13), "float32")).eval(), CPU)
    assert part in reason.lower()


@pytest.mark.parametrize(("vocabulary", "hidden", "memory"), [(30, 20, 3), (513, 65, 16), (1100, 33, 40)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_that_are_no_multiples_of_a_vector(vocabulary: int, hidden: int, memory: int, dtype: str) -> None:
    sizes = {
        "embedding": hidden + 3,
        "encoder": {"hidden": memory},
        "decoder": {"hidden": hidden, "attention_size": 19},
    }
    model = model_of({}, vocabulary, **sizes)
    plain, found = both(model, dtype)
    asked = requests(20, vocabulary, beam=5)
    ours, theirs = search(found, asked), search(plain, asked)
    if dtype == "float32":
        assert_same(ours, theirs, atol=1e-3)
    same = sum(one[0].ids == other[0].ids for one, other in zip(ours, theirs, strict=True))
    assert same >= 15


@pytest.mark.parametrize("beam", [1, 2, 5, 6, 13, 20])
def test_every_beam(beam: int) -> None:
    """Also one that is wider than the vocabulary, whose rows are not all live."""
    plain, found = both(model_of({}))
    asked = requests(8, beam=beam, n_best=min(beam, 4))
    assert_same(search(found, asked), search(plain, asked))


CONSTRAINTS: tuple[dict[str, Any], ...] = (
    {"no_repeat_ngram": 1},
    {"no_repeat_ngram": 2, "min_length": 8},
    {"no_repeat_ngram": 3, "allow_unknown": False},
    {"allow_unknown": False},
    {"min_length": 12},
    {"prefixes": [(5, 6), (), (7,)]},
    {"prefixes": [(5, 5, 1), ()], "no_repeat_ngram": 1, "n_best": 2},
    {"length_penalty": 0.0, "n_best": 3},
    {"max_length": 3},
    {"stop_at": 1},
    {"stop_at": 3, "n_best": 2},
)


@pytest.mark.parametrize("options", CONSTRAINTS, ids=str)
def test_constraints(options: dict[str, Any]) -> None:
    plain, found = both(model_of({}))
    asked = requests(9, beam=4, **options)
    assert_same(search(found, asked), search(plain, asked))


@pytest.mark.parametrize("dtype", DTYPES)
def test_alone_and_in_company(dtype: str) -> None:
    """Also with sentences that join and leave at any step: bit for bit, as no row is computed with another."""
    _, found = both(model_of({}, 300, embedding=40, decoder={"hidden": 70}), dtype)
    asked = requests(70, 300, beam=3)
    together, few = search(found, asked), search(found, asked, slots=5)
    alone = [search(found, [request])[0] for request in asked]
    assert_same(together, alone, atol=0)
    assert_same(few, alone, atol=0)


def with_shortlist(model: Any, dtype: str = "float32") -> tuple[Any, Any]:
    """As `both`, with a shortlist of two pieces for each source piece and two more."""
    vocabulary = model.output.weight.size(0)
    lexicon = torch.randint(EOS + 1, vocabulary, (vocabulary, 2), dtype=torch.int16)
    plain = BeamSearch(convert(model, dtype), lexicon, torch.tensor([5, vocabulary - 1])).eval()
    found, reason = fit(plain, CPU)
    if dtype != "float32" and reason.endswith("on this CPU"):
        pytest.skip(reason)
    assert isinstance(found, KernelSearch), reason
    return plain, found


@pytest.mark.parametrize("options", [{}, *CONSTRAINTS], ids=str)
@pytest.mark.parametrize("beam", [4, 9])
def test_a_shortlist(options: dict[str, Any], beam: int) -> None:
    plain, found = with_shortlist(model_of({}, 300, embedding=40, decoder={"hidden": 70}))
    asked = requests(9, 300, beam=beam, **options)
    assert_same(search(found, asked), search(plain, asked))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_shortlist_alone_and_in_company(dtype: str) -> None:
    """Bit for bit; and its probabilities are those of the plain search, up to the rounding of the type."""
    plain, found = with_shortlist(model_of({}, 300, embedding=40, decoder={"hidden": 70}), dtype)
    asked = requests(70, 300, beam=3)
    together, few = search(found, asked), search(found, asked, slots=5)
    alone = [search(found, [request])[0] for request in asked]
    assert_same(together, alone, atol=0)
    assert_same(few, alone, atol=0)
    same = [
        one[0].token_log_probs == pytest.approx(other[0].token_log_probs, abs=TOLERANCE[dtype])
        for one, other in zip(together, search(plain, asked), strict=True)
        if one[0].ids == other[0].ids
    ]
    assert all(same)
    assert len(same) >= (70 if dtype == "float32" else 55)


def test_several_threads_give_the_same() -> None:
    _, found = both(model_of({}))
    asked = requests(30, beam=3)
    expected = search(found, asked)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert_same(search(found, asked), expected, atol=0)
    finally:
        torch.set_num_threads(threads)
    with ThreadPoolExecutor(3) as pool:
        for result in pool.map(lambda _: search(found, asked), range(6)):
            assert_same(result, expected, atol=0)


@pytest.mark.parametrize(
    "weight", ["output.weight", "decoder.wiring.first.hidden.weight", "decoder.wiring.attention.energy"]
)
def test_weights_that_are_not_numbers_give_the_same_error(weight: str) -> None:
    model = model_of({})
    model.get_parameter(weight).data[-1] = float("nan")
    for searcher in both(model):
        (result,) = Engine(searcher).run(requests(1, beam=3))
        assert "not a number" in str(result.error)


def test_a_piece_outside_the_vocabulary_is_an_error() -> None:
    _, found = both(model_of({}))
    (result,) = Engine(found).run([Request(0, (500, EOS))])
    assert isinstance(result.error, IndexError)


def test_exported_files_are_decoded_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    run = CopyRun(model=model_of({}, tokenizer().vocabulary))
    content = build(run)[0]
    loaded = load_bytes(content, "test")
    assert isinstance(loaded.search, KernelSearch)
    assert loaded.kernels == ""
    monkeypatch.setenv("NMT_KERNELS", "off")
    plain = load_bytes(content, "test")
    assert plain.kernels == "turned off by NMT_KERNELS=off"
    asked = requests(9, tokenizer().vocabulary, beam=3)
    assert_same(search(loaded.search, asked), search(plain.search, asked))
    src, tgt = torch.tensor([[5, 6, EOS]]), torch.tensor([[7, EOS]])
    length = torch.tensor([3])
    assert torch.equal(loaded.search.score(src, length, tgt), plain.search.score(src, length, tgt))


def test_other_devices_use_the_plain_search() -> None:
    plain = BeamSearch(convert(model_of({}), "float32")).eval()
    found, reason = fit(plain, torch.device("cuda"))
    assert found is plain
    assert "CPU" in reason
