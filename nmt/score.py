"""Log-probability of given translations, one number per pair of lines: `python -m nmt.score MODEL --src F --tgt F`.

In the way of the data: pairs of text -> artifact, with teacher forcing -> **score** -> numbers. Logarithms are natural;
the end of the sentence counts as a piece. Lines are scored whole, however long they are.
"""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.score"))

import sys
from collections.abc import Iterator, Sequence

import torch
from tqdm import tqdm

from nmt.artifact import Artifact
from nmt.cli.model_options import add_model_arguments, file_arguments, language_arguments
from nmt.cli.parser import Parser
from nmt.corpus.reading import read_pair
from nmt.loading import load_from
from nmt.search.padding import pad_ids
from nmt.text.cleaning import clean
from nmt.text.special_ids import EOS
from nmt.translator import END_LABEL, Translator

BATCH_PIECES = 4000
"""padded pieces per batch, on the longer side"""


@torch.inference_mode()
def score(model: Artifact, pairs: Sequence[tuple[str, str]], *, target: str = "") -> list[list[float]]:
    """Compute the log-probability of each target piece and of EOS, for each pair of source and translation, in order.

    `target` is the target language, for a model with several. Raises `TranslationError` for an unknown one.
    """
    encode = model.tokenizer.encode
    prefix = Translator.from_artifact(model).tag(target)
    src = [[*prefix, *encode(clean(text)), EOS] for text, _ in pairs]
    tgt = [[*encode(clean(text)), EOS] for _, text in pairs]
    found: list[list[float]] = [[] for _ in pairs]
    for rows in _batches([max(len(one), len(other)) for one, other in zip(src, tgt, strict=True)]):
        sources, lengths = pad_ids([src[row] for row in rows], model.device)
        targets, _ = pad_ids([tgt[row] for row in rows], model.device)
        output = model.search.score(sources, lengths, targets)
        for row, values in zip(rows, output.tolist(), strict=True):
            found[row] = values[: len(tgt[row])]
    return found


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield batches of row numbers of similar length, the longest first, so that too little memory shows at once."""
    batch: list[int] = []
    with tqdm(total=len(lengths), unit=" lines", disable=not sys.stderr.isatty(), leave=False) as bar:
        for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
            if batch and lengths[batch[0]] * (len(batch) + 1) > BATCH_PIECES:
                yield batch
                bar.update(len(batch))
                batch = []
            batch.append(row)
        if batch:
            yield batch


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = Parser("python -m nmt.score", __doc__ or "")
    add_model_arguments(parser)
    file_arguments(["src", "tgt"], parser)
    parser.add_argument("--normalize", action="store_true", help="print the mean over the pieces, not the sum")
    parser.add_argument("--tokens", action="store_true", help="print the value of each piece: piece=value ...")
    language_arguments(parser)
    options = parser.parse_args(argv)
    text = read_pair(options.src, options.tgt)
    model = load_from(options)
    for line, values in zip(
        text.tgt, score(model, list(zip(text.src, text.tgt, strict=True)), target=options.target), strict=True
    ):
        if options.tokens:
            pieces = [*model.tokenizer.pieces(model.tokenizer.encode(clean(line))), END_LABEL]
            shown = " ".join(f"{piece}={value:.4f}" for piece, value in zip(pieces, values, strict=True))
        else:
            shown = f"{sum(values) / (len(values) if options.normalize else 1):.4f}"
        sys.stdout.buffer.write(f"{shown}\n".encode())
    sys.stdout.buffer.flush()
    return 0
