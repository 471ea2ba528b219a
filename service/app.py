"""The HTTP application: routes, what each does, and error answers.

``create_app(settings)`` builds it. ``uvicorn service.app:app`` reads the settings from the environment. Importing this
module loads neither torch nor a model.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service import answering, documents, events, languages, limits, pages, schemas
from service.body import Fields, Lingering
from service.connections import ByteBudget, report_errors_once_a_second
from service.context import current
from service.cors import CORS
from service.errors import (
    ServiceError,
    TooLarge,
)
from service.files import FileStore
from service.keys import Keyring, digest_of
from service.lifecycle import Loader, Service, load_exported
from service.metrics import Metrics
from service.models import Models
from service.registry import Registry
from service.serving import admit, note_texts, served, service_of
from service.settings import Settings, SettingsError, load_settings
from service.suggestions import Suggestions
from service.tracing import make_tracer
from service.tracking import Tracking

log = logging.getLogger("service")

T = TypeVar("T")
FORM_BYTES = 64 * 1024  # of a form with a file, beside the file
FILES_AT_ONCE = 4  # files that are unpacked in memory
CLIENT_GONE = 499  # never reaches the client; it marks these requests in the metrics
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.ErrorBody, "description": "The request is invalid"},
    403: {"model": schemas.ErrorBody, "description": "The API key is wrong"},
    408: {"model": schemas.ErrorBody, "description": "The body did not arrive in time"},
    413: {"model": schemas.ErrorBody, "description": "The body is too large"},
    429: {"model": schemas.ErrorBody, "description": "Too many requests; Retry-After gives the seconds to wait"},
    500: {"model": schemas.ErrorBody, "description": "The model failed on this request"},
    503: {"model": schemas.ErrorBody, "description": "Not ready, or overloaded; Retry-After gives the seconds to wait"},
    504: {"model": schemas.ErrorBody, "description": "The translation took too long"},
}


def create_app(
    settings: Settings,
    load: Loader = load_exported,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Build the application. Tests replace ``load`` and ``clock``."""
    metrics = Metrics()
    service = Service(settings, metrics, load)
    keys = Keyring(settings.api_keys, settings.keys)
    tracer = make_tracer()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        report_errors_once_a_second(asyncio.get_running_loop())
        with service.drain_on_signals():
            await service.start()
            keys.start()
            yield
            keys.close()
            await service.stop()
            if tracer is not None:
                await asyncio.to_thread(tracer.close)

    app = FastAPI(
        title="Translation service",
        description="Translation with attention-based models, for all clients of LibreTranslate.",
        version="1",
        lifespan=lifespan,
        servers=[{"url": settings.url_prefix}] if settings.url_prefix else None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # they have query strings: texts and keys
        docs_url=None,  # FastAPI's page loads its scripts from elsewhere; ours has none
        redoc_url=None,
    )
    app.state.service = service
    app.state.bodies = ByteBudget(max(settings.max_bodies_bytes, settings.max_body_bytes))
    app.state.open_requests = 0
    app.state.most_requests = math.inf  # the server sets it, as each takes a connection
    app.state.files = FileStore(settings.keep_files_s, settings.kept_files_bytes, clock=clock)
    app.state.file_turns = asyncio.Semaphore(FILES_AT_ONCE)
    path = settings.suggestions
    app.state.suggestions = Suggestions(Path(path), settings.max_suggestions_bytes) if path else None
    app.state.tracer = tracer
    app.state.keys = keys
    app.state.limiter = limits.RateLimiter(clock)
    app.state.rates = limits.Rates(settings.requests_per_minute, settings.requests_per_hour, settings.requests_per_day)
    app.add_middleware(Tracking, metrics=metrics, log_requests=settings.access_log, tracer=tracer)
    app.add_middleware(CORS, origins=settings.cors_origins)
    app.add_middleware(Prefix, prefix=settings.url_prefix)
    app.add_exception_handler(ServiceError, answer_error)
    app.add_exception_handler(HTTPException, answer_error)
    app.post(
        "/translate",
        response_model=schemas.TranslateAnswer,
        responses={200: {"content": {events.MEDIA_TYPE: {}}}, **ERRORS},
        openapi_extra=schemas.request_body(schemas.TranslateBody),
        summary="Translate a text or a list of texts",
    )(translate)
    # Before the route of FastAPI, which is for the OpenAPI page: `translate` checks its fields itself.
    app.router.routes.insert(0, PlainRoute("/translate", translate, methods=["POST"]))
    app.post(
        "/detect",
        response_model=list[schemas.DetectedLanguage],
        responses=ERRORS,
        openapi_extra=schemas.request_body(schemas.DetectBody),
        summary="Detect the language of a text",
    )(detect)
    app.post(
        "/translate_file",
        response_model=schemas.FileAnswer,
        responses=ERRORS,
        openapi_extra=schemas.request_body(schemas.FileBody, ["multipart/form-data"]),
        summary=f"Translate a file: {', '.join(documents.FORMATS)}",
    )(translate_file)
    app.get(
        "/download_file/{name}",
        summary="Fetch a translated file",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}, 404: ERRORS[400]},
        openapi_extra=schemas.path_parameter("name"),
    )(download_file)
    app.post(
        "/suggest",
        response_model=schemas.Success,
        responses=ERRORS,
        openapi_extra=schemas.request_body(schemas.SuggestionBody),
        summary="Suggest a better translation",
    )(suggest)
    app.get("/languages", response_model=list[schemas.Language], summary="List the languages and the targets of each")(
        list_languages
    )
    app.get("/models", response_model=list[schemas.ModelFile], summary="List the files of models and their states")(
        list_models
    )
    if settings.admin_key:
        app.post(
            "/admin/reload",
            response_model=schemas.Reloaded,
            responses={403: ERRORS[403], 422: {"model": schemas.Reloaded}, 503: ERRORS[503]},
            summary="Look for new, changed and removed files of models now; Authorization: Bearer KEY",
        )(reload)
    app.get("/health", response_model=schemas.Status, summary="Liveness: 200 unless a restart is needed")(health)
    app.get("/ready", response_model=schemas.Readiness, summary="Readiness: 200 while requests are accepted")(ready)
    app.get("/frontend/settings", summary="Settings for a web page: limits, keys, default languages")(frontend_settings)
    app.get("/metrics", summary="Prometheus metrics", response_class=Response)(prometheus)
    app.get("/spec", summary="This description, as OpenAPI")(spec)
    app.get("/docs", response_class=HTMLResponse, include_in_schema=False)(docs)
    for path, endpoint in (("/health", health), ("/ready", ready), ("/languages", list_languages)):
        app.router.add_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    app.post("/languages", response_model=list[schemas.Language], summary="The same, for older clients")(list_languages)
    return app


class PlainRoute(Route):
    """A route of Starlette, without FastAPI's handling of arguments, which takes a fifth of the work of a request."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as usual, and name the route for the metrics, as FastAPI's routes do."""
        match, child = super().matches(scope)
        return match, {**child, "route": self}


class Prefix:
    """Pure ASGI middleware: everything is found below a prefix, too. A proxy may remove it or leave it in the path."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["root_path"] = self.prefix or scope.get("root_path", "")  # also of the addresses in answers
        await self.app(scope, receive, send)


def __getattr__(name: str) -> FastAPI:
    """Build ``service.app:app`` on first access, with the settings of the environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = globals()["app"] = create_app(load_settings())
    return app


# --- routes -------------------------------------------------------------------------------------------------------


async def translate(request: Request) -> Response:
    """`POST /translate`: fields as JSON, form or query string."""
    return await served(request, _translate, early=True)


async def detect(request: Request) -> Response:
    """`POST /detect`."""
    return await served(request, _detect)


async def translate_file(request: Request) -> Response:
    """`POST /translate_file`: a multipart form."""
    most_bytes = min(service_of(request).settings.max_file_bytes + FORM_BYTES, request.app.state.bodies.most)
    return await served(request, _translate_file, most_bytes)


async def download_file(request: Request) -> Response:
    """`GET /download_file/<name>`."""
    name = request.path_params["name"]
    content = request.app.state.files.get(name)
    if content is None:
        return failure(404, "Not Found")
    # Never shown in the browser as a page of this server, whatever it contains.
    headers = {
        "Content-Disposition": f'attachment; filename="translated{Path(name).suffix}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    return Response(content, headers=headers, media_type="application/octet-stream")


async def suggest(request: Request) -> Response:
    """`POST /suggest`."""
    if request.app.state.suggestions is None:
        return failure(403, "Suggestions are disabled on this server.")
    return await served(request, _suggest)


async def spec(request: Request) -> Response:
    """`GET /spec`."""
    return JSONResponse(request.app.openapi())


async def docs(request: Request) -> Response:
    """`GET /docs`."""
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(pages.page(request.app.openapi()), headers=policy)


async def list_languages(request: Request) -> Response:
    """`GET /languages`."""
    models = service_of(request).require()
    return JSONResponse(
        [
            {"code": code, "name": languages.name(code), "targets": models.targets(code)}
            for code in models.languages.values()
        ]
    )


async def list_models(request: Request) -> Response:
    """`GET /models`."""
    return JSONResponse(_registry(request).listed())


async def reload(request: Request) -> Response:
    """`POST /admin/reload`."""
    key = schemas.api_key({}, request.headers.get("authorization"))
    if not hmac.compare_digest(digest_of(key or ""), digest_of(service_of(request).settings.admin_key)):
        return failure(403, "Invalid admin key")
    try:
        changes = await _registry(request).reload(at_once=True)
    except (SettingsError, OSError) as error:
        return failure(422, f"the models in service stay: {error}")
    body = dataclasses.asdict(changes)
    if not changes.failed:
        return JSONResponse(body)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in changes.failed.items())
    return JSONResponse({"error": f"not taken into service: {reasons}", **body}, 422)


async def health(request: Request) -> Response:
    """`GET /health`: an error if only a restart helps; fine while loading and draining."""
    problem = service_of(request).unhealthy()
    return JSONResponse({"status": "ok"}) if problem is None else failure(503, problem)


async def ready(request: Request) -> Response:
    """`GET /ready`: an error unless requests are accepted."""
    service = service_of(request)
    problem = service.not_ready()
    ready = {"status": "ready", "models": service.states()}
    return JSONResponse(ready) if problem is None else failure(503, problem, {"Retry-After": "5"})


async def frontend_settings(request: Request) -> Response:
    """`GET /frontend/settings`."""
    service = service_of(request)
    source, target = service.require().default_pair
    return JSONResponse(
        {
            "apiKeys": request.app.state.keys.required,
            "charLimit": service.settings.max_characters,
            "filesTranslation": True,
            "frontendTimeout": 500,
            "keyRequired": request.app.state.keys.required,
            "language": {
                "source": {"code": source, "name": languages.name(source)},
                "target": {"code": target, "name": languages.name(target)},
            },
            "suggestions": request.app.state.suggestions is not None,
            "supportedFilesFormat": list(documents.FORMATS),
        }
    )


async def prometheus(request: Request) -> Response:
    """`GET /metrics`."""
    return Response(service_of(request).metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


# --- their work ---------------------------------------------------------------------------------------------------


async def _translate(request: Request, fields: Fields, models: Models) -> dict[str, Any] | Response:
    allowed = admit(request, fields)
    name = schemas.model_name(fields, models.files)
    models = models.only(name)
    asked = schemas.check(fields, allowed, models.languages, models.routes)
    note_texts(request, asked.texts)
    context = current()
    context.bulk |= asked.bulk
    if asked.deadline_s is not None:
        context.ends = min(context.ends, asyncio.get_running_loop().time() + asked.deadline_s)
    protecting = service_of(request).settings.protect
    answer: dict[str, Any] | Response
    if asked.stream:
        parts = answering.stream(asked, models, protecting=protecting, model=name)
        answer = await events.answer_events(parts, context.ends)
    else:
        answer = await answering.answer(asked, models, protecting=protecting)
        if name is not None:
            answer["model"] = name
    service_of(request).metrics.characters.inc(sum(map(len, asked.texts)))
    return answer


async def _detect(request: Request, fields: Fields, models: Models) -> list[dict[str, Any]]:
    texts = schemas.check_texts(fields, admit(request, fields))[0]
    note_texts(request, texts)
    ranked = await models.rank(" ".join(texts))
    shown = [one for one in ranked if one.confidence >= schemas.LEAST_CONFIDENCE] or ranked[:1]
    return [{"confidence": one.confidence, "language": models.languages[one.language]} for one in shown]


async def _translate_file(request: Request, fields: Fields, models: Models) -> dict[str, str]:
    allowed = admit(request, fields)
    settings = service_of(request).settings
    models = models.only(schemas.model_name(fields, models.files))
    file, source, target = schemas.check_file(fields, models.languages, models.routes)
    if len(file.content) > settings.max_file_bytes:
        raise TooLarge(f"Invalid request: the file is larger than {settings.max_file_bytes} bytes")
    extension = PurePosixPath(file.name).suffix.lower()
    async with request.app.state.file_turns:
        document = await asyncio.to_thread(
            documents.read, extension, file.content, settings.max_file_bytes, settings.max_characters
        )
        texts = document.sources
        size = sum(map(len, texts))
        schemas.check_characters(size, allowed)
        note_texts(request, texts)
        if source is None:
            source = (await models.detect([" ".join(texts)], target))[0].language
            if source != target and (source, target) not in models.routes:
                raise schemas.unavailable_pair(source, target)
        content = await answering.translate_file(document, texts, source, target, models)
    service_of(request).metrics.characters.inc(size)
    name = request.app.state.files.put(content, extension)
    return {"translatedFileUrl": str(request.url_for("download_file", name=name))}


async def _suggest(request: Request, fields: Fields, models: Models) -> dict[str, bool]:
    suggestion = schemas.check_suggestion(fields, models.languages, admit(request, fields))
    await asyncio.to_thread(request.app.state.suggestions.add, suggestion)
    return {"success": True}


# --- errors -------------------------------------------------------------------------------------------------------


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer an error with ``{"error": ...}``."""
    if isinstance(error, ServiceError):
        service_of(request).metrics.refused(error.reason)
    if isinstance(error, TooLarge):
        return Lingering({"error": str(error)}, error.status, error.headers())
    if isinstance(error, ServiceError):
        return failure(error.status, str(error), error.headers())
    assert isinstance(error, HTTPException)
    return failure(error.status_code, str(error.detail), dict(error.headers or {}))


def _registry(request: Request) -> Registry:
    """Return the files in service. Raises Unavailable unless the service is ready."""
    service = service_of(request)
    service.require()
    assert service.registry is not None
    return service.registry


def failure(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Return an answer ``{"error": text}``."""
    return JSONResponse({"error": text}, status, headers)
