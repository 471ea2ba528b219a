"""The translator: any text gives an answer, in order, and nothing is lost. The model copies: what is right is known."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings

from nmt.errors import SearchError, TranslationError
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Hypothesis, Result, SearchOptions
from nmt.search.request import SearchKeywords
from nmt.text.alignment import align, piece_spans
from nmt.text.cleaning import clean
from nmt.text.special_ids import UNK
from nmt.text.tokenizer import Tokenizer
from nmt.translation import Segment, Translation
from nmt.translator import Translator
from tests.copy_model import TEXT, CopyModel, exported, tokenizer
from tests.text.test_segments import ODD

GREEDY = SearchOptions(beam=1)


def make(model: CopyModel | None = None, slots: int = 8, limit: int = 30) -> Translator:
    model = model or CopyModel(tokenizer().vocabulary)
    engine = Engine(BeamSearch(model).eval(), rows=5 * slots, device=torch.device("cpu"))
    return Translator(tokenizer(), engine, max_source_pieces=limit)


@pytest.fixture(scope="module")
def translator() -> Translator:
    return make()


def translate(translator: Translator, text: str, options: SearchOptions = GREEDY) -> Translation:
    return translator.translate([text], options)[0]


def test_in_order(translator: Translator) -> None:
    lines = TEXT.split("\n")
    assert [t.text for t in translator.translate(lines, GREEDY)] == lines
    assert translator.translate([], GREEDY) == []


@pytest.mark.parametrize("text", ["", " ", "\n", " \t\r\n \n", "😀", "👩🏽‍💻🇩🇪!", "...", "—", "?!"])
def test_nothing_to_translate(translator: Translator, text: str) -> None:
    translation = translate(translator, text)
    assert translation.text == text
    assert translation.score == 1.0
    assert translation.segments == ()


def test_white_space_between_lines_stays(translator: Translator) -> None:
    text = "  the dog\r\n\r\n\tthe fox \n"
    assert translate(translator, text).text == text


def test_control_characters_are_removed(translator: Translator) -> None:
    assert translate(translator, "the\x00 dog\x07\x1b, the\ufeff fox\ud800").text == "the dog, the fox"
    assert translate(translator, "\x00\x01").text == ""


def test_text_is_composed(translator: Translator) -> None:
    assert translate(translator, "scho\u0308n").text == "schön"


@pytest.mark.parametrize(
    "text",
    ["dog 你好 fox", "Привет, dog!", "the 😀 fox", "日本 dog 中国 fox", "naïve dog", "x你y", "abc 𝔘𝔫𝔦 def"],
)
def test_unknown_characters_are_copied(translator: Translator, text: str) -> None:
    assert translate(translator, text).text == text
    assert UNK in tokenizer().encode(text)


@pytest.mark.parametrize("text", ["THE QUICK FOX", "THE 你好 FOX 12!", "DER SPAß: THE DOG", "\U000f0000 THE DOG"])
def test_capitals_are_read_as_a_sentence_and_written_as_capitals(translator: Translator, text: str) -> None:
    (segment,) = translator.plan(text, GREEDY).parts
    assert isinstance(segment, Segment)
    assert segment.reading.text != text
    assert len(segment.reading.ids) < len(tokenizer().encode(text))
    translation = translate(translator, text)
    assert translation.text == text.upper()
    (detail,) = translation.segments
    assert (detail.source, detail.text) == (text, text.upper())
    spans = piece_spans(detail.source_pieces[:-1], text)
    assert "".join(text[begin:end] for begin, end in spans) == text.replace(" ", "")
    for word in align(text, translation.text, translation.segments)[:-1]:
        assert text[word.source].upper() in word.text


def test_titles_are_read_as_sentences(translator: Translator) -> None:
    assert translate(translator, "The Quick Brown Fox Jumps").text == "The quick brown fox jumps"
    assert translate(translator, "The Quick lazy Dog").text == "The Quick lazy Dog"


def test_an_abbreviation_of_the_vocabulary_is_left_alone() -> None:
    pieces = Tokenizer.train(["the USA and the UNO"] * 9 + TEXT.split("\n"), vocabulary=90)
    engine = Engine(BeamSearch(CopyModel(pieces.vocabulary)).eval(), device=torch.device("cpu"))
    (segment,) = Translator(pieces, engine, max_source_pieces=30).plan("USA", GREEDY).parts
    assert isinstance(segment, Segment)
    assert (segment.reading.text, segment.reading.upper) == ("USA", False)


def test_unknown_words_of_a_word_model() -> None:
    words = Tokenizer.train(TEXT.split("\n") * 3, vocabulary=20, kind="word")
    engine = Engine(BeamSearch(CopyModel(words.vocabulary)).eval(), device=torch.device("cpu"))
    translation = Translator(words, engine, max_source_pieces=30).translate(["the zebra over the Nile"], GREEDY)[0]
    assert translation.text == "the zebra over the Nile"


def test_long_text_is_translated_whole(translator: Translator) -> None:
    text = "the quick brown fox jumps over the lazy dog, " * 450
    assert len(text) > 20_000
    translation = translate(translator, text)
    assert translation.text == text
    assert len(translation.segments) > 100
    assert all(len(segment.source_pieces) <= 31 for segment in translation.segments)
    assert not translation.truncated


def test_one_long_word(translator: Translator) -> None:
    text = "x" * 20_000
    assert translate(translator, text).text == text


def test_sentences_are_translated_one_by_one(translator: Translator) -> None:
    text = "the dog. the fox."
    split = translate(translator, text)
    assert [segment.source for segment in split.segments] == ["the dog.", "the fox."]
    assert split.text == text
    whole = translator.translate([text], GREEDY, split_sentences=False)[0]
    assert len(whole.segments) == 1


@pytest.mark.parametrize("text", ["7", "1,250.50", "3.", "- 12 -", "*** 2 ***"])
def test_numbers_alone_are_copied(translator: Translator, text: str) -> None:
    translation = translate(translator, text)
    assert (translation.text, translation.segments) == (text, ())


def test_texts_without_letters_make_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are recognised before they are cut and encoded."""
    monkeypatch.setattr("nmt.translator.split", None)
    engineless = Translator(tokenizer(), max_source_pieces=30)
    texts = ["...", "7", "1,250.5\n2", "", "\x00"]
    steps = engineless.steps(texts, GREEDY)
    assert next(steps) == []
    with pytest.raises(StopIteration) as end:
        steps.send([])
    assert [translation.text for translation in end.value.value] == [*texts[:-1], ""]


@settings(max_examples=60, deadline=None)
@given(text=ODD)
def test_any_text_gives_an_answer(text: str) -> None:
    translator = _SHARED
    translation = translate(translator, text)
    assert not translation.truncated
    assert translation.text.count("\n") == text.count("\n")
    # A text in capitals is read in lower case, so only characters that the vocabulary has in both say anything.
    known = {c for c in TEXT if c.isalnum() and c.swapcase() in TEXT}
    said, given_ = ([c.lower() for c in clean(t) if c in known] for t in (translation.text, text))
    assert said == given_
    translation.text.encode()  # no lone surrogates


_SHARED = make()


def test_details(translator: Translator) -> None:
    translation = translate(translator, "the fox", SearchOptions(beam=2))
    (segment,) = translation.segments
    assert segment.source_pieces == segment.target_pieces
    assert segment.source_pieces[-1] == "</s>"
    assert segment.attention.shape == (len(segment.target_pieces), len(segment.source_pieces))
    assert torch.equal(segment.attention.argmax(1), torch.arange(len(segment.target_pieces)))
    assert translation.log_prob == pytest.approx(sum(segment.token_log_probs), abs=1e-5)
    assert translation.score == pytest.approx(math.exp(translation.log_prob / len(segment.token_log_probs)), abs=1e-5)
    assert 0 < translation.score <= 1


def test_alternatives_are_distinct_and_ranked(translator: Translator) -> None:
    options = SearchOptions(beam=6, n_best=4)
    translation = translate(make(CopyModel(tokenizer().vocabulary, sharpness=1.0)), "the fox", options)
    texts = [translation.text, *translation.alternatives]
    assert len(texts) == len(set(texts)) > 1
    assert len(texts) <= 4
    assert len(translation.alternative_scores) == len(translation.alternatives)


def test_alternatives_of_several_segments(translator: Translator) -> None:
    """The n best of all combinations: here the second differs in one line only."""
    translator = make(CopyModel(tokenizer().vocabulary, sharpness=3.0))
    translation = translate(translator, "the fox\nthe dog", SearchOptions(beam=4, n_best=3))
    assert len(translation.alternatives) == 2
    first, second = translation.text.split("\n"), translation.alternatives[0].split("\n")
    assert sum(one != other for one, other in zip(first, second, strict=True)) == 1


def test_complete_translations_come_before_truncated_ones() -> None:
    """Whatever their scores: a hypothesis that was cut off may well be more probable than any that ended."""
    translator = Translator(tokenizer(), max_source_pieces=30)
    plan = translator.plan("the fox\nthe dog", SearchOptions(beam=3, n_best=3))

    def hypothesis(text: str, score: float, complete: bool) -> Hypothesis:
        ids = tokenizer().encode(text)
        return Hypothesis(ids, score, score, [score], torch.zeros(1, 1), complete)

    first, second = (request.key for request in plan.requests)
    results = {
        first: Result(first, [hypothesis("a fox", -3.0, True), hypothesis("the", -0.5, False)]),
        second: Result(second, [hypothesis("a dog", -3.0, True), hypothesis("the dog", -4.0, True)]),
    }
    translation = translator.join(plan, results)
    assert [translation.text, *translation.alternatives] == ["a fox\na dog", "a fox\nthe dog", "the\na dog"]
    assert translation.alternative_truncated == (False, True)
    assert not translation.truncated
    assert translation.text == "\n".join(segment.text for segment in translation.segments)
    results[first] = Result(first, [hypothesis("the", -0.5, False)])
    assert translator.join(plan, results).truncated


def test_what_does_not_end_is_tried_in_halves_and_flagged() -> None:
    translator = make(CopyModel(tokenizer().vocabulary, never_ends=True))
    plan = translator.plan("the fox, the dog", GREEDY)
    assert translator.engine is not None
    results = {result.key: result for result in translator.engine.run(plan.requests)}
    again = translator.revise(plan, results)
    assert again is not None
    assert [part.text if isinstance(part, Segment) else part for part in again.parts] == ["the fox,", " ", "the dog"]
    assert len(again.requests) == 2
    results |= {result.key: result for result in translator.engine.run(again.requests)}
    assert translator.revise(again, results) is None  # once only
    translation = translator.join(again, results)
    assert translation.truncated
    assert "the fox" in translation.text
    assert "the dog" in translation.text
    assert translate(translator, "a").truncated  # nothing to halve


def test_halving_mends_what_can_be_mended() -> None:
    """A limit too short for the whole, but not for its halves."""
    translator = make()
    short = SearchOptions(beam=1, max_length=len(tokenizer().encode("the quick fox, the lazy dog")) - 2)
    translation = translate(translator, "the quick fox, the lazy dog", short)
    assert translation.text == "the quick fox, the lazy dog"
    assert not translation.truncated
    assert len(translation.segments) == 2


def test_a_failing_model_is_a_clear_error(translator: Translator) -> None:
    plan = translator.plan("the fox", GREEDY)
    results = {request.key: Result(request.key, [], ValueError("out of memory")) for request in plan.requests}
    assert translator.revise(plan, results) is None
    with pytest.raises(TranslationError, match="'the fox': out of memory"):
        translator.join(plan, results)


def test_keys_are_unique_among_plans(translator: Translator) -> None:
    plans = [translator.plan("a b\nc d", GREEDY) for _ in range(3)]
    keys = [request.key for plan in plans for request in plan.requests]
    assert len(set(keys)) == len(keys) == 6


def test_target_tags() -> None:
    tagged = Tokenizer.train(TEXT.split("\n") * 3, vocabulary=120, languages=["de", "fr"])
    translator = Translator(tagged, max_source_pieces=30, target_tags=["de", "fr"])
    (request,) = translator.plan("the 你 fox", GREEDY, target_language="fr").requests
    assert request.src[0] == tagged.tag("fr")
    with pytest.raises(TranslationError, match="choose one of de, fr"):
        translator.plan("the fox", GREEDY)
    with pytest.raises(TranslationError, match="'nl' is not known"):
        translator.plan("the fox", GREEDY, target_language="nl")


def test_unknown_pieces_take_the_most_attended_source_text() -> None:
    translator = Translator(tokenizer(), max_source_pieces=30)
    plan = translator.plan("你 fox 好", GREEDY)
    (request,) = plan.requests
    unknown = [i for i, index in enumerate(request.src) if index == UNK]
    attention = torch.zeros(2, len(request.src))
    attention[0, unknown[1]], attention[0, unknown[0]] = 0.3, 0.2
    attention[0, unknown[0] + 1] = 0.5  # a known piece draws more, but cannot be meant
    attention[1, -1] = 1.0
    hypothesis = Hypothesis([UNK], -0.1, -0.1, [-0.05, -0.05], attention, True)
    assert translator.join(plan, {request.key: Result(request.key, [hypothesis])}).text == "好"
    plan = translator.plan("fox", GREEDY)  # no unknown piece in the source: the most attended one
    (request,) = plan.requests
    hypothesis = Hypothesis([UNK], -0.1, -0.1, [-0.05, -0.05], torch.ones(2, len(request.src)), True)
    assert translator.join(plan, {request.key: Result(request.key, [hypothesis])}).text.strip() in "fox"


def test_without_attention_unknown_pieces_are_taken_in_order() -> None:
    translator = Translator(tokenizer(), max_source_pieces=30)
    plan = translator.plan("你 fox 好", GREEDY)
    (request,) = plan.requests
    nowhere = torch.zeros(4, len(request.src))
    hypothesis = Hypothesis([UNK, UNK, UNK], -0.1, -0.1, [-0.05] * 4, nowhere, True)
    assert translator.join(plan, {request.key: Result(request.key, [hypothesis])}).text == "你好好"


def test_needs_an_engine() -> None:
    with pytest.raises(ValueError, match="needs an engine"):
        Translator(tokenizer(), max_source_pieces=30).translate(["a"])


def test_one_text_gives_one_translation(translator: Translator) -> None:
    assert translator.translate("the fox").text == "the fox"
    assert [t.text for t in translator.translate(["the fox"])] == ["the fox"]


def test_search_keywords_are_the_fields_of_the_options() -> None:
    fields = {field.name: field.type for field in dataclasses.fields(SearchOptions)}
    assert list(SearchKeywords.__annotations__) == list(fields)


def test_the_models_search_defaults_apply_unless_others_are_given() -> None:
    translator = Translator(
        tokenizer(), max_source_pieces=30, search_defaults={"beam": 3, "length_penalty": 0.8, "of_a_newer_version": 1}
    )
    assert translator.search_options() == SearchOptions(beam=3, length_penalty=0.8)
    assert translator.search_options(beam=None, length_penalty=0.0) == SearchOptions(beam=3, length_penalty=0.0)
    assert translator.search_options(n_best=4) == SearchOptions(beam=4, n_best=4, length_penalty=0.8)
    with pytest.raises(SearchError, match="n_best is 4 but beam is 2"):
        translator.search_options(beam=2, n_best=4)


def test_translate_takes_search_keywords_or_options(translator: Translator) -> None:
    vague = make(CopyModel(tokenizer().vocabulary, sharpness=1.0))
    assert len(vague.translate("the fox", n_best=3).alternatives) == 2
    with pytest.raises(TypeError, match="give options or beam, not both"):
        translator.translate("the fox", GREEDY, beam=2)


def test_a_library_user_gets_the_files_search_defaults(tmp_path: Path) -> None:
    path = tmp_path / "copy.pt"
    path.write_bytes(exported())
    translator = Translator.load(path, threads=torch.get_num_threads())
    assert translator.search_options() == SearchOptions(beam=3, length_penalty=0.8)
    assert translator.translate("the fox").text == "the fox"


def test_the_work_is_linear_in_the_number_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each result is looked at a bounded number of times, however many texts there are."""
    looks = 0

    class Counted(Result):
        def __getattribute__(self, name: str) -> object:
            nonlocal looks
            looks += name == "key"
            return super().__getattribute__(name)

    def looks_of(texts: int) -> int:
        nonlocal looks
        steps = make().steps(["the fox"] * texts, GREEDY)
        attention = torch.zeros(1, 1)
        results: list[Result] = [
            Counted(request.key, [Hypothesis([], -0.1, -0.1, [-0.1], attention, True)]) for request in next(steps)
        ]
        looks = 0
        with pytest.raises(StopIteration):
            steps.send(results)
        return looks

    assert looks_of(100) <= 10 * looks_of(10) > 0


def by_units(translator: Translator, text: str, options: SearchOptions) -> list[Translation]:
    """Translate a text unit by unit, each with searches of its own."""
    assert translator.engine is not None
    found = []
    for steps in translator.unit_steps(text, options, split_sentences=True):
        requests = next(steps)
        try:
            while True:
                requests = steps.send(translator.engine.run(requests))
        except StopIteration as end:
            found += end.value
    return found


@settings(deadline=None, max_examples=50)
@given(ODD)
def test_the_units_of_a_text_are_its_translation(text: str) -> None:
    translator = make()
    whole = translator.translate([text], SearchOptions(beam=2), protect_parts=False)[0]
    units = by_units(translator, text, SearchOptions(beam=2))
    assert [(unit.source, unit.text) for unit in whole.units()] == [(unit.source, unit.text) for unit in units]
    assert "".join(unit.source for unit in units) == text
    assert "".join(unit.text for unit in units) == whole.text
    assert [len(unit.segments) for unit in whole.units()] == [len(unit.segments) for unit in units]
    assert all(len(unit.segments) <= 1 for unit in units)


def test_a_halved_segment_is_one_unit() -> None:
    translator = make(CopyModel(tokenizer().vocabulary, never_ends=True))
    text = "the dog jumps over the fox. The fox sleeps."
    whole = translator.translate([text], GREEDY, split_sentences=True)[0]
    units = by_units(translator, text, GREEDY)
    assert [len(unit.segments) for unit in units] == [2, 2] == [len(unit.segments) for unit in whole.units()]
    assert [unit.text for unit in units] == [unit.text for unit in whole.units()]
    assert [unit.source for unit in units] == ["the dog jumps over the fox.", " The fox sleeps."]
