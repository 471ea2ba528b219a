"""The exported file: whole or refused by name, and at home where only torch and sentencepiece are."""

from __future__ import annotations

import io
import random
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nmt import artifact
from nmt.artifact import Artifact, Manifest, load, load_bytes, pack, read_manifest
from nmt.errors import ArtifactError
from nmt.export import export, script
from tests.copy_model import CopyRun, exported

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def content() -> bytes:
    """The bytes of an artifact."""
    return exported()


def refusal(content: bytes) -> str:
    with pytest.raises(ArtifactError) as caught:
        load_bytes(content, "some/model.pt")
    message = str(caught.value)
    assert message.startswith("some/model.pt: ")
    assert "\n" not in message
    return message


def test_manifest_comes_back(tmp_path: Path) -> None:
    written, _ = export(CopyRun(), tmp_path / "model.pt", licence="CC0-1.0")
    manifest = read_manifest(tmp_path / "model.pt")
    assert replace(manifest, checksum="") == written
    assert manifest.pairs == (("en", "de"),)
    assert (manifest.source_languages, manifest.target_languages) == (("en",), ("de",))
    assert manifest.max_source_pieces == 40
    assert manifest.search == {"beam": 3, "length_penalty": 0.8}
    assert manifest.training["config_digest"] == "0123456789ab"
    assert manifest.licence == "CC0-1.0"
    assert manifest.parity["same_greedy"] == 1.0
    assert len(manifest.checksum) == 64
    assert load(tmp_path / "model.pt").manifest == manifest


def test_equal_models_give_equal_files_without_traces_of_the_machine(content: bytes) -> None:
    run, manifest = CopyRun(), load_bytes(content, "x").manifest
    assert pack(script(run.model), run.tokenizer, manifest) == content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            assert not name.endswith("debug_pkl")
            assert str(ROOT).encode() not in archive.read(name)


def test_any_flipped_byte_is_found(content: bytes) -> None:
    rng = random.Random(1)
    places = [*range(8), *range(len(content) - 160, len(content)), *(rng.randrange(len(content)) for _ in range(300))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        message = refusal(bytes(damaged))
        assert "damaged" in message or "cut off" in message, place


def test_any_truncation_is_found(content: bytes) -> None:
    rng = random.Random(2)
    for length in [1, 2, 4, 100, len(content) // 2, len(content) - 65, *range(len(content) - 3, len(content))]:
        assert "cut off" in refusal(content[:length]) or length < 4, length
    for _ in range(100):
        assert "cut off" in refusal(content[: rng.randrange(4, len(content))])
    assert "empty" in refusal(b"")
    assert "cut off" in refusal(content + b"\0")


@pytest.mark.parametrize("other", [b"hello, this is a text\n" * 20, b"\x80\x02}q\x00.", b"\x00" * 300])
def test_other_files_are_refused(other: bytes) -> None:
    assert "not an exported model" in refusal(other)


def test_a_checkpoint_is_not_an_artifact(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, tmp_path / "best.pt")
    with pytest.raises(ArtifactError, match="not an exported model"):
        load(tmp_path / "best.pt")


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        load(tmp_path / "missing.pt")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load(tmp_path)


def with_manifest(content: bytes, data: bytes) -> bytes:
    """An artifact with another manifest and a right digest."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("extra/manifest.json"))
        old = archive.read(name)
    assert len(data) <= len(old)
    begin = content.index(old)
    crc = struct.pack("<I", zlib.crc32(old))
    changed = content.replace(old, data.ljust(len(old))).replace(
        crc, struct.pack("<I", zlib.crc32(data.ljust(len(old))))
    )
    assert changed[begin : begin + len(data)] == data
    end = changed.rindex(b"PK\x05\x06") + 22
    return artifact._seal(changed[:end])


def test_newer_formats_are_refused_before_their_code_runs(content: bytes) -> None:
    message = refusal(with_manifest(content, b'{"format_version": 2, "something": "else"}'))
    assert "newer version" in message
    assert "upgrade" in message


@pytest.mark.parametrize(
    "data", [b"{}", b"[]", b"nonsense", b'{"format_version": 1}', b'{"format_version": 1, "dtype": "int3"}']
)
def test_manifests_that_make_no_sense(content: bytes, data: bytes) -> None:
    assert "manifest" in refusal(with_manifest(content, data))


def test_unknown_fields_of_the_same_format_are_ignored(content: bytes) -> None:
    manifest = load_bytes(content, "x").manifest
    shorter = replace(manifest, training={}, parity={}, torch_version="2")
    data = shorter.to_json().replace(b"{", b'{"later": 1,', 1)
    assert load_bytes(with_manifest(content, data), "x").manifest.pairs == manifest.pairs


def scores(loaded: Artifact) -> torch.Tensor:
    src = torch.tensor([[20, 21, 22, 3], [30, 31, 3, 0]])
    output = loaded.search.score(src, torch.tensor([4, 3]), torch.tensor([[20, 21, 22, 3], [30, 31, 3, 0]]))
    assert isinstance(output, torch.Tensor)
    return output.float()


@pytest.mark.parametrize(
    ("stored", "asked", "computed"),
    [
        ("float32", None, torch.float32),
        ("float32", "bfloat16", torch.bfloat16),
        ("bfloat16", "bfloat16", torch.bfloat16),
        ("bfloat16", "float32", torch.float32),
        ("float16", None, torch.float32),  # no fast arithmetic for it on any CPU
        ("float16", "float16", torch.float16),
        ("int8", None, torch.float32),
        ("int8", "int8", torch.float32),
    ],
)
def test_types(stored: str, asked: str | None, computed: torch.dtype) -> None:
    loaded = load_bytes(exported(stored), "x", dtype=asked)
    assert loaded.dtype == computed
    assert loaded.manifest.dtype == stored
    assert torch.allclose(scores(loaded), scores(load_bytes(exported(), "x")), atol=0.02)


def test_bfloat16_is_widened_where_the_cpu_is_slow_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = exported("bfloat16")
    monkeypatch.setattr(artifact, "has_fast_bfloat16", lambda _: False)
    assert load_bytes(content, "x").dtype == torch.float32
    monkeypatch.setattr(artifact, "has_fast_bfloat16", lambda _: True)
    assert load_bytes(content, "x").dtype == torch.bfloat16


def test_int8_without_exact_integer_products(monkeypatch: pytest.MonkeyPatch) -> None:
    content = exported("int8")
    expected = scores(load_bytes(content, "x"))
    monkeypatch.setattr(artifact, "_exact_integer_products", lambda: False)
    assert torch.allclose(scores(load_bytes(content, "x")), expected, atol=0.02)


@pytest.mark.parametrize(("stored", "asked"), [("int8", "float32"), ("float32", "int8"), ("float32", "int4")])
def test_types_that_cannot_be_had(stored: str, asked: str) -> None:
    with pytest.raises(ArtifactError, match="dtype"):
        load_bytes(exported(stored), "x", dtype=asked)


def test_shared_weights_are_stored_once() -> None:
    """The embedding is the output layer: V x V numbers, once."""
    numbers = CopyRun().tokenizer.vocabulary ** 2
    sizes = {dtype: len(exported(dtype)) for dtype in ("float32", "bfloat16", "int8")}
    assert 1.9 * numbers < sizes["float32"] - sizes["bfloat16"] < 2.1 * numbers
    assert 2.8 * numbers < sizes["float32"] - sizes["int8"] < 3.1 * numbers


FRESH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked} or name in ("nmt.model", "nmt.train", "nmt.config", "nmt.training"):
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Block())
sys.path[:0] = [{root!r}]
from nmt import artifact
from nmt.search.engine import Engine
from nmt.translator import Translator
loaded = artifact.load({path!r})
engine = Engine(loaded.search, rows=20, device=loaded.device)
print(Translator.from_artifact(loaded, engine).translate(["the quick brown fox"])[0].text)
"""
BLOCKED = re.findall(
    r"\w+", "numpy pydantic yaml sacrebleu tqdm fastapi uvicorn tensorboard matplotlib sentencex tests"
)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_needs_torch_and_sentencepiece_only(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(exported(dtype))
    code = FRESH.format(blocked=BLOCKED, root=str(ROOT), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the quick brown fox\n"


def test_manifest_of_a_multilingual_model() -> None:
    manifest = Manifest((("en", "de"), ("en", "fr"), ("de", "fr")), "float32", 10, 20, 30, target_tags=True)
    assert manifest.source_languages == ("en", "de")
    assert manifest.target_languages == ("de", "fr")
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_the_copy_model_copies() -> None:
    """What the other tests stand on."""
    assert scores(load_bytes(exported(), "x")).min() > -0.01
