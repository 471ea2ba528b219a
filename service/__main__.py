"""``python -m service``: the settings from the command line and the environment, one server process, clean exit codes.

0: told to stop, everything accepted was answered. 2: something that the user can mend, in one line. 130: Ctrl-C twice.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence

import uvicorn

from service.app import create_app
from service.lifecycle import Loader, load_exported
from service.settings import Settings, SettingsError, load_settings, parse_arguments

EXIT_USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit code."""
    try:
        settings = load_settings(**parse_arguments(arguments))
        if not settings.models.exists():
            raise SettingsError(
                f"--models {settings.models}: no such file or folder; export a model with python -m nmt.export"
            )
    except SettingsError as error:
        return _complain(str(error))
    return serve(settings)


def serve(settings: Settings, load: Loader = load_exported) -> int:
    """Run the server with these settings; ``load`` is a seam for tests."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the server listens, and after it has finished: uvicorn raises the signal anew when it is done, which
        # by default would end the process as if it had been killed.
        signal.signal(number, _leave)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    app = create_app(settings, load)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        access_log=settings.access_log,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        # Our own drain answers what is left before this ends the connections.
        timeout_graceful_shutdown=int(settings.drain_s) + 5,
    )
    server = uvicorn.Server(config)

    def give_up(_: str) -> None:
        server.should_exit = True

    app.state.service.on_failure = give_up
    try:
        server.run()
    except SystemExit as error:
        # uvicorn's own: the port is taken, and it has said so.
        return error.code if isinstance(error.code, int) else 1
    if app.state.service.failure is not None:
        return _complain(app.state.service.failure)
    return 0


def _leave(number: int, _: object) -> None:
    sys.exit(0 if number == signal.SIGTERM else 130)


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
