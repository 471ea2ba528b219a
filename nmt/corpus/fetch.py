"""Public parallel corpora by name: download, check, split, and lay out as `<root>/<name>/<split>.<lang>.gz`.

In the way of the data: before everything else, by `python -m nmt.data fetch NAME`. No corpus is part of this package;
each comes from its publisher under its own licence.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmt.corpus.prepare import Pair, split_by_source
from nmt.errors import CorpusError
from nmt.files import atomic_folder
from nmt.text.cleaning import clean
from nmt.text.seeds import derive_seed

_TIMEOUT_S = 60
_USER_AGENT = "Mozilla/5.0 (compatible; python -m nmt.data)"  # manythings.org refuses Python's own name

Lines = dict[str, list[str]]
"""lines by file name without `.gz`, e.g. train.en"""


@dataclass(frozen=True)
class PublicCorpus:
    """Where a corpus is, what its publisher allows, and how its files become lines."""

    description: str
    licence: str
    url: str
    """folder of the files"""
    files: tuple[str, ...]
    unpack: Callable[[Mapping[str, bytes]], Lines]
    digests: Mapping[str, str]
    """SHA-256 of the uncompressed text by file name; empty where the publisher replaces files without notice"""


def fetch(name: str, root: Path, *, accept_licence: bool, url: str | None = None) -> Path:
    """Download corpus `name` into `root/name`, whole or not at all; a corpus that is there already is left alone.

    `url` is a mirror of the publisher's folder. Raises `CorpusError` when the name is unknown, the licence was not
    accepted, the download fails or is not what it was.
    """
    if name not in CORPORA:
        raise CorpusError(f"{name}: unknown corpus; known are {', '.join(CORPORA)}")
    corpus = CORPORA[name]
    folder = root / name
    if folder.exists():
        return folder
    if not accept_licence:
        raise CorpusError(f"{name}: its licence is: {corpus.licence}; if you accept it, add --accept-licence")
    base = (url or corpus.url).rstrip("/")
    lines = corpus.unpack({file: download(f"{base}/{file}") for file in corpus.files})
    for file, digest in corpus.digests.items():
        if hashlib.sha256(_text(lines[file])).hexdigest() != digest:
            raise CorpusError(f"{base}: {file} is not the text it was when this program was written; use another --url")
    with atomic_folder(folder) as temporary:
        for file, text in lines.items():
            # Without name and time in the header: the same text always gives the same bytes.
            (temporary / f"{file}.gz").write_bytes(gzip.compress(_text(text), 9, mtime=0))
        (temporary / "LICENCE.txt").write_text(f"{corpus.description}\n{base}\n{corpus.licence}\n", "utf-8")
    return folder


def download(url: str) -> bytes:
    """The body behind `url`; raises `CorpusError` with the reason and a way round."""
    way_round = "check the network, or give a mirror with --url"
    try:
        request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server answered {error.code} {error.reason}"
    except urllib.error.URLError as error:
        reason = str(error.reason)
    except http.client.IncompleteRead:
        reason = "the connection ended early"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(error) or type(error).__name__
    raise CorpusError(f"{url}: cannot be downloaded: {reason}; {way_round}") from None


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _gunzip_all(files: Mapping[str, bytes]) -> Lines:
    """Every downloaded `x.gz` as x."""
    lines: Lines = {}
    for name, data in files.items():
        try:
            text = gzip.decompress(data).decode("utf-8")
        except (EOFError, OSError, zlib.error, UnicodeDecodeError):
            raise CorpusError(
                f"{name}: the download is damaged or no gzip file; try again or give another --url"
            ) from None
        lines[name.removesuffix(".gz")] = text.removesuffix("\n").split("\n")
    return lines


def _tatoeba(target: str, member: str, held_out: int = 2000) -> Callable[[Mapping[str, bytes]], Lines]:
    """Splits a manythings.org archive: English, tab, translation, tab, credit.

    All translations of an English sentence stay in one split, and no sentence of validation or test, on either side, is
    in training. The file is sorted by length; the order here is shuffled.
    """

    def unpack(files: Mapping[str, bytes]) -> Lines:
        (archive,) = files.values()
        try:
            rows = zipfile.ZipFile(io.BytesIO(archive)).read(member).decode("utf-8").split("\n")
        except (zipfile.BadZipFile, KeyError, zlib.error, UnicodeDecodeError):
            raise CorpusError(
                f"{next(iter(files))}: the download is damaged or has no {member}; try again or give another --url"
            ) from None
        cells = dict.fromkeys((clean(row[0]), clean(row[1])) for row in (r.split("\t") for r in rows) if len(row) > 1)
        pairs = [Pair(src, tgt, tgt, 0, 0) for src, tgt in cells if src and tgt]
        order = np.random.default_rng(derive_seed("tatoeba")).permutation(len(pairs)).tolist()
        size = min(held_out, len(pairs) // 20)
        train, held = split_by_source([pairs[i] for i in order], {"valid": size, "test": size}, seed=1)
        seen = {pair.tgt for split in held.values() for pair in split}
        splits = {"train": [pair for pair in train if pair.tgt not in seen], **held}
        return {
            f"{name}.{language}": [side(pair) for pair in split]
            for name, split in splits.items()
            for language, side in (("en", lambda pair: pair.src), (target, lambda pair: pair.tgt))
        }

    return unpack


def _manythings(language: str, target: str, member: str) -> PublicCorpus:
    return PublicCorpus(
        f"English-{language} sentence pairs of the Tatoeba project, as distributed by manythings.org/anki",
        "Creative Commons Attribution 2.0 France (CC BY 2.0 FR); attribution: www.manythings.org/anki and tatoeba.org",
        "https://www.manythings.org/anki",
        (f"{member}-eng.zip",),
        _tatoeba(target, f"{member}.txt"),
        {},
    )


CORPORA: Mapping[str, PublicCorpus] = {
    "multi30k": PublicCorpus(
        "Multi30k image captions in English, German and French (Elliott et al. 2016, 2017)",
        "solely for researchers and educators who wish to use the data for non-commercial research and/or educational "
        "purposes",
        "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw",
        tuple(f"{s}.{lang}.gz" for s in ("train", "val", "test_2016_flickr") for lang in ("en", "de", "fr")),
        _gunzip_all,
        {
            "train.en": "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
            "train.de": "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
            "train.fr": "5925a3c18f1587b6b54b87743106e6e8ab93618edb6f65d19eac0621f853a10d",
            "val.en": "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
            "val.de": "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
            "val.fr": "5304e444d842e962b2dda4d816b70b22a1765b15401642b7ca37a67477e708dc",
            "test_2016_flickr.en": "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
            "test_2016_flickr.de": "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
            "test_2016_flickr.fr": "cb3160d69b002bb638e66cc7612fcd56cb0af82eadc9c142dedc438afb885ef6",
        },
    ),
    "tatoeba-en-de": _manythings("German", "de", "deu"),
    "tatoeba-en-fr": _manythings("French", "fr", "fra"),
}
