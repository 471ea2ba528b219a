"""What the API has beyond the protocol: search options, scores, alignments, pivot, protected parts; and the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.errors import Unavailable
from service.suggestions import Suggestions
from tests.service.fakes import FakeEngine, client_of, fake_app

pytestmark = pytest.mark.anyio

GOOD = {"q": "the dog", "source": "en", "target": "de"}


async def post(body: Any, path: str = "/translate", groups: Any = ([("en", "de")],), settings: Any = None) -> Any:
    async with client_of(fake_app(FakeEngine(), groups, **(settings or {}))) as client:
        return (await client.post(path, json=body)).json()


async def test_protected_parts() -> None:
    q = "see {name} at https://a.example/x and %s"
    assert (await post(GOOD | {"q": q}))["translatedText"] == "SEE {name} AT https://a.example/x AND %s"
    unprotected = await post(GOOD | {"q": q}, settings={"protect": False})
    assert unprotected["translatedText"] == q.upper()


async def test_weblate_and_mastodon() -> None:
    """The bodies that these clients send."""
    weblate = {"q": ["Hello [X1X]!", "Bye"], "source": "en", "target": "de", "api_key": ""}
    assert await post(weblate) == {"translatedText": ["HELLO [X1X]!", "BYE"]}
    mastodon = {"q": ["<p>Hello <a href=\"x\">you</a></p>", "no"], "source": "auto", "target": "de", "format": "html",
                "api_key": None}  # fmt: skip
    answer = await post(mastodon)
    assert answer["translatedText"] == ['<p>HELLO <a href="x">YOU</a></p>', "NO"]
    assert [one["language"] for one in answer["detectedLanguage"]] == ["en", "en"]


async def test_scores_tokens_and_alignments() -> None:
    wanted = {"return_scores": True, "return_tokens": "true", "return_alignments": 1, "nbest": 2}
    answer = await post(GOOD | {"q": "a {n} dog"} | wanted)
    assert answer["translatedText"] == "A {n} DOG" and answer["alternatives"] == ["A {n} DOG 1"]
    assert answer["scores"] == {
        "text": 0.5,
        "alternatives": [0.25],
        "words": [{"word": word, "confidence": 0.5} for word in ("A", "{n}", "DOG")],
    }
    assert answer["tokens"][0]["target"][-1] == "</s>" and len(answer["tokens"][0]["log_probs"]) == 4
    assert answer["alignments"]["words"] == [[0, 1, 0, 1], [2, 5, 2, 5], [6, 9, 6, 9]]
    assert answer["alignments"]["subwords"] == [[[n, n, 1.0] for n in range(4)]]
    listed = await post(GOOD | {"q": ["a", "b"], "return_scores": True})
    assert [scores["text"] for scores in listed["scores"]] == [0.5, 0.5]


async def test_a_pair_without_a_model_goes_through_a_third_language() -> None:
    groups = ([("fr", "en")], [("en", "de")])
    request = GOOD | {"q": "le {n} chien", "source": "fr"}
    assert await post(request, groups=groups) == {"translatedText": "LE {n} CHIEN", "pivot": "en"}
    answer = await post(request | {"format": "html", "q": "<p>a <b>b</b></p>"}, groups=groups)
    assert answer == {"translatedText": "<p>A <b>B</b></p>", "pivot": "en"}
    aligned = await post(request | {"return_alignments": True}, groups=groups)
    assert aligned["alignments"]["words"] == [[0, 2, 0, 2], [3, 6, 3, 6], [7, 12, 7, 12]]
    async with client_of(fake_app(FakeEngine(), groups)) as client:
        french = next(one for one in (await client.get("/languages")).json() if one["code"] == "fr")
        assert french["targets"] == ["fr", "en", "de"]
    refused = await post(GOOD | {"source": "de", "target": "fr"}, groups=groups)
    assert refused == {"error": "French (fr) is not available as a target language from German (de)"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"nbest": 0}, "nbest parameter is not a whole number from 1 to 6"),
        ({"nbest": 7}, "nbest parameter is not a whole number from 1 to 6"),
        ({"beam_size": 17}, "beam_size parameter is not a whole number from 1 to 16"),
        ({"beam_size": 1.5}, "beam_size parameter is not a whole number from 1 to 16"),
        ({"beam_size": True}, "beam_size parameter is not a whole number from 1 to 16"),
        ({"beam_size": None}, "beam_size parameter is not a whole number from 1 to 16"),
        ({"length_penalty": "x"}, "length_penalty parameter is not a number from 0 to 5"),
        ({"length_penalty": "nan"}, "length_penalty parameter is not a number from 0 to 5"),
        ({"length_penalty": -1}, "length_penalty parameter is not a number from 0 to 5"),
        ({"deadline_ms": 0}, "deadline_ms parameter is not a whole number from 1 to 8.64e+07"),
        ({"return_scores": "maybe"}, "return_scores parameter is not true or false"),
        ({"return_tokens": [1]}, "return_tokens parameter is not true or false"),
        ({"return_tokens": True, "format": "html"}, "return_tokens is not available for the html format"),
    ],
)
async def test_refused_options(fields: dict[str, Any], text: str) -> None:
    assert await post(GOOD | fields) == {"error": f"Invalid request: {text}"}


async def test_options_are_taken_from_forms_too() -> None:
    async with client_of(fake_app(FakeEngine())) as client:
        form = {**GOOD, "beam_size": "3", "length_penalty": "0.5", "nbest": "2", "return_scores": "0"}
        answer = await client.post("/translate", data=form)
        assert answer.json() == {"translatedText": "THE DOG", "alternatives": ["THE DOG 1"]}


async def test_a_request_may_have_a_deadline_of_its_own() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with client_of(fake_app(engine)) as client:
        late = await client.post("/translate", json={**GOOD, "deadline_ms": 20})
        assert (late.status_code, late.json()) == (504, {"error": "not translated within 20 ms"})
        engine.gate.set()


async def test_suggestions_are_off_by_default() -> None:
    assert await post({"q": "a", "s": "b", "source": "en", "target": "de"}, "/suggest") == {
        "error": "Suggestions are disabled on this server."
    }


async def test_suggestions(tmp_path: Path) -> None:
    file = tmp_path / "suggestions.jsonl"
    async with client_of(fake_app(FakeEngine(), suggestions=str(file), max_suggestions_bytes=150)) as client:
        good = {"q": "dög\n", "s": "Hund", "source": "en", "target": "de"}
        assert (await client.post("/suggest", data=good)).json() == {"success": True}
        assert (await client.post("/suggest", json=good)).json() == {"success": True}
        assert [json.loads(line) for line in file.read_text().splitlines()] == [good, good]
        missing = await client.post("/suggest", json={**good, "s": ""})
        assert (missing.status_code, missing.json()) == (400, {"error": "Invalid request: missing s parameter"})
        full = await client.post("/suggest", json={**good, "s": "x" * 50})
        assert (full.status_code, full.json()) == (503, {"error": "no more suggestions are taken"})
        assert (await client.get("/frontend/settings")).json()["suggestions"] is True


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written"):
        Suggestions(tmp_path / "no" / "file", 100).add({"q": "a"})


async def test_the_page_names_everything_and_loads_nothing() -> None:
    async with client_of(fake_app(FakeEngine())) as client:
        page = (await client.get("/docs")).text
        spec = (await client.get("/spec")).json()
    assert spec["openapi"].startswith("3.")
    for path in spec["paths"]:
        assert path in page
    for field in ("glossary", "stream", "beam_size", "return_alignments", "deadline_ms", "alternatives"):
        assert field in page
    assert "<script" not in page and "http://" not in page and "https://" not in page and "src=" not in page
