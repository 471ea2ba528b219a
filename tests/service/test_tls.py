"""HTTPS: requests, bounds on handshakes, and mistakes in the settings."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.settings import SettingsError
from service.tls import tls_context
from tests.service.test_server import server, wait_for

CODE = """
import sys
from tests.service.fakes import serve_slowly
sys.exit(serve_slowly({port}, 0.0, tls_cert=sys.argv[1], tls_key=sys.argv[2], max_connections=20, idle_s=1.0))
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return cert, key


@pytest.fixture(scope="module")
def secure(certificate: tuple[str, str]) -> Iterator[httpx.Client]:
    with server("-c", CODE, *certificate, tls=certificate[0]) as (_, client):
        yield client


def test_requests_on_one_connection_and_on_many(secure: httpx.Client) -> None:
    for n in range(3):
        answer = secure.post("/translate", json={"q": f"a{n}" * 9000, "source": "en", "target": "de"})
        assert answer.json() == {"translatedText": f"A{n}" * 9000}
    url = secure.post(
        "/translate_file", data={"source": "en", "target": "de"}, files={"file": ("a.txt", b"words")}
    ).json()["translatedFileUrl"]
    assert url.startswith("https://")
    assert secure.get(url).text == "WORDS"


def test_a_request_sent_with_the_end_of_the_handshake(secure: httpx.Client, certificate: tuple[str, str]) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    for _ in range(5):
        with (
            socket.create_connection((secure.base_url.host, secure.base_url.port), 20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_handshakes_that_do_not_end_count_and_are_closed(secure: httpx.Client, certificate: tuple[str, str]) -> None:
    address = (secure.base_url.host, secure.base_url.port)

    def healthy() -> bool:
        """Ask on a new connection: the service may just be closing one that was kept."""
        context = ssl.create_default_context(cafile=certificate[0])
        return httpx.get(secure.base_url.join("/health"), verify=context, timeout=20).status_code == 200

    silent = [socket.create_connection(address, 20) for _ in range(60)]  # of 20
    try:
        began = time.monotonic()
        assert healthy()
        assert time.monotonic() - began < 5.0
        for connection in silent:  # each is closed, the last ones after idle_s
            assert reads_end(connection)
    finally:
        for connection in silent:
            connection.close()
    with socket.create_connection(address, 20) as plain:  # HTTP on the port for HTTPS
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: reads_end(plain))
    assert healthy()


def reads_end(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection, perhaps after a message of TLS."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


def test_mistakes_are_named(certificate: tuple[str, str], tmp_path: Path) -> None:
    cert, key = certificate
    other = tmp_path / "other.pem"
    other.write_text("nothing")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:secret", "-out", str(locked)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert tls_context("", "") is None
    for given, message in {
        (cert, ""): "--tls-cert needs --tls-key, too",
        ("", key): "--tls-key needs --tls-cert, too",
        (cert, str(tmp_path / "none.pem")): "no such file",
        (str(other), key): "not a certificate",
        (cert, str(locked)): "without a passphrase",
    }.items():
        with pytest.raises(SettingsError, match=message):
            tls_context(*given)
