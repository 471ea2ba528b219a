"""LibreTranslate's protocol, case by case: request, and status and body of the answer."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from service import languages
from tests.service.fakes import COVERAGE, POISON, FakeEngine, client_of, fake_app

pytestmark = pytest.mark.anyio

GOOD = {"q": "hello", "source": "en", "target": "de"}
TWO_WAYS = ([("en", "de")], [("de", "en")])
LIMITED = {"max_characters": 50, "max_batch": 3, "max_alternatives": 5}


async def ask(
    engine: FakeEngine | None = None, /, groups: Any = ([("en", "de")],), settings: Any = None, **request: Any
) -> httpx.Response:
    """Send one POST to a new service."""
    async with client_of(fake_app(engine or FakeEngine(), groups, **(settings or {}))) as client:
        return await client.post("/translate", **request)


JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
HELLO = {"translatedText": "HELLO"}
DETECTED = {"confidence": COVERAGE, "language": "en"}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param({"json": GOOD}, HELLO, id="json"),
        pytest.param(
            {"content": json.dumps(GOOD), "headers": {"content-type": "application/vnd.api+json; charset=utf-8"}},
            HELLO,
            id="vendor-json",
        ),
        pytest.param({"data": GOOD}, HELLO, id="form"),
        pytest.param({"data": GOOD, "files": {"f": b"x"}}, HELLO, id="multipart"),
        pytest.param({"params": GOOD}, HELLO, id="query-string"),
        pytest.param({"params": {"q": "wins"}, "data": GOOD}, {"translatedText": "WINS"}, id="query-over-form"),
        pytest.param({"params": {"q": "query"}, "json": GOOD}, HELLO, id="json-stands-alone"),
        pytest.param(
            {"content": "q=one&q=two&source=en&target=de", "headers": FORM},
            {"translatedText": "ONE"},
            id="first-of-many",
        ),
        pytest.param({"data": {**GOOD, "q": "a\r\nb\rc"}}, {"translatedText": "A\nB\nC"}, id="form-newlines"),
        pytest.param({"data": {**GOOD, "alternatives": "1"}}, {**HELLO, "alternatives": ["HELLO 1"]}, id="form-number"),
        pytest.param(
            {"content": b'{"q": "half \\ud83d", "source": "en", "target": "de"}', "headers": JSON},
            {"translatedText": "HALF \N{REPLACEMENT CHARACTER}"},
            id="half-an-emoji",
        ),
    ],
)
async def test_ways_to_send(request_: Any, expected: Any) -> None:
    response = await ask(**request_)
    assert (response.status_code, response.json()) == (200, expected)
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"q": "a\r\nb"}, {"translatedText": "A\r\nB"}),
        ({"q": ["a", "", "b"]}, {"translatedText": ["A", "", "B"]}),
        ({"q": ["a"]}, {"translatedText": ["A"]}),
        ({"q": [""]}, {"translatedText": [""]}),
        ({"q": " \n\t"}, {"translatedText": " \n\t"}),
        ({"more": {"x": 1}}, HELLO),
        ({"source": "EN", "target": "De"}, HELLO),
        ({"format": "text"}, HELLO),
        ({"format": None}, HELLO),
        ({"api_key": "nobody asked"}, HELLO),
        ({"api_key": None}, HELLO),
        ({"alternatives": 2}, {**HELLO, "alternatives": ["HELLO 1", "HELLO 2"]}),
        ({"q": ["a", "b"], "alternatives": 1}, {"translatedText": ["A", "B"], "alternatives": [["A 1"], ["B 1"]]}),
        ({"alternatives": 0}, HELLO),
        ({"alternatives": -3}, HELLO),
        ({"source": "auto"}, {**HELLO, "detectedLanguage": DETECTED}),
        ({"q": ["a", "b"], "source": "AUTO"}, {"translatedText": ["A", "B"], "detectedLanguage": [DETECTED] * 2}),
        ({"target": "en"}, {"translatedText": "hello"}),
    ],
)
async def test_fields(fields: Any, expected: Any) -> None:
    response = await ask(json={**GOOD, **fields})
    assert (response.status_code, response.json()) == (200, expected)


MISSING = "Invalid request: missing {} parameter"
NOT_A_NUMBER = "Invalid request: alternatives parameter is not a number"
WRONG_Q = "Invalid request: q parameter is not a string or a list of strings"
TOO_LONG = "Invalid request: request ({}) exceeds text limit ({})"
NOT_FROM = "English (en) is not available as a target language from German (de)"
ABSENT = object()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"q": ABSENT}, MISSING.format("q")),
        ({"source": ABSENT}, MISSING.format("source")),
        ({"target": ABSENT}, MISSING.format("target")),
        ({"q": []}, MISSING.format("q")),
        ({"q": ""}, MISSING.format("q")),
        ({"q": None}, MISSING.format("q")),
        ({"source": ""}, MISSING.format("source")),
        ({"target": None}, MISSING.format("target")),
        ({"q": 5}, WRONG_Q),
        ({"q": 0}, WRONG_Q),
        ({"q": False}, WRONG_Q),
        ({"q": [1, 2]}, WRONG_Q),
        ({"q": ["a", None]}, WRONG_Q),
        ({"q": {"a": "b"}}, WRONG_Q),
        ({"source": 1}, "Invalid request: source parameter is not a string"),
        ({"target": ["de"]}, "Invalid request: target parameter is not a string"),
        ({"alternatives": "x"}, NOT_A_NUMBER),
        ({"alternatives": None}, NOT_A_NUMBER),
        ({"alternatives": ""}, NOT_A_NUMBER),
        ({"alternatives": True}, NOT_A_NUMBER),
        ({"alternatives": 1.5}, NOT_A_NUMBER),
        ({"alternatives": [1]}, NOT_A_NUMBER),
        ({"alternatives": 6}, "Invalid request: alternatives parameter must be <= 5"),
        ({"q": "x" * 60}, TOO_LONG.format(60, 50)),
        ({"q": ["x" * 30] * 2}, TOO_LONG.format(60, 50)),
        ({"q": ["x"] * 4}, TOO_LONG.format(4, 3)),
        ({"source": "zz"}, "zz is not supported"),
        ({"target": "zz"}, "zz is not supported"),
        ({"target": "auto"}, "auto is not supported"),
        ({"format": "xml"}, "xml format is not supported"),
        ({"format": ["text"]}, "['text'] format is not supported"),
        ({"format": {}}, "{} format is not supported"),
        ({"format": False}, "False format is not supported"),
        ({"api_key": 1}, "Invalid request: api_key parameter is not a string"),
        ({"alternatives": "1_0"}, NOT_A_NUMBER),
        ({"source": "de", "target": "en"}, NOT_FROM),
        ({"source": "\ud83d"}, "\N{REPLACEMENT CHARACTER} is not supported"),
        ({"target": "d\ude00"}, "d\N{REPLACEMENT CHARACTER} is not supported"),
        ({"format": "\ud83d"}, "\N{REPLACEMENT CHARACTER} format is not supported"),
        ({"source": "z" * 1_000_000}, f"{'z' * 100}... is not supported"),
        ({"format": ["z" * 1_000_000]}, f"['{'z' * 98}... format is not supported"),
    ],
)
async def test_refused_fields(fields: dict[str, Any], text: str) -> None:
    body = {key: value for key, value in {**GOOD, **fields}.items() if value is not ABSENT}
    # json.dumps escapes lone surrogates; httpx's own encoding of JSON cannot send them.
    response = await ask(settings=LIMITED, content=json.dumps(body), headers=JSON)
    assert (response.status_code, response.json()) == (400, {"error": text})


BAD_JSON = "Invalid JSON format"
BAD_FORM = "Invalid request: the form is not valid urlencoded UTF-8"
BAD_MULTIPART = "Invalid request: the multipart form cannot be read"


@pytest.mark.parametrize(
    ("headers", "content", "text"),
    [
        ({}, b"", MISSING.format("q")),
        ({"content-type": "text/plain"}, json.dumps(GOOD), MISSING.format("q")),
        (JSON, b"", BAD_JSON),
        (JSON, b"[1]", BAD_JSON),
        (JSON, b'"q"', BAD_JSON),
        (JSON, b"null", BAD_JSON),
        (JSON, b'{"q": ', BAD_JSON),
        (JSON, b'{"q": "\xff"}', BAD_JSON),
        (JSON, b"[" * 100_000, BAD_JSON),
        (JSON, b'{"q": [' + b"[]," * 200_000 + b"1]}", "Invalid request: the JSON has too many brackets"),
        (JSON, b'{"q": ' + b"1" * 5000 + b"}", BAD_JSON),
        (FORM, b"q=%FF", BAD_FORM),
        (FORM, b"q=\xff", BAD_FORM),
        (FORM, b"&".join(b"a%d=1" % n for n in range(2000)), BAD_FORM),
        ({"content-type": "multipart/form-data"}, b"x", BAD_MULTIPART),
        (MULTIPART, b"nothing like it", BAD_MULTIPART),
        (MULTIPART, b"--b\r\ncut", MISSING.format("q")),
    ],
)
async def test_refused_bodies(headers: dict[str, str], content: Any, text: str) -> None:
    response = await ask(content=content, headers=headers)
    assert (response.status_code, response.json()) == (400, {"error": text})


async def test_pair_of_two_known_languages() -> None:
    groups = ([("en", "de")], [("fr", "en")])
    response = await ask(FakeEngine(), groups, {"pivot": False}, json={**GOOD, "source": "fr"})
    assert response.json() == {"error": "German (de) is not available as a target language from French (fr)"}


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        # each request also fails all later checks
        ({"alternatives": "x", "target": "zz", "format": "xml"}, MISSING.format("q")),
        ({"q": ["x" * 60] * 9, "alternatives": "x", "source": "zz", "target": "zz"}, NOT_A_NUMBER),
        ({"q": ["x" * 60] * 9, "source": "zz", "target": "zz"}, "Invalid request: request (9) exceeds text limit (3)"),
        ({"q": "x" * 60, "source": "zz", "target": "zz"}, "Invalid request: request (60) exceeds text limit (50)"),
        ({"q": "x", "source": "zz", "target": "yy", "format": "xml"}, "zz is not supported"),
        ({"q": "x", "source": "en", "target": "yy", "format": "xml"}, "yy is not supported"),
        ({"q": "x", "source": "de", "target": "en", "format": "xml"}, "xml format is not supported"),
    ],
)
async def test_order_of_checks(broken: dict[str, Any], text: str) -> None:
    response = await ask(settings=LIMITED, json=broken)
    assert (response.status_code, response.json()["error"]) == (400, text)


async def test_keys() -> None:
    async with client_of(fake_app(FakeEngine(), api_keys=("s3cret", "other"))) as client:
        absent = await client.post("/translate", json={"q": ""})
        assert (absent.status_code, absent.json()["error"]) == (
            400,
            "Please contact the server operator to get an API key",
        )
        empty = await client.post("/translate", json={**GOOD, "api_key": ""})
        assert empty.json() == absent.json()
        wrong = await client.post("/translate", json={**GOOD, "api_key": "s3cre"})
        assert (wrong.status_code, wrong.json()) == (403, {"error": "Invalid API key"})
        for good in ({"json": {**GOOD, "api_key": "other"}}, {"params": {**GOOD, "api_key": "s3cret"}}):
            assert (await client.post("/translate", **good)).status_code == 200  # type: ignore[arg-type]
        header = await client.post("/translate", json=GOOD, headers={"authorization": "Bearer s3cret"})
        assert header.status_code == 200
        settings = (await client.get("/frontend/settings")).json()
        assert (settings["apiKeys"], settings["keyRequired"]) == (True, True)


async def test_rate_limit_costs_a_unit_a_text_and_passes() -> None:
    now = [1000.0]
    async with client_of(fake_app(FakeEngine(), clock=lambda: now[0], requests_per_minute=3)) as client:
        assert (await client.post("/translate", json={**GOOD, "q": ["a", "b"]})).status_code == 200
        now[0] += 10
        assert (await client.post("/translate", json=GOOD)).status_code == 200
        refused = await client.post("/translate", json={})  # the rate limit is checked first
        assert (refused.status_code, refused.json()) == (429, {"error": "Slowdown: 3 per 1 minute"})
        assert refused.headers["retry-after"] == "50"
        now[0] += 50
        assert (await client.post("/translate", json={**GOOD, "q": ["a", "b"]})).status_code == 200


async def test_more_texts_than_the_rate_limit_ever_allows_are_refused_for_good() -> None:
    async with client_of(fake_app(FakeEngine(), requests_per_minute=3)) as client:
        refused = await client.post("/translate", json={**GOOD, "q": ["a"] * 4})
        assert (refused.status_code, refused.json()) == (400, {"error": TOO_LONG.format(4, 3)})
        assert (await client.post("/translate", json={**GOOD, "q": ["a"] * 3})).status_code == 200


async def test_the_schema_describes_what_is_accepted() -> None:
    async with client_of(fake_app(FakeEngine())) as client:
        schema = (await client.get("/openapi.json")).json()
    fields = schema["paths"]["/translate"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert [kind.get("minLength", kind.get("minItems")) for kind in fields["q"]["anyOf"]] == [1, 1]
    assert "minimum" not in fields["alternatives"]  # a negative number counts as 0


async def test_languages_with_and_without_a_body() -> None:
    async with client_of(fake_app(FakeEngine(), TWO_WAYS)) as client:
        expected = [
            {"code": "en", "name": "English", "targets": ["en", "de"]},
            {"code": "de", "name": "German", "targets": ["en", "de"]},
        ]
        assert (await client.get("/languages")).json() == expected
        with_body = await client.request("GET", "/languages", content="api_key=x", headers=FORM)
        assert with_body.json() == expected


@pytest.mark.parametrize(
    ("code", "other"), [("pb", "pt-BR"), ("pt_br", "PT-BR"), ("zh", "zh-Hans"), ("ZH_hans", "zh"), ("zt", "zh-Hant")]
)
def test_aliases_mean_the_same(code: str, other: str) -> None:
    assert languages.normalise(code) == languages.normalise(other)


async def test_aliases_are_accepted_and_the_plain_code_is_shown() -> None:
    async with client_of(fake_app(FakeEngine(), ([("en", "zh")],))) as client:
        for code in ("zh", "zh-Hans", "ZH_HANS"):
            assert (await client.post("/translate", json={**GOOD, "target": code})).status_code == 200
        shown = (await client.get("/languages")).json()
        assert {"code": "zh-Hans", "name": "Chinese", "targets": ["zh-Hans"]} in shown


async def test_the_other_endpoints() -> None:
    async with client_of(fake_app(FakeEngine(), max_characters=500)) as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        for path in ("/health", "/ready", "/languages"):
            assert (await client.head(path)).status_code == 200
        assert (await client.get("/ready")).json()["status"] == "ready"
        settings = (await client.get("/frontend/settings")).json()
        assert settings["charLimit"] == 500
        assert settings["language"]["target"] == {"code": "de", "name": "German"}
        missing = await client.get("/no/such/page")
        assert (missing.status_code, missing.json()) == (404, {"error": "Not Found"})
        wrong = await client.get("/translate")
        assert (wrong.status_code, wrong.json()) == (405, {"error": "Method Not Allowed"})
        assert wrong.headers["allow"] == "POST"
        options = await client.options("/translate")
        assert (options.status_code, options.headers["access-control-allow-origin"]) == (200, "*")
        schema = (await client.get("/openapi.json")).json()
        assert (
            "q"
            in schema["paths"]["/translate"]["post"]["requestBody"]["content"]["application/json"]["schema"][
                "properties"
            ]
        )
        assert (await client.get("/docs")).status_code == 200


async def test_metrics_name_routes_and_no_clients() -> None:
    async with client_of(fake_app(FakeEngine())) as client:
        await client.post("/translate", json=GOOD)
        await client.post("/translate", json={})
        await client.post("/translate", json={**GOOD, "q": POISON})
        await client.get("/secret/path")
        page = (await client.get("/metrics")).text
    assert 'nmt_requests_total{method="POST",route="/translate",status="200"} 1.0' in page
    assert 'nmt_requests_total{method="POST",route="/translate",status="400"} 1.0' in page
    assert "nmt_step_segments_total" in page
    assert "nmt_ready 1.0" in page
    assert "nmt_characters_total 5.0" in page  # "hello": the refused request had no text that was translated
    assert "secret" not in page
    assert "127.0.0.1" not in page
