"""The peers' Transformer: a small one, trained on the corpus and with the tokenizer of one of our runs.

    python -m tests.benchmarks.peers.transformer runs/multi30k -o transformer.npz --minutes 8

It is `torch.nn.Transformer` (Vaswani et al. 2017, with the norms first) trained by AdamW with label smoothing. The
weights are written as NumPy arrays, for `ctranslate2.py`. With `--minutes 0` they stay random: enough to time a size.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nmt.config import load_config
from nmt.corpus.batching import BucketSampler, train_batches
from nmt.corpus.prepare import prepare
from nmt.device import has_fast_bfloat16, keep_freed_memory
from nmt.text.special_ids import PAD

LONGEST = 512  # positions
CPU = torch.device("cpu")


class Transformer(nn.Module):
    """`nn.Transformer` with one table for source, target and output, and sinusoids for the positions."""

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Transformer(
            width, heads, layers, layers, 4 * width, dropout, batch_first=True, norm_first=True
        )
        angles = torch.arange(LONGEST).unsqueeze(1) * torch.exp(
            torch.arange(0, width, 2) * (-math.log(10000.0) / width)
        )
        self.positions: Tensor
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], dim=1))

    def embed(self, ids: Tensor) -> Tensor:
        """Embed `ids` (B, T) with their positions: (B, T, E)."""
        table = self.embedding(ids) * self.positions.size(1) ** 0.5
        embedded: Tensor = self.dropout(table + self.positions[: ids.size(1)])
        return embedded

    def forward(self, src: Tensor, tgt_in: Tensor) -> Tensor:
        """Return the logits (B, T, V) after each prefix of `tgt_in` (B, T)."""
        later = nn.Transformer.generate_square_subsequent_mask(tgt_in.size(1), dtype=torch.bool)
        states = self.layers(
            self.embed(src),
            self.embed(tgt_in),
            tgt_mask=later,
            src_key_padding_mask=src == PAD,
            memory_key_padding_mask=src == PAD,
            tgt_is_causal=True,
        )
        return nn.functional.linear(states, self.embedding.weight)


def train(run: Path, corpora: Path, model: Transformer, minutes: float, save: Path) -> None:
    """Train on the corpus of `run` for `minutes` of CPU time a thread; saves once a minute, and at the end."""
    config = load_config(run / "config.yaml")
    corpus = prepare(config.data.model_copy(update={"root": corpora}), config.data.cache)
    sampler = BucketSampler(corpus.train.lengths, batch_tokens=config.training.batch_tokens, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    threads, warmup, step, saved = torch.get_num_threads(), 400, 0, 0.0
    began, started = time.process_time(), time.perf_counter()
    while True:
        for batch in train_batches(corpus.train, sampler, corpus.tokenizer):
            used = (time.process_time() - began) / threads / 60
            if used >= minutes or used - saved >= 1:
                write(model, save)
                saved = used
            if used >= minutes:
                return
            rate = min(step / warmup, 1) * (0.51 + 0.49 * math.cos(math.pi * used / minutes))
            optimizer.param_groups[0]["lr"] = 1e-3 * rate
            with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16(CPU)):
                logits = model(batch.src, batch.tgt_in)
            loss = nn.functional.cross_entropy(
                logits.float().flatten(0, 1), batch.tgt_out.flatten(), ignore_index=PAD, label_smoothing=0.1
            )
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % 100 == 0:
                wall = (time.perf_counter() - started) / 60
                print(f"step {step}: loss {loss:.3f}, {used:.1f} min, wall {wall:.1f} min", file=sys.stderr)


def write(model: Transformer, path: Path) -> None:
    """Write the weights, by name, and the number of heads."""
    arrays = {name: tensor.detach().float().numpy() for name, tensor in model.state_dict().items()}
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, heads=model.layers.nhead, **arrays)
    temporary.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Make a Transformer."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers.transformer", description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="run folder of nmt.train: corpus and tokenizer")
    parser.add_argument("--corpora", type=Path, default=Path("data/corpora"), help="data.root of that run")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file for the weights, .npz")
    parser.add_argument("--minutes", type=float, default=8, help="CPU minutes a thread; 0: random weights")
    parser.add_argument("--layers", type=int, default=3, help="of the encoder, and of the decoder")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--dropout", type=float, default=0.2)
    options = parser.parse_args(argv)
    keep_freed_memory()
    torch.manual_seed(1)
    model = Transformer(options.layers, options.width, options.heads, options.vocabulary, options.dropout)
    if options.minutes:
        train(options.run, options.corpora, model, options.minutes, options.output)
    else:
        write(model, options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
