"""Request and answer of ``POST /translate``: checks in the protocol's order, and the OpenAPI schemas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service import languages
from service.body import Fields
from service.errors import BadRequest
from service.settings import UNLIMITED

AUTO = "auto"
LEAST_CONFIDENCE = 1.0  # percent; less likely languages are not listed
SHOWN_CHARACTERS = 100  # of a wrong value in an error
FORMATS = ("text",)  # HTML is not supported yet


@dataclass(frozen=True)
class TranslateRequest:
    """A checked request. With ``is_list`` the answer holds lists. ``source`` is None if it must be detected."""

    texts: tuple[str, ...]
    is_list: bool
    source: str | None
    target: str
    alternatives: int


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request: characters, texts, alternatives; -1 for no limit."""

    characters: int
    batch: int
    alternatives: int


def cost(fields: Fields) -> int:
    """Return the number of texts in a request, which is its cost for the rate limit."""
    q = fields.get("q")
    return max(1, len(q)) if isinstance(q, list) else 1


def api_key(fields: Fields, authorization: str | None) -> str | None:
    """Return the API key: the field, else the Authorization header; None if empty or absent."""
    key = fields.get("api_key")
    if key:
        return str(key)
    return (authorization or "").rpartition(" ")[2].strip() or None


def check(
    fields: Fields, limits: RequestLimits, known: Collection[str], pairs: Collection[tuple[str, str]]
) -> TranslateRequest:
    """Check the fields in the protocol's order and return the request. Raises BadRequest.

    known: normalised codes of all languages. pairs: normalised (source, target) codes that a model translates.
    """
    texts, is_list = _texts(fields.get("q"))
    source = _code(fields, "source")
    target = _code(fields, "target")
    alternatives = _alternatives(fields.get("alternatives", 0), limits.alternatives)
    _check_size(texts, is_list, limits)
    if source not in known and source != AUTO:
        raise BadRequest(f"{_shown(fields['source'])} is not supported")
    if target not in known:
        raise BadRequest(f"{_shown(fields['target'])} is not supported")
    wanted = fields.get("format") or FORMATS[0]
    if wanted not in FORMATS:
        raise BadRequest(f"{_shown(wanted)} format is not supported")
    if source == AUTO:
        return TranslateRequest(texts, is_list, None, target, alternatives)
    if source != target and (source, target) not in pairs:
        raise unavailable_pair(source, target)
    return TranslateRequest(texts, is_list, source, target, alternatives)


def check_texts(fields: Fields, limits: RequestLimits) -> tuple[tuple[str, ...], bool]:
    """Return the texts of a request with only these, and whether they were a list. Raises BadRequest."""
    texts, is_list = _texts(fields.get("q"))
    _check_size(texts, is_list, limits)
    return texts, is_list


def unavailable_pair(source: str, target: str) -> BadRequest:
    """Return the error for two known languages without a model from one to the other."""
    to, of = (f"{languages.name(code)} ({code})" for code in (target, source))
    return BadRequest(f"{to} is not available as a target language from {of}")


def _texts(q: object) -> tuple[tuple[str, ...], bool]:
    if not q and not isinstance(q, bool | int | float):  # absent, null, "", [], {}
        raise BadRequest("Invalid request: missing q parameter")
    given = q if isinstance(q, list) else [q]
    texts = tuple(_valid_unicode(text) for text in given if isinstance(text, str))
    if len(texts) < len(given):
        raise BadRequest("Invalid request: q parameter is not a string or a list of strings")
    return texts, isinstance(q, list)


def _valid_unicode(text: str) -> str:
    # JSON may contain half a surrogate pair (a string cut inside an emoji), which UTF-8 cannot encode: replace it.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _shown(value: object) -> str:
    """Return a value of the client for an error message: valid Unicode, and not longer than a message should be."""
    text = _valid_unicode(str(value))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _code(fields: Fields, field: str) -> str:
    code = fields.get(field)
    if code is None or code == "":
        raise BadRequest(f"Invalid request: missing {field} parameter")
    if not isinstance(code, str):
        raise BadRequest(f"Invalid request: {field} parameter is not a string")
    return languages.normalise(code)


def _alternatives(value: object, most: int) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError
        number = int(value)
    except ValueError:
        raise BadRequest("Invalid request: alternatives parameter is not a number") from None
    if most != UNLIMITED and number > most:
        raise BadRequest(f"Invalid request: alternatives parameter must be <= {most}")
    return max(0, number)


def _check_size(texts: tuple[str, ...], is_list: bool, limits: RequestLimits) -> None:
    if is_list:
        _within(len(texts), limits.batch)
    _within(sum(map(len, texts)), limits.characters)


def _within(size: int, limit: int) -> None:
    if limit != UNLIMITED and size > limit:
        raise BadRequest(f"Invalid request: request ({size}) exceeds text limit ({limit})")


# --- schemas for the OpenAPI page only; the checks above decide ----------------------------------------------------


class TranslateBody(BaseModel):
    """Body of ``POST /translate``; the fields may also be sent as a form or in the query string."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"q": "The dog sleeps.", "source": "en", "target": "de"}]},
    )
    q: Annotated[
        Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)],
        Field(description="text or list of texts"),
    ]
    source: Annotated[str, Field(description="language code, or auto to detect it")]
    target: Annotated[str, Field(description="language code")]
    format: Annotated[Literal["text"], Field(description="format of the text")] = "text"
    alternatives: Annotated[
        int, Field(description="number of alternative translations per text; negative counts as 0")
    ] = 0
    api_key: Annotated[str | None, Field(description="API key, if the server requires one")] = None


class DetectBody(BaseModel):
    """Body of ``POST /detect``; the fields may also be sent as a form or in the query string."""

    q: Annotated[
        Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)],
        Field(description="text, or several texts in one language"),
    ]
    api_key: Annotated[str | None, Field(description="API key, if the server requires one")] = None


class DetectedLanguage(BaseModel):
    """Detected source language."""

    confidence: Annotated[float, Field(description="0 to 100")]
    language: str


class TranslateAnswer(BaseModel):
    """Answer to ``POST /translate``; the fields hold lists if ``q`` was a list."""

    translatedText: str | list[str]
    detectedLanguage: Annotated[
        DetectedLanguage | list[DetectedLanguage] | None, Field(description="only if source is auto")
    ] = None
    alternatives: Annotated[
        list[str] | list[list[str]] | None, Field(description="only if alternatives were requested")
    ] = None


class Language(BaseModel):
    """A language and the languages it can be translated to."""

    code: str
    name: str
    targets: list[str]


class Status(BaseModel):
    """State of the service."""

    status: str


class ErrorBody(BaseModel):
    """Body of every error answer."""

    error: str


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return a request body for the OpenAPI page, which FastAPI cannot derive: the routes parse their bodies."""
    schema = model.model_json_schema()
    kinds: Mapping[str, Any] = {
        kind: {"schema": schema}
        for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
    }
    return {"requestBody": {"required": True, "content": kinds}}
