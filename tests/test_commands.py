"""The commands that use a model: translate, evaluate, score, export; their output, and one line for each mistake."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from nmt import evaluate, loading, score, translate
from nmt import export as exporting
from nmt.cli.parser import main_guard
from nmt.errors import NMTError
from nmt.export import export
from nmt.translate import windows
from tests.copy_model import TEXT, CopyModel, CopyRun, exported, tokenizer
from tests.terminal import Terminal

ROOT = Path(__file__).resolve().parents[1]
LINES = TEXT.split("\n")
Main = Callable[[Sequence[str]], int]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An exported model that copies."""
    path = tmp_path_factory.mktemp("model") / "copy.pt"
    path.write_bytes(exported())
    return str(path)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Files of source and reference lines."""
    (tmp_path / "src").write_text("".join(f"{line}\n" for line in LINES), "utf-8")
    (tmp_path / "tgt").write_text("".join(f"{line}\n" for line in LINES), "utf-8")
    return tmp_path


class Stdin(io.BytesIO):
    """Bytes as the standard input."""

    @property
    def buffer(self) -> io.BytesIO:
        return self

    def isatty(self) -> bool:
        return False


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process as `python -m` does; returns exit code, stdout and stderr."""

    def command(main: Main, *arguments: object, stdin: str | bytes = b"") -> tuple[int, str, str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", Stdin(data))
        try:
            code = main_guard(lambda: main([str(argument) for argument in arguments]))
        except SystemExit as exit_:
            code = int(str(exit_.code or 0))
        sys.stdout.flush()
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return command


def one_line(code: int, err: str) -> str:
    assert code == 2
    lines = [line for line in err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("command", [translate, evaluate, score])
def test_commands_keep_freed_memory(
    run: Run, model: str, corpus: Path, command: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(loading, "keep_freed_memory", lambda: calls.append("kept"))
    files = {translate: [], evaluate: ["--src", "src", "--ref", "tgt"], score: ["--src", "src", "--tgt", "tgt"]}[
        command
    ]
    assert run(command.main, model, *(corpus / f if f in ("src", "tgt") else f for f in files), stdin="a")[0] == 0
    assert calls == ["kept"]


# --- translate --------------------------------------------------------------------------------------------------------


def test_stdin_to_stdout_in_order(run: Run, model: str) -> None:
    code, out, err = run(translate.main, model, stdin=TEXT)  # without a trailing newline
    assert (code, out) == (0, TEXT + "\n")
    assert f"{len(LINES)} lines in " in err


def test_each_line_gives_a_line(run: Run, model: str) -> None:
    text = "\n  \nthe dog\r\n\n😀\n日本\n\u2028the fox\n"
    code, out, _ = run(translate.main, model, stdin=text)
    assert (code, out) == (0, text)


def test_file_to_file_in_small_windows(run: Run, model: str, corpus: Path) -> None:
    output = corpus / "out"
    code, out, _ = run(translate.main, model, corpus / "src", "--output", output, "--window", 2, "--beam", 1)
    assert (code, out) == (0, "")
    assert output.read_text("utf-8") == TEXT + "\n"


def test_scores_nbest_and_alignments(run: Run, model: str) -> None:
    _, out, _ = run(translate.main, model, "--scores", stdin="the fox\n")
    text, number = out.rstrip("\n").split("\t")
    assert text == "the fox"
    assert 0.9 < float(number) <= 1
    _, out, _ = run(translate.main, model, "--nbest", 3, stdin="the fox\nthe dog\n")
    rows = [line.split(" ||| ") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["0"] * 3 + ["1"] * 3
    assert [rows[0][1], rows[3][1]] == ["the fox", "the dog"]
    _, out, _ = run(translate.main, model, "--alignments", stdin="the fox\n")
    assert out.startswith("the fox\n\n")
    assert "██" in out


def test_options_before_and_after_the_file(run: Run, model: str, corpus: Path) -> None:
    file = corpus / "src"
    for arguments in ([model, "--beam", 1, file], ["--beam", 1, model, file], [model, file, "--beam", 1]):
        assert run(translate.main, *arguments)[:2] == (0, TEXT + "\n")


def test_no_bar_between_translations_on_a_terminal(model: str, corpus: Path) -> None:
    terminal = Terminal(100)
    command = [sys.executable, "-m", "nmt.translate", model, str(corpus / "src"), "--beam", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    end = terminal.device
    assert subprocess.run(command, cwd=ROOT, env=environment, stdout=end, stderr=end, stdin=end).returncode == 0
    os.close(end)
    *lines, summary, _ = terminal.read().split("\r\n")
    assert lines == LINES
    assert summary.startswith(f"{len(LINES)} lines in ")


def test_a_pipe_that_stays_open_is_answered_line_by_line(model: str) -> None:
    command = [sys.executable, "-m", "nmt.translate", model, "--beam", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"the fox\n", b"the dog\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.wait(30) == 0


def test_windows_of_a_stream() -> None:
    lines = [f"{i}".encode() for i in range(10)]
    for end in (b"", b"\n"):
        found = list(windows(io.BytesIO(b"\n".join(lines) + end), 4))
        assert [line for window in found for line in window] == lines
        assert max(map(len, found)) <= 4
    assert list(windows(io.BytesIO(b""), 4)) == []


def test_invalid_utf8_is_reported_after_the_lines_before_it(run: Run, model: str) -> None:
    code, out, err = run(translate.main, model, stdin=b"the fox\nthe dog\n\xff\xfe\nthe fox\n")
    assert out == "the fox\nthe dog\n"
    assert "stdin: line 3 is not valid UTF-8" in one_line(code, err)


def test_a_warning_for_a_truncated_translation(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "endless.pt"
    export(CopyRun(CopyModel(tokenizer().vocabulary, never_ends=True).eval()), path)
    _, _, err = run(translate.main, path, stdin="the fox\n")
    assert "warning: stdin: line 1: truncated" in err


def test_a_long_line(run: Run, model: str) -> None:
    text = "the quick brown fox jumps over the lazy dog, " * 450 + "\n"
    assert run(translate.main, model, "--beam", 1, stdin=text)[:2] == (0, text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL", "--beem", "3"], "did you mean --beam"),
        (["MODEL", "--beam", "x"], "invalid int value"),
        (["MODEL", "--beam", "0"], "beam"),
        (["MODEL", "--beam", "2", "--nbest", "3"], "n_best"),
        (["MODEL", "--nbest", "0"], "at least 1"),
        (["MODEL", "--length-penalty", "-1"], "length_penalty"),
        (["MODEL", "--device", "tpu"], "cpu, cuda"),
        (["MODEL", "--device", "cuda:99"], "CUDA"),
        (["MODEL", "--dtype", "int8"], "export it with --dtype int8"),
        (["MODEL", "missing.txt", "more.txt"], "unknown argument more.txt"),
        (["MODEL", "missing.txt"], "missing.txt: No such file"),
        (["MODEL", "--output", "missing/out"], "missing/out: No such file"),
        (["MODEL", "--output", "."], "Is a directory"),
        (["missing.pt"], "missing.pt: no such file"),
        (["."], "not a run folder"),
        ([], "MODEL"),
    ],
)
def test_mistakes_are_one_line(
    run: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(translate.main, *(model if argument == "MODEL" else argument for argument in arguments))
    assert out == ""
    assert message in one_line(code, err)


def test_the_input_is_not_overwritten(run: Run, model: str, corpus: Path) -> None:
    code, _, err = run(translate.main, model, corpus / "src", "--output", corpus / "src")
    assert "is the input" in one_line(code, err)
    assert (corpus / "src").read_text("utf-8").startswith(LINES[0])


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_models(run: Run, model: str, tmp_path: Path, damage: str) -> None:
    content = bytearray(Path(model).read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 4
    (tmp_path / "bad.pt").write_bytes(content)
    code, _, err = run(translate.main, tmp_path / "bad.pt")
    assert "bad.pt: " in one_line(code, err)
    assert "damaged" in err


@pytest.mark.parametrize("command", [translate, evaluate, score, exporting])
def test_help(run: Run, command: ModuleType) -> None:
    code, out, _ = run(command.main, "--help")
    assert code == 0
    assert out.startswith(f"usage: python -m {command.__name__}")
    assert "default: None" not in out
    code, _, err = run(command.main, "x", "--devise", "cpu")
    assert "--devise" in one_line(code, err) or "required" in err


def test_errors_of_the_real_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nmt.export", str(tmp_path / "x")]
    wrong = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert one_line(wrong.returncode, wrong.stderr).endswith("no such run folder")


@pytest.mark.parametrize(
    "reason",
    ["", "turned off by NMT_KERNELS=off", "no kernel for input feeding", "not built: run `python -m nmt.kernels`"],
)
def test_kernels_that_can_be_built_are_noted_at_a_terminal(
    run: Run, model: str, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    loaded = dataclasses.replace(loading.load_model(model), kernels=reason)
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: loaded)
    assert "kernels" not in run(translate.main, model)[2]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert ("kernels" in run(translate.main, model)[2]) == ("not built" in reason)


# --- evaluate ---------------------------------------------------------------------------------------------------------


def test_evaluate(run: Run, model: str, corpus: Path) -> None:
    arguments = [model, "--src", corpus / "src", "--ref", corpus / "tgt", "--beam", 2]
    code, out, _ = run(evaluate.main, *arguments)
    assert code == 0
    assert "BLEU  100.00   nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:" in out
    assert "sentences/s" in out
    code, out, _ = run(evaluate.main, *arguments, "--json", "--output", corpus / "hyp")
    result = json.loads(out)
    assert result["scores"]["BLEU"]["score"] == pytest.approx(100)
    assert result["scores"]["TER"]["score"] == 0
    assert "chrF2" in str(result["scores"]["chrF"]["signature"]) or result["scores"]["chrF"]["score"] == 100
    assert result["sentences"] == len(LINES)
    assert result["search"]["beam"] == 2
    assert result["search"]["length_penalty"] == 0.8  # from the manifest
    assert result["dtype"] == "float32"
    assert result["size_bytes"] == Path(model).stat().st_size
    assert (corpus / "hyp").read_text("utf-8") == TEXT + "\n"


def test_evaluate_compares_models_and_texts(run: Run, model: str, corpus: Path) -> None:
    (corpus / "worse.txt").write_text("".join(f"{line[:-4]}\n" for line in LINES), "utf-8")
    arguments = [model, "--src", corpus / "src", "--ref", corpus / "tgt", "--samples", 100, "--json"]
    result = json.loads(run(evaluate.main, *arguments, "--compare", corpus / "worse.txt")[1])
    assert result["compare"]["BLEU"]["this"] == pytest.approx(100)
    assert result["compare"]["BLEU"]["other"] < 95
    assert result["compare"]["BLEU"]["p_value"] < 0.1
    assert "bs:100" in result["compare"]["BLEU"]["signature"]
    result = json.loads(run(evaluate.main, *arguments, "--compare", model)[1])
    assert result["compare"]["BLEU"]["other"] == pytest.approx(100)


def test_evaluate_reads_gzip(run: Run, model: str, corpus: Path) -> None:
    for name in ("src", "tgt"):
        (corpus / f"{name}.gz").write_bytes(gzip.compress((corpus / name).read_bytes()))
    code, out, _ = run(evaluate.main, model, "--src", corpus / "src.gz", "--ref", corpus / "tgt.gz", "--beam", 1)
    assert code == 0
    assert "BLEU  100.00" in out


def test_evaluate_mistakes(run: Run, model: str, corpus: Path) -> None:
    (corpus / "short").write_text("one\n", "utf-8")
    (corpus / "bad").write_bytes(b"fine\n\xff\n")
    source = ["--src", corpus / "src"]
    for arguments, message in (
        ([*source, "--ref", corpus / "short"], "has 1"),
        ([*source, "--ref", corpus / "bad"], "line 2 is not valid UTF-8"),
        ([*source, "--ref", corpus / "none"], "no such file"),
        ([*source], "--ref"),
        ([*source, "--ref", corpus / "tgt", "--compare", corpus / "short"], "has 1"),
        ([*source, "--ref", corpus / "tgt", "--compare", corpus / "none"], "no such file"),
    ):
        code, out, err = run(evaluate.main, model, *arguments)
        assert out == ""
        assert message in one_line(code, err)


# --- score ------------------------------------------------------------------------------------------------------------


def test_score(run: Run, model: str, corpus: Path) -> None:
    arguments = [model, "--src", corpus / "src", "--tgt", corpus / "tgt"]
    code, out, _ = run(score.main, *arguments)
    sums = [float(line) for line in out.splitlines()]
    assert code == 0
    assert len(sums) == len(LINES)
    assert all(-0.5 < value <= 0 for value in sums)
    means = [float(line) for line in run(score.main, *arguments, "--normalize")[1].splitlines()]
    assert all(one <= other for one, other in zip(sums, means, strict=True))
    rows = run(score.main, *arguments, "--tokens")[1].splitlines()
    for line, row, total in zip(LINES, rows, sums, strict=True):
        tokens = [token.rpartition("=") for token in row.split(" ")]
        assert tokens[-1][0] == "</s>"
        assert "".join(piece for piece, _, _ in tokens[:-1]).replace("▁", " ").strip() == line
        assert sum(float(value) for _, _, value in tokens) == pytest.approx(total, abs=0.01)


def test_score_ranks_translations(run: Run, model: str, corpus: Path) -> None:
    (corpus / "src").write_text("the fox\nthe fox\n\n", "utf-8")
    (corpus / "tgt").write_text("the fox\nthe dog\n\n", "utf-8")
    _, out, _ = run(score.main, model, "--src", corpus / "src", "--tgt", corpus / "tgt")
    right, wrong, empty = (float(line) for line in out.splitlines())
    assert right > wrong + 5
    assert empty > -0.1


# --- export and loading -----------------------------------------------------------------------------------------------


def test_export_of_a_run_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nmt.training import run_folder

    monkeypatch.setattr(run_folder, "load_run", lambda folder: CopyRun())
    code, out, _ = run(exporting.main, tmp_path, "--dtype", "int8", "-o", tmp_path / "m.pt")
    assert code == 0
    assert "compared with the trained model on 7 sentences" in out
    assert "m.pt: en-de, int8" in out
    assert run(translate.main, tmp_path / "m.pt", stdin="the fox\n")[1] == "the fox\n"
    assert run(translate.main, tmp_path, "--dtype", "bfloat16", stdin="the fox\n")[1] == "the fox\n"  # never exported
    code, _, err = run(exporting.main, tmp_path, "-o", tmp_path / "none" / "m.pt")
    assert "none/m.pt: No such file" in one_line(code, err)
    code, _, err = run(exporting.main, tmp_path, "--dtype", "int3")
    assert code == 2
    assert "int3" in err


def test_a_run_folder_without_the_packages_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("nmt.training", "nmt.corpus", "nmt.config"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "yaml", None)  # as if it were not installed
    with pytest.raises(NMTError, match=r"needs yaml, which is not installed: pip install -e '\.\[train\]'"):
        loading.load_model(tmp_path)
