"""Peers on the same data, machine and threads: `python -m tests.benchmarks peers --run RUN --corpora DIR ...`.

RUN is a run folder of ours, which gives the corpus, the tokenizer and the model. Each peer gets a virtual environment
in `--environments`, with the packages that its adapter in `peers/` pins. Ours and the peers take turns.

CTranslate2 decodes the test sentences with a Transformer (`peers/transformer.py`), in two workers with one thread each
by default. Joey NMT and OpenNMT-py train a model of our sizes for some steps and decode the validation sentences
with it. As that model is untrained, each translation has a forced length, the mean of the references.

`ratio` is the speed of ours over that of the peer, in the same turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import sacrebleu

from nmt.config import Config, load_config
from nmt.corpus.prepare import prepare
from nmt.text.cleaning import clean
from nmt.text.special_ids import EOS
from nmt.training.run_folder import load_tokenizer
from tests.benchmarks.__main__ import run_there
from tests.benchmarks.material import read_lines
from tests.benchmarks.measure import emit
from tests.benchmarks.peers import ctranslate2, joeynmt, opennmt

TORCH = ("torch==2.13.0",)
TORCH_NEEDS = ("filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""CPU wheels, which need no CUDA packages; torch's requirements are installed by name for the same reason"""


def environment(name: str, folder: Path, requirements: Sequence[str], no_dependencies: Sequence[str]) -> Path:
    """Make a virtual environment, unless it is there, and return its interpreter."""
    python = folder / name / "bin" / "python"
    done = folder / name / "complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if no_dependencies:
            subprocess.run([*pip, "--no-deps", "--extra-index-url", TORCH_INDEX, *TORCH, *no_dependencies], check=True)
        subprocess.run([*pip, *requirements, *(TORCH_NEEDS if no_dependencies else ())], check=True)
        done.touch()
    return python


def ours(options: argparse.Namespace, argv: Sequence[str]) -> Iterator[float]:
    """Run our decoding benchmark in a process of its own; yields its figures."""
    decode = ["--rounds", "1", "--alone", "0", "--sentences", str(options.sentences), *argv]
    return (float(str(line["value"])) for line in run_there("decode", decode))


def against_ctranslate2(options: argparse.Namespace, config: Config, folder: Path) -> None:
    """Decode the test sentences of the run's corpus with both, by turns."""
    python = environment("ctranslate2", options.environments, ctranslate2.REQUIREMENTS, ())
    program = [str(python), "-m", "tests.benchmarks.peers.ctranslate2"]
    tokenizer = load_tokenizer(options.run)
    src, ref = (read_lines(options.corpora / str(name)) for name in (config.data.test_src, config.data.test_tgt))
    src, ref = src[: options.sentences], ref[: options.sentences]
    (folder / "test.en").write_text("".join(f"{line}\n" for line in src), "utf-8")
    pieces, output = folder / "pieces", folder / "output"
    pieces.write_text("".join(f"{' '.join(map(str, tokenizer.encode(clean(line))))}\n" for line in src))
    subprocess.run([*program, "convert", str(options.transformer), str(folder / "model")], check=True)
    threads = ["--workers", str(options.workers), "--threads", "1"]
    forced = ["--length", str(options.length)] if options.length else []
    for beam in options.beams:
        for dtype in options.dtypes:
            same = ["--dtype", dtype, "--beam", str(beam)]
            command = [*program, "decode", str(folder / "model"), str(pieces), str(output), *same, *threads, *forced]
            setting = {"peer": "ctranslate2", "model": options.transformer.stem, "dtype": dtype, "beam": beam}
            for _ in range(options.rounds):
                found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                rate = len(src) / float(found)
                own = ["--model", str(options.run), "--text", str(folder / "test.en"), "--dtypes", dtype]
                own += ["--beams", str(beam), *options.own.split()]
                (speed,) = ours(options, own)
                more = {"peer_value": rate, "workers": options.workers, "own": options.own}
                if not options.length:  # random weights may have another vocabulary
                    lines = [[int(id) for id in line.split() if id.isdigit()] for line in read_lines(output)]
                    text = [tokenizer.decode([id for id in ids if id > EOS]) for ids in lines]
                    more["peer_bleu"] = sacrebleu.corpus_bleu(text, [ref]).score
                emit("decode, peer", setting, speed, "sentences/s", speed / rate, "the peer's", **more)


def against_torch(name: str, options: argparse.Namespace, config: Config, folder: Path) -> None:
    """Train and decode with Joey NMT or OpenNMT-py and with ours, by turns."""
    peer = {"joeynmt": joeynmt, "opennmt": opennmt}[name]
    python = environment(name, options.environments, peer.REQUIREMENTS, peer.NO_DEPENDENCIES)
    corpus = prepare(config.data, config.data.cache)
    sources = {"train": corpus.train, "valid": corpus.valid, "test": corpus.valid}
    for part, split in sources.items():
        count = {"train": len(split), "valid": 8, "test": options.sentences}[part]
        for side, get in (("src", split.src), ("tgt", split.tgt)):
            lines = (" ".join(map(str, get(i))) for i in range(min(count, len(split))))
            (folder / f"{part}.{side}").write_text("".join(f"{line}\n" for line in lines))
    (folder / "vocab.txt").write_text("".join(f"{id}\n" for id in range(EOS + 1, corpus.tokenizer.vocabulary)))
    count = min(options.sentences, len(corpus.valid))
    (folder / "valid.txt").write_text("".join(f"{line}\n" for line in corpus.valid.source_lines[:count]), "utf-8")
    own = ["--model", str(options.run), "--text", str(folder / "valid.txt"), "--dtypes", "float32"]
    length = round(float(corpus.valid.lengths[1][:count].mean())) + 1
    threads = ["--threads", str(options.workers)]
    for _ in range(options.rounds):
        rate = peer.train(python, folder, folder / "run", options.steps, options.workers)
        training = ["--corpora", str(options.corpora), "--steps", str(options.steps), *threads]
        speed = float(str(next(run_there("train", training))["value"]))
        setting: dict[str, object] = {"peer": name, "threads": options.workers}
        emit("train, peer", setting, speed, "tokens/s", speed / rate, "the peer's", peer_value=rate)
        for beam in options.beams:
            rate = count / peer.decode(python, folder, folder / "run", beam, length, options.workers)
            (speed,) = ours(options, [*own, "--beams", str(beam), *threads])
            more = {"peer_value": rate, "length": length}
            emit("decode, peer", setting | {"beam": beam}, speed, "sentences/s", speed / rate, "the peer's", **more)


def main(argv: Sequence[str]) -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks peers", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="run folder of nmt.train")
    parser.add_argument("--corpora", type=Path, required=True, help="data.root of that run")
    parser.add_argument("--environments", type=Path, required=True, help="folder for the virtual environments")
    parser.add_argument("--transformer", type=Path, help="weights of peers/transformer.py, for ctranslate2")
    parser.add_argument("--peers", nargs="+", default=["ctranslate2", "joeynmt", "opennmt"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "int8"])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument(
        "--workers", type=int, default=2, help="one-thread workers of ctranslate2; threads of the others"
    )
    parser.add_argument("--own", default="--threads 2", help="options of our decode benchmark beside ctranslate2")
    parser.add_argument("--length", type=int, help="force this length in ctranslate2, for random weights")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    config = load_config(options.run / "config.yaml", [("data.root", str(options.corpora))])
    for name in options.peers:
        with tempfile.TemporaryDirectory() as folder:
            if name == "ctranslate2":
                against_ctranslate2(options, config, Path(folder))
            else:
                against_torch(name, options, config, Path(folder))
