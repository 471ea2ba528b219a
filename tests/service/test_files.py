"""Translated files: each format, what is refused, and how long the results are kept."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.text.alignment import Word, align, text_of
from service import documents
from service.documents import FORMATS, Archive, distribute, read
from service.errors import BadRequest
from service.files import FileStore
from tests.service.fakes import FakeEngine, client_of, fake_app
from tests.service.test_markup import forwards

MOST = 1_000_000
CONTENT_TYPES = "<Types/>"
WORD = (
    '<?xml version="1.0"?>\n<w:document xmlns:w="x" mc:Ignorable="w14"><w:body><w:p><w:r><w:t>one </w:t></w:r>'
    "<w:r><w:rPr><w:b/></w:rPr><w:t>two {na</w:t></w:r><w:r><w:t>me} &amp; three</w:t></w:r></w:p>"
    "<w:p><w:r><w:t>four</w:t><w:br/><w:t>five</w:t></w:r></w:p><w:p/><w:instrText>PAGE</w:instrText></w:body></w:document>"
)
OPEN = (
    '<office:document-content xmlns:text="x"><text:p>one <text:span text:style-name="T1">two</text:span> three</text:p>'
    "<text:h>four<text:tab/>five</text:h><table:table-name>six</table:table-name></office:document-content>"
)


def packed(**members: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def translated(extension: str, data: bytes) -> bytes:
    document = read(extension, data, MOST, 1000)
    return document.render([forwards(source) for source in document.sources])


def member(data: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name).decode()


SUBTITLES = """1
00:00:01,000 --> 00:00:02,500
<i>one two</i>
three four

2\r
00:00:03,000 --> 00:00:04,000\r
five\r
\r
"""
CATALOGUE = r"""# a comment
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"

#: file.c:1
msgctxt "menu"
msgid "one \"two\" %(n)s\n"
msgstr ""

msgid "done"
msgstr "fertig"

msgid ""
"long "
"text"
msgid_plural "%d texts"
msgstr[0] ""
msgstr[1] ""

#~ msgid "old"
#~ msgstr ""
"""


def test_text_and_html() -> None:
    assert translated(".txt", b"one\n\n two {name}") == b"ONE\n\n TWO {name}"
    assert translated(".html", b"<p>one <b>two</b>") == b"<p>ONE <b>TWO</b>"


def test_subtitles() -> None:
    assert translated(".srt", SUBTITLES.encode()).decode() == SUBTITLES.replace("one two", "ONE TWO").replace(
        "three four", "THREE FOUR"
    ).replace("five", "FIVE")


def test_catalogue() -> None:
    result = translated(".po", CATALOGUE.encode()).decode()
    assert 'msgid "one \\"two\\" %(n)s\\n"\nmsgstr "ONE \\"TWO\\" %(n)s\\n"' in result
    assert 'msgstr[0] "LONG TEXT"\nmsgstr[1] "%d TEXTS"' in result
    kept = (line for line in CATALOGUE.splitlines() if 'msgstr ""' not in line and '] ""' not in line)
    assert all(line in result for line in kept)
    assert 'msgstr ""\n"Content-Type' in result and 'msgstr "fertig"' in result


def test_word() -> None:
    result = translated(".docx", packed(**{"[Content_Types].xml": CONTENT_TYPES, "word/document.xml": WORD}))
    xml = member(result, "word/document.xml")
    assert re.findall(r"<w:t[^>]*>([^<]*)", xml) == ["ONE ", "TWO {name}", " &amp; THREE", "FOUR", "FIVE"]
    assert re.sub(r"<w:t[^>]*>[^<]*", "", xml) == re.sub(r"<w:t[^>]*>[^<]*", "", WORD)
    assert member(result, "[Content_Types].xml") == CONTENT_TYPES


def test_open_document() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", OPEN, zipfile.ZIP_DEFLATED)
    result = translated(".odt", buffer.getvalue())
    expected = OPEN
    for word in ("one", "two", "three", "four", "five"):
        expected = re.sub(rf"\b{word}\b", word.upper(), expected)
    assert member(result, "content.xml") == expected
    with zipfile.ZipFile(io.BytesIO(result)) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=3), st.integers(-1, 30))), st.lists(st.integers(0, 30), max_size=5)
)
def test_no_word_is_lost_between_parts(given_words: list[tuple[str, int]], cuts: list[int]) -> None:
    words = [Word(" ", text, source, source + 1, 1.0) for text, source in given_words]
    parts = distribute(words, "a b " * 9, sorted(cuts))
    assert len(parts) == len(cuts) + 1
    assert "".join(parts) == text_of(words)


BOMB = packed(**{"word/document.xml": b"<w:p><w:t>" + b"a" * 20 * MOST})
NESTED = packed(**{"word/document.xml": packed(**{"word/document.xml": WORD}), "other.zip": BOMB})
AMPLIFIED = b'msgid "one two"\n' + b'msgstr[1] ""\n' * 2


def squeezed(method: int) -> bytes:
    """An archive of a few hundred bytes that holds ten million, in another compression than office documents have."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("word/media/image", bytes(10_000_000))
    return buffer.getvalue()


def twice() -> bytes:
    """An archive with two members of one name."""
    return packed(a="x", b="y").replace(b"b", b"a")


@pytest.mark.parametrize(
    ("extension", "data", "text"),
    [
        (".exe", b"x", "file format not supported"),
        ("", b"x", "file format not supported"),
        (".txt", b"\xff\xfe", "the file is not text in UTF-8"),
        (".txt", b"a" * 1001, "the file has more than 1000 characters"),
        (".html", b"a" * 20_001, "the file has more than 20000 characters"),
        (".docx", packed(**{"word/document.xml": "a" * 20_001}), "the file has more than 20000 characters"),
        (".docx", b"no archive", "the file is damaged or encrypted"),
        (".docx", packed(**{"word/document.xml": WORD})[:-40], "the file is damaged or encrypted"),
        (".docx", BOMB, "the unpacked file is too large"),
        (".docx", packed(**{f"m{n}": "" for n in range(documents.MOST_MEMBERS + 1)}), "the file has too many parts"),
        (".odt", packed(**{"content.xml": '<!DOCTYPE a [<!ENTITY b "c">]><text:p>&b;</text:p>'}), "declarations"),
        (".odt", packed(**{"content.xml": b"\xff\xfe<\x00"}), "the file is damaged or encrypted"),
        (".docx", squeezed(zipfile.ZIP_BZIP2), "the file is damaged or encrypted"),
        (".docx", squeezed(zipfile.ZIP_LZMA), "the file is damaged or encrypted"),
        (".docx", twice(), "the file is damaged or encrypted"),
        (".docx", NESTED, "the file is damaged or encrypted"),
        (".docx", packed(**{"word/document.xml": '<!DOCTYPE a SYSTEM "file:///etc/passwd"><w:p/>'}), "declarations"),
        (".po", AMPLIFIED, "a keyword twice"),
    ],
)
def test_refused_files(extension: str, data: bytes, text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        read(extension, data, MOST, 1000)


@pytest.mark.parametrize(
    "unit", ["<w:p>", "<w:p><w:t>", "</w:p>", "<w:p a='", "<w:t>a", "&amp;", "&#", "<!--", "<w:p/>"]
)
def test_deep_and_hostile_xml_takes_linear_time(unit: str) -> None:
    """There is no parser and no recursion: depth costs nothing, and entities are never expanded."""
    document = read(".docx", packed(**{"word/document.xml": unit * (100_000 // len(unit))}), MOST, 100_000)
    document.render([forwards(source, str) for source in document.sources])


GOOD = packed(**{"[Content_Types].xml": CONTENT_TYPES, "word/document.xml": WORD})


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8))
def test_damaged_archives_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    try:
        document = read(".docx", bytes(data), MOST, 1000)
    except BadRequest:
        return
    document.render([forwards(source) for source in document.sources])


TEXTS = st.text(alphabet=st.sampled_from('ab \n\r"\\:->0123,%{}msgidtr[]<&;#'), max_size=80)


def echo(source: str) -> list[Word]:
    """A translation that says the source again."""
    words, end = [], 0
    for word in align(source, source, ()):
        begin = end + len(word.space)
        end = begin + len(word.text)
        words.append(replace(word, source=begin, source_end=end) if word.text else word)
    return words


@pytest.mark.parametrize("extension", [".txt", ".srt", ".po", ".html"])
@settings(deadline=None)
@given(text=TEXTS, head=st.sampled_from(["", '\nmsgid "', '\nmsgstr "', "\n0:00:01,0 --> 0:00:02,0\n"]))
def test_any_text_file_is_read_or_refused(extension: str, text: str, head: str) -> None:
    whole = head + text + head
    try:
        document = read(extension, whole.encode(), MOST, 1000)
    except BadRequest:
        return
    result = document.render([echo(source) for source in document.sources]).decode()
    if extension in (".txt", ".srt"):
        assert re.sub(r"\s+", "", result) == re.sub(r"\s+", "", whole)


def test_an_archive_without_texts_is_kept() -> None:
    data = packed(**{"../../etc/passwd": "x", "content.xml": "<a>b</a>"})
    document = read(".odt", data, MOST, -1)
    assert isinstance(document, Archive) and document.sources == []
    assert member(document.render([]), "../../etc/passwd") == "x"  # a name in the archive, nowhere else


def test_files_expire_and_are_bounded() -> None:
    now = [0.0]
    store = FileStore(60, most_bytes=10, most=3, clock=lambda: now[0])
    names = [store.put(b"1234", ".txt") for _ in range(3)]
    assert [store.get(name) for name in names] == [None, b"1234", b"1234"]  # twelve bytes would be too many
    more = [store.put(b"", ".txt") for _ in range(3)]
    assert [store.get(name) for name in (*names, *more)] == [None, None, None, b"", b"", b""]
    now[0] = 60
    assert [store.get(name) for name in more] == [None] * 3
    assert all(re.fullmatch(r"[\w-]{32}\.txt", name) for name in names)
    assert store.get("../../etc/passwd") is None


async def send(client: httpx.AsyncClient, name: str, data: bytes, **fields: str) -> httpx.Response:
    return await client.post(
        "/translate_file", data={"source": "en", "target": "de", **fields}, files={"file": (name, data)}
    )


@pytest.mark.anyio
async def test_a_file_is_translated_and_fetched() -> None:
    async with client_of(fake_app(FakeEngine())) as client:
        for name, data in {
            "a.TXT": b"one {n}",
            "../../b.html": b"<p>two",
            "c.docx": packed(**{"word/document.xml": WORD}),
        }.items():
            for source in ("en", "auto"):
                url = (await send(client, name, data, source=source)).json()["translatedFileUrl"]
                answer = await client.get(url)
                assert answer.status_code == 200 and answer.content.startswith((b"ONE {n}", b"<p>TWO", b"PK"))
                assert answer.headers["content-disposition"].startswith("attachment")
                assert answer.headers["x-content-type-options"] == "nosniff"
        same = (await send(client, "a.txt", b"one", source="de")).json()["translatedFileUrl"]
        assert (await client.get(same)).content == b"one"
        for path in ("x.txt", "../etc/passwd", "%2e%2e%2fetc%2fpasswd"):
            assert (await client.get(f"/download_file/{path}")).status_code == 404
        settings = (await client.get("/frontend/settings")).json()
        assert settings["filesTranslation"] and settings["supportedFilesFormat"] == list(FORMATS)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "data", "fields", "status", "text"),
    [
        ("a.txt", b"", {}, 400, "Invalid request: empty file"),
        ("a.exe", b"x", {}, 400, "Invalid request: file format not supported"),
        ("a.txt", b"x", {"target": "zz"}, 400, "zz is not supported"),
        ("a.txt", b"x", {"source": ""}, 400, "Invalid request: missing source parameter"),
        ("a.txt", b"x" * 60, {}, 400, "Invalid request: the file has more than 50 characters"),
        ("a.txt", b"x" * 2000, {}, 413, "Invalid request: the file is larger than 1024 bytes"),
    ],
)
async def test_refused_requests(name: str, data: bytes, fields: dict[str, str], status: int, text: str) -> None:
    app = fake_app(FakeEngine(), max_characters=50, max_file_bytes=1024)
    async with client_of(app) as client:
        answer = await send(client, name, data, **fields)
        assert (answer.status_code, answer.json()) == (status, {"error": text})
        missing = await client.post("/translate_file", data={"source": "en", "target": "de"})
        assert missing.json() == {"error": "Invalid request: missing file parameter"}
