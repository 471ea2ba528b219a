"""CTranslate2 as a peer: writes our Transformer in its format and decodes with it.

    python -m tests.benchmarks.peers.ctranslate2 convert WEIGHTS.npz FOLDER [--dtype int8]
    python -m tests.benchmarks.peers.ctranslate2 decode FOLDER PIECES OUTPUT --beam 5 --workers 2 --threads 1

It runs in an environment of its own, with the requirements below and the standard library. Vocabulary entries are piece
ids as text, so a line of PIECES is a list of ids. It prints the seconds of each round of `decode`; OUTPUT has the ids.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

REQUIREMENTS = ("ctranslate2==4.8.5", "numpy==2.4.6")


def convert(weights: Path, folder: Path, dtype: str) -> None:
    """Write the model of `transformer.py` in CTranslate2's format, quantised to `dtype`."""
    import numpy as np
    from ctranslate2.specs import TransformerSpec

    arrays = dict(np.load(weights))
    layers = 1 + max(int(name.split(".")[3]) for name in arrays if name.startswith("layers.encoder.layers."))
    spec = TransformerSpec.from_config((layers, layers), int(arrays["heads"]), pre_norm=True)

    def linear(target: Any, name: str, rows: slice = slice(None)) -> None:
        target.weight, target.bias = arrays[f"{name}weight"][rows], arrays[f"{name}bias"][rows]

    def norm(target: Any, name: str) -> None:
        target.gamma, target.beta = arrays[f"{name}.weight"], arrays[f"{name}.bias"]

    width = arrays["embedding.weight"].shape[1]
    for side in ("encoder", "decoder"):
        part = getattr(spec, side)
        for n, layer in enumerate(part.layer):
            name = f"layers.{side}.layers.{n}"
            linear(layer.self_attention.linear[0], f"{name}.self_attn.in_proj_")
            linear(layer.self_attention.linear[1], f"{name}.self_attn.out_proj.")
            norm(layer.self_attention.layer_norm, f"{name}.norm1")
            if side == "decoder":
                linear(layer.attention.linear[0], f"{name}.multihead_attn.in_proj_", slice(width))
                linear(layer.attention.linear[1], f"{name}.multihead_attn.in_proj_", slice(width, None))
                linear(layer.attention.linear[2], f"{name}.multihead_attn.out_proj.")
                norm(layer.attention.layer_norm, f"{name}.norm2")
            linear(layer.ffn.linear_0, f"{name}.linear1.")
            linear(layer.ffn.linear_1, f"{name}.linear2.")
            norm(layer.ffn.layer_norm, f"{name}.norm{2 if side == 'encoder' else 3}")
        norm(part.layer_norm, f"layers.{side}.norm")
        table = part.embeddings[0] if side == "encoder" else part.embeddings
        table.weight = arrays["embedding.weight"]
        part.position_encodings.encodings = arrays["positions"]
    spec.decoder.projection.weight = arrays["embedding.weight"]
    vocabulary = ["<pad>", "<unk>", "<s>", "</s>", *map(str, range(4, len(arrays["embedding.weight"])))]
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.validate()
    spec.optimize(quantization=dtype)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


def decode(options: argparse.Namespace) -> None:
    """Decode the sentences of `options.pieces` and print the seconds of each round."""
    import ctranslate2

    translator = ctranslate2.Translator(
        str(options.folder),
        compute_type=options.dtype,
        inter_threads=options.workers,
        intra_threads=options.threads,
    )
    sources = [[*line.split(), "</s>"] for line in options.pieces.read_text().splitlines()]
    lengths = {"min_decoding_length": options.length, "max_decoding_length": options.length} if options.length else {}

    def translate(part: list[list[str]]) -> list[Any]:
        found: list[Any] = translator.translate_batch(
            part, beam_size=options.beam, max_batch_size=options.batch, **lengths
        )
        return found

    translate(sources[: options.batch])
    for _ in range(options.rounds):
        began = time.perf_counter()
        results = translate(sources)
        print(time.perf_counter() - began, flush=True)
    options.output.write_text("".join(f"{' '.join(result.hypotheses[0])}\n" for result in results))


def main() -> None:
    """Convert or decode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("convert")
    command.add_argument("weights", type=Path)
    command.add_argument("folder", type=Path)
    command.add_argument("--dtype", default="float32")
    command = commands.add_parser("decode")
    command.add_argument("folder", type=Path)
    command.add_argument("pieces", type=Path)
    command.add_argument("output", type=Path)
    command.add_argument("--dtype", default="float32")
    command.add_argument("--beam", type=int, default=5)
    command.add_argument("--workers", type=int, default=2)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--batch", type=int, default=64)
    command.add_argument("--rounds", type=int, default=1)
    command.add_argument("--length", type=int, help="force this number of pieces, for random weights")
    options = parser.parse_args()
    if options.command == "convert":
        convert(options.weights, options.folder, options.dtype)
    else:
        decode(options)


if __name__ == "__main__":
    main()
