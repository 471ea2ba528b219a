"""Settings of the service: each is an option of ``python -m service`` and an environment variable ``NMT_*``."""

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
    """An invalid setting; its message is one line with the setting, its value and the remedy."""


class Settings(BaseSettings):
    """All settings with their defaults. The descriptions are the help texts and name the units."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    models: Path = Field(
        Path("models"),
        description="exported model file, or a folder of them (*.pt); where two files translate the same language "
        "pair, the one exported last is used unless a request names the other",
    )
    reload_s: float = Field(
        5.0, ge=0, le=86_400, description="seconds between two looks for new, changed and removed files; 0 for none"
    )
    lazy: bool = Field(False, description="load a model at the first request for it")
    max_loaded: int = Field(
        0,
        ge=0,
        description="models in memory at the same time; beyond it, the least recently used idle one is unloaded; 0 for "
        "no limit",
    )
    load_s: float = Field(
        600.0, gt=0, le=86_400, description="seconds that loading and warming up a model may take; then it has failed"
    )
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all addresses of this machine")
    port: int = Field(5000, ge=0, le=65535, description="port to listen on; 0 for any free port")

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device to translate on; auto: a GPU if there is one"
    )
    dtype: Literal["stored", "float32", "bfloat16", "float16"] = Field(
        "stored", description="number format of the computation; stored: that of the exported file"
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of the computation; 0 for one per core")
    engines: int = Field(
        0,
        ge=0,
        le=1024,
        description="searches side by side for each model, each with its share of rows and threads; "
        "0: the number found fastest when the model is loaded",
    )
    cuda_graphs: bool = Field(False, description="on a GPU, launch several steps at once; not yet tried on a GPU")
    rows: int = Field(
        320,
        ge=1,
        le=65536,
        description="hypotheses that each model extends at the same time; a sentence takes as many as its beam is wide",
    )
    beam: int | None = Field(None, ge=1, le=64, description="beam size; 1 is greedy search, the fastest")
    length_penalty: float | None = Field(
        None,
        ge=0.0,
        le=5.0,
        description="exponent of the length penalty; higher values favour longer translations",
    )
    stop_at: int = Field(
        0,
        ge=0,
        le=64,
        description="complete translations at which the search of a sentence ends, at most `beam`, faster than the "
        "default 0: until none can be better",
    )
    split_sentences: bool = Field(
        True,
        description="translate each sentence by itself; false: a whole line at once, unless it is too long",
    )
    protect: bool = Field(
        True,
        description="carry placeholders, tags, addresses and numbers over unharmed; false: leave them to the model",
    )
    pivot: bool = Field(
        True, description="translate through a third language where no model translates a pair directly"
    )

    max_characters: Limit = Field(
        100_000, description="characters per request, all its texts together; -1 for no limit"
    )
    max_batch: Limit = Field(1000, description="texts per request; -1 for no limit")
    max_alternatives: int = Field(5, ge=0, le=32, description="largest number of alternatives that may be requested")
    max_beam: int = Field(16, ge=1, le=64, description="largest beam size that may be requested")
    max_body_bytes: int = Field(2 * 1024 * 1024, ge=1024, description="bytes per request body")
    max_bodies_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="bytes of all request bodies that are on the way; beyond it, status 503"
    )
    max_file_bytes: int = Field(
        10 * 1024 * 1024, ge=1024, description="bytes of a file to be translated; unpacked, ten times as many"
    )
    kept_files_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, description="bytes of all translated files that are kept in memory to be fetched"
    )
    keep_files_s: float = Field(3600.0, gt=0, le=86_400, description="seconds that a translated file is kept")
    suggestions: str = Field("", description="file that suggested translations are appended to; none: they are refused")
    max_suggestions_bytes: int = Field(
        64 * 1024 * 1024, ge=0, description="size from which that file takes no more suggestions"
    )
    max_connections: int = Field(
        1000,
        ge=1,
        description="open connections; beyond it, the one that has been without a request for longest is closed",
    )
    idle_s: float = Field(
        10.0, gt=0, le=86_400, description="seconds that a connection may be open without the head of a request"
    )
    queue: int = Field(
        2048,
        ge=1,
        description="segments (sentences) that may wait for a slot; when it is full, requests get status 503 with "
        "Retry-After",
    )
    timeout_s: float = Field(
        60.0, gt=0, le=86_400, description="seconds from the start of a request to its answer; after that, status 504"
    )
    hang_s: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="seconds that a decoding step may take; after that, the process ends, to be started anew",
    )
    drain_s: float = Field(30.0, ge=0, le=86_400, description="seconds to finish accepted requests after SIGTERM")
    requests_per_minute: Limit = Field(
        UNLIMITED,
        description="texts per minute for each API key or client address; beyond it, status 429 with Retry-After; "
        "-1 for no limit",
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="accepted API keys, separated by commas; none: no key is needed"
    )

    admin_key: str = Field("", description="key for POST /admin/reload; none: there is no such address")

    trusted_proxies: str = Field(
        "",
        description="addresses of proxies whose X-Forwarded-For header is trusted, separated by commas",
    )
    access_log: bool = Field(False, description="log a line per request, with the client's address")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = tuple(key for key in (part.strip() for part in value.split(",")) if key)
        if value and not keys:  # such a value is a mistake, and must not open the service to everybody
            raise ValueError("has no key between its commas; give keys, or leave it out to serve without keys")
        return keys


def load_settings(**given: Any) -> Settings:
    """Return the settings: ``given`` ones first, then the environment, then defaults. Raises SettingsError."""
    known = [_variable(name) for name in Settings.model_fields]
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            # Only near misses are refused: Kubernetes, for one, sets NMT_SERVICE_HOST for a service called nmt.
            for near in difflib.get_close_matches(name, known, 1, cutoff=0.85):
                raise SettingsError(f"unknown environment variable {name}; did you mean {near}?")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(problem, given) for problem in error.errors())) from None


def parse_arguments(arguments: Sequence[str] | None = None) -> dict[str, str]:
    """Return the options given on the command line, by setting. Raises SettingsError."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        usage="python -m service [--models FILE_OR_FOLDER] [options]",
        description="Serve exported translation models over HTTP, with LibreTranslate's protocol.",
        epilog=f"Each option is also an environment variable, for example {_variable('port')}=8000 for --port 8000; "
        "options take precedence.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    for name, field in Settings.model_fields.items():
        text = f"{field.description} (default: {_shown(field.default)})".replace("%", "%%")
        parser.add_argument(_option(name), default=argparse.SUPPRESS, metavar=_metavar(field.annotation), help=text)
    try:
        found, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise SettingsError(str(error)) from None
    if unknown:
        option = unknown[0].partition("=")[0]
        near = difflib.get_close_matches(option, map(_option, Settings.model_fields), 1)
        if not option.startswith("-"):
            near = [f"--models {option}"]
        raise SettingsError(f"unknown argument {option}; {f'did you mean {near[0]}?' if near else 'see --help'}")
    return vars(found)


def model_files(path: Path) -> list[Path]:
    """Return the exported file, or all those of a folder by name. Raises SettingsError when there is none."""
    if path.is_file():
        return [path]
    files = sorted(file for file in path.glob("*.pt") if file.is_file())
    if not files:
        problem = "no exported model (*.pt) in this folder" if path.is_dir() else "no such file or folder"
        example = path if path.suffix == ".pt" else path / "NAME.pt"
        raise SettingsError(f"--models {path}: {problem}; export one: python -m nmt.export RUN -o {example}")
    return files


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return f"{PREFIX}{name}".upper()


def _shown(default: object) -> str:
    if default is None:
        return "as stored in the model"
    if default in ("", ()):
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "{" + ",".join(get_args(annotation)) + "}"
    kinds = {bool: "{true,false}", Path: "PATH", str: "TEXT", tuple[str, ...]: "TEXT"}
    return kinds.get(annotation, "N")


def _describe(problem: Any, given: dict[str, Any]) -> str:
    """Describe a validation error of pydantic by the option or variable that the user set."""
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    where = _option(name) if name in given else _variable(name)
    message = str(problem["msg"]).replace("Input should be", "must be")
    return f"{where}={problem['input']!r}: {message[0].lower()}{message[1:]}"
