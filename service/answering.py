"""From a checked request to the body of its answer: detection, protection, markup, translation, shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from nmt.text.alignment import Word, align, compose, text_of
from nmt.text.protected import Protected, is_restored, protect, restore, restore_text
from service import details, glossary, schemas
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
    terms: Sequence[dict[str, str]] = ()
    """of the glossary, that are in the text"""


async def answer(asked: schemas.TranslateRequest, models: Models, *, protecting: bool = True) -> dict[str, Any]:
    """Translate a checked request; return the body of the answer. Raises ServiceError."""
    try:
        async with asyncio.timeout(asked.deadline_s):
            return await _answer(asked, models, protecting)
    except TimeoutError:
        raise DeadlineExceeded(f"not translated within {(asked.deadline_s or 0) * 1000:g} ms") from None


async def stream(
    asked: schemas.TranslateRequest, models: Models, *, protecting: bool = True, model: str | None = None
) -> AsyncGenerator[dict[str, Any]]:
    """Translate a checked request; yield parts of the answer as they finish, the parts of each text in order.

    Each part has what the answer would have, for a piece of a text; `index` is that of its text in a list. Last comes
    the rest of the answer, without a text, with the name of the `model` that was asked for. The time is the caller's to
    bound. Raises ServiceError.
    """
    with models.held():
        detected, sources = await _sources(asked, models)
        pivots: list[str | None] = [None] * len(sources)
        for source in dict.fromkeys(sources):
            places = [place for place, language in enumerate(sources) if language == source]
            texts = [asked.texts[place] for place in places]
            if source == asked.target:
                outputs = _each([Output(text) for text in texts])
            else:
                route = models.route(source, asked.target)
                for place in places:
                    pivots[place] = _pivot(route, models)
                outputs = stream_outputs(texts, route, asked, protecting)
            async with aclosing(outputs):
                async for n, output in outputs:
                    part = _described([output], asked, lambda values: values[0])
                    yield {**({"index": places[n]} if asked.is_list else {}), **part}
        rest = _explained(detected, pivots, models, _shape(asked))
        yield rest if model is None else {**rest, "model": model}


async def stream_outputs(
    texts: Sequence[str], route: Route, asked: schemas.TranslateRequest, protecting: bool
) -> AsyncGenerator[tuple[int, Output]]:
    """Yield the outputs of pieces of texts, each with the index of its text; a whole text if it is HTML, or pivoted."""
    if asked.html or len(route) > 1:
        translate = translate_html if asked.html else translate_texts
        for numbered in enumerate(await translate(texts, route, asked, protecting)):
            yield numbered
        return
    protected = await _protect(texts, protecting)
    [(file, pair)] = route
    async with (
        file.use() as model,
        aclosing(model.stream([one.text for one in protected], *pair, _search(asked))) as units,
    ):
        async for n, unit in units:
            part = _part(protected[n], unit.source)
            yield n, _finish(part.fill(unit.source), part, [unit], asked, protecting)


async def _each(outputs: Sequence[Output]) -> AsyncGenerator[tuple[int, Output]]:
    for numbered in enumerate(outputs):
        yield numbered


async def _sources(asked: schemas.TranslateRequest, models: Models) -> tuple[list[Detected] | None, list[str]]:
    """Return the detected languages, if they were to be detected, and the source language of each text."""
    detected = None if asked.source else await _detect(asked, models)
    sources = [one.language for one in detected] if detected else [asked.source or ""] * len(asked.texts)
    for source in dict.fromkeys(sources):
        if source != asked.target and (source, asked.target) not in models.routes:
            raise schemas.unavailable_pair(source, asked.target)
    return detected, sources


async def _answer(asked: schemas.TranslateRequest, models: Models, protecting: bool) -> dict[str, Any]:
    detected, sources = await _sources(asked, models)
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
            pivots[place] = _pivot(route, models)
    shape = _shape(asked)
    return {**_described(outputs, asked, shape), **_explained(detected, pivots, models, shape)}


Shape = Callable[[list[Any]], Any]


def _shape(asked: schemas.TranslateRequest) -> Shape:
    """Return the function from values, one for each text, to the field of an answer."""
    return (lambda values: values) if asked.is_list else (lambda values: values[0])


def _pivot(route: Route, models: Models) -> str | None:
    return models.languages[route[0][1][1]] if len(route) > 1 else None


def _described(outputs: Sequence[Output], asked: schemas.TranslateRequest, shape: Shape) -> dict[str, Any]:
    """Return the fields of an answer about translations."""
    body: dict[str, Any] = {"translatedText": shape([output.text for output in outputs])}
    if asked.alternatives > 0:
        body["alternatives"] = shape([list(output.alternatives) for output in outputs])
    for name in asked.details:
        body[name] = shape([(output.details or {}).get(name) for output in outputs])
    if asked.glossary is not None:
        body["glossary"] = shape([list(output.terms) for output in outputs])
    return body


def _explained(
    detected: Sequence[Detected] | None, pivots: list[str | None], models: Models, shape: Shape
) -> dict[str, Any]:
    """Return the fields of an answer about languages."""
    body: dict[str, Any] = {}
    if detected is not None:
        shown = [{"confidence": one.confidence, "language": models.languages[one.language]} for one in detected]
        body["detectedLanguage"] = shape(shown)
    if any(pivots):
        body["pivot"] = shape(pivots)
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
    protected = await _protect(texts, protecting)
    chains = await _translate([one.text for one in protected], route, asked)

    def finish() -> list[Output]:
        return [_finish(*one, asked, protecting) for one in zip(texts, protected, chains, strict=True)]

    return await off_loop(finish, sum(map(len, texts)))


async def _protect(texts: Sequence[str], protecting: bool) -> list[Protected]:
    if not protecting:
        return [Protected(text) for text in texts]
    return await off_loop(lambda: [protect(text) for text in texts], sum(map(len, texts)))


def _finish(
    source: str, protected: Protected, chain: Sequence[Translation], asked: schemas.TranslateRequest, protecting: bool
) -> Output:
    last = chain[-1]
    if not asked.details and not protecting and not asked.glossary:
        return Output(last.text, last.alternatives)
    # Unit by unit, so that each has the parts and numbers that its own source has, and can be sent as it finishes.
    units = [[unit] for unit in last.units()] if len(chain) == 1 else [chain]
    words: list[Word] = []
    terms: list[dict[str, str]] = []
    text, begin = "", 0
    for unit in units:
        part = _part(protected, unit[0].source)
        found = asked.glossary.find(part.text) if asked.glossary else []
        if not asked.details and not found and (not protecting or is_restored(part, unit[-1].text)):
            text += unit[-1].text
            continue
        own, placed = glossary.apply(part.text, _words(unit), found)
        own = restore(part, own) if protecting else own
        terms += placed
        text += protected.fill(text_of(own))
        words += [_moved(word, begin) for word in own]
        begin += len(unit[0].source)
    alternatives = tuple(dict.fromkeys(restore_text(protected, other) for other in last.alternatives))
    told = {name: details.FIELDS[name](source, protected, words, last) for name in asked.details}
    return Output(text, tuple(other for other in alternatives if other != text), told, terms)


def _moved(word: Word, by: int) -> Word:
    return replace(word, source=word.source + by, source_end=word.source_end + by) if word.source >= 0 else word


def _part(protected: Protected, text: str) -> Protected:
    """Return the protected text for a piece of it."""
    if len(text) == len(protected.text):
        return protected
    return Protected(text, {sign: protected.parts[sign] for sign in text if sign in protected.parts})


async def translate_html(
    texts: Sequence[str], route: Route, asked: schemas.TranslateRequest, protecting: bool
) -> list[Output]:
    """Translate HTML documents along a route, their tags moved with the words; their parts are always protected."""
    size = sum(map(len, texts))
    documents = await off_loop(lambda: [Document(text) for text in texts], size)
    chains = await _translate([source for document in documents for source in document.sources], route, asked)

    def finish() -> list[Output]:
        rest = iter(chains)
        outputs = []
        for document in documents:
            terms: list[dict[str, str]] = []
            translations = []
            for source in document.sources:
                found = asked.glossary.find(source) if asked.glossary else []
                words, placed = glossary.apply(source, _words(next(rest)), found)
                translations.append(words)
                terms += placed
            outputs.append(Output(document.render(translations), terms=terms))
        return outputs

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
    search = _search(asked)
    for n, (file, pair) in enumerate(route):
        last = n == len(route) - 1 and not asked.html
        async with file.use() as model:
            done = await model.translate(texts, *pair, search if last else replace(search, n_best=1))
        chains = [(*chain, translation) for chain, translation in zip(chains, done, strict=True)]
        texts = [translation.text for translation in done]
    return chains


def _search(asked: schemas.TranslateRequest) -> Search:
    return Search(asked.beam, asked.length_penalty, n_best=asked.alternatives + 1)


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
