"""Public clients, unmodified, against a server over a socket. Those that are not installed are skipped by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service.server import listen
from tests.service.fakes import FakeEngine, fake_app

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def serve(**settings: Any) -> Iterator[str]:
    app = fake_app(FakeEngine(), ([("en", "de")], [("de", "en")]), **settings)
    sockets = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    while app.state.service.not_ready() is not None:
        threading.Event().wait(0.01)
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    yield from serve()


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    yield from serve(api_keys=("secret",))


def test_libretranslatepy(url: str, guarded: str) -> None:
    client = pytest.importorskip("libretranslatepy").LibreTranslateAPI(url)
    assert client.translate("the dog\nsleeps", "en", "de") == "THE DOG\nSLEEPS"
    assert {one["code"] for one in client.languages()} == {"en", "de"}
    assert client.detect("Wo ist denn hier der Bahnhof?")[0]["language"] == "de"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        client.translate("x", "en", "zz")
    library = pytest.importorskip("libretranslatepy")
    assert library.LibreTranslateAPI(guarded, "secret").translate("a", "en", "de") == "A"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        library.LibreTranslateAPI(guarded, "wrong").translate("a", "en", "de")


def test_deep_translator(url: str, guarded: str) -> None:
    library = pytest.importorskip("deep_translator")
    given = {"source": "en", "target": "de", "use_free_api": False}
    client = library.LibreTranslator(**given, custom_url=f"{url}/", api_key="any")
    assert client.translate("the dog & the cat") == "THE DOG & THE CAT"
    assert client.translate_batch(["one", "two"]) == ["ONE", "TWO"]
    refused = library.LibreTranslator(**given, custom_url=f"{guarded}/", api_key="wrong")
    with pytest.raises(library.exceptions.AuthorizationException):
        refused.translate("x")


def test_translate_python(url: str) -> None:
    library = pytest.importorskip("translate")
    client = library.Translator(to_lang="de", from_lang="en", provider="libre", base_url=url, secret_access_key="")
    assert client.translate("the dog") == "THE DOG"


LIBRETRANSLATEPY = """
import sys
from libretranslatepy import LibreTranslateAPI
client = LibreTranslateAPI(sys.argv[1])
print(client.translate("the dog", "en", "de"), [one["code"] for one in client.languages()], len(client.detect("the")))
"""
# Not in the extra: `translate` wants an older libretranslatepy, whose languages are a POST; and argostranslate installs
# a package `tests`, which hides ours, and much else.
IN_FOLDERS = {
    "libretranslatepy==2.1.4": LIBRETRANSLATEPY,
    "argostranslate": LIBRETRANSLATEPY.replace("libretranslatepy", "argostranslate.apis"),
}


@pytest.mark.parametrize("package", IN_FOLDERS)
def test_clients_that_cannot_be_in_the_extra(url: str, tmp_path: Path, package: str) -> None:
    options = ["-q", "--disable-pip-version-check", "--no-deps", "--target", str(tmp_path)]
    if run([sys.executable, "-m", "pip", "install", *options, package], tmp_path).returncode:
        pytest.skip(f"{package} cannot be installed")
    done = run([sys.executable, "-c", IN_FOLDERS[package], url + "/"], tmp_path)
    assert done.stdout.strip() == "THE DOG ['en', 'de'] 2", done.stderr


SCRIPTS = {
    "libretranslate@1.0.1": """
        import client from "libretranslate";
        const asked = { query: "the dog", source: "en", target: "de", apiurl: process.argv[2] };
        console.log(await client.translate(asked), await client.translate({ ...asked, source: "auto" }));
    """,
    "translate@3.0.1": """
        import translate from "translate";
        translate.engine = "libre"; translate.url = process.argv[2] + "/translate"; translate.key = "x";
        const refused = await translate("the dog", { from: "en", to: "fr" }).catch((error) => error.message);
        console.log(await translate("the dog", { from: "en", to: "de" }), refused);
    """,
}
SAID = {"libretranslate@1.0.1": "THE DOG THE DOG", "translate@3.0.1": "THE DOG fr is not supported"}


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm packages."""
    folder = tmp_path_factory.mktemp("npm")
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    if run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *SCRIPTS], folder).returncode:
        pytest.skip("the npm packages cannot be installed")
    return folder


@pytest.mark.parametrize("package", SCRIPTS)
def test_npm(url: str, npm: Path, package: str) -> None:
    (npm / "script.mjs").write_text(SCRIPTS[package])
    done = run(["node", "script.mjs", url], npm)
    assert done.stdout.strip() == SAID[package], done.stderr


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
