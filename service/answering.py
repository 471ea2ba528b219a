"""From a checked request to the body of its answer: detection, translation, and the shape that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service import schemas
from service.models import Models, Output


async def answer(asked: schemas.TranslateRequest, models: Models) -> dict[str, Any]:
    """Translate a checked request; return the body of the answer."""
    detected = None
    if asked.source is None:
        detected = await models.detect(asked.texts, asked.target)
        for source in {one.language for one in detected}:
            if source != asked.target and (source, asked.target) not in models.pairs:
                raise schemas.unavailable_pair(source, asked.target)
    sources = [asked.source or "" for _ in asked.texts] if detected is None else [one.language for one in detected]
    outputs: list[Output] = [Output(text, ()) for text in asked.texts]
    for source in dict.fromkeys(sources):
        if source == asked.target:
            continue
        places = [place for place, language in enumerate(sources) if language == source]
        texts = [asked.texts[place] for place in places]
        model = models.pairs[source, asked.target]
        for place, output in zip(
            places, await model.translate(texts, source, asked.target, asked.alternatives), strict=True
        ):
            outputs[place] = output
    shape = _as_asked(asked)
    body: dict[str, Any] = {"translatedText": shape([output.text for output in outputs])}
    if detected is not None:
        body["detectedLanguage"] = shape(
            [{"confidence": one.confidence, "language": models.languages[one.language]} for one in detected]
        )
    if asked.alternatives > 0:
        body["alternatives"] = shape([list(output.alternatives) for output in outputs])
    return body


def _as_asked(asked: schemas.TranslateRequest) -> Callable[[list[Any]], Any]:
    return (lambda values: values) if asked.is_list else (lambda values: values[0])
