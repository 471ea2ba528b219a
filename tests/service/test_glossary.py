"""Prescribed translations of terms: what matches, where the translation goes, and what the API takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.text.alignment import Word, text_of
from service.glossary import MOST_TERMS, Glossary, Term, apply
from tests.service.fakes import FakeEngine, client_of, fake_app
from tests.service.test_markup import backwards, forwards


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a dog and a Dog", ["dog", "Dog"]),  # no capital in the term: any letter case
        ("dogs, hotdog, dog-house", ["dog"]),  # whole words
        ("US and us", ["US"]),  # a capital in the term: as it is written
        ("the hot  dog stand", ["hot  dog stand"]),  # the longest; any white space in the line
        ("hot\ndog", ["dog"]),  # not across lines
        ("e-mail e - mail", ["e-mail"]),
        ("x", []),
        ("", []),
    ],
)
def test_what_matches(text: str, found: list[str]) -> None:
    glossary = Glossary({"dog": "1", "US": "2", "hot dog stand": "3", "hot dog": "4", "e-mail": "5"})
    assert [text[term.begin : term.end] for term in glossary.find(text)] == found


def placed(text: str, terms: dict[str, str], words: list[Word]) -> tuple[str, list[str]]:
    new, told = apply(text, words, Glossary(terms).find(text))
    return text_of(new), [one["placed"] for one in told]


def test_where_translations_go() -> None:
    terms = {"dog": "Hund", "old cat": "Katze"}
    text = "the dog sees the old cat"
    assert placed(text, terms, forwards(text)) == ("THE Hund SEES THE Katze", ["aligned", "aligned"])
    assert placed(text, terms, backwards(text)) == ("Katze THE SEES Hund THE", ["aligned", "aligned"])
    there = forwards(text, lambda word: "Hund" if word == "dog" else word)
    assert placed(text, terms, there) == ("the Hund sees the Katze", ["present", "aligned"])
    lost = [word for word in forwards(text) if word.text != "DOG"]
    assert placed(text, terms, lost) == ("THE Hund SEES THE Katze", ["guessed", "aligned"])
    assert placed(text, terms, []) == ("Hund Katze", ["guessed", "guessed"])
    assert placed("dog dog", {"dog": "Hund"}, forwards("dog dog")) == ("Hund Hund", ["aligned", "aligned"])


WORDS = st.lists(st.sampled_from(["dog", "cat", "old", ",", "Hund", "Haus"]), max_size=12)


@settings(deadline=None)
@given(WORDS, st.data())
def test_each_translation_is_there_as_often_as_its_term(parts: list[str], data: st.DataObject) -> None:
    text = " ".join(parts)
    translation = data.draw(st.permutations(backwards(text)))
    cut = data.draw(st.integers(0, len(translation)))
    words = [*translation[:cut], *(Word(word.space, word.text) for word in translation[cut:])]
    terms = Glossary({"dog": "Hund", "old cat": "alte Katze"}).find(text)
    result, told = apply(text, words, terms)
    assert [one["translation"] for one in told] == [term.target for term in terms]
    said = text_of(result)
    for target in ("Hund", "alte Katze"):
        assert said.count(target) >= sum(term.target == target for term in terms)


@pytest.mark.parametrize("unit", ["a ", "a", "dog ", "old ", "old cat ", "a-", "\n", " "])
def test_hostile_texts_take_linear_time(unit: str) -> None:
    text = unit * (50_000 // len(unit))  # quadratic time would be minutes
    terms = {"a " * 9 + "b": "x", "old cat": "y", "dog": "dog", " ".join(["old"] * 9): "z"}
    apply(text, forwards(text), Glossary(terms).find(text))


def test_terms_that_no_word_comes_from_take_linear_time() -> None:
    text = "dog " * 10_000
    apply(text, [Word("", "x", 0, 1, 1.0)] * 10_000, [Term(n, n + 3, "y") for n in range(0, 40_000, 4)])


GOOD = {"q": "the dog sees {n}", "source": "en", "target": "de"}
TERMS = {"dog": "Hund"}
TOLD = [{"term": "dog", "translation": "Hund", "placed": "aligned"}]


async def post(body: dict[str, Any], **settings: Any) -> Any:
    async with client_of(fake_app(FakeEngine(), [[("en", "de")], [("de", "fr")]], **settings)) as client:
        return (await client.post("/translate", json=GOOD | body)).json()


@pytest.mark.anyio
async def test_the_api() -> None:
    assert await post({"glossary": TERMS}) == {"translatedText": "THE Hund SEES {n}", "glossary": TOLD}
    assert await post({"glossary": TERMS}, protect=False) == {"translatedText": "THE Hund SEES {N}", "glossary": TOLD}
    assert (await post({"glossary": list(TERMS.items())}))["translatedText"] == "THE Hund SEES {n}"
    assert await post({"glossary": {}}) == {"translatedText": "THE DOG SEES {n}"}
    html = await post({"q": "<p>the <b>dog</b>", "format": "html", "glossary": {"dog": "Hund & Co"}})
    assert html["translatedText"] == "<p>THE <b>Hund &amp; Co</b>"
    listed = await post({"q": ["a", "dog"], "glossary": TERMS, "target": "fr"})
    assert listed == {"translatedText": ["A", "Hund"], "pivot": ["de", "de"], "glossary": [[], TOLD]}
    async with client_of(fake_app(FakeEngine())) as client:
        form = await client.post("/translate", data={**GOOD, "glossary": json.dumps(TERMS)})
        assert form.json()["translatedText"] == "THE Hund SEES {n}"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "is not an object"),
        ("{", "is not an object"),
        ("[" * 100_000, "is not an object"),
        ([1], "is not an object"),
        (["abc"], "is not an object"),
        ([[[], "a"]], "is not an object"),
        ({"a": 1}, "has a term or translation that is not of 1 to 10 words and 100 characters"),
        ({"": "a"}, "has a term or translation"),
        ({"a": ""}, "has a term or translation"),
        ({"a": " b"}, "has a term or translation"),
        ({"a": "b\nc"}, "has a term or translation"),
        ({"a": "\ud800"}, "has a term or translation"),
        ({"a": "\U000f0000"}, "has a term or translation"),
        ({"a": "b" * 101}, "has a term or translation"),
        ({"a " * 10 + "a": "b"}, "has a term or translation"),
        ({str(n): "a" for n in range(MOST_TERMS + 1)}, "has more than 1000 terms"),
    ],
)
async def test_refused_glossaries(value: Any, text: str) -> None:
    async with client_of(fake_app(FakeEngine())) as client:
        headers = {"content-type": "application/json"}
        answer = await client.post("/translate", content=json.dumps(GOOD | {"glossary": value}), headers=headers)
    assert answer.status_code == 400 and text in answer.json()["error"]
