"""The exported file: one file with a translation model, its tokenizer and its manifest.

In the way of the data: export -> **artifact** -> translator, service. It needs torch and sentencepiece only:

    code/, data/, ...          the search with its model, as TorchScript (a zip archive; C++ reads it too)
    extra/manifest.json        languages, number type, limits, how it was trained, licence
    extra/tokenizer.model      the SentencePiece model
    the zip's comment          the SHA-256 of every byte before it

torch does not check its archives: a flipped bit in a weight loads without an error. The digest finds any damage, and
the manifest is read before any code of the file runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import struct
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from nmt.device import has_fast_bfloat16, pick_device
from nmt.errors import ArtifactError, TokenizerError
from nmt.kernels.search import fit
from nmt.text.tokenizer import Tokenizer

FORMAT_VERSION: Final = 1
DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,  # the matrices are int8, all else is computed in float32
}
"""number types of the weights by name, each with the type that states are computed in"""

_MANIFEST, _TOKENIZER = "manifest.json", "tokenizer.model"
_MARK = b"nmt sha256:"
_SEAL_BYTES = len(_MARK) + 64
ZIP_MAGIC: Final = b"PK\x03\x04"
"""the first bytes of an exported file"""

# torch's compilation unit is shared by the whole process: loading and scripting must not overlap.
_torchscript = threading.Lock()


@dataclass(frozen=True)
class Manifest:
    """The description that an exported file carries. Fields that this version does not know are ignored."""

    pairs: tuple[tuple[str, str], ...]
    """(source, target) language codes it translates between"""
    dtype: str
    """float32, bfloat16, float16 or int8"""
    vocabulary: int
    """pieces"""
    max_source_pieces: int
    """longest segment, in pieces, that the model was trained on; longer text is cut into segments"""
    parameters: int
    """number of weights, shared ones counted once"""
    target_tags: bool = False
    """whether the source begins with a tag of the target language"""
    shortlist: int = 0
    """candidates for each source piece, if the search has a shortlist"""
    search: Mapping[str, Any] = field(default_factory=dict)
    """search defaults: beam, length_penalty"""
    training: Mapping[str, Any] = field(default_factory=dict)
    """config digest, seed, steps, validation BLEU with its signature, hardware, ..."""
    parity: Mapping[str, Any] = field(default_factory=dict)
    """difference between the file and the trained model, measured when it was exported"""
    licence: str = ""
    """of the weights"""
    created: str = ""
    """date of the export, ISO 8601, UTC"""
    torch_version: str = str(torch.__version__)
    """version of torch that wrote the file"""
    format_version: int = FORMAT_VERSION
    checksum: str = ""
    """SHA-256 of the file's content; it follows the content, so it is empty until the file is read"""

    @property
    def source_languages(self) -> tuple[str, ...]:
        """Source language codes, each once, in order."""
        return tuple(dict.fromkeys(source for source, _ in self.pairs))

    @property
    def target_languages(self) -> tuple[str, ...]:
        """Target language codes, each once, in order."""
        return tuple(dict.fromkeys(target for _, target in self.pairs))

    def to_json(self) -> bytes:
        """Return the manifest as UTF-8 JSON, without the checksum."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if key != "checksum"}
        return json.dumps(values, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, checksum: str = "") -> Manifest:
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError when a field is missing or wrong."""
        values = json.loads(data)
        known = {f.name for f in dataclasses.fields(cls)}
        values = {key: value for key, value in values.items() if key in known}
        values["pairs"] = tuple((str(source), str(target)) for source, target in values["pairs"])
        if values["dtype"] not in DTYPES:
            raise ValueError(f"unknown dtype {values['dtype']!r}")
        return cls(**{**values, "checksum": checksum})


@dataclass(frozen=True)
class Artifact:
    """A loaded model with its tokenizer and manifest."""

    search: Any
    """`BeamSearch` in evaluation mode on `device`, scripted if it was loaded from a file; or one by the kernels"""
    tokenizer: Tokenizer
    manifest: Manifest
    device: torch.device
    dtype: torch.dtype
    """type of its states; wider than the manifest's if the device has no fast arithmetic for that"""
    size_bytes: int = 0
    """of the file"""
    kernels: str = ""
    """why the search is not computed by the C++ kernels (`nmt/kernels`); empty if it is"""

    @property
    def kernels_advice(self) -> str:
        """Why there are no kernels, if building them may help; else empty."""
        return self.kernels if "python -m nmt.kernels" in self.kernels else ""


def load(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: str | None = None,
    *,
    shortlist: bool = True,
) -> Artifact:
    """Load an exported file to `device` (auto, cpu, cuda, cuda:N). shortlist: use that of the file, if it has one.

    `dtype` widens or narrows the weights (float32, bfloat16, float16). By default the file's own is taken, except on a
    CPU without that arithmetic: there float16, and bfloat16 on older CPUs, become float32. int8 stays int8.
    Raises `ArtifactError` naming the file when it is missing, not an exported file, damaged or of a newer format.
    """
    return load_bytes(_read(Path(path)), str(path), device, dtype, shortlist=shortlist)


def load_bytes(
    content: bytes,
    name: str,
    device: str | torch.device = "cpu",
    dtype: str | None = None,
    *,
    kernels: bool = True,
    shortlist: bool = True,
) -> Artifact:
    """Load an exported file from its bytes; `name` is used in errors. Without `kernels` its own code computes all."""
    place = device if isinstance(device, torch.device) else pick_device(device)
    manifest = _manifest(content, name)
    extra = {_TOKENIZER: ""}
    try:
        with torchscript():
            if place.type == "cuda":
                # Or it would compile kernels in calls with new shapes, for seconds, and break the capture of a graph.
                torch.jit.set_fusion_strategy([])
            search = torch.jit.load(io.BytesIO(content), map_location=place, _extra_files=extra)
        tokenizer = Tokenizer(extra[_TOKENIZER])  # type: ignore[arg-type]  # torch gives bytes back
    except (RuntimeError, ValueError, TokenizerError) as error:
        raise ArtifactError(
            f"{name}: torch {torch.__version__} cannot load it ({_first_line(error)}); it was written by torch "
            f"{manifest.torch_version}: use that, or export it again"
        ) from None
    if tokenizer.vocabulary != manifest.vocabulary:
        raise ArtifactError(f"{name}: its tokenizer has {tokenizer.vocabulary} pieces, its model {manifest.vocabulary}")
    kind = _computing_type(manifest.dtype, dtype, place, name)
    if kind != DTYPES[manifest.dtype]:
        search.to(kind)
    _choose_products(search, place)
    if manifest.shortlist and not shortlist:
        search.shortlist = False
    search, reason = fit(search.eval(), place) if kernels else (search.eval(), "not asked for")
    return Artifact(search, tokenizer, manifest, place, kind, len(content), reason)


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read the manifest of an exported file, checking it for damage; raises `ArtifactError` as `load` does."""
    return _manifest(_read(Path(path)), str(path))


def pack(script: bytes, tokenizer: Tokenizer, manifest: Manifest) -> bytes:
    """Make an exported file from the bytes of a `torch.jit.save`.

    Debug records are left out, because they name files of the exporting machine: equal models give equal files on
    every machine.
    """
    reader = torch._C.PyTorchFileReader(io.BytesIO(script))
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    ends = ("version", "byteorder", ".data/serialization_id")  # the writer adds these itself
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and name not in ends:
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    for name, record in ((_MANIFEST, manifest.to_json()), (_TOKENIZER, tokenizer.to_bytes())):
        writer.write_record(f"extra/{name}", record, len(record))
    writer.set_min_version(int(reader.get_record("version")))
    writer.write_end_of_file()
    return _seal(buffer.getvalue())


@contextmanager
def torchscript() -> Iterator[None]:
    """Hold the process-wide lock for TorchScript, and suppress its deprecation warnings."""
    with _torchscript, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _seal(archive: bytes) -> bytes:
    """Append the digest to a zip archive as its comment, which zip tools and torch ignore."""
    body = archive[:-2] + struct.pack("<H", _SEAL_BYTES)
    return body + _MARK + hashlib.sha256(body).hexdigest().encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from None


def _manifest(content: bytes, name: str) -> Manifest:
    """Check the digest, then read the manifest."""
    if not content:
        raise ArtifactError(f"{name}: the file is empty; export the model again")
    if not content.startswith(ZIP_MAGIC) and _MARK not in content[-_SEAL_BYTES:]:
        raise ArtifactError(f"{name}: not an exported model; make one with `python -m nmt.export RUN`")
    body, mark, digest = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:-64], content[-64:]
    if mark != _MARK:
        raise ArtifactError(
            f"{name}: cut off or damaged (no digest at its end), or not an exported model; copy or export it again"
        )
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ArtifactError(f"{name}: damaged (its digest does not match); copy or export it again")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            record = next(n for n in archive.namelist() if n.endswith(f"/extra/{_MANIFEST}"))
            data = archive.read(record)
        version = json.loads(data)["format_version"]
        if version > FORMAT_VERSION:
            raise ArtifactError(
                f"{name}: made by a newer version of this program (format {version}, this one reads up to "
                f"{FORMAT_VERSION}); upgrade, or export it with this version"
            )
        return Manifest.from_json(data, digest.decode())
    except (zipfile.BadZipFile, StopIteration, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{name}: its manifest cannot be read ({_first_line(error)}); export it again") from None


def _computing_type(stored: str, asked: str | None, device: torch.device, name: str) -> torch.dtype:
    """Return the type to compute in."""
    if asked is not None:
        if asked not in DTYPES:
            raise ArtifactError(f"dtype {asked!r}: expected one of {', '.join(DTYPES)}")
        if (stored == "int8") != (asked == "int8"):
            raise ArtifactError(f"{name}: is {stored} and cannot be used as {asked}; export it with --dtype {asked}")
        return DTYPES[asked]
    if device.type == "cpu" and (stored == "float16" or (stored == "bfloat16" and not has_fast_bfloat16(device))):
        return torch.float32
    return DTYPES[stored]


def _choose_products(search: nn.Module, device: torch.device) -> None:
    """Multiply int8 matrices as integers if the hardware does so exactly (see nmt/model/quantized.py)."""
    quantised = [module for module in search.modules() if hasattr(module, "integer_products")]
    if quantised:
        exact = device.type == "cpu" and _exact_integer_products()
        for module in quantised:
            module.integer_products = exact  # type: ignore[assignment]


def _exact_integer_products() -> bool:
    """Return whether this CPU sums int8 products without overflow: some before VNNI saturate at 16 bits."""
    for rows in (1, 40):
        left = torch.full((rows, 96), 127, dtype=torch.int8)
        right = torch.tensor([[127], [-127]], dtype=torch.int8).repeat(20, 96)
        if not torch.equal(torch._int_mm(left, right.t()).long(), left.long() @ right.long().t()):
            return False
    return True


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
