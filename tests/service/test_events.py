"""Answers as server-sent events: the parts together are the plain answer; errors, deadlines and clients that leave."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.copy_model import exported
from tests.service.fakes import CRASH, POISON, FakeEngine, FakeResult, client_of, fake_app, until
from tests.service.hostile import served

pytestmark = pytest.mark.anyio

GOOD = {"q": "one {n}\n\ntwo\nthree 1000", "source": "en", "target": "de", "stream": True}


def events(answer: httpx.Response) -> list[tuple[str, Any]]:
    """Return the events of an answer: names and data."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found


async def ask(body: Any, engine: FakeEngine | None = None, groups: Any = ([("en", "de")],)) -> httpx.Response:
    async with client_of(fake_app(engine or FakeEngine(), groups)) as client:
        return await client.post("/translate", json=GOOD | body)


async def test_parts_come_in_order_and_the_rest_last() -> None:
    texts = ["ONE {n}\n", "\n", "TWO\n", "THREE 1000"]
    assert events(await ask({})) == [*(("", {"translatedText": text}) for text in texts), ("end", {})]
    detected = events(await ask({"source": "auto"}))[-1]
    assert detected == ("end", {"detectedLanguage": {"confidence": 60.0, "language": "en"}})


@pytest.mark.parametrize(
    "body",
    [
        {"q": ["a\nb", "", "c {x}\n{y} 1234"]},
        {"q": "a", "target": "en"},
        {"q": "<p>a <b>b</b><p>c", "format": "html"},
        {"target": "fr"},
        {"q": ["a\nb"], "target": "fr"},
        {"glossary": {"two": "zwei"}},
        {"return_scores": True, "alternatives": 1},
    ],
)
async def test_the_parts_are_the_plain_answer(body: dict[str, Any]) -> None:
    groups = ([("en", "de")], [("de", "fr")])
    plain = (await ask(body | {"stream": False}, groups=groups)).json()
    *parts, (name, rest) = events(await ask(body, groups=groups))
    assert name == "end" and all(name == "" for name, _ in parts)
    texts = plain["translatedText"]
    if isinstance(texts, str):
        assert "".join(part["translatedText"] for _, part in parts) == texts
    else:
        for n, text in enumerate(texts):
            assert "".join(part["translatedText"] for _, part in parts if part["index"] == n) == text
    assert rest == {name: plain[name] for name in ("pivot",) if name in plain}
    for name in ("scores", "alternatives", "glossary"):
        assert all((name in part) == (name in plain) for _, part in parts)


class Lossy(FakeEngine):
    """An engine that says the number of the first line in the second."""

    def finished(self) -> list[FakeResult]:
        said = {"X 1000": "X 17", "Y": "Y 1000"}
        return [replace(one, text=said.get(one.text, one.text)) for one in super().finished()]


async def test_numbers_are_mended_line_by_line_in_both_forms() -> None:
    plain = (await ask({"q": "x 1000\ny", "stream": False}, Lossy())).json()
    assert plain == {"translatedText": "X 1000\nY 1000"}
    parts = events(await ask({"q": "x 1000\ny"}, Lossy()))[:-1]
    assert [part["translatedText"] for _, part in parts] == ["X 1000\n", "Y 1000"]


@pytest.mark.parametrize(
    ("body", "status"), [({"q": ""}, 400), ({"target": "zz"}, 400), ({"stream": "x"}, 400), ({"q": POISON}, 500)]
)
async def test_an_error_before_the_first_part_has_a_status(body: Any, status: int) -> None:
    answer = await ask(body)
    assert answer.status_code == status and "error" in answer.json()


@pytest.mark.parametrize("text", [POISON, CRASH])
async def test_an_error_after_it_is_the_last_event(text: str) -> None:
    async with client_of(fake_app(FakeEngine(), rows=1)) as client:  # one segment after the other
        found = events(await client.post("/translate", json=GOOD | {"q": f"first\n{text}\nlast"}))
        assert found[0] == ("", {"translatedText": "FIRST\n"})
        assert found[1:] == [("error", {"error": "the translation failed", "status": 500})]
        assert (await client.post("/translate", json=GOOD | {"stream": False})).status_code == 200


@pytest.mark.parametrize("field", [True, False])
async def test_the_deadline_holds_for_all_parts(field: bool) -> None:
    engine = FakeEngine()
    body = GOOD | {"q": "first\nsecond"} | ({"deadline_ms": 300} if field else {})
    async with client_of(fake_app(engine, rows=1, timeout_s=60 if field else 0.3)) as client:
        engine.steps = 1
        stop_after(engine, 1)
        found = events(await client.post("/translate", json=body))
        assert found[0] == ("", {"translatedText": "FIRST\n"})
        assert found[1:] == [("error", {"error": "not translated within the time of the request", "status": 504})]
        engine.gate.set()
        stop_after(engine, 0)
        late = await client.post("/translate", json=body)
        assert late.status_code == 504 and "not translated within" in late.json()["error"]
        engine.gate.set()


def stop_after(engine: FakeEngine, steps: int) -> None:
    """Let the engine make so many steps, then wait for the gate."""
    engine.batches.clear()
    step = type(engine).step

    def limited() -> int:
        if len(engine.batches) >= steps:
            engine.gate.clear()
        return step(engine)

    engine.step = limited  # type: ignore[method-assign]
    engine.gate.set()


async def test_a_client_that_leaves_ends_the_work() -> None:
    """With the ASGI messages of a client that disconnects after the first part."""
    engine = FakeEngine(steps=1)
    app = fake_app(engine, rows=1)
    async with client_of(app):
        stop_after(engine, 1)
        gone = anyio.Event()
        sent: list[Any] = []
        body = json.dumps(GOOD | {"q": "\n".join(["first", *["more"] * 50])}).encode()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if b"FIRST" in message.get("body", b""):
                gone.set()

        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        scope = {"type": "http", "method": "POST", "path": "/translate", "raw_path": b"/translate", "query_string": b"",
                 "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("x", 1), "client": ("y", 2),
                 "root_path": "", "asgi": {"version": "3.0", "spec_version": "2.3"}}  # fmt: skip
        await app(scope, receive, send)
        engine.gate.set()
        await until(lambda: idle(app))
        assert len(engine.added) < 5


def idle(app: Any) -> bool:
    """Return whether no worker has anything to do."""
    return all(model.worker.waiting == model.worker.active == 0 for model in app.state.service.models)


TEXTS = [
    "The dog sleeps. The fox jumps over {name}! Where is %s?\n\n It is 1000 or 2000; e.g. no. 17.\r\nthe end",
    "你好。the dog 你好？ fox",
    " \t\n",
    "the quick brown fox jumps over the lazy dog, " * 60,
    "see https://a.example/x. see it\u2028the\x00 dog\ufeff. the fox 😀. a@b.de is {n}",
]


@pytest.mark.slow
def test_a_real_model_gives_the_same_text_in_both_forms(tmp_path: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(exported())
    with served(tmp_path / "copy.pt") as (client, _):
        for more in ({}, {"beam_size": 1}, {"glossary": {"dog": "Hund", "fox": "Fuchs"}}, {"source": "auto"}):
            body = {"q": TEXTS, "source": "en", "target": "de", **more}
            plain = client.post("/translate", json=body).json()["translatedText"]
            answer = client.post("/translate", json=body | {"stream": True})
            parts = [data for name, data in events(answer) if not name]
            together = [
                "".join(part["translatedText"] for part in parts if part["index"] == n) for n in range(len(TEXTS))
            ]
            assert together == plain
            assert len(parts) > 10
