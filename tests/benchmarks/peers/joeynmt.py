"""Joey NMT as a peer (Kreutzer et al. 2019): its recurrent model with Bahdanau attention, in the sizes of our default.

Its decoder has a single attentional layer stack with input feeding, so its work is not quite ours. It computes in
float32 on a CPU.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from pathlib import Path

import yaml

NO_DEPENDENCIES = ("joeynmt==2.3.0",)
REQUIREMENTS = (
    "datasets==5.2.0",
    "importlib-metadata==10.2.0",
    "matplotlib==3.11.2",
    "numpy==2.4.6",
    "packaging==26.3",
    "pandas==3.1.1",
    "pyyaml==6.0.3",
    "sacrebleu==2.6.0",
    "sacremoses==0.2.0",
    "seaborn==0.13.2",
    "sentencepiece==0.2.3",
    "subword-nmt==0.3.8",
    "tensorboard==2.21.0",
)


def train(python: Path, data: Path, folder: Path, steps: int, threads: int) -> float:
    """Train for `steps` on `data`/train.src and .tgt; returns target tokens/s, the median of its log without the first.

    `data` has one sentence of pieces a line, and vocab.txt with the pieces.
    """
    path = write_config(data, folder, steps, 5, 15)
    output = run(python, "train", path, threads, "--skip-test")
    rates = [float(rate) for rate in re.findall(r"Tokens per Sec: +(\d+)", output)]
    return statistics.median(rates[1:])


def decode(python: Path, data: Path, folder: Path, beam: int, length: int, threads: int) -> float:
    """Return the seconds to decode `data`/test.src with the model of `folder`, each to `length` pieces."""
    path = write_config(data, folder, 1, beam, length)
    # It decodes the validation text before the test text.
    return float(re.findall(r"Generation took ([\d.]+)", run(python, "test", path, threads))[-1])


def run(python: Path, mode: str, config: Path, threads: int, *options: str) -> str:
    """Run a command of Joey NMT and return what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    command = [str(python), "-m", "joeynmt", mode, str(config), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"joeynmt {mode}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def write_config(data: Path, folder: Path, steps: int, beam: int, length: int) -> Path:
    """Write the configuration file and return its path."""
    side = {"max_length": 100, "level": "word", "voc_file": str(data / "vocab.txt")}
    stack = {"type": "recurrent", "rnn_type": "lstm", "embeddings": {"embedding_dim": 256}, "dropout": 0.3}
    config = {
        "name": "peer",
        "joeynmt_version": "2.3.0",
        "model_dir": str(folder),
        "use_cuda": False,
        "fp16": False,
        "random_seed": 1,
        "data": {
            **{name: str(data / file) for name, file in (("train", "train"), ("dev", "valid"), ("test", "test"))},
            "dataset_type": "plain",
            "src": {"lang": "src", **side},
            "trg": {"lang": "tgt", **side},
        },
        "testing": {
            "beam_size": beam,
            "beam_alpha": 1.0,
            "batch_size": 64,
            "batch_type": "sentence",
            "max_output_length": length,
            "min_output_length": length,
        },
        "training": {
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "scheduling": "warmupinversesquareroot",  # "plateau" fails with this torch
            "learning_rate_warmup": 200,
            "label_smoothing": 0.1,
            "clip_grad_norm": 1.0,
            "batch_size": 1500,
            "batch_type": "token",
            "normalization": "tokens",
            "epochs": 100,
            "updates": steps,
            "validation_freq": steps,
            "logging_freq": max(1, steps // 6),
            "early_stopping_metric": "loss",
            "overwrite": True,
            "print_valid_sents": [0],
        },
        "model": {
            "tied_embeddings": True,
            "tied_softmax": False,
            "encoder": {**stack, "hidden_size": 256, "bidirectional": True, "num_layers": 1},
            "decoder": {**stack, "hidden_size": 512, "num_layers": 2, "attention": "bahdanau"},
        },
    }
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    return path
