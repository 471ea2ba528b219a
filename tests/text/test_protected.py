"""Protected parts: what is found, and that each is in the translation once."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt import Translator
from nmt.text.alignment import Word, text_of
from nmt.text.protected import FIRST, is_restored, protect, repair_numbers, restore, restore_text
from tests.copy_model import exported

A, B = chr(FIRST), chr(FIRST + 1)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Hello {name}!", ["{name}"]),
        ("{0} of {total:>5}, {{ user.name }} {% if x %}", ["{0}", "{total:>5}", "{{ user.name }}", "{% if x %}"]),
        ("${HOME} #{x} %{count}", ["${HOME}", "#{x}", "%{count}"]),
        ("%s, %d files, %1$s, %.2f, %(n)ds, %5.1lf and %%", ["%s", "%d", "%1$s", "%.2f", "%(n)d", "%5.1lf", "%%"]),
        ("100% sure, 50%d, 5 % of it, %string", []),
        ("see [X1X] and [X_2X], not [1]", ["[X1X]", "[X_2X]"]),
        ('take <x id="1"/> or <b>two</b>, 1 < 2 > 0', ['<x id="1"/>', "<b>", "</b>"]),
        ("at https://a.example/b?c=d#e, or (www.example.org).", ["https://a.example/b?c=d#e", "www.example.org"]),
        ("to john.doe+x@mail.example.com, a@b", ["john.doe+x@mail.example.com"]),
        ("5 &lt; 6 &#39; &copy; & so on", ["&lt;", "&#39;", "&copy;"]),
        ("<b>{name}</b>", ["<b>{name}</b>"]),
        (f"a {A} b", [A]),
        ("{some prose} %", []),
    ],
)
def test_parts(text: str, parts: list[str]) -> None:
    protected = protect(text)
    assert list(protected.parts.values()) == parts
    assert protected.fill(protected.text) == text


HOSTILE = ["{", "{{", "%", "%(", "<a", "[X", "&", "a@", "@", "a.", "http://", "www.", "</", "{a}", "%s", A, "1.", "1,"]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_texts_take_linear_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))  # quadratic time would be hours
    protected = protect(text)
    assert protected.fill(protected.text) == text
    words = [Word(" ", "x", n, n + 1, 1.0) for n in range(1000)]
    assert text_of(restore(protected, words)).count("x") >= 900


@given(st.text(alphabet=st.sampled_from("ab {}%s@.:/<>&;[]X1x\n" + A + B), max_size=60))
def test_filling_undoes_protecting(text: str) -> None:
    protected = protect(text)
    assert protected.fill(protected.text) == text


def words(*pairs: tuple[str, int]) -> list[Word]:
    return [Word(" " if n else "", text, at, at + 1, 0.9) for n, (text, at) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("My name is {n}.", words(("Ich", 0), ("heiße", 8)), "Ich heiße {n}"),  # after what precedes it
        ("My name is {n}.", words(("Ich", 0), ("heiße", 8), ("Bob", 11)), "Ich heiße {n}"),  # instead of Bob
        ("My name is {n}.", words(("Ich", 0), (A, 11), ("heiße", 8), (A, 11)), "Ich {n} heiße"),  # once
        ("{n} is here.", words(("ist", 2), ("hier", 5)), "{n} ist hier"),  # nothing precedes it
        ("a\n{n} b", words(("A", 0), ("B", 4)), "A {n} B"),  # with its line
        ("a {n}", [], "{n}"),
        ("read {n} now.", words(("Lies", 0), ("jetzt", 7), (".", 0)), "Lies {n} jetzt ."),  # not after the full stop
        ("a ({n}) b", words(("A", 0), ("(", 2), (")", 4), ("B", 6)), "A ({n} ) B"),
        ("4711 cats", words(("417", 0), ("Katzen", 5)), "4711 Katzen"),
        ("4711 cats", words(("Katzen", 5)), "4711 Katzen"),
        ("12 cats", words(("zwölf", 0), ("Katzen", 3)), "zwölf Katzen"),
        ("1,234.5 km", words(("1.234,5", 0), ("km", 8)), "1.234,5 km"),
    ],
)  # fmt: skip
def test_places(source: str, translation: list[Word], expected: str) -> None:
    protected = protect(source)
    assert protected.fill(text_of(restore(protected, translation))) == expected


def test_an_alternative_gets_what_it_lacks_at_its_end() -> None:
    protected = protect("{a} and %s")
    assert restore_text(protected, f"und {A} {A}") == "und {a}  %s"


PARTS = st.sampled_from(["{a}", "{b}", "%s", "[X1X]", "word", "und", "\n", "(", ")", "7", "4711", "."])


@given(st.lists(PARTS, max_size=12), st.data())
def test_every_part_is_in_the_translation_once(parts: list[str], data: st.DataObject) -> None:
    protected = protect(" ".join(parts))
    size = len(protected.text)
    pool = [*protected.parts, "x", "y", ".", "12", "99"]
    drawn = data.draw(st.lists(st.tuples(st.sampled_from(pool), st.integers(-1, size), st.floats(0, 1)), max_size=12))
    translation = [Word(" ", text, at, at + 1 if at >= 0 else -1, weight) for text, at, weight in drawn]
    text = text_of(restored := restore(protected, translation))
    assert Counter(c for c in text if c in protected.parts) == Counter(list(protected.parts))
    filled = protected.fill(text)
    for part in ("{a}", "{b}", "%s", "[X1X]"):
        assert filled.count(part) == parts.count(part)
    numbers = Counter(re.findall(r"\d+", text_of(restored)))
    assert numbers["4711"] >= protected.text.count("4711")
    signs = [word.text for word in restored if word.text == "."]
    assert signs == [text for text, _, _ in drawn if text == "."]  # nothing but words is ever replaced


@pytest.mark.parametrize(
    ("source", "text", "is_so"),
    [("a", "b", True), ("3 a", "b 3", True), ("1,000 a", "1.000 b", True), ("31 a", "13 b", False), ("{a}", A, False)],
)
def test_what_needs_no_work_is_known(source: str, text: str, is_so: bool) -> None:
    assert is_restored(protect(source), text) == is_so


def test_numbers_that_are_right_are_left() -> None:
    given_words = words(("am", -1), ("3", 3), ("Mai", 5))
    assert repair_numbers("on 3 May", given_words) == (given_words, [])


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    file = tmp_path_factory.mktemp("model") / "copy.pt"
    file.write_bytes(exported())
    return Translator.load(file)


@pytest.mark.parametrize(
    "text", ["the {name} dog", "{a} {b}", "%s", "the lazy dog at https://a.example/\n\n<b>dog</b>"]
)
def test_a_model_carries_all_parts(translator: Translator, text: str) -> None:
    protected = protect(text)
    found = translator.translate(text, protect_parts=True, n_best=3)
    assert found.source == text
    for translation in (found.text, *found.alternatives):
        assert all(translation.count(part) == text.count(part) for part in protected.parts.values())
    assert [segment.source for segment in found.segments if "\U000f0000" in segment.source] == []


def test_a_number_inside_a_word_is_not_lacking() -> None:
    words = [Word("", "A1000", 0, 5, 1.0), Word(" ", "ja", 6, 7, 1.0)]
    assert repair_numbers("A1000 a", words) == (words, [])
