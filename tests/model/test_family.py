"""Properties that every member of the model family must have, tested for every pair of options.

A property is a function of a choice of options (`tests/family.py`) and must hold for every choice. It is tested on a
covering array, and in tests marked slow on random members of the full product.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.model.recurrent import Recurrent
from nmt.model.seq2seq import Seq2Seq
from nmt.text.special_ids import BOS, EOS, PAD
from tests.family import (
    DEFAULTS,
    OPTIONS,
    Choice,
    all_pairs,
    covering_array,
    is_valid,
    member,
    name,
    pairs_of,
    random_member,
    seeded,
)
from tests.reference_model import ReferenceModel

VOCABULARY = 13
SENTENCES = [[5, 6, 7, 8, EOS], [9, EOS], [4, 4, EOS], [EOS]]
TARGETS = [[BOS, 5, 6, 7], [BOS, 9, 9, 9], [BOS, 4, 12, 11], [BOS, 8, 3, 10]]
LENGTHS = torch.tensor([len(src) for src in SENTENCES])
SRC = torch.tensor([[*src, *[PAD] * (5 - len(src))] for src in SENTENCES])
TGT = torch.tensor(TARGETS)


def make(choice: Choice, **options: Any) -> Seq2Seq:
    """Build a member in double precision, so that equal results agree to the last digits."""
    return seeded(member(choice, **options), VOCABULARY).double()


def run(model: Seq2Seq, src: Tensor, lengths: Tensor, tgt: Tensor) -> tuple[Tensor, Tensor]:
    """Compute logits (B, T, V) and attention weights (B, T, S) with teacher forcing."""
    memory, state = model.encode(src, lengths)
    readout, _, weights = model.decoder(model.embed_target(tgt), state, memory)
    torch.testing.assert_close(readout, model(src, lengths, tgt))
    return model.output(readout), weights


def close(found: Any, expected: Any) -> None:
    """Assert equality up to rounding in double precision."""
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


# Properties: choice -> None


def equals_the_equations_of_the_papers(choice: Choice) -> None:
    model = make(choice)
    reference = ReferenceModel(model, member(choice))
    logits, weights = run(model, SRC, LENGTHS, TGT)
    for b, (src, tgt) in enumerate(zip(SENTENCES, TARGETS, strict=True)):
        expected, expected_weights = reference.logits(src, tgt)
        close(logits[b], expected)
        close(weights[b, :, : len(src)].double(), expected_weights)


def step_by_step_equals_teacher_forcing(choice: Choice) -> None:
    model = make(choice)
    expected, expected_weights = run(model, SRC, LENGTHS, TGT)
    memory, state = model.encode(SRC, LENGTHS)
    for t in range(TGT.size(1)):
        logits, state, weights = model.step(TGT[:, t], state, memory)
        close(logits, expected[:, t])
        close(weights, expected_weights[:, t])


def a_sentence_is_independent_of_its_batch(choice: Choice) -> None:
    model = make(choice)
    together, weights_together = run(model, SRC, LENGTHS, TGT)
    for b, length in enumerate(LENGTHS.tolist()):
        alone, weights = run(model, SRC[b : b + 1, :length], LENGTHS[b : b + 1], TGT[b : b + 1])
        close(alone[0], together[b])
        close(weights[0], weights_together[b, :, :length])


def pieces_on_padding_do_not_matter(choice: Choice) -> None:
    model = make(choice)
    filled = torch.where(SRC == PAD, 10, SRC)
    close(run(model, filled, LENGTHS, TGT), run(model, SRC, LENGTHS, TGT))


def later_target_pieces_do_not_matter(choice: Choice) -> None:
    model = make(choice)
    changed = TGT.clone()
    changed[:, -1] = 6
    (before, _), (after, _) = run(model, SRC, LENGTHS, TGT), run(model, SRC, LENGTHS, changed)
    close(after[:, :-1], before[:, :-1])
    assert (after[:, -1] - before[:, -1]).abs().amax(1).min() > 1e-6


def every_source_piece_matters(choice: Choice) -> None:
    model = make(choice)
    before, _ = run(model, SRC, LENGTHS, TGT)
    for s in range(SRC.size(1)):  # each real piece affects all target positions from the second on
        changed = SRC.clone()
        changed[:, s] = 11
        after, _ = run(model, changed, LENGTHS, TGT)
        difference = (after - before).abs().amax(2)[:, 1:].amin(1)
        assert ((difference > 1e-9) == (s < LENGTHS)).all()


def the_encoder_reads_in_its_direction(choice: Choice) -> None:
    model = make(choice)

    def states(src: Tensor) -> Tensor:
        encoded: Tensor = model.encoder(model.embed_source(src), LENGTHS)[0]
        return encoded[0]

    before = states(SRC)
    for s in range(SRC.size(1)):
        changed = SRC.clone()
        changed[0, s] = 11
        differ = (states(changed) - before).abs().amax(1) > 1e-12
        affected = [
            choice["encoder.bidirectional"] or (at <= s if choice["reverse_source"] else at >= s) for at in range(5)
        ]
        assert differ.tolist() == affected


def reversing_is_reading_the_reversed_source(choice: Choice) -> None:
    """`reverse_source` gives the same as reversing the source itself, with the attention weights reversed."""
    forward, reverse = (make(choice, reverse_source=reverse) for reverse in (False, True))
    reverse.load_state_dict(forward.state_dict())
    reversed_src = torch.tensor([[*src[::-1], *[PAD] * (5 - len(src))] for src in SENTENCES])
    expected, expected_weights = run(forward, SRC, LENGTHS, TGT)
    found, weights = run(reverse, reversed_src, LENGTHS, TGT)
    close(found, expected)
    for b, length in enumerate(LENGTHS.tolist()):
        close(weights[b, :, :length].flip(1), expected_weights[b, :, :length])


def the_weights_are_a_distribution_over_the_source(choice: Choice) -> None:
    """They sum to one and are zero on padding; without attention all are zero."""
    _, weights = run(make(choice), SRC, LENGTHS, TGT)
    assert weights.shape == (*TGT.shape, SRC.size(1))
    if choice["decoder.attention"] == "none":
        assert weights.eq(0).all()
        return
    close(weights.sum(2), torch.ones_like(weights[:, :, 0]))
    padding = (torch.arange(SRC.size(1)) >= LENGTHS.unsqueeze(1)).unsqueeze(1).expand_as(weights)
    assert weights[padding].eq(0).all()
    assert weights[~padding].gt(0).all()


def the_tensors_of_the_initial_state_share_no_memory(choice: Choice) -> None:
    """The search writes into each of them."""
    _, state = make(choice).encode(SRC, LENGTHS)
    assert len({s.data_ptr() for s in state}) == len(state)


def beams_share_the_memory_of_their_sentence(choice: Choice) -> None:
    model = make(choice)
    memory, state = model.encode(SRC, LENGTHS)
    beams = 3
    tokens = torch.arange(4 * beams) % 9 + 4
    wide = model.step(tokens, [s.repeat_interleave(beams, 0) for s in state], memory)
    for k in range(beams):
        narrow = model.step(tokens[k::beams], state, memory)
        close(
            [wide[0][k::beams], *(s[k::beams] for s in wide[1]), wide[2][k::beams]], [narrow[0], *narrow[1], narrow[2]]
        )


def gradients_reach_every_weight(choice: Choice) -> None:
    """Every single weight has a gradient, except in the embeddings of pieces that do not occur."""
    model = make(choice).train()
    model.output(model(SRC, LENGTHS, TGT)).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        reached = parameter.grad != 0
        if "embedding" in key and parameter is not model.output.weight:
            pieces = (SRC if key.startswith("source") else TGT).unique()
            reached = reached[pieces[pieces != PAD]]
        assert reached.all(), key


def gradients_are_right(choice: Choice) -> None:
    """gradcheck of all parameters together, and of the encoder's lowest layer, furthest from the output, on its own."""
    model = make(choice)
    parameters = dict(model.named_parameters())
    furthest = next(key for key in parameters if key.startswith("encoder.layers.0"))

    def loss(flat: Tensor, first: Tensor) -> Tensor:
        parts = flat.split([p.numel() for p in parameters.values()])
        values = {key: part.view_as(p) for part, (key, p) in zip(parts, parameters.items(), strict=True)}
        values[furthest] = values[furthest] + first
        readout: Tensor = torch.func.functional_call(model, values, (SRC, LENGTHS, TGT))
        return readout.square().sum()

    flat = torch.cat([p.detach().flatten() for p in parameters.values()]).requires_grad_()
    first = torch.zeros_like(parameters[furthest], requires_grad=True)
    assert torch.autograd.gradcheck(loss, (flat, first), eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=True)


def dropout_is_variational(choice: Choice) -> None:
    """A feature dropped from a module's input at one position is dropped at all, also where time steps are a loop."""
    model = make(choice, dropout=0.5).train()
    module_inputs: dict[nn.Module, list[Tensor]] = {}

    def record(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(inputs[0], Tensor) and inputs[0].dim() == 3:
            module_inputs.setdefault(module, []).append(inputs[0].detach())

    for module in [*model.encoder.modules(), *model.decoder.modules()]:
        module.register_forward_pre_hook(record)
    readout = model(SRC, LENGTHS, TGT)
    for inputs in [[readout.detach()], *module_inputs.values()]:
        dropped = torch.cat(inputs, dim=1) == 0
        # States of the source may differ on padding, and the first step may read a state of zeros.
        if dropped.size(1) == TGT.size(1):
            assert (dropped[:, 1:] == dropped[:, 1:2]).all()
    assert any(isinstance(module, Recurrent) for module in module_inputs)
    assert 0 < (readout == 0).double().mean() < 1
    assert (readout == 0).any(1).unique(dim=0).size(0) > 1, "sentences must not share a mask"
    model.output(readout).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


PROPERTIES: list[Callable[[Choice], None]] = [
    equals_the_equations_of_the_papers,
    step_by_step_equals_teacher_forcing,
    a_sentence_is_independent_of_its_batch,
    pieces_on_padding_do_not_matter,
    later_target_pieces_do_not_matter,
    every_source_piece_matters,
    the_encoder_reads_in_its_direction,
    reversing_is_reading_the_reversed_source,
    the_weights_are_a_distribution_over_the_source,
    the_tensors_of_the_initial_state_share_no_memory,
    beams_share_the_memory_of_their_sentence,
    gradients_reach_every_weight,
    gradients_are_right,
    dropout_is_variational,
]


@pytest.mark.parametrize("choice", covering_array(), ids=name)
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_every_pair_of_options(holds: Callable[[Choice], None], choice: Choice) -> None:
    holds(choice)


def test_random_members_equal_the_equations() -> None:
    """Some mistakes show only with a combination of three options."""
    for seed in range(100):
        choice = random_member(seed)
        try:
            equals_the_equations_of_the_papers(choice)
        except Exception as error:
            error.add_note(f"seed {seed}: {name(choice)}")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_random_members(seed: int) -> None:
    choice = random_member(seed)
    for holds in PROPERTIES:
        holds(choice)


# The options themselves


def test_every_pair_that_the_config_accepts_is_in_the_array() -> None:
    """A pair may be missing only if no values of two other options make it valid."""
    covered = set().union(*map(pairs_of, covering_array()))
    assert all(map(is_valid, covering_array()))
    for pair in all_pairs():
        if pair not in covered:
            others = [key for key in OPTIONS if key not in dict(pair)]
            for one, other in combinations(others, 2):
                for x, y in product(OPTIONS[one], OPTIONS[other]):
                    assert not is_valid({**DEFAULTS, one: x, other: y, **dict(pair)}), pair


def test_every_option_is_tried() -> None:
    for key in ("encoder.cell", "decoder.attention", "decoder.wiring", "tying", "cell_norm"):
        assert len(OPTIONS[key]) > 1
        assert DEFAULTS[key] in OPTIONS[key]
    assert is_valid(DEFAULTS)


@pytest.mark.parametrize("key", OPTIONS)
def test_every_option_makes_a_difference(key: str) -> None:
    """Any two of its values give different parameters, or different outputs from the same parameters."""
    base = {**DEFAULTS, "encoder.layers": 2, "decoder.layers": 2}
    if key == "decoder.context":
        base["decoder.attention"] = "none"
    models = [make({**base, key: value}) for value in OPTIONS[key]]
    for one, other in combinations(models, 2):
        shapes = [{k: p.shape for k, p in model.named_parameters()} for model in (one, other)]
        if shapes[0] == shapes[1]:
            other.load_state_dict(one.state_dict())
            (first, _), (second, _) = (run(model, SRC, LENGTHS, TGT) for model in (one, other))
            assert (first - second).abs().max() > 1e-6
