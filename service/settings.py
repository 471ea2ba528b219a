"""Settings of the service: environment variables ``NMT_*``, or options of ``python -m service``, one for each field."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "NMT_"
UNLIMITED = -1
Limit = Annotated[int, Field(ge=UNLIMITED)]


class SettingsError(Exception):
    """A setting that cannot be used; one line that names it, its value and the remedy."""


class Settings(BaseSettings):
    """All settings with their units and defaults; -1 turns a limit off."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    models: Path = Field(
        Path("models"), description="exported model file, or a folder of them (*.pt), one language pair or more each"
    )
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: int = Field(5000, ge=0, le=65535, description="port to listen on; 0 for any free one")

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where to translate: auto takes a GPU where there is one"
    )
    dtype: Literal["stored", "float32", "bfloat16", "float16"] = Field(
        "stored", description="number format to compute in; stored: as the file was exported"
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads for one step of the model; 0 for all cores")
    slots: int = Field(64, ge=1, le=4096, description="sentences that a model decodes at the same time")
    beam: int | None = Field(
        None, ge=1, le=64, description="hypotheses kept for a sentence; 1 is greedy, fastest; none: as the model says"
    )
    length_penalty: float | None = Field(
        None,
        ge=0.0,
        le=5.0,
        description="exponent of the length penalty, higher favours longer output; none: as the model says",
    )
    split_sentences: bool = Field(
        True, description="translate each sentence of a line by itself; false: whole lines, where they fit"
    )

    max_characters: Limit = Field(
        UNLIMITED, description="characters of one request, all its texts together; -1 for no limit"
    )
    max_batch: Limit = Field(UNLIMITED, description="texts in one request; -1 for no limit")
    max_alternatives: int = Field(5, ge=0, le=32, description="alternatives that a request may ask for")
    max_body_bytes: int = Field(2 * 1024 * 1024, ge=1024, description="bytes of a request's body")
    queue: int = Field(
        2048,
        ge=1,
        description="segments (sentences) that may wait for a slot; beyond it requests get 503 with Retry-After",
    )
    timeout_s: float = Field(60.0, gt=0, description="seconds from a request's first byte to its answer; beyond it 504")
    drain_s: float = Field(30.0, ge=0, description="seconds that accepted requests get to finish after SIGTERM")
    requests_per_minute: Limit = Field(
        UNLIMITED, description="texts a minute for each key or address; -1 for no limit; beyond it 429 with Retry-After"
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="accepted keys, separated by commas; none: no key is asked for"
    )

    trusted_proxies: str = Field(
        "", description="addresses of proxies whose X-Forwarded-For is believed, separated by commas"
    )
    access_log: bool = Field(False, description="log a line for each request, with the client's address")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what to log")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return (
            tuple(key for key in (part.strip() for part in value.split(",")) if key)
            if isinstance(value, str)
            else value
        )


def load_settings(**given: Any) -> Settings:
    """Settings from the environment, ``given`` ones first. Raises SettingsError with one line for what is wrong."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        # Only what looks like a misspelt name: Kubernetes, for one, sets NMT_SERVICE_HOST next to a service called nmt.
        near = (
            difflib.get_close_matches(name, known, 1, cutoff=0.85)
            if name.startswith(PREFIX) and name not in known
            else []
        )
        if near:
            raise SettingsError(f"unknown environment variable {name}: did you mean {near[0]}?")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(problem, given) for problem in error.errors())) from None


def parse_arguments(arguments: Sequence[str] | None = None) -> dict[str, str]:
    """Options of the command line as settings: only those that were given."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve exported translation models over HTTP, with LibreTranslate's protocol.",
        epilog=f"Each option can be given in the environment too: --max-batch as {PREFIX}MAX_BATCH. Options win.",
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        choices = f"one of {', '.join(get_args(field.annotation))}; " if get_origin(field.annotation) is Literal else ""
        text = f"{field.description} ({choices}default: {'none' if default in ('', None) else default})"
        parser.add_argument(_option(name), default=argparse.SUPPRESS, metavar="X", help=text.replace("%", "%%"))
    return vars(parser.parse_args(arguments))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _describe(problem: Any, given: dict[str, Any]) -> str:
    """One problem that pydantic found, as the user would name it."""
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    where = _option(name) if name in given else f"{PREFIX}{name}".upper()
    message = str(problem["msg"]).replace("Input should be", "must be")
    return f"{where}={problem['input']!r}: {message[0].lower()}{message[1:]}"
