"""HTML: the texts to be translated, and the document again with their translations.

A document is cut at block elements, line breaks and everything else that ends a sentence. What lies between is a run:
text with inline elements (`<b>`, `<a>`), marks without text (images, comments) and opaque elements (`<code>`). A run is
translated as one text, across its tags; then each element encloses the words that were translated from its own, and
each mark follows the translation of the text before it. Every tag is kept as it was written, and occurs once.

Everything outside of the runs, and every run without a letter, comes back byte for byte. Python's own parser does not
keep the text of end tags and comments, so there is a scanner here that does; what a browser would not see as text
(an unclosed comment or tag, and all after it) is left as it is. Time is linear in the document.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate, groupby, islice, pairwise

from nmt.text.alignment import Word
from nmt.text.cleaning import clean
from nmt.text.protected import FIRST, LAST, Protected, protect, restore
from nmt.text.segments import is_translatable
from service.errors import BadRequest

INLINE = frozenset(
    """a abbr acronym b bdi bdo big cite data del dfn em font i ins label mark output q s small span strike strong sub
    sup time tt u""".split()  # noqa: SIM905
)
MARKS = frozenset(["img", "wbr"])
OPAQUE = frozenset(["code", "kbd", "math", "pre", "samp", "svg", "template", "var"])
OPAQUE_INLINE = OPAQUE - {"pre", "template"} | INLINE
RAW_TEXT = frozenset(("iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "textarea", "xmp"))
VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
)
MOST_TOKENS = 300_000
MAX_DEPTH = 32
"""inline elements inside each other; deeper ones end a run"""

_TAG = re.compile(r"</?([A-Za-z][^\s/>]*)")
_VALUE_OR_END = re.compile(r"=\s*([\"'])|>")
# Names of people and topics, in the posts of Mastodon and others, are marked by their classes.
_UNTRANSLATED = re.compile(
    r"\stranslate\s*=\s*[\"']?no\b"
    r"|\sclass\s*=\s*(?:\"[^\"]{0,999}|'[^']{0,999}|[^\s\"'>]{0,999})\b(?:notranslate|mention|hashtag)\b",
    re.I,
)
_SPACE = re.compile(r"\s+")
_LONG_REFERENCE = re.compile(r"&#[0-9]{1000,};?")


@dataclass(frozen=True)
class Token:
    """A part of the document, as it is written. kind: text, open, close, void, comment or opaque."""

    kind: str
    raw: str
    name: str = ""


@dataclass
class Element:
    """An inline element, or a mark, of a run; its text is `begin` to `end` of the run's text."""

    opening: str
    begin: int
    end: int = -1
    closing: str = ""
    children: list[Element] = field(default_factory=list)

    @property
    def is_mark(self) -> bool:
        return not self.closing


class Document:
    """A document whose texts are to be translated.

    sources: the texts, with stand-ins for their protected parts (`nmt.text.protected`). `render` takes the words of
    their translations.
    """

    def __init__(self, text: str) -> None:
        self._parts: list[str | Run] = []
        tokens = scan_all(text)
        boundaries, partners = pair(tokens)
        closing = set(partners.values())
        begin = 0
        for n in [*boundaries, len(tokens)]:
            if begin < n:
                self._parts.append(_run(tokens, range(begin, n), partners.keys(), closing))
            if n < len(tokens):
                self._parts.append(tokens[n].raw)
            begin = n + 1

    @property
    def sources(self) -> list[str]:
        """The texts to be translated."""
        return [part.text for part in self._parts if isinstance(part, Run)]

    def plain(self) -> str:
        """Return all texts, for the detection of their language."""
        return " ".join(self.sources)

    def render(self, translations: Sequence[Sequence[Word]]) -> str:
        """Return the document with the words of the translations, in the order of `sources`."""
        words = iter(translations)
        return "".join(part.render(next(words)) if isinstance(part, Run) else part for part in self._parts)


# --- from a document to runs ------------------------------------------------------------------------------------------


def scan(text: str) -> Iterator[Token]:
    """Yield the tokens of a document; concatenated they are the document."""
    position = 0
    while position < len(text):
        begin = text.find("<", position)
        if begin < 0:
            begin = len(text)
        if begin > position:
            yield Token("text", text[position:begin])
        if begin == len(text):
            return
        token = _markup(text, begin)
        yield token
        position = begin + len(token.raw)


def scan_all(text: str) -> list[Token]:
    """Return the tokens of a document. Raises BadRequest if there are too many for the memory."""
    tokens = list(islice(scan(text), MOST_TOKENS + 1))
    if len(tokens) > MOST_TOKENS:
        raise BadRequest(f"Invalid request: the document has more than {MOST_TOKENS} tags")
    return tokens


def _markup(text: str, begin: int) -> Token:
    """Return the token that begins with the `<` at `begin`; what is not closed is opaque, to the end of the text."""
    if text.startswith("<!--", begin):
        return _token("comment", text, begin, _after(text, "-->", begin + 4))
    if text.startswith(("<!", "<?"), begin):
        return _token("opaque", text, begin, _after(text, ">", begin))
    found = _TAG.match(text, begin)
    if found is None:  # no tag, but a sign
        return Token("text", "<")
    name = found[1].lower()
    end = _end_of_tag(text, found.end())
    raw = text[begin:end] if end >= 0 else ""
    if not raw or raw.startswith("</"):
        return _token("close", text, begin, end, name)
    if name in VOID or (raw.endswith("/>") and name not in INLINE):
        return Token("void", raw, name)
    if name in RAW_TEXT:
        closing = re.compile(rf"</{name}", re.I).search(text, end) if name != "plaintext" else None
        return _token("opaque", text, begin, _after(text, ">", closing.end()) if closing else -1)
    if name in OPAQUE or _UNTRANSLATED.search(raw):
        return _token("opaque", text, begin, _end_of_element(text, name, end), name)
    return Token("open", raw, name)


def _token(kind: str, text: str, begin: int, end: int, name: str = "") -> Token:
    """Return the token from `begin` to `end`; one without end (-1) takes the rest of the document."""
    return Token(kind, text[begin:end], name) if end >= 0 else Token("opaque", text[begin:])


def _after(text: str, last: str, position: int) -> int:
    """Return the end of the next `last`, or -1."""
    end = text.find(last, position)
    return end + len(last) if end >= 0 else -1


def _end_of_tag(text: str, position: int) -> int:
    """Return the end of a tag, past values in quotes, or -1."""
    while found := _VALUE_OR_END.search(text, position):
        if not found[1]:
            return found.end()
        position = _after(text, found[1], found.end())
        if position < 0:
            break
    return -1


def _end_of_element(text: str, name: str, position: int) -> int:
    """Return the end of an element whose content begins at `position`, past elements of its name inside, or -1."""
    depth = 1
    for found in re.compile(rf"<(/?){re.escape(name)}(?=[\s/>])", re.I).finditer(text, position):
        depth += -1 if found[1] else 1
        if not depth:
            return _end_of_tag(text, found.end())
    return -1


def pair(tokens: Sequence[Token]) -> tuple[list[int], dict[int, int]]:
    """Return the tokens that end a run, in order, and for each opening tag within runs its closing one, by index.

    A tag without partner ends a run, and so do both tags of an element that contains the end of a run.
    """
    partners: dict[int, int] = {}
    boundaries: set[int] = set()
    open_tags: list[int] = []
    for n, token in enumerate(tokens):
        if token.kind == "close" and open_tags and tokens[open_tags[-1]].name == token.name:
            partners[open_tags.pop()] = n
        elif token.kind == "open" and token.name in INLINE and len(open_tags) < MAX_DEPTH:
            open_tags.append(n)
        elif not _within_run(token):
            boundaries.update(open_tags, [n])
            open_tags.clear()
    boundaries.update(open_tags)
    return sorted(boundaries), partners


def _within_run(token: Token) -> bool:
    """Return whether a token other than an inline tag may stand inside a sentence."""
    if token.kind == "void":
        return token.name in MARKS or token.name not in VOID
    return token.kind in ("text", "comment") or (token.kind == "opaque" and token.name in OPAQUE_INLINE)


def _run(tokens: Sequence[Token], numbers: range, opening: Set[int], closing: Set[int]) -> str | Run:
    """Return the run of these tokens; as it is written if there is nothing to translate.

    opening, closing: the tokens that begin and end an element.
    """
    texts: list[str] = []
    parts: dict[str, str] = {}
    opaque: set[str] = set()
    root = Element("", 0, closing="root")
    stack, length = [root], 0
    for n in numbers:
        token = tokens[n]
        added = ""
        if token.kind == "text":
            protected = protect(_plain(token.raw), FIRST + len(parts))
            added = protected.text.removeprefix(" ") if "".join(texts[-1:]).endswith(" ") else protected.text
            parts |= protected.parts
        elif n in opening:
            element = Element(token.raw, length)
            stack[-1].children.append(element)
            stack.append(element)
        elif n in closing:
            element = stack.pop()
            element.end, element.closing = length, token.raw
        elif token.kind == "comment" or token.name in MARKS or FIRST + len(parts) > LAST:
            stack[-1].children.append(Element(token.raw, length, length))
        else:
            added = chr(FIRST + len(parts))
            parts[added] = token.raw
            opaque.add(added)
        if added:
            texts.append(added)
            length += len(added)
    root.end = length
    text = "".join(texts)
    if not is_translatable(text):
        return "".join(tokens[n].raw for n in numbers)
    return Run(text, Protected(text, parts), frozenset(opaque), root)


def unescape(raw: str) -> str:
    """Return the text of HTML or XML; Python's own function fails at a reference by a number of thousands of digits."""
    return html.unescape(_LONG_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", raw))


def _plain(raw: str) -> str:
    """Return the text of HTML, in the form in which it is translated: clean, and single spaces also at its ends."""
    text = _SPACE.sub(" ", unescape(raw))
    core = clean(text)
    if not core:
        return " " * bool(text)
    return " " * text[0].isspace() + core + " " * text[-1].isspace()


# --- from translations to the document --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Text between two ends of runs; `root` holds its elements."""

    text: str
    protected: Protected
    opaque: frozenset[str]
    """stand-ins whose parts are markup"""
    root: Element

    def render(self, translation: Sequence[Word]) -> str:
        """Return the words of its translation, with the elements around those that come from them."""
        words = restore(self.protected, translation)
        end = len(words) - (words != [] and not words[-1].text)
        writer = Writer(self, words)
        writer.content(self.root, 0, end, 0)
        return "".join([*writer.parts, *(word.space for word in words[end:])])


def _owners(root: Element, length: int) -> list[tuple[Element, ...]]:
    """Return for each character of a run the elements around it, the outermost first."""
    owners: list[tuple[Element, ...]] = [()] * length

    def fill(element: Element, path: tuple[Element, ...]) -> None:
        position = element.begin
        for child in element.children:
            owners[position : child.begin] = [path] * (child.begin - position)
            if not child.is_mark:
                fill(child, (*path, child))
            position = child.end
        owners[position : element.end] = [path] * (element.end - position)

    fill(root, ())
    return owners


class Writer:
    """Writes the words of a run, with its elements, to `parts`."""

    def __init__(self, run: Run, words: Sequence[Word]) -> None:
        self.parts: list[str] = []
        self._run = run
        self._words = words
        self._owners = _owners(run.root, len(run.text))
        self._spaced = -1  # index of the last word whose space is written
        signs = (sign.isalnum() or sign in run.protected.parts for sign in run.text)
        self._letters = list(accumulate(signs, initial=0))  # before each position of the text

    def content(self, element: Element, first: int, last: int, depth: int) -> None:
        """Write the words from `first` up to `last`, the content of an element that is `depth` deep."""
        for begin, end, child in self._places(element, first, last, depth):
            for n in range(first, begin):
                self._word(n)
            if begin < end:
                self._space(begin)
            elif child.is_mark and self._run.text[child.begin - 1 : child.begin] == " " and self.parts:
                self.parts.append(" ")
            self.parts.append(child.opening)
            if not child.is_mark:
                self.content(child, begin, end, depth + 1)
            self.parts.append(child.closing)
            first = end
        for n in range(first, last):
            self._word(n)

    def _places(self, element: Element, first: int, last: int, depth: int) -> list[tuple[int, int, Element]]:
        """Return the words (begin, end) of each child of an element whose words are `first` to `last`, in order.

        A child gets its longest row of words, all words if only it has letters, and else none: then its place is after
        the translation of the text before it.
        """
        if not element.children:
            return []
        spans = self._rows(element, first, last, depth)
        for child in element.children:
            if first < last and self._letters_in(child) == self._letters_in(element):
                spans = {id(child): (first, last)}
        taken = sorted(spans.values())
        begins = [begin for begin, _ in taken]
        by_source = sorted((self._words[n].source, n) for n in range(first, last) if self._words[n].source >= 0)
        places = []
        for order, child in enumerate(element.children):
            begin, end = spans.get(id(child), (-1, -1))
            if begin < 0:
                at = bisect_left(by_source, (child.begin, -1))
                begin = by_source[at - 1][1] + 1 if at else first
                around = bisect_left(begins, begin) - 1  # the last row that begins before it
                begin = end = max(begin, taken[around][1]) if around >= 0 else begin
            places.append((begin, end, order, child))
        return [(begin, end, child) for begin, end, _, child in sorted(places, key=lambda place: place[:3])]

    def _rows(self, element: Element, first: int, last: int, depth: int) -> dict[int, tuple[int, int]]:
        """Return the longest row (begin, end) of words that come from each child, by its id; without those of none."""
        spans: dict[int, tuple[int, int]] = {}
        labels = [self._child(n, element, depth) for n in range(first, last)]
        for before, after in pairwise([n for n, label in enumerate(labels) if label >= 0]):
            if labels[before] == labels[after]:  # then also what is between them
                labels[before:after] = [labels[before]] * (after - before)
        begin = first
        for label, row in groupby(labels):
            end = begin + len(list(row))
            old = spans.get(label, (0, 0))
            if label > 0 and end - begin > old[1] - old[0]:
                spans[label] = begin, end
            begin = end
        return spans

    def _child(self, n: int, element: Element, depth: int) -> int:
        """Return the id of the child of an element that a word comes from; 0 for none, -1 if that is not known."""
        if not self._words[n].is_aligned(self._run.text):
            return -1
        source = self._words[n].source
        path = self._owners[source] if 0 <= source < len(self._owners) else ()
        within = len(path) > depth and (depth == 0 or path[depth - 1] is element)
        return id(path[depth]) if within else 0

    def _letters_in(self, element: Element) -> int:
        return self._letters[element.end] - self._letters[element.begin]

    def _space(self, n: int) -> None:
        if n > self._spaced:
            self.parts.append(self._words[n].space)
            self._spaced = n

    def _word(self, n: int) -> None:
        self._space(n)
        text = self._words[n].text
        part = self._run.protected.parts.get(text, text)
        self.parts.append(part if text in self._run.opaque else html.escape(part, quote=False))
