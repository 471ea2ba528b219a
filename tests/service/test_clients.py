"""Public clients, unmodified, against a server over a socket. Those that are not installed are skipped by name."""

from __future__ import annotations

import shutil
import subprocess
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service.server import listen
from tests.service.fakes import FakeEngine, fake_app

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
NODE_MODULES = Path(__file__).resolve().parents[2] / "node_modules"


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


def test_argos_apis(url: str) -> None:
    """Not in the extra: argostranslate installs a package `tests`, which hides ours, and much else."""
    library = pytest.importorskip("argostranslate.apis")
    assert library.LibreTranslateAPI(url + "/").translate("the dog", "en", "de") == "THE DOG"


SCRIPTS = {
    "libretranslate": """
        const { translate } = (await import("libretranslate")).default;
        console.log(await translate({ query: "the dog", source: "en", target: "de", apiurl: process.argv[1] }));
    """,
    "translate": """
        const { default: translate } = await import("translate");
        translate.engine = "libre"; translate.url = process.argv[1] + "/translate"; translate.key = "x";
        console.log(await translate("the dog", { from: "en", to: "de" }));
    """,
}


@pytest.mark.parametrize("package", SCRIPTS)
def test_node(url: str, package: str) -> None:
    node = shutil.which("node")
    if node is None or not (NODE_MODULES / package).is_dir():
        pytest.skip(f"the npm package {package} is not installed in node_modules")
    command = [node, "--input-type=module", "-e", SCRIPTS[package], url]
    done = subprocess.run(command, cwd=NODE_MODULES.parent, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "THE DOG", done.stderr
