"""HTML: nothing lost, tags moved with the words, no markup from the model."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.text.alignment import Word
from service.errors import BadRequest
from service.markup import INLINE, Document, scan
from tests.service.fakes import FakeEngine, client_of, fake_app


def backwards(source: str, change: Any = str.upper) -> list[Word]:
    """A translation with the words in reverse order, each aligned with its own."""
    words = [(found[0], *found.span()) for found in re.finditer(r"\w+|[^\w\s]", source)]
    return [
        Word(" " if n else "", change(text), begin, end, 1.0) for n, (text, begin, end) in enumerate(reversed(words))
    ]


def forwards(source: str, change: Any = str.upper) -> list[Word]:
    """A translation with the words and spaces in order."""
    words, end = [], 0
    for found in re.finditer(r"\w+|[^\w\s]", source):
        words.append(Word(source[end : found.start()], change(found[0]), *found.span(), 1.0))
        end = found.end()
    return [*words, Word(source[end:], "")]


def translated(text: str, translate: Any = forwards) -> str:
    document = Document(text)
    return document.render([translate(source) for source in document.sources])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <b>b</b> c", "A <b>B</b> C"),
        ("<p>one</p>\n<p>two</p>", "<p>ONE</p>\n<p>TWO</p>"),
        ("<P CLASS='x y'>one<BR/>two</P>", "<P CLASS='x y'>ONE<BR/>TWO</P>"),
        ("a <b>b <i>c</i></b>, d", "A <b>B <i>C</i></b>, D"),
        ("<b>a b.</b>", "<b>A B.</b>"),
        ("a &amp; b &lt;i&gt; &eacute;", "A &amp; B &lt;i&gt; É"),
        ("1 < 2 &copy b", "1 &lt; 2 © B"),
        ("use <code>x &lt; y</code> now", "USE <code>x &lt; y</code> NOW"),
        ('a <span translate="no">b c</span> d', 'A <span translate="no">b c</span> D'),
        ("a <i class='x notranslate'>b</i> c", "A <i class='x notranslate'>b</i> C"),
        ("<div translate=no><p>b</p><div>c</div></div>d", "<div translate=no><p>b</p><div>c</div></div>D"),
        ("a <a class='u-url mention'>@<span>b</span></a> c", "A <a class='u-url mention'>@<span>b</span></a> C"),
        ("<script>var a = '<b>x</b>';</script>a", "<script>var a = '<b>x</b>';</script>A"),
        ("<style>b {}</style><pre>a\n b</pre>c", "<style>b {}</style><pre>a\n b</pre>C"),
        ("a <img src=x> b", "A <img src=x> B"),
        ("a<!-- note --> b", "A<!-- note --> B"),
        ("a <b>b <p>c</b> d", "A <b>B <p>C</b> D"),  # the tags of <b> end runs: it holds a block
        ("a <b>b", "A <b>B"),
        ("a </b> b", "A </b> B"),
        ("<b>a <i>b</b> c</i>", "<b>A <i>B</b> C</i>"),
        ("a <a href='?a=b&c=d'>https://a.example/</a> {name}", "A <a href='?a=b&c=d'>https://a.example/</a> {name}"),
        ("a <x id=\"1\"/> b", 'A <x id="1"/> B'),
        ("<a title='a > b' href=\"c\">d</a>", "<a title='a > b' href=\"c\">D</a>"),
        ("<!doctype html><title>a</title>", "<!doctype html><title>A</title>"),
        ("a\n  b\tc", "A B C"),
        ("<b>!</b> <i>?</i>", "<b>!</b> <i>?</i>"),
        ("a<!-- b", "A<!-- b"),
        ("a <b title='c", "A <b title='c"),
    ],
)  # fmt: skip
def test_documents(text: str, expected: str) -> None:
    assert translated(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <b>b</b> c", "C <b>B</b> A"),
        ("a <b>b c</b>", "<b>C B</b> A"),
        ("<i>a <b>b c</b></i> d <u>e</u>", "<u>E</u> D <i><b>C B</b> A</i>"),
        ("a <img> b", "B A <img>"),
        ("a <code>x</code> b", "B <code>x</code> A"),
    ],
)
def test_tags_move_with_the_words(text: str, expected: str) -> None:
    assert translated(text, backwards) == expected


def test_an_element_without_words_follows_what_was_before_it() -> None:
    document = Document("a <b>b</b> c")
    words = [word for word in forwards(document.sources[0]) if word.text != "B"]
    assert document.render([words]) == "A<b></b> C"


def test_a_sign_that_attends_to_another_is_not_enclosed() -> None:
    document = Document("a <b>b, c</b> d.")
    assert document.sources == ["a b, c d."]
    words = [Word("", "A", 0, 1, 1.0), Word(" ", "C", 5, 6, 1.0), Word("", ";", 0, 1, 1.0), Word(" ", "B", 2, 3, 1.0)]
    assert document.render([[*words, Word("", "!", 5, 6, 1.0)]]) == "A <b>C; B</b>!"


def test_words_without_a_source_stand_outside() -> None:
    document = Document("a <b>b</b> c")
    assert document.render([[Word("", "X"), Word(" ", "Y", 2, 3, 1.0), Word(" ", "Z")]]) == "X <b>Y</b> Z"


NAMES = [*sorted(INLINE)[:6], "p", "div", "br", "img", "code", "script", "x-y"]
TEXTS = st.sampled_from(
    ["word ", "two words", " ", "&amp;", "&lt;b&gt;", "{name}", "<", ">", "é\u0301", "\n", "%s", "🙂", "1"]
)
TAGS = st.builds(lambda slash, name, end: f"<{slash}{name}{end}>", st.sampled_from(["", "", "/"]),
                 st.sampled_from(NAMES), st.sampled_from(["", " a='>'", "/", " translate=no"]))  # fmt: skip
PIECES = st.lists(st.one_of(TEXTS, TAGS, st.sampled_from(["<!-- c -->", "<!--", "<a '", "</", "<!x>"])), max_size=25)


def tags(text: str) -> Counter[str]:
    return Counter(token.raw for token in scan(text) if token.kind in ("open", "close", "void", "comment", "opaque"))


@given(PIECES, st.data())
def test_every_tag_is_kept_once_and_nested(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    document = Document(text)
    assert "".join(token.raw for token in scan(text)) == text
    translations = []
    for source in document.sources:
        order = data.draw(st.permutations(backwards(source)))
        kept = data.draw(st.integers(0, len(order)))
        lost = [Word(word.space, word.text) for word in order[kept:]]
        translations.append([*order[:kept], *lost])
    result = document.render(translations)
    assert tags(result) == tags(text)
    before, after = nesting(text), nesting(result)
    assert Counter(before) == Counter(after)
    if not document.sources:
        assert result == text


def nesting(text: str) -> list[str]:
    """Each element of a document with those around it."""
    found: list[str] = []
    stack: list[str] = []
    for token in scan(text):
        if token.kind == "open":
            stack.append(token.raw)
        elif token.kind == "close" and stack and scan_name(stack[-1]) == token.name:
            found.append(" ".join(stack))
            stack.pop()
    return found


def scan_name(raw: str) -> str:
    return next(iter(scan(raw))).name


class Parsed(HTMLParser):
    """The tags that Python's own parser finds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)


@pytest.mark.parametrize("text", ["<p>a b c</p>", "a <b>b</b> c", "<a href='x'>a</a> b"])
@pytest.mark.parametrize(
    "attack", ["<script>alert(1)</script>", "</p><img src=x onerror=y>", "&lt;b&gt;", '" onload="x']
)
def test_the_models_text_is_no_markup(text: str, attack: str) -> None:
    result = translated(text, lambda source: forwards(source, lambda _: attack))
    assert Parsed(result).tags == Parsed(text).tags
    assert "<script" not in result and "<img" not in result


UNITS = ["<b>", "<b>a", "</b>", "<", "<a '", "<!--", "<!", "<code>", "<b>a</b>", "<p>", "a <i>", "&", "<b title=",
         "<x/>a", "<p><b>a</b>", "a <img> b", "<pre>", "<script>", "a<img>", "=", "<a b=\"",
         "<script></script ", "</script ", "<b class", "class='a ", " translate=", "&#1"]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_hostile_documents_take_linear_time(unit: str) -> None:
    for text in (unit * (50_000 // len(unit)), "<script>" + unit * (50_000 // len(unit))):  # quadratic time: hours
        result = translated(text, lambda source: forwards(source, str))
        assert tags(result) == tags(text)


def test_a_reference_of_thousands_of_digits_is_one_unknown_character() -> None:
    assert translated("a &#" + "1" * 5000 + "; b") == "A \N{REPLACEMENT CHARACTER} B"


def test_the_number_of_tags_is_bounded() -> None:
    with pytest.raises(BadRequest, match="more than 300000 tags"):
        Document("<b>" * 300_001)


def test_nesting_is_bounded() -> None:
    deep = "<b>" * 10_000 + "a" + "</b>" * 10_000
    assert translated(deep) == deep.replace("a", "A")


@pytest.mark.anyio
async def test_the_api_translates_html() -> None:
    async with client_of(fake_app(FakeEngine(), ([("en", "de")],))) as client:
        body = {"q": ["<p>the <b>dog</b></p>", "plain & simple", ""], "source": "en", "target": "de", "format": "html"}
        answer = (await client.post("/translate", json={**body, "alternatives": 2})).json()
        assert answer["translatedText"] == ["<p>THE <b>DOG</b></p>", "PLAIN &amp; SIMPLE", ""]
        assert answer["alternatives"] == [[], [], []]
        detected = (await client.post("/translate", json={**body, "source": "auto"})).json()["detectedLanguage"]
        assert [one["language"] for one in detected] == ["en"] * 3
        same = (await client.post("/translate", json={**body, "target": "en"})).json()["translatedText"]
        assert same == body["q"]
