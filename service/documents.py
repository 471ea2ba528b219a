"""Files whose texts are translated: txt, html, srt, po, docx and odt.

A reader takes the bytes of a file apart into texts and the rest, and writes the file again with their translations.
None of them builds a tree: they find the texts in the file as it is written, and replace only these, so that everything
else stays as it was, to the byte. So there is no XML parser either that entities could blow up.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Protocol

from nmt.text.alignment import Word, text_of
from nmt.text.protected import protect, restore
from nmt.text.segments import is_translatable
from service.errors import BadRequest
from service.markup import Document, scan_all, unescape

MOST_MEMBERS = 2000
"""files in an archive"""
UNPACKED = 10
"""bytes that an archive may have when unpacked, for each byte that a file may have"""
COMPRESSIONS = frozenset([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
"""those of office documents; Python unpacks the others without a bound on the size"""
MARKUP = 20
"""characters that a file, or a member of an archive, may have for each character of text that is allowed"""


_MEMBER = b"PK\1\2"  # with which each entry of an archive's directory begins


class Readable(Protocol):
    """A document: its texts, with stand-ins for protected parts, and the document with the words of translations."""

    @property
    def sources(self) -> list[str]: ...
    def render(self, translations: Sequence[Sequence[Word]]) -> str: ...


class Text:
    """One text, translated as it is."""

    def __init__(self, text: str) -> None:
        self._protected = protect(text)
        self.sources = [self._protected.text]

    def render(self, translations: Sequence[Sequence[Word]]) -> str:
        """Return the translation."""
        return self._protected.fill(text_of(restore(self._protected, translations[0])))


class Pieces:
    """A document cut in pieces: what is kept, and texts that are translated by themselves.

    pieces: strings, and pairs of a text and a function from its translation to what is written instead of it.
    """

    def __init__(self, pieces: Iterator[str | tuple[str, Callable[[str], str]]]) -> None:
        self._pieces = [piece if isinstance(piece, str) else (Text(piece[0]), piece[1]) for piece in pieces]
        self.sources = [piece[0].sources[0] for piece in self._pieces if not isinstance(piece, str)]

    def render(self, translations: Sequence[Sequence[Word]]) -> str:
        """Return the document."""
        words = iter(translations)
        return "".join(
            piece if isinstance(piece, str) else piece[1](piece[0].render([next(words)])) for piece in self._pieces
        )


# --- subtitles --------------------------------------------------------------------------------------------------------

_TIMING = re.compile(r"[ \t]*\d+:\d\d:\d\d[,.]\d+[ \t]*-->.*")


def subtitles(text: str) -> Pieces:
    """Read SubRip: the lines of a subtitle are translated as one text, and cut into as many lines again."""

    def pieces() -> Iterator[str | tuple[str, Callable[[str], str]]]:
        lines = text.splitlines(keepends=True)
        n = 0
        while n < len(lines):
            yield lines[n]
            n += 1
            if not _TIMING.match(lines[n - 1]):
                continue
            last = n
            while last < len(lines) and lines[last].strip():
                last += 1
            if last > n:
                shown = [line.rstrip("\r\n") for line in lines[n:last]]
                ends = [line[len(line.rstrip("\r\n")) :] for line in lines[n:last]]
                yield " ".join(line.strip() for line in shown), partial(_into_lines, ends=ends)
            n = last

    return Pieces(pieces())


def _into_lines(text: str, ends: Sequence[str]) -> str:
    """Cut a text between words into lines of about equal length, with these line ends."""
    spaces = [found.start() for found in re.finditer(" ", text)]
    cuts = [0]
    for n in range(1, len(ends)):
        goal = len(text) * n / len(ends)
        at = bisect_left(spaces, goal)
        near = [space for space in spaces[max(0, at - 1) : at + 1] if space > cuts[-1]]
        cuts.append(min(near, key=lambda space: abs(space - goal)) if near else len(text))
    return "".join(text[a:b].strip() + end for (a, b), end in zip(pairwise([*cuts, len(text)]), ends, strict=True))


# --- gettext ----------------------------------------------------------------------------------------------------------

_KEYWORD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[[0-5]\])?)[ \t]+(?=")')
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def catalogue(text: str) -> Pieces:
    """Read a gettext catalogue (po): entries without translation are translated, the others are kept."""

    def pieces() -> Iterator[str | tuple[str, Callable[[str], str]]]:
        entry: dict[str, str] = {}
        lines = text.splitlines(keepends=True)
        n = 0
        while n < len(lines):
            begin = n
            keyword = _KEYWORD.match(lines[n])
            n += 1
            if keyword is None:
                yield lines[begin]
                continue
            while n < len(lines) and lines[n].lstrip().startswith('"'):
                n += 1
            written = "".join(lines[begin:n])
            value = "".join(_unescape(found[1]) for found in _QUOTED.finditer(written))
            name = keyword[1]
            if name in ("msgctxt", "msgid"):
                entry = {}
            elif name in entry:  # else many translations of one text could be asked for
                raise BadRequest("Invalid request: an entry of the catalogue has a keyword twice")
            entry[name] = value
            source = entry.get("msgid", "") if name in ("msgstr", "msgstr[0]") else entry.get("msgid_plural", "")
            if name.startswith("msgstr") and not value and is_translatable(source):
                end = written[len(written.rstrip("\r\n")) :]
                yield source, partial(_entry, name=name, end=end)
            else:
                yield written

    return Pieces(pieces())


def _entry(text: str, name: str, end: str) -> str:
    return f'{name} "{_escape(text)}"{end}'


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text)


def _escape(text: str) -> str:
    signs = {sign: f"\\{letter}" for letter, sign in _ESCAPES.items()} | {'"': '\\"', "\\": "\\\\"}
    return "".join(signs.get(sign, sign) for sign in text)


# --- office documents -------------------------------------------------------------------------------------------------


class Paragraphs:
    """The XML of an office document: the text of each paragraph, cut at line breaks and tabs, is one text.

    A paragraph's text is spread over parts with formats of their own. The translation is cut where the translation of
    each part ends, in the order of the parts.

    paragraphs: names of elements with text. holders: names of those that hold it, if not the paragraphs themselves.
    ends: names of those that end a text.
    """

    def __init__(self, xml: str, paragraphs: Sequence[str], holders: Sequence[str], ends: Sequence[str]) -> None:
        self._tokens = scan_all(xml)
        self._groups: list[list[int]] = [[]]
        depth = held = 0
        for n, token in enumerate(self._tokens):
            step = 0 if token.raw.endswith("/>") else {"open": 1, "close": -1}.get(token.kind, 0)
            if token.name in paragraphs:
                depth += step
            if token.name in holders:
                held += step
            if token.name in paragraphs or token.name in ends:
                self._groups.append([])
            elif token.kind == "text" and depth > 0 and (held > 0 or not holders):
                self._groups[-1].append(n)
        texts = [[unescape(self._tokens[n].raw) for n in group] for group in self._groups]
        kept = [n for n, parts in enumerate(texts) if is_translatable("".join(parts))]
        self._groups = [self._groups[n] for n in kept]
        self._protected = [protect("".join(texts[n])) for n in kept]
        self._cuts: list[list[int]] = []  # in the text with stand-ins, between the parts
        for n, protected in zip(kept, self._protected, strict=True):
            places = protected.places()
            self._cuts.append([bisect_left(places, end) for end in accumulate(map(len, texts[n][:-1]))])
        self.sources = [one.text for one in self._protected]

    def render(self, translations: Sequence[Sequence[Word]]) -> str:
        """Return the XML."""
        written = [token.raw for token in self._tokens]
        for group, protected, cuts, words in zip(self._groups, self._protected, self._cuts, translations, strict=True):
            for n, text in zip(group, distribute(restore(protected, words), protected.text, cuts), strict=True):
                written[n] = html.escape(protected.fill(text), quote=False)
                if self._tokens[n - 1].name == "w:t":
                    written[n - 1] = '<w:t xml:space="preserve">'
        return "".join(written)


def distribute(words: Sequence[Word], source: str, cuts: Sequence[int]) -> list[str]:
    """Cut a translation like its source at `cuts`: after as many words as come from before the cut."""
    sources, last = [], 0
    for word in words:
        last = word.source if word.source >= 0 else last
        sources.append(last)
    sources.sort()
    edges = [0, *(bisect_left(sources, cut) for cut in cuts), len(words)]
    parts = [text_of(words[begin:end]) for begin, end in pairwise(edges)]
    for n, cut in enumerate(cuts, 1):
        if source[max(0, cut - 1) : cut].isspace():  # then the space belongs to the part before it
            core = parts[n].lstrip()
            parts[n - 1] += parts[n][: len(parts[n]) - len(core)]
            parts[n] = core
    return parts


class Archive:
    """An office document: an archive with XML, of which some members have texts."""

    def __init__(
        self, data: bytes, most_bytes: int, most_characters: int, members: str, read: Callable[[str], Paragraphs]
    ) -> None:
        self._members: list[tuple[zipfile.ZipInfo, bytes | Paragraphs]] = []
        try:
            if data.count(_MEMBER) > MOST_MEMBERS:  # before they are read
                raise BadRequest("Invalid request: the file has too many parts")
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                infos = archive.infolist()
                if len(archive.namelist()) > len(set(archive.namelist())) or not COMPRESSIONS.issuperset(
                    info.compress_type for info in infos
                ):
                    raise zipfile.BadZipFile
                left = most_bytes * UNPACKED
                for info in infos:
                    with archive.open(info) as member:
                        content = member.read(left + 1)  # not what the archive says its size is
                    left -= len(content)
                    if left < 0:
                        raise BadRequest("Invalid request: the unpacked file is too large")
                    holds_text = re.fullmatch(members, info.filename) is not None
                    self._members.append((info, read(_xml(content, most_characters)) if holds_text else content))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, OSError, ValueError):
            raise BadRequest("Invalid request: the file is damaged or encrypted") from None
        self._texts = [content for _, content in self._members if isinstance(content, Paragraphs)]
        self.sources = [source for content in self._texts for source in content.sources]

    def render(self, translations: Sequence[Sequence[Word]]) -> bytes:
        """Return the archive."""
        words = iter(translations)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for info, content in self._members:
                if isinstance(content, Paragraphs):
                    content = content.render([next(words) for _ in content.sources]).encode()
                plain = zipfile.ZipInfo(info.filename, info.date_time)
                plain.external_attr = info.external_attr
                # The first member of an odt names the format, and is not compressed.
                compression = info.compress_type if info.compress_type == zipfile.ZIP_STORED else zipfile.ZIP_DEFLATED
                archive.writestr(plain, content, compression)
        return buffer.getvalue()


def _xml(content: bytes, most_characters: int) -> str:
    text = _decode(content, most_characters)
    if "<!" in text.replace("<!--", "").replace("<![CDATA[", ""):
        raise BadRequest("Invalid request: the file has declarations that are not read")
    return text


def _word(xml: str) -> Paragraphs:
    return Paragraphs(xml, ["w:p"], ["w:t"], ["w:br", "w:cr", "w:tab"])


def _open_document(xml: str) -> Paragraphs:
    return Paragraphs(xml, ["text:p", "text:h"], [], ["text:line-break", "text:tab", "text:note", "office:annotation"])


# --- by the name of the file ------------------------------------------------------------------------------------------


class Encoded:
    """A document that is text, in UTF-8."""

    def __init__(self, document: Readable) -> None:
        self._document = document
        self.sources = document.sources

    def render(self, translations: Sequence[Sequence[Word]]) -> bytes:
        """Return the file."""
        return self._document.render(translations).encode()


def _decode(data: bytes, most_characters: int) -> str:
    """Return text in UTF-8; a UnicodeDecodeError is a ValueError. Raises BadRequest if there is too much of it."""
    if len(data) > 4 * most_characters >= 0 or len(text := data.decode()) > most_characters >= 0:
        raise BadRequest(f"Invalid request: the file has more than {most_characters} characters")
    return text


def _text_file(read: Callable[[str], Readable], factor: int = MARKUP) -> Callable[[bytes, int, int], Encoded]:
    def reader(data: bytes, most_bytes: int, most_characters: int) -> Encoded:
        try:
            return Encoded(read(_decode(data, factor * most_characters)))
        except UnicodeDecodeError:
            raise BadRequest("Invalid request: the file is not text in UTF-8") from None

    return reader


def _archive(members: str, read: Callable[[str], Paragraphs]) -> Callable[[bytes, int, int], Archive]:
    return lambda data, most_bytes, most_characters: Archive(data, most_bytes, MARKUP * most_characters, members, read)


FORMATS: dict[str, Callable[[bytes, int, int], Encoded | Archive]] = {
    ".txt": _text_file(Text, 1),
    ".html": _text_file(Document),
    ".srt": _text_file(subtitles),
    ".po": _text_file(catalogue),
    ".docx": _archive(r"word/(?:document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml", _word),
    ".odt": _archive(r"(?:content|styles)\.xml", _open_document),
}


def read(extension: str, data: bytes, most_bytes: int, most_characters: int) -> Encoded | Archive:
    """Read a file by the extension of its name. Raises BadRequest if it cannot be read.

    most_bytes: that a file may have. most_characters: of text; -1 for no limit.
    """
    if extension not in FORMATS:
        raise BadRequest("Invalid request: file format not supported")
    return FORMATS[extension](data, most_bytes, most_characters)
