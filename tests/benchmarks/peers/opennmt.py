"""OpenNMT-py as a peer (Klein et al. 2017): its recurrent model with MLP attention, in the sizes of our default.

There the encoder has as many layers as the decoder (2), and their widths are equal (512). It computes in float32.
Version 3.5.1 asks for torch below 2.3; it runs with this one if torch may load its checkpoints as pickles.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from pathlib import Path

import yaml

NO_DEPENDENCIES = ("OpenNMT-py==3.5.1", "fasttext-wheel==0.9.2")
REQUIREMENTS = (
    "configargparse==1.9.0",
    "ctranslate2==4.8.5",
    "numpy==1.26.4",
    "pyahocorasick==2.3.1",
    "pybind11==3.1.0",
    "pyonmttok==1.38.1",
    "pyyaml==6.0.3",
    "rapidfuzz==3.14.6",
    "sacrebleu==2.6.0",
    "six==1.17.0",
    "spacy==3.8.18",
    "tensorboard==2.21.0",
)


def train(python: Path, data: Path, folder: Path, steps: int, threads: int) -> float:
    """Train for `steps` on `data`/train.src and .tgt; returns target tokens/s, the median of its log without the first.

    `data` has one sentence of pieces a line, and vocab.txt with the pieces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "data": {
            "corpus": {"path_src": str(data / "train.src"), "path_tgt": str(data / "train.tgt"), "weight": 1},
        },
        "save_data": str(folder),
        "src_vocab": str(data / "vocab.txt"),
        "tgt_vocab": str(data / "vocab.txt"),
        "share_vocab": True,
        "save_model": str(folder / "model"),
        "world_size": 1,
        "encoder_type": "brnn",
        "decoder_type": "rnn",
        "rnn_type": "LSTM",
        "input_feed": 0,
        "enc_layers": 2,
        "dec_layers": 2,
        "hidden_size": 512,
        "word_vec_size": 256,
        "global_attention": "mlp",
        "share_embeddings": True,
        "share_decoder_embeddings": False,
        "optim": "adam",
        "learning_rate": 0.001,
        "label_smoothing": 0.1,
        "dropout": [0.3],
        "batch_type": "tokens",
        "batch_size": 1500,
        "normalization": "tokens",
        "bucket_size": 30000,
        "num_workers": 0,
        "train_steps": steps,
        "save_checkpoint_steps": steps,
        "report_every": max(1, steps // 6),
        "seed": 1,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    output = run(python, threads, "train", "-config", str(path))
    rates = [float(rate) for rate in re.findall(r"/ *(\d+) tok/s", output)]
    return statistics.median(rates[1:])


def decode(python: Path, data: Path, folder: Path, beam: int, length: int, threads: int) -> float:
    """Return the seconds to decode `data`/test.src with the model of `folder`, each to `length` pieces."""
    model = max(folder.glob("model_step_*.pt"), key=os.path.getmtime)
    lengths = ["-min_length", str(length), "-max_length", str(length), "-beam_size", str(beam), "-batch_size", "64"]
    files = ["-model", str(model), "-src", str(data / "test.src"), "-output", str(folder / "output")]
    output = run(python, threads, "translate", *files, *lengths, "-report_time")
    found = re.search(r"Total translation time \(s\): ([\d.]+)", output)
    assert found is not None, output[-2000:]
    return float(found[1])


def run(python: Path, threads: int, command: str, *options: str) -> str:
    """Run a command of OpenNMT-py and return what it printed."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    }
    line = [str(python), "-m", f"onmt.bin.{command}", *options]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"onmt {command}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr
