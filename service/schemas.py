"""Request and answer of ``POST /translate``: checks in the protocol's order, and the OpenAPI schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from service import languages
from service.body import Fields, Upload
from service.errors import BadRequest
from service.glossary import MOST_CHARACTERS, MOST_TERMS, MOST_WORDS, Glossary, is_valid
from service.settings import UNLIMITED

AUTO = "auto"
LEAST_CONFIDENCE = 1.0  # percent; less likely languages are not listed
SHOWN_CHARACTERS = 100  # of a wrong value in an error
FORMATS = ("text", "html")
MOST_LENGTH_PENALTY = 5.0
MOST_DEADLINE_MS = 86_400_000
DETAILS = ("scores", "tokens", "alignments")
PRIORITIES = ("normal", "bulk")
NUMBER = r"-?[0-9]{1,9}(\.[0-9]{1,9})?"  # in forms, where every value is text


@dataclass(frozen=True)
class TranslateRequest:
    """A checked request. With ``is_list`` the answer holds lists. ``source`` is None if it must be detected."""

    texts: tuple[str, ...]
    is_list: bool
    source: str | None
    target: str
    alternatives: int
    html: bool = False
    beam: int | None = None
    length_penalty: float | None = None
    details: tuple[str, ...] = ()
    deadline_s: float | None = None
    bulk: bool = False
    stream: bool = False
    glossary: Glossary | None = None


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request: characters, texts, alternatives, beam size; -1 for no limit."""

    characters: int
    batch: int
    alternatives: int
    beam: int = 16


def cost(fields: Fields) -> int:
    """Return the number of texts in a request, which is its cost for the rate limit."""
    q = fields.get("q")
    return max(1, len(q)) if isinstance(q, list) else 1


def api_key(fields: Fields, authorization: str | None) -> str | None:
    """Return the API key: the field, else the Authorization header; None if empty or absent. Raises BadRequest."""
    key = fields.get("api_key")
    if not isinstance(key, str | None):
        raise BadRequest("Invalid request: api_key parameter is not a string")
    if key:
        return key
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
    texts = _within_size(texts, is_list, limits)
    _check_languages(fields, source, target, known)
    wanted = fields.get("format")
    wanted = FORMATS[0] if wanted in (None, "") else wanted
    if wanted not in FORMATS:
        raise BadRequest(f"{_shown(wanted)} format is not supported")
    more = _options(fields, limits, html=wanted == "html")
    more["alternatives"] = max(alternatives, more.get("alternatives", 0))
    if source == AUTO:
        return TranslateRequest(texts, is_list, None, target, **more)
    if source != target and (source, target) not in pairs:
        raise unavailable_pair(source, target)
    return TranslateRequest(texts, is_list, source, target, **more)


def _options(fields: Fields, limits: RequestLimits, *, html: bool) -> dict[str, Any]:
    """Return the fields of a request beyond the protocol. Raises BadRequest."""
    options: dict[str, Any] = {"html": html}
    if "nbest" in fields:
        options["alternatives"] = int(_number(fields, "nbest", 1, limits.alternatives + 1)) - 1
    if "beam_size" in fields:
        options["beam"] = int(_number(fields, "beam_size", 1, limits.beam))
    if "length_penalty" in fields:
        options["length_penalty"] = _number(fields, "length_penalty", 0, MOST_LENGTH_PENALTY, whole=False)
    if "deadline_ms" in fields:
        options["deadline_s"] = _number(fields, "deadline_ms", 1, MOST_DEADLINE_MS) / 1000
    priority = fields.get("priority", PRIORITIES[0])
    if priority not in PRIORITIES:
        raise BadRequest(f"Invalid request: priority parameter is not {' or '.join(PRIORITIES)}")
    options["bulk"] = priority == "bulk"
    options["glossary"] = _glossary(fields.get("glossary"))
    options["stream"] = _flag(fields, "stream")
    options["details"] = tuple(name for name in DETAILS if _flag(fields, f"return_{name}"))
    if html and options["details"]:
        raise BadRequest(f"Invalid request: return_{options['details'][0]} is not available for the html format")
    return options


def _number(fields: Fields, name: str, least: float, most: float, *, whole: bool = True) -> float:
    try:
        number = _as_number(fields[name])
        if not least <= number <= most or (whole and number != int(number)):
            raise ValueError
    except (ValueError, OverflowError):
        kind = "a whole number" if whole else "a number"
        raise BadRequest(f"Invalid request: {name} parameter is not {kind} from {least:g} to {most:g}") from None
    return number


def _as_number(value: object) -> float:
    """Return a number, or that which a text is, as forms have it. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(NUMBER, value):
        return float(value)
    raise ValueError


def _glossary(value: object) -> Glossary | None:
    """Return the terms and their translations: an object, or a list of pairs; in a form, this as JSON."""
    wrong = BadRequest("Invalid request: glossary parameter is not an object of terms and their translations")
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise wrong from None
    if not value and not isinstance(value, bool | int | float):
        return None
    try:
        terms = dict(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise wrong from None
    if len(terms) > MOST_TERMS:
        raise BadRequest(f"Invalid request: glossary parameter has more than {MOST_TERMS} terms")
    for texts in terms.items():
        if not all(isinstance(text, str) and is_valid(text) for text in texts):
            raise BadRequest(
                f"Invalid request: glossary parameter has a term or translation that is not of 1 to "
                f"{MOST_WORDS} words and {MOST_CHARACTERS} characters"
            )
    return Glossary(terms)


def _flag(fields: Fields, name: str) -> bool:
    value = fields.get(name, False)
    if value in (True, "true", "1"):
        return True
    if value in (False, None, "false", "0", ""):
        return False
    raise BadRequest(f"Invalid request: {name} parameter is not true or false")


def check_texts(fields: Fields, limits: RequestLimits) -> tuple[tuple[str, ...], bool]:
    """Return the texts of a request with only these, and whether they were a list. Raises BadRequest."""
    texts, is_list = _texts(fields.get("q"))
    return _within_size(texts, is_list, limits), is_list


def check_file(
    fields: Fields, known: Collection[str], pairs: Collection[tuple[str, str]]
) -> tuple[Upload, str | None, str]:
    """Return the file of a request, and its normalised source (None: to be detected) and target. Raises BadRequest."""
    source, target = _code(fields, "source"), _code(fields, "target")
    file = fields.get("file")
    if not isinstance(file, Upload):
        raise BadRequest("Invalid request: missing file parameter")
    if not file.content:
        raise BadRequest("Invalid request: empty file")
    _check_languages(fields, source, target, known)
    if source not in (target, AUTO) and (source, target) not in pairs:
        raise unavailable_pair(source, target)
    return file, None if source == AUTO else source, target


def check_characters(size: int, limits: RequestLimits) -> None:
    """Raise BadRequest if there are too many characters."""
    _within(size, limits.characters)


def check_suggestion(fields: Fields, known: Collection[str], limits: RequestLimits) -> dict[str, str]:
    """Return the fields of a suggestion: text, translation and languages, as shown. Raises BadRequest."""
    found: dict[str, str] = {}
    for name in ("q", "s"):
        value = fields.get(name)
        if not value:
            raise BadRequest(f"Invalid request: missing {name} parameter")
        if not isinstance(value, str):
            raise BadRequest(f"Invalid request: {name} parameter is not a string")
        _within(len(value), limits.characters)
        found[name] = _valid_unicode(value)
    source, target = _code(fields, "source"), _code(fields, "target")
    if source == AUTO:
        source = target  # not wrong, but not known either
    _check_languages(fields, source, target, known)
    return {**found, "source": str(fields["source"]), "target": str(fields["target"])}


def model_name(fields: Fields, known: Collection[str]) -> str | None:
    """Return the name of the model that is asked for; None without a choice. Raises BadRequest."""
    name = fields.get("model")
    if name is None or name == "":
        return None
    if not isinstance(name, str) or name not in known:
        raise BadRequest(f"Invalid request: model parameter {_shown(name)} is not one of {', '.join(known)}")
    return name


def _check_languages(fields: Fields, source: str, target: str, known: Collection[str]) -> None:
    if source not in known and source != AUTO:
        raise BadRequest(f"{_shown(fields['source'])} is not supported")
    if target not in known:
        raise BadRequest(f"{_shown(fields['target'])} is not supported")


def unavailable_pair(source: str, target: str) -> BadRequest:
    """Return the error for two known languages without a model from one to the other."""
    to, of = (f"{languages.name(code)} ({code})" for code in (target, source))
    return BadRequest(f"{to} is not available as a target language from {of}")


def _texts(q: object) -> tuple[tuple[str, ...], bool]:
    if not q and not isinstance(q, bool | int | float):  # absent, null, "", [], {}
        raise BadRequest("Invalid request: missing q parameter")
    given = q if isinstance(q, list) else [q]
    if not all(isinstance(text, str) for text in given):
        raise BadRequest("Invalid request: q parameter is not a string or a list of strings")
    return tuple(given), isinstance(q, list)


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
        number = _as_number(value)
        if number != int(number):
            raise ValueError
    except (ValueError, OverflowError):  # the latter for infinity
        raise BadRequest("Invalid request: alternatives parameter is not a number") from None
    if most != UNLIMITED and number > most:
        raise BadRequest(f"Invalid request: alternatives parameter must be <= {most}")
    return max(0, int(number))


def _within_size(texts: tuple[str, ...], is_list: bool, limits: RequestLimits) -> tuple[str, ...]:
    """Check the size of texts, and return them as valid Unicode."""
    if is_list:
        _within(len(texts), limits.batch)
    _within(sum(map(len, texts)), limits.characters)
    return tuple(map(_valid_unicode, texts))


def _within(size: int, limit: int) -> None:
    if limit != UNLIMITED and size > limit:
        raise BadRequest(f"Invalid request: request ({size}) exceeds text limit ({limit})")


# --- schemas for the OpenAPI page only; the checks above decide ----------------------------------------------------


def _in_forms(kind: str, *, pattern: str = f"^{NUMBER}$", **bounds: float) -> WithJsonSchema:
    """Return the schema of a number, which is text in forms."""
    return WithJsonSchema({"anyOf": [{"type": kind, **bounds}, {"type": "string", "pattern": pattern}]})


Flag = Annotated[
    Any, WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["true", "false", "1", "0", "", 1, 0, None]}]})
]
Key = Annotated[str | None, Field(description="API key, if the server requires one")]


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
    format: Annotated[Literal["text", "html", ""] | None, Field(description="format of the text")] = "text"
    alternatives: Annotated[
        Any,
        _in_forms("integer"),
        Field(description="number of alternative translations per text; negative counts as 0"),
    ] = 0
    nbest: Annotated[
        Any, _in_forms("integer", minimum=1), Field(description="translations per text: alternatives + 1")
    ] = 1
    beam_size: Annotated[
        Any, _in_forms("integer", minimum=1), Field(description="hypotheses of the beam search; default: the server's")
    ] = None
    length_penalty: Annotated[
        Any,
        _in_forms("number", minimum=0, maximum=MOST_LENGTH_PENALTY),
        Field(description="higher values favour longer translations; default: the server's"),
    ] = None
    deadline_ms: Annotated[
        Any,
        _in_forms("integer", minimum=1, maximum=MOST_DEADLINE_MS),
        Field(description="milliseconds after which to answer with status 504"),
    ] = None
    priority: Annotated[
        Literal["normal", "bulk"], Field(description="bulk: to be translated with what other requests leave")
    ] = "normal"
    model: Annotated[str | None, Field(description="name of a model of `/models`; default: the last exported one")] = (
        None
    )
    return_scores: Annotated[Flag, Field(description="answer with `scores`; not for html")] = False
    return_tokens: Annotated[Flag, Field(description="answer with `tokens`; not for html")] = False
    return_alignments: Annotated[Flag, Field(description="answer with `alignments`; not for html")] = False
    glossary: Annotated[
        Annotated[dict[str, str], Field(max_length=MOST_TERMS)]
        | Annotated[list[tuple[str, str]], Field(max_length=MOST_TERMS)]
        | str
        | None,
        Field(description="translations of terms: an object, or a list of pairs; as JSON in a form"),
    ] = None
    stream: Annotated[
        Flag, Field(description="answer with server-sent events: the translation of each sentence as it is finished")
    ] = False
    api_key: Key = None


class DetectBody(BaseModel):
    """Body of ``POST /detect``; the fields may also be sent as a form or in the query string."""

    q: Annotated[
        Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)],
        Field(description="text, or several texts in one language"),
    ]
    api_key: Key = None


class FileBody(BaseModel):
    """Body of ``POST /translate_file``, a multipart form."""

    file: Annotated[str, Field(description="the file", json_schema_extra={"format": "binary"})]
    source: Annotated[str, Field(description="language code, or auto to detect it")]
    target: Annotated[str, Field(description="language code")]
    model: Annotated[str | None, Field(description="name of a model of `/models`; default: the last exported one")] = (
        None
    )
    api_key: Key = None


class FileAnswer(BaseModel):
    """Answer to ``POST /translate_file``."""

    translatedFileUrl: str


class SuggestionBody(BaseModel):
    """Body of ``POST /suggest``; the fields may also be sent as a form or in the query string."""

    q: Annotated[str, Field(min_length=1, description="text")]
    s: Annotated[str, Field(min_length=1, description="the translation that is suggested")]
    source: Annotated[str, Field(description="language code of the text")]
    target: Annotated[str, Field(description="language code of the translation")]
    api_key: Key = None


class Success(BaseModel):
    """Answer to ``POST /suggest``."""

    success: bool


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

    pivot: Annotated[
        str | list[str | None] | None,
        Field(description="the language in between, where no model translates the pair directly"),
    ] = None
    model: Annotated[str | None, Field(description="only if a model was asked for by name")] = None
    scores: Annotated[Any, Field(description="confidences, 0 to 1: of the text, its alternatives, its words")] = None
    tokens: Annotated[Any, Field(description="subword pieces and their log-probabilities, for each segment")] = None
    glossary: Annotated[
        Any,
        Field(
            description="each term that is in the text, and whether its translation was present, replaces the words "
            "aligned with the term, or is in a guessed place"
        ),
    ] = None
    alignments: Annotated[
        Any,
        Field(
            description="words: [begin, end, source begin, source end] in characters; "
            "subwords: for each segment [target piece, source piece, weight]"
        ),
    ] = None


class Language(BaseModel):
    """A language and the languages it can be translated to."""

    code: str
    name: str
    targets: list[str]


class Status(BaseModel):
    """State of the service."""

    status: str


class Readiness(Status):
    """State of the service and of its models, by name."""

    models: dict[str, str]


class PairOfCodes(BaseModel):
    """A source and a target language."""

    source: str
    target: str


class ModelFile(BaseModel):
    """An exported file, in service or not."""

    name: Annotated[str, Field(description="of the file, without .pt")]
    pairs: list[PairOfCodes]
    default_for: Annotated[list[PairOfCodes], Field(description="pairs that it translates if no model is named")]
    state: Literal["unloaded", "loading", "ready", "failed", "draining"]
    exported: Annotated[str | None, Field(description="date and time, UTC")] = None
    size_bytes: Annotated[int | None, Field(description="of the file")] = None
    type: Annotated[str | None, Field(description="number type of its weights")] = None
    error: Annotated[str | None, Field(description="why it, or a newer file of its name, cannot be used")] = None


class Reloaded(BaseModel):
    """What a reload did, by name of the model."""

    loaded: list[str]
    removed: list[str]
    failed: Annotated[dict[str, str], Field(description="reasons")]


class ErrorBody(BaseModel):
    """Body of every error answer."""

    error: str


FORMS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")


def request_body(model: type[BaseModel], kinds: Sequence[str] = FORMS) -> dict[str, Any]:
    """Return a request body for the OpenAPI page, which FastAPI cannot derive: the routes parse their bodies."""
    content: Mapping[str, Any] = {kind: {"schema": model.model_json_schema()} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


def path_parameter(name: str) -> dict[str, Any]:
    """Return a part of a path for the OpenAPI page."""
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]
    }
