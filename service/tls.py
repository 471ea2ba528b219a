"""TLS below the bounds on connections: one whose handshake is not complete counts, and is closed, like any other.

asyncio's servers report a TLS connection only after its handshake, for which a client may take a minute.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from service.connections import Connection
from service.settings import SettingsError


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """Return the context of a server with this certificate; None without one. Raises SettingsError."""
    if not certificate and not key:
        return None
    if not certificate or not key:
        missing, given = ("--tls-cert", "--tls-key") if key else ("--tls-key", "--tls-cert")
        raise SettingsError(f"{given} needs {missing}, too")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # never ask at the terminal
    except FileNotFoundError:
        raise SettingsError(f"--tls-cert {certificate}, --tls-key {key}: no such file") from None
    except OSError as error:  # also ssl.SSLError
        reason = "not a certificate and its key in PEM, without a passphrase"
        raise SettingsError(f"--tls-cert {certificate}, --tls-key {key}: {reason} ({error.strerror})") from None
    return context


def over_tls(plain: type[Connection], context: ssl.SSLContext, handshake_s: float) -> type[Connection]:
    """Return the class for uvicorn's setting ``http``: connections of the class ``plain``, over TLS."""
    return type("TLSConnection", (TLSConnection, plain), {"context": context, "handshake_s": handshake_s})


class TLSConnection(Connection):
    """A connection that counts from its first byte on, and is given to uvicorn after the handshake."""

    context: ssl.SSLContext
    handshake_s: float

    def connection_made(self, transport: Any) -> None:
        """Take the connection and begin the handshake."""
        self.transport = transport
        self.all.opened(self)
        transport.pause_reading()  # until TLS reads from it
        self._handshake = asyncio.get_running_loop().create_task(self._shake_hands(transport))

    async def _shake_hands(self, transport: Any) -> None:
        early = Early()  # a client may send its request with the end of the handshake
        try:
            tls = await asyncio.get_running_loop().start_tls(
                transport, early, self.context, server_side=True, ssl_handshake_timeout=self.handshake_s
            )
        except OSError:  # also ssl.SSLError and a timeout
            tls = None
        if tls is None or early.lost:
            self.all.closed(self)
            return
        tls.set_protocol(self)
        super(Connection, self).connection_made(tls)
        if early.data:
            self.data_received(bytes(early.data))


class Early(asyncio.Protocol):
    """Keeps what arrives before uvicorn has the connection."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that there is no connection any more."""
        self.lost = True
