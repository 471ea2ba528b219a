"""Detection of languages, by itself and through the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service import detection
from service.detection import Detector, detector
from tests.service.fakes import FakeEngine, client_of, fake_app

pytest.importorskip("py3langid")
LANGUAGES = ("en", "de", "fr", "pt-br", "xx")
TO_ENGLISH = ([("de", "en"), ("fr", "en")], [("en", "de")])


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    detector.cache_clear()


@pytest.fixture(scope="module")
def known() -> Detector:
    return Detector(LANGUAGES)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the station?", "en"),
        ("Wo ist der Bahnhof?", "de"),
        ("Où est la gare ?", "fr"),
        ("Onde fica a estação de trem?", "pt-br"),
        ("WHERE IS THE STATION?", "en"),
        ("Guten Morgen 😀 👍🏽", "de"),
    ],
)
def test_clear_texts(known: Detector, text: str, language: str) -> None:
    best, *others = known.rank(text)
    assert best.language == language
    assert 50 < best.confidence <= 100
    assert all(0 <= other.confidence <= best.confidence and other.language in LANGUAGES for other in others)
    assert known.detect([text], ["fr"])[0].language == language


@pytest.mark.parametrize("text", ["", " \n", "😀", "12 345", "!?", "\ud83d"])
def test_texts_without_letters_are_in_no_language(known: Detector, text: str) -> None:
    assert {one.confidence for one in known.rank(text)} == {0.0}
    assert known.detect([text], ["fr", "de"]) == [detection.Detected("fr", 0.0)]


def test_what_cannot_be_told_takes_the_language_of_the_others(known: Detector) -> None:
    german = "Der Hund schläft unter dem großen Tisch."
    assert [one.language for one in known.detect([german, "x", "", german], ["fr"])] == ["de"] * 4
    assert known.detect(["x"], ["fr"])[0].language == "fr"


def test_texts_of_several_languages_are_told_apart(known: Detector) -> None:
    texts = ["Der Hund schläft unter dem großen Tisch.", "The dog is sleeping under the big table."]
    assert [one.language for one in known.detect(texts, ["fr"])] == ["de", "en"]


def test_the_time_does_not_grow_with_the_text(known: Detector) -> None:
    assert known.rank("Guten Morgen! " * 200_000)[0].language == "de"


async def post(path: str, groups: Any = TO_ENGLISH, **body: Any) -> Any:
    async with client_of(fake_app(FakeEngine(), groups)) as client:
        return (await client.post(path, json=body)).json()


GERMAN, FRENCH, ENGLISH = "Wo ist denn hier der Bahnhof?", "Où est la gare la plus proche ?", "Where is the station?"


@pytest.mark.anyio
async def test_detect_lists_the_languages_best_first() -> None:
    found = await post("/detect", q=GERMAN)
    assert found[0]["language"] == "de" and isinstance(found[0]["confidence"], float)
    assert [one["confidence"] for one in found] == sorted((one["confidence"] for one in found), reverse=True)
    assert (await post("/detect", q=["x", FRENCH]))[0]["language"] == "fr"
    assert await post("/detect", q="") == {"error": "Invalid request: missing q parameter"}


@pytest.mark.anyio
async def test_auto_translates_each_text_from_its_own_language() -> None:
    answer = await post("/translate", q=[GERMAN, FRENCH, ENGLISH, "😀"], source="auto", target="en")
    assert answer["translatedText"] == [GERMAN.upper(), FRENCH.upper(), ENGLISH, "😀"]
    assert [one["language"] for one in answer["detectedLanguage"]][:3] == ["de", "fr", "en"]
    assert all(0 <= one["confidence"] <= 100 for one in answer["detectedLanguage"])


@pytest.mark.anyio
async def test_auto_without_a_model_for_what_was_detected() -> None:
    answer = await post("/translate", TO_ENGLISH[:1], q=FRENCH, source="auto", target="de")
    assert answer == {"error": "German (de) is not available as a target language from French (fr)"}


@pytest.mark.anyio
async def test_without_the_package_only_one_source_language_can_be_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    detector.cache_clear()
    monkeypatch.setattr(detection, "find_spec", lambda name: None)
    for path in ("/translate", "/detect"):
        refused = await post(path, q=GERMAN, source="auto", target="en")
        assert refused["error"].startswith("auto is not supported: this server cannot detect languages")
    one = await post("/detect", groups=([("en", "de")],), q="hello")
    assert one == [{"confidence": 60.0, "language": "en"}]
