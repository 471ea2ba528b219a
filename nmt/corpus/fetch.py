"""Public parallel corpora by name: download, check, split, and lay out as `<root>/<name>/<split>.<lang>.gz`.

In the way of the data: before everything else, by `python -m nmt.data fetch NAME`. No corpus is part of this package.
Each comes from its publisher under its own licence. The folder also holds LICENCE.txt and DOWNLOADED.txt, which records
the date, SHA-256 and address of each downloaded file.
"""

from __future__ import annotations

import datetime
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
from nmt.corpus.seeds import derive_seed
from nmt.errors import CorpusError
from nmt.files import atomic_folder, read_text, write_text
from nmt.text.cleaning import clean

_TIMEOUT_S = 60
_USER_AGENT = "Mozilla/5.0 (compatible; python -m nmt.data)"  # manythings.org refuses Python's default
_RECORD = "DOWNLOADED.txt"

Lines = dict[str, list[str]]
"""lines by file name without `.gz`, e.g. train.en"""


@dataclass(frozen=True)
class PublicCorpus:
    """Where to download a corpus, its licence, and how its files become lines."""

    description: str
    licence: str
    version: str
    """which version is downloaded, and how to get the same one again"""
    url: str
    """folder of the files"""
    files: tuple[str, ...]
    unpack: Callable[[Mapping[str, bytes]], Lines]
    digests: Mapping[str, str]
    """SHA-256 of the uncompressed text by file name; empty if the publisher replaces files without notice"""


def fetch(name: str, root: Path, *, accept_licence: bool, url: str | None = None, sha256: str | None = None) -> Path:
    """Download corpus `name` into `root/name`, whole or not at all; a corpus that exists is left as it is.

    `url` is a mirror of the publisher's folder, `sha256` the digest that the downloaded archive must have. Raises
    `CorpusError` if the name is unknown, the licence was not accepted, the download fails or a digest differs.
    """
    if name not in CORPORA:
        raise CorpusError(
            f"{name}: unknown corpus; known are {', '.join(CORPORA)} (for others see python -m nmt.data fetch --help)"
        )
    corpus = CORPORA[name]
    if sha256 and corpus.digests:
        raise CorpusError(f"--sha256: {name} is always checked against the digests of one version; leave it out")
    folder = root / name
    if folder.exists():
        if sha256 and not any(f" {sha256.lower()} " in line for line in read_record(folder)):
            raise CorpusError(f"{folder}: was not made from a download with SHA-256 {sha256}; remove it to fetch again")
        return folder
    if not accept_licence:
        raise CorpusError(f"{name}: its licence is: {corpus.licence}; if you accept it, add --accept-licence")
    base = (url or corpus.url).rstrip("/")
    downloads = {file: download(f"{base}/{file}") for file in corpus.files}
    found = {file: hashlib.sha256(data).hexdigest() for file, data in downloads.items()}
    for file, digest in found.items():
        if sha256 and digest != sha256.lower():
            raise CorpusError(f"{base}/{file}: has SHA-256 {digest}, not {sha256}; it was replaced, try another --url")
    lines = corpus.unpack(downloads)
    for file, digest in corpus.digests.items():
        if hashlib.sha256(_text(lines[file])).hexdigest() != digest:
            raise CorpusError(f"{base}: the text of {file} is not that of the known version; try another --url")
    today = datetime.datetime.now(datetime.UTC).date()
    record = [f"{today} {digest} {base}/{file}" for file, digest in found.items()]
    with atomic_folder(folder) as temporary:
        for file, text in lines.items():
            # Without name and time in the gzip header, so that the same text always gives the same bytes.
            (temporary / f"{file}.gz").write_bytes(gzip.compress(_text(text), 9, mtime=0))
        (temporary / "LICENCE.txt").write_text(f"{corpus.description}\n{base}\n{corpus.licence}\n", "utf-8")
        write_text(temporary / _RECORD, record)
    return folder


def read_record(folder: Path) -> list[str]:
    """Return the lines "date SHA-256 address" of the files that a fetched corpus was made from; empty if unknown."""
    return read_text(folder / _RECORD) if (folder / _RECORD).is_file() else []


def download(url: str) -> bytes:
    """Return the content of `url`; raises `CorpusError` with the reason and a remedy."""
    remedy = "check the network, or give a mirror with --url"
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
    raise CorpusError(f"{url}: cannot be downloaded: {reason}; {remedy}") from None


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _gunzip_all(files: Mapping[str, bytes]) -> Lines:
    """Return the lines of each downloaded `x.gz` as x."""
    lines: Lines = {}
    for name, data in files.items():
        try:
            text = gzip.decompress(data).decode("utf-8")
        except (EOFError, OSError, zlib.error, UnicodeDecodeError):
            raise CorpusError(
                f"{name}: the download is damaged or not a gzip file; try again or give another --url"
            ) from None
        lines[name.removesuffix(".gz")] = text.removesuffix("\n").split("\n")
    return lines


def _tatoeba(target: str, member: str, held_out: int = 2000) -> Callable[[Mapping[str, bytes]], Lines]:
    """Return a function that splits a manythings.org archive of lines English, tab, translation, tab, credit.

    All translations of an English sentence are in the same split, and no sentence of validation or test, on either
    side, is in training. The file is sorted by length, so the pairs are shuffled.
    """

    def unpack(files: Mapping[str, bytes]) -> Lines:
        (archive,) = files.values()
        try:
            content = zipfile.ZipFile(io.BytesIO(archive))
            path = next(path for path in content.namelist() if Path(path).name == member)
            rows = content.read(path).decode("utf-8").split("\n")
        except (zipfile.BadZipFile, StopIteration, zlib.error, UnicodeDecodeError):
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


def _manythings(language: str, target: str, member: str, mirror: str, sha256: str) -> PublicCorpus:
    return PublicCorpus(
        f"English-{language} sentence pairs of the Tatoeba project, as distributed by manythings.org/anki",
        "Creative Commons Attribution 2.0 France (CC BY 2.0 FR); attribution: www.manythings.org/anki and tatoeba.org",
        "the current archive, which the publisher replaces without notice; for the same one each time, a copy\n"
        f"      elsewhere that does not change:\n"
        f"      --url https://raw.githubusercontent.com/{mirror}\n      --sha256 {sha256}",
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
        "one commit of the publisher's repository, checked by the SHA-256 of its texts",
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
    "tatoeba-en-de": _manythings(
        "German",
        "de",
        "deu",
        "rioyshky/translation/de48b7027f7318d77010a6e08ed928c10748c23d",
        "b7688f84f99fa33c17397c14d8bd9cef1fdeb2ee0bf50074767023aee8926e28",
    ),
    "tatoeba-en-fr": _manythings(
        "French",
        "fr",
        "fra",
        "modelexlab/data/adddaf33ac35572bcfeb421efec29435e7ea9332",
        "161c93f18da3a7e6df611ed961426613260de8af06ccf8c79c977afe5135ac44",
    ),
}

OTHER_CORPORA: Mapping[str, str] = {
    "europarl-en-fr": """debates of the European Parliament (Koehn 2005), for nmt.experiments --corpus europarl-en-fr
    publisher: https://www.statmt.org/europarl/ (French-English); the results used the copy in
      github.com/mjlaali/Europarl-ConcoDisco, folder xml-files, commit 1a18432425a6ace708e96220b4fd1d4efd678ad0
    files: europarl-en-fr/{train,valid,test}.{en,fr}.gz below --data.root; for a split of your own:
      python -m nmt.data prepare --src FILE.en --tgt FILE.fr --source-language en --target-language fr \\
          --valid 2000 --test 2000 --out data/corpora/europarl-en-fr
      gzip data/corpora/europarl-en-fr/*.en data/corpora/europarl-en-fr/*.fr
    The results were made from 332,930 pairs of at most 50 words, with validation and test text from the fourth
    quarter of 2000; that split is not published, so scores on another split differ.""",
    "tatoeba-en-de of the results": """the archive of 2018, which the --url and --sha256 above download
    It was split with other random numbers (165,193 training, 1,995 validation and 2,000 test pairs), so scores on
    the split of `fetch` differ.""",
}
"""corpora of configs and results that are not fetched: where they come from and how to lay them out"""
