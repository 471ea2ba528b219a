"""`python -m nmt.data`: preparing one's own text, and fetching public corpora (from a server on this machine)."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nmt.cli.parser import main_guard
from nmt.config import CONFIGS
from nmt.corpus import fetch as fetch_module
from nmt.corpus.fetch import CORPORA, OTHER_CORPORA, fetch
from nmt.data import main
from nmt.errors import CorpusError

ROOT = Path(__file__).resolve().parents[1]


def text_file(path: Path, lines: list[str]) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")
    return str(path)


def prepared(tmp_path: Path, *options: str) -> dict[str, list[str]]:
    """Run `prepare` on 50 pairs and read what it wrote."""
    src = text_file(tmp_path / "a.en", [f"Sentence  number {i}." for i in range(50)] + ["", "twice", "twice"])
    tgt = text_file(tmp_path / "a.de", [f"Satz\u00a0Nummer {i}." for i in range(50)] + ["leer", "doppelt", "doppelt"])
    out = str(tmp_path / "out")
    arguments = ["prepare", "--src", src, "--tgt", tgt, "--out", out, "--valid", "5", "--test", "4"]
    assert main([*arguments, "--source-language", "en", "--target-language", "de", *options]) == 0
    return {p.name: p.read_text("utf-8").split("\n")[:-1] for p in (tmp_path / "out").iterdir()}


def test_prepare_cleans_and_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = prepared(tmp_path)
    names = [f"{split}.{language}" for split in ("train", "valid", "test") for language in ("en", "de")]
    assert {name: len(files[name]) for name in names} == dict(zip(names, [42, 42, 5, 5, 4, 4], strict=True))
    every = [line for name in names[::2] for line in files[name]]
    assert sorted(every) == sorted([*(f"Sentence number {i}." for i in range(50)), "twice"])
    for english, german in zip(files["train.en"], files["train.de"], strict=True):
        assert english == "twice" or german == english.replace("Sentence number", "Satz Nummer")
    # the reference is what the file says
    assert all("\u00a0" in line or line == "doppelt" for line in files["test.de"])
    out = capsys.readouterr().out
    assert "a.en | a.de: 53 read, 42 kept, 9 held out" in out
    assert "dropped 1: empty source or target (first: line 51)" in out
    assert "dropped 1: duplicate pair (first: line 53)" in out
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert report["sizes"] == {"train": 42, "valid": 5, "test": 4}


def test_prepare_is_a_function_of_the_seed(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        runs.append(prepared(tmp_path / name, "--seed", seed))
    assert runs[0] == runs[1] != runs[2]


def test_prepare_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["1\tyes\tja", "2\tTom\tTom", "3\tyes\tja", "4\tno\tnein nein nein", f"5\tlong{'x' * 20}\tja ja ja"]
    tsv = text_file(tmp_path / "a.tsv", rows)
    out = str(tmp_path / "out")
    arguments = ["prepare", "--tsv", tsv, "--columns", "2", "3", "--valid", "0", "--test", "0", "--out", out, "--json"]
    limits = ["--max-characters", "20", "--max-ratio", "5", "--keep-duplicates", "--drop-identical"]
    assert main([*arguments, *limits]) == 0
    assert (tmp_path / "out" / "train.src").read_text() == "yes\nyes\n"
    report = json.loads(capsys.readouterr().out)
    assert report["files"][0]["dropped"] == {
        "source and target identical": {"count": 1, "first_line": 2},
        "lengths differ by more than 5 times, in characters": {"count": 1, "first_line": 4},
        "longer than 20 characters": {"count": 1, "first_line": 5},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--src", "{en}"], "--src names 1 files but --tgt 0"),
        (["--src", "{en}", "--tgt", "{short}"], "has 3 lines but .*short has 2"),
        (["--src", "{en}", "--tgt", "{en}"], "given as source and as target"),
        (["--src", "missing", "--tgt", "{en}"], "missing: no such file; check the name$"),
        (
            ["--src", "{en}", "--tgt", "{de}", "--valid", "9"],
            "--valid=9, --test=1: too much for 3 pairs; hold out fewer$",
        ),
        (["--src", "{en}", "--tgt", "{de}", "--out", "{full}"], "exists already; name a new folder"),
        (["--src", "{en}", "--tgt", "{de}", "--out", "{en}/x"], "cannot be written"),
        (["--src", "{en}", "--tgt", "{de}", "--target-language", "src"], "are both src"),
        (["--src", "{en}", "--tgt", "{de}", "--max-characters", "1"], "no training pair is left"),
        (["--tsv", "{en}"], r"line 1 has 1 column, at least 2"),
        ([], "no text: give --src and --tgt, or --tsv"),
    ],
)
def test_prepare_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    names = {
        "en": text_file(tmp_path / "en", ["one", "two", "three"]),
        "de": text_file(tmp_path / "de", ["eins", "zwei", "drei"]),
        "short": text_file(tmp_path / "short", ["eins", "zwei"]),
        "full": str(tmp_path),
    }
    before = sorted(tmp_path.rglob("*"))
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    valid = [] if "--valid" in arguments else ["--valid", "1"]
    given = [argument.format(**names) for argument in arguments]
    assert main_guard(lambda: main(["prepare", "--test", "1", *valid, *given, *out])) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert sorted(tmp_path.rglob("*")) == before, "nothing half-made is left"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--valid", "-1"], "argument --valid: '-1' is not a whole number of at least 0"),
        (["--valid", "many"], "argument --valid: 'many' is not a whole number of at least 0"),
        (["--columns", "0", "1"], "argument --columns: "),
        (["--source-language", ""], "argument --source-language: '' is not a language code"),
        (["--colums", "1"], "unknown argument --colums"),
        (["--max-characters"], "argument --max-characters: expected one argument"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    option: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", "--tsv", "x", "--out", "y", *option])
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and error.count("\n") == 1


def test_the_command_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nmt.data", "fetch", "nothing", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: nothing: unknown corpus; known are multi30k, tatoeba-en-de, tatoeba-en-fr "
        "(for others see python -m nmt.data fetch --help)\n"
    )


# Fetching


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def server(answers: dict[str, bytes | Answer]) -> Iterator[str]:
    """An HTTP server on this machine; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.removeprefix("/"))
            if answer is None:
                self.send_error(404)
            elif isinstance(answer, bytes):
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            else:
                answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def archive(rows: list[str], member: str = "deu.txt") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(member, "".join(f"{row}\n" for row in rows))
        file.writestr("_about.txt", "licence")
    return buffer.getvalue()


def tatoeba() -> bytes:
    rows = [f"Sentence {i // 2}.\tSatz {i}.\tCC-BY 2.0 (France) Attribution" for i in range(400)]
    return archive([*rows, rows[0], "no translation", "Shared.\tSatz 7.\tx"])


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().split("\n")[:-1]


def test_tatoeba_is_split_without_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server({"deu-eng.zip": tatoeba()}) as url:
        command = ["fetch", "tatoeba-en-de", "--root", str(tmp_path), "--url", url, "--accept-licence"]
        assert main(command) == 0
        folder = tmp_path / "tatoeba-en-de"
        first = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert main(command) == 0
        assert "already there" in capsys.readouterr().out
        assert main([*command[:3], str(tmp_path / "again"), *command[4:]]) == 0
    again = {path.name: path.read_bytes() for path in (tmp_path / "again" / "tatoeba-en-de").iterdir()}
    assert again == first
    assert "CC BY 2.0" in first["LICENCE.txt"].decode()
    sides = {name: lines(folder / f"{name}.gz") for name in ("train.en", "train.de", "valid.en", "test.en", "test.de")}
    assert len(sides["valid.en"]) == len(sides["test.en"]) == len(sides["test.de"]) == 20
    assert 355 <= len(sides["train.en"]) == len(sides["train.de"]) <= 361
    assert not set(sides["train.en"]) & {*sides["valid.en"], *sides["test.en"]}
    assert not set(sides["train.de"]) & set(sides["test.de"])
    assert sides["train.en"] != sorted(sides["train.en"])


@pytest.fixture
def multi30k(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes | Answer]:
    """Small stand-ins for its files, and their digests in the table."""
    texts = {file.removesuffix(".gz"): f"{file}\nline two\n".encode() for file in CORPORA["multi30k"].files}
    digests = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    small = dataclasses.replace(CORPORA["multi30k"], digests=digests)
    monkeypatch.setattr(fetch_module, "CORPORA", {**CORPORA, "multi30k": small})
    return {f"{name}.gz": gzip.compress(text) for name, text in texts.items()}


def test_multi30k_is_laid_out_as_the_configs_expect(tmp_path: Path, multi30k: dict[str, bytes | Answer]) -> None:
    with server(multi30k) as url:
        folder = fetch("multi30k", tmp_path, accept_licence=True, url=f"{url}/")
    assert lines(folder / "test_2016_flickr.de.gz") == ["test_2016_flickr.de.gz", "line two"]
    assert len(list(folder.glob("*.gz"))) == 9
    assert all(set(corpus.digests) <= {f.removesuffix(".gz") for f in corpus.files} for corpus in CORPORA.values())


def test_a_licence_is_accepted_first(tmp_path: Path) -> None:
    for name, corpus in CORPORA.items():
        with pytest.raises(CorpusError, match="--accept-licence") as caught:
            fetch(name, tmp_path, accept_licence=False)
        assert corpus.licence in str(caught.value)


def half(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"only this")


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "the server answered 404"),
        (half, "the connection ended early"),
        (hang_up, "cannot be downloaded: .*; check the network"),
        (b"not gzip", "train.en.gz: the download is damaged"),
        (gzip.compress(b"x\n" * 1000)[:-10], "train.en.gz: the download is damaged"),
        (gzip.compress(b"\xff\n"), "train.en.gz: the download is damaged"),
        (gzip.compress(b"other text\n"), "the text of train.en is not that of the known version"),
    ],
)
def test_failed_downloads_leave_nothing(
    tmp_path: Path, multi30k: dict[str, bytes | Answer], answer: bytes | Answer | None, message: str
) -> None:
    if answer is None:
        del multi30k["train.en.gz"]
    else:
        multi30k["train.en.gz"] = answer
    with server(multi30k) as url, pytest.raises(CorpusError, match=message) as caught:
        fetch("multi30k", tmp_path, accept_licence=True, url=url)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("body", [b"not a zip", archive(["a\tb"], "fra.txt"), tatoeba()[:-30]])
def test_a_damaged_archive_is_refused(tmp_path: Path, body: bytes) -> None:
    with server({"deu-eng.zip": body}) as url, pytest.raises(CorpusError, match=r"deu-eng.zip: .*deu\.txt"):
        fetch("tatoeba-en-de", tmp_path, accept_licence=True, url=url)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[bad"])
def test_no_server_is_a_clear_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(CorpusError, match=r"cannot be downloaded: .*give a mirror with --url"):
        fetch("tatoeba-en-de", tmp_path, accept_licence=True, url=url)


def test_the_download_is_recorded_and_can_be_required(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The publisher replaces the archives of Tatoeba without notice."""
    body = tatoeba()
    digest = hashlib.sha256(body).hexdigest()

    def run(root: str, *options: str) -> tuple[int, str, str]:
        command = ["fetch", "tatoeba-en-de", "--root", str(tmp_path / root), "--accept-licence", *options]
        code = main_guard(lambda: main(command))
        return code, *capsys.readouterr()

    with server({"deu-eng.zip": body}) as url:
        record = rf"\d{{4}}-\d\d-\d\d {digest} {url}/deu-eng\.zip\n"
        code, out, _ = run("a", "--url", url)
        assert code == 0 and re.search(f"downloaded {record}", out)
        assert re.fullmatch(record, (tmp_path / "a" / "tatoeba-en-de" / "DOWNLOADED.txt").read_text())
        assert run("b", "--url", url, "--sha256", digest.upper())[0] == 0
        other = "0" * 64
        code, _, error = run("c", "--url", url, "--sha256", other)
        assert code == 2 and f"deu-eng.zip: has SHA-256 {digest}, not {other}" in error
        assert not (tmp_path / "c").exists()
    assert run("a", "--sha256", digest)[0] == 0
    code, _, error = run("a", "--sha256", other)
    assert code == 2 and f"was not made from a download with SHA-256 {other}; remove it" in error
    (tmp_path / "a" / "tatoeba-en-de" / "DOWNLOADED.txt").unlink()
    assert run("a")[0] == 0, "a corpus that was fetched before there were records"
    assert run("a", "--sha256", digest)[0] == 2


def test_a_digest_is_refused_where_it_would_not_be_checked(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="--sha256: multi30k is always checked"):
        fetch("multi30k", tmp_path, accept_licence=True, sha256="0" * 64)


def test_an_archive_may_have_a_folder(tmp_path: Path) -> None:
    with server({"deu-eng.zip": archive([f"a {i}.\tb {i}.\tx" for i in range(40)], "deu-eng/deu.txt")}) as url:
        folder = fetch("tatoeba-en-de", tmp_path, accept_licence=True, url=url)
    assert len(lines(folder / "valid.en.gz")) == 2


def test_help_names_licences_versions_and_the_corpora_of_the_configs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["fetch", "--help"])
    out = capsys.readouterr().out
    assert all(corpus.licence in out and corpus.version in out for corpus in CORPORA.values())
    plans = [*CONFIGS.glob("*.yaml"), *(ROOT / "nmt" / "experiments").glob("*.yaml")]
    named = {name for plan in plans for name in re.findall(r"([\w-]+)/train\.\w+\.gz", plan.read_text("utf-8"))}
    assert {"multi30k", "tatoeba-en-de", "europarl-en-fr"} <= named <= {*CORPORA, *OTHER_CORPORA}
    assert all(f"  {name}: " in out for name in named)
