"""From a checked request to the body of its answer: detection, protection, markup, translation, shape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from nmt.text.alignment import Word, align, compose, text_of
from nmt.text.protected import Protected, is_restored, protect, restore, restore_text
from service import details, schemas
from service.detection import Detected
from service.documents import Archive, Encoded
from service.errors import DeadlineExceeded
from service.markup import Document
from service.models import Models, Route, Search

if TYPE_CHECKING:
    from nmt.translation import Translation

T = TypeVar("T")
SHORT = 2000
"""characters of texts that are prepared in the event loop: less work than handing them to a thread"""


@dataclass(frozen=True)
class Output:
    """A translated text. ``details`` are what the answer says about it beside the texts, by field."""

    text: str
    alternatives: tuple[str, ...] = ()
    details: dict[str, Any] | None = None


async def answer(asked: schemas.TranslateRequest, models: Models, *, protecting: bool = True) -> dict[str, Any]:
    """Translate a checked request; return the body of the answer. Raises ServiceError."""
    try:
        async with asyncio.timeout(asked.deadline_s):
            return await _answer(asked, models, protecting)
    except TimeoutError:
        raise DeadlineExceeded(f"not translated within {(asked.deadline_s or 0) * 1000:g} ms") from None


async def _answer(asked: schemas.TranslateRequest, models: Models, protecting: bool) -> dict[str, Any]:
    detected = None if asked.source else await _detect(asked, models)
    sources = [one.language for one in detected] if detected else [asked.source or ""] * len(asked.texts)
    for source in dict.fromkeys(sources):
        if source != asked.target and (source, asked.target) not in models.routes:
            raise schemas.unavailable_pair(source, asked.target)
    outputs = [Output(text) for text in asked.texts]
    pivots: list[str | None] = [None] * len(outputs)
    for source in dict.fromkeys(sources):
        places = [place for place, language in enumerate(sources) if language == source != asked.target]
        if not places:
            continue
        route = models.route(source, asked.target)
        texts = [asked.texts[place] for place in places]
        translate = translate_html if asked.html else translate_texts
        done = await translate(texts, route, asked, protecting)
        for place, output in zip(places, done, strict=True):
            outputs[place] = output
            pivots[place] = models.languages[route[0][1][1]] if len(route) > 1 else None
    shape: Callable[[list[Any]], Any] = (lambda values: values) if asked.is_list else (lambda values: values[0])
    body: dict[str, Any] = {"translatedText": shape([output.text for output in outputs])}
    if detected is not None:
        shown = [{"confidence": one.confidence, "language": models.languages[one.language]} for one in detected]
        body["detectedLanguage"] = shape(shown)
    if asked.alternatives > 0:
        body["alternatives"] = shape([list(output.alternatives) for output in outputs])
    if any(pivots):
        body["pivot"] = shape(pivots)
    for name in asked.details:
        body[name] = shape([(output.details or {}).get(name) for output in outputs])
    return body


async def _detect(asked: schemas.TranslateRequest, models: Models) -> list[Detected]:
    def plain() -> list[str]:
        return [Document(text).plain() for text in asked.texts]

    texts = await off_loop(plain, sum(map(len, asked.texts))) if asked.html else asked.texts
    return await models.detect(texts, asked.target)


async def translate_texts(
    texts: Sequence[str], route: Route, asked: schemas.TranslateRequest, protecting: bool
) -> list[Output]:
    """Translate plain texts along a route, the protected parts of each unharmed."""
    size = sum(map(len, texts))
    protected = [Protected(text) for text in texts]
    if protecting:
        protected = await off_loop(lambda: [protect(text) for text in texts], size)
    chains = await _translate([one.text for one in protected], route, asked)

    def finish() -> list[Output]:
        return [_finish(*one, asked, protecting) for one in zip(texts, protected, chains, strict=True)]

    return await off_loop(finish, size)


def _finish(
    source: str, protected: Protected, chain: Sequence[Translation], asked: schemas.TranslateRequest, protecting: bool
) -> Output:
    last = chain[-1]
    if not asked.details and (not protecting or is_restored(protected, last.text)):
        return Output(last.text, last.alternatives)
    words = _words(chain)
    if protecting:
        words = restore(protected, words)
    text = protected.fill(text_of(words))
    alternatives = tuple(dict.fromkeys(restore_text(protected, other) for other in last.alternatives))
    found = {name: details.FIELDS[name](source, protected, words, last) for name in asked.details}
    return Output(text, tuple(other for other in alternatives if other != text), found)


async def translate_html(
    texts: Sequence[str], route: Route, asked: schemas.TranslateRequest, protecting: bool
) -> list[Output]:
    """Translate HTML documents along a route, their tags moved with the words; their parts are always protected."""
    size = sum(map(len, texts))
    documents = await off_loop(lambda: [Document(text) for text in texts], size)
    chains = await _translate([source for document in documents for source in document.sources], route, asked)

    def finish() -> list[Output]:
        rest = iter(chains)
        return [Output(document.render([_words(next(rest)) for _ in document.sources])) for document in documents]

    return await off_loop(finish, size)


async def translate_file(
    document: Encoded | Archive, texts: Sequence[str], source: str, target: str, models: Models
) -> bytes:
    """Return a file with its texts translated between two normalised codes."""
    if source == target:
        return await asyncio.to_thread(lambda: document.render([align(text, text, ()) for text in texts]))
    asked = schemas.TranslateRequest(tuple(texts), True, source, target, 0)
    chains = await _translate(texts, models.route(source, target), asked)
    return await asyncio.to_thread(lambda: document.render([_words(chain) for chain in chains]))


async def _translate(
    texts: Sequence[str], route: Route, asked: schemas.TranslateRequest
) -> list[tuple[Translation, ...]]:
    """Translate texts by each model of a route in turn; return the translations of each text, the last one last."""
    chains: list[tuple[Translation, ...]] = [()] * len(texts)
    search = Search(asked.beam, asked.length_penalty, n_best=asked.alternatives + 1)
    for n, (file, pair) in enumerate(route):
        last = n == len(route) - 1 and not asked.html
        async with file.use() as model:
            done = await model.translate(texts, *pair, search if last else replace(search, n_best=1))
        chains = [(*chain, translation) for chain, translation in zip(chains, done, strict=True)]
        texts = [translation.text for translation in done]
    return chains


def _words(chain: Sequence[Translation]) -> list[Word]:
    """Return the words of the last translation, aligned with the source of the first."""
    words: list[Word] = []
    for n, one in enumerate(chain):
        own = align(one.source, one.text, one.segments)
        words = compose(own, words) if n else own
    return words


async def off_loop(work: Callable[[], T], size: int) -> T:
    """Run ``work`` on texts of this size, in a thread if it may take long."""
    return work() if size <= SHORT else await asyncio.to_thread(work)
