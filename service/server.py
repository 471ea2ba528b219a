"""The server process of ``python -m service``: settings, listening sockets, log, signals and exit code."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.connections import Connections, OnceASecond, allow_connections
from service.lifecycle import Loader, load_exported
from service.logs import STDERR, logging_to
from service.serving import refusal
from service.settings import Settings, SettingsError, load_settings, model_files, parse_arguments
from service.tls import over_tls, tls_context

log = logging.getLogger("service")

EXIT_BROKEN = 1  # a hung step, or engines that fail again and again: a restart helps
EXIT_USER_ERROR = 2
ANSWER_S = 30.0  # for a client to read its answer


def run(arguments: Sequence[str] | None = None) -> int:
    """Serve as the command line and the environment say; return the exit code."""
    try:
        settings = load_settings(**parse_arguments(arguments))
        model_files(settings.models)  # before torch is imported, which takes seconds
        return serve(settings)
    except SettingsError as error:
        return _report(str(error))


def serve(settings: Settings, load: Loader = load_exported) -> int:
    """Run the server until it is told to stop; return the exit code. Tests replace ``load``.

    Raises SettingsError when the address cannot be listened on.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        # These handlers act before uvicorn installs its own, and after it has restored ours: then it raises the signal
        # once more, which by default would end the process as if it had been killed.
        signal.signal(number, _exit_on_signal)
    with logging_to(STDERR, settings.log_format, settings.log_level) as writer:
        app = create_app(settings, load)
        writer.dropped = app.state.service.metrics.log_lines_dropped.inc
        code = _serve(app, settings)
    return code if app.state.service.failure is None else _report(app.state.service.failure)


def _serve(app: FastAPI, settings: Settings) -> int:
    """Run uvicorn; return the exit code."""
    connections = Connections(
        allow_connections(settings.max_connections),
        settings.idle_s,
        settings.timeout_s + ANSWER_S,
        settings.keep_alive_s,
    )
    tls = tls_context(settings.tls_cert, settings.tls_key)
    # More get 503. Beyond its limit the server can only close connections, without an answer.
    app.state.most_requests = 0.9 * connections.most
    if not (settings.trusted_proxies or settings.access_log or app.state.tracer):  # these need more than the head
        connections.refusal = partial(refusal, app)
    config = uvicorn.Config(
        app,
        http=connections.protocol() if tls is None else over_tls(connections.protocol(), tls, settings.idle_s),
        loop="auto" if tls is None else "asyncio",  # uvloop reads before TLS has the connection
        backlog=256,
        log_config=None,  # our own for uvicorn's messages too
        log_level=settings.log_level,
        access_log=False,
        server_header=False,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        ws="none",  # else it warns of each upgrade that it has no library for
        # Longer than our own drain, which answers all requests before uvicorn closes their connections.
        timeout_graceful_shutdown=int(settings.drain_s) + 5,
    )
    logging.getLogger("uvicorn.error").addFilter(OnceASecond())
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each malformed form
    # uvicorn logs "Application startup complete" while the models are still loading; our own messages replace it.
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))
    server = uvicorn.Server(config)

    def end_server(_: str) -> None:
        server.should_exit = True

    app.state.service.on_failure = end_server
    sockets = listen(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "http" if tls is None else "https"
    log.info("listening on %s://%s:%d; loading the models", scheme, host, sockets[0].getsockname()[1])
    try:
        server.run(sockets)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0 if app.state.service.broken is None else EXIT_BROKEN


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets, one for each address of ``host``. Raises SettingsError where that fails.

    uvicorn could open them itself, but only after the models began to load, and it reports a failure in its own form.
    """
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sockets.append(socket.create_server(address, family=family, backlog=2048))
            # asyncio does so only where the socket names its protocol. Without it the body of an answer waits for the
            # client's acknowledgement of the head, 40 ms on a connection that is kept open.
            sockets[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except socket.gaierror as error:
        raise SettingsError(f"--host {host}: {error.strerror}; give an address of this machine") from None
    except OSError as error:
        for one in sockets:
            one.close()
        reason = os.strerror(error.errno or 0)
        raise SettingsError(f"cannot listen on {host}:{port}: {reason}; choose another --port or --host") from None
    return sockets


def _exit_on_signal(number: int, _: object) -> None:
    sys.exit(0 if number == signal.SIGTERM else 130)


def _report(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_USER_ERROR
