"""Export a trained model to one file: `python -m nmt.export RUN [-o FILE] [--dtype float32|bfloat16|float16|int8]`.

In the way of the data: checkpoint -> **export** -> artifact. The model is converted to the number type, wrapped in the
search, scripted, and packed with its tokenizer and manifest. Then it is loaded again and compared with the trained
model; only if they agree does the file appear.
"""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.export"))

import copy
import datetime
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from nmt.artifact import DTYPES, Artifact, Manifest, load_bytes, pack, torchscript
from nmt.cli.parser import Parser, positive
from nmt.errors import ArtifactError, CorpusError, TokenizerError
from nmt.files import atomic_write
from nmt.kernels.search import fit
from nmt.model.inference import for_inference
from nmt.model.quantized import quantise
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Request, SearchOptions
from nmt.search.interface import StepModel
from nmt.search.padding import pad_ids
from nmt.text.cleaning import clean
from nmt.text.special_ids import EOS
from nmt.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from nmt.training.run_folder import Run

MAX_SAMPLES = 32
FREQUENT = 100
"""most frequent target pieces in every shortlist"""


class TrainedModel(Protocol):
    """What an export needs (`nmt.training.run_folder.Run`): an eager float32 model in evaluation mode, and its data."""

    @property
    def model(self) -> Any: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def info(self) -> Mapping[str, Any]: ...
    @property
    def samples(self) -> Sequence[tuple[str, ...]]: ...


@dataclass(frozen=True)
class Tolerance:
    """The largest difference allowed between an exported file and the trained model; see `Parity`."""

    largest: float
    mean: float
    same_greedy: float = 0.0


TOLERANCES = {
    "float32": Tolerance(largest=1e-3, mean=1e-4, same_greedy=0.9),  # not 1: two pieces may be equally probable
    "bfloat16": Tolerance(largest=0.5, mean=0.05),
    "float16": Tolerance(largest=0.05, mean=0.005),
    "int8": Tolerance(largest=0.5, mean=0.05),
}


@dataclass(frozen=True)
class Parity:
    """The difference between an exported file and the trained model, on some sentences."""

    sentences: int
    largest: float
    """largest difference of the log-probability (natural) of a reference piece"""
    mean: float
    """mean absolute difference"""
    same_greedy: float
    """share of sentences with the same greedy translation, 0 to 1"""

    def __str__(self) -> str:
        return (
            f"{self.sentences} sentences: log-probabilities differ by {self.mean:.2g} (largest {self.largest:.2g}), "
            f"{100 * self.same_greedy:.0f} % of greedy translations are the same"
        )


class Shortlist(NamedTuple):
    """The tables of a shortlist, see `nmt.search.beam.BeamSearch`."""

    lexicon: Tensor
    """(V, n): the target pieces that each source piece is most often translated to"""
    frequent: Tensor
    """(F,): pieces that every sentence has"""


def export(
    run: TrainedModel, path: Path, dtype: str = "float32", *, licence: str = "", shortlist: Shortlist | None = None
) -> tuple[Manifest, Parity]:
    """Export a trained model to `path`, whole or not at all; returns its manifest and its parity.

    Raises `ArtifactError` if the file would differ from the model by more than `TOLERANCES`.
    """
    with atomic_write(path) as file:  # opened first: a path that cannot be written fails before the work
        content, manifest, parity = build(run, dtype, licence=licence, name=str(path), shortlist=shortlist)
        file.write(content)
    return manifest, parity


def build(
    run: TrainedModel,
    dtype: str = "float32",
    *,
    licence: str = "",
    name: str = "export",
    shortlist: Shortlist | None = None,
) -> tuple[bytes, Manifest, Parity]:
    """Return the exported file's bytes, compared with the model in memory; `name` is used in errors.

    The comparison is without the shortlist.
    """
    manifest = describe(run, dtype, licence)
    if shortlist is not None:
        manifest = replace(manifest, shortlist=shortlist.lexicon.size(1))
    code = script(convert(run.model, dtype), shortlist)
    content = pack(code, run.tokenizer, manifest)
    parity = compare(run, load_bytes(content, name, kernels=False, shortlist=False))
    tolerance = TOLERANCES[dtype]
    near = parity.largest <= tolerance.largest and parity.mean <= tolerance.mean  # both False for NaN
    if not near or parity.same_greedy < tolerance.same_greedy:
        raise ArtifactError(
            f"{name}: not written, because {dtype} differs too much from the trained model ({parity}; allowed are "
            f"{tolerance.mean:g} and {tolerance.largest:g}); export it as float32"
        )
    manifest = replace(manifest, parity=asdict(parity))
    return pack(code, run.tokenizer, manifest), manifest, parity


def convert(model: nn.Module, dtype: str) -> Any:
    """Copy an eager model, in its inference form and with weights in `dtype`.

    Raises `ArtifactError` for an unknown type.
    """
    if dtype not in DTYPES:
        raise ArtifactError(f"dtype {dtype!r}: expected one of {', '.join(DTYPES)}")
    model = for_inference(copy.deepcopy(model).eval())
    return quantise(model) if dtype == "int8" else model.to(DTYPES[dtype])


def describe(run: TrainedModel, dtype: str, licence: str = "") -> Manifest:
    """Make the manifest of a trained model."""
    info = dict(run.info)
    one = (info.pop("source_language", ""), info.pop("target_language", ""))
    pairs = info.pop("pairs", [one])
    return Manifest(
        pairs=tuple((str(source), str(target)) for source, target in pairs),
        dtype=dtype,
        vocabulary=run.tokenizer.vocabulary,
        max_source_pieces=int(info.pop("max_source_pieces", 100)),
        parameters=sum(parameter.numel() for parameter in run.model.parameters()),  # counts shared ones once
        target_tags=bool(info.pop("target_tags", False)),
        search={key: info.pop(key) for key in ("beam", "length_penalty") if key in info},
        licence=licence or str(info.pop("licence", "")),
        training=info,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def from_run(run: TrainedModel, device: torch.device, dtype: str | None = None) -> Artifact:
    """Return a trained model as an artifact in memory, eager instead of scripted: for callers given a run folder."""
    name = dtype or "float32"
    model = convert(run.model, name).to(device)
    search, reason = fit(BeamSearch(model).eval(), device)
    return Artifact(search, run.tokenizer, describe(run, name), device, DTYPES[name], kernels=reason)


@torch.inference_mode()
def compare(run: TrainedModel, artifact: Artifact) -> Parity:
    """Compare a loaded artifact with the trained model, on the run's samples or on random pieces."""
    src, tgt = _samples(run)
    sources, source_lengths = pad_ids(src)
    targets, target_lengths = pad_ids(tgt)
    eager = BeamSearch(run.model).eval()
    expected = eager.score(sources, source_lengths, targets).float()
    found = artifact.search.score(sources, source_lengths, targets).float()
    real = torch.arange(expected.size(1)) < target_lengths.unsqueeze(1)
    difference = (found - expected).abs()[real]
    outputs = [_greedy(search, src) for search in (eager, artifact.search)]
    same = sum(one == other for one, other in zip(*outputs, strict=True)) / len(src)
    return Parity(len(src), float(difference.max()), float(difference.mean()), same)


def _greedy(search: nn.Module, src: Sequence[Sequence[int]]) -> list[list[int]]:
    engine = Engine(search)
    requests = [Request(n, tuple(ids), SearchOptions(beam=1)) for n, ids in enumerate(src)]
    results = engine.run(requests)
    for result in results:
        if result.error is not None:
            raise ArtifactError(f"the search fails on the exported model: {result.error}") from result.error
    return [list(result.hypotheses[0].ids) for result in results]


def _samples(run: TrainedModel) -> tuple[list[list[int]], list[list[int]]]:
    """Return source ids, after the target-language tag if there is one, and target ids, both with EOS."""
    encode = run.tokenizer.encode
    texts = [(clean(src), clean(tgt), language) for src, tgt, *language in run.samples[:MAX_SAMPLES]]
    pairs = [([*map(run.tokenizer.tag, tag), *encode(src)], encode(tgt)) for src, tgt, tag in texts if src and tgt]
    if not pairs:  # a run without samples
        generator = torch.Generator().manual_seed(1)
        high = run.tokenizer.vocabulary

        def some(length: int) -> list[int]:
            return torch.randint(EOS + 1, high, (length,), generator=generator).tolist()

        pairs = [(some(3 + n), some(2 + n)) for n in range(MAX_SAMPLES)]
    return [[*src, EOS] for src, _ in pairs], [[*tgt, EOS] for _, tgt in pairs]


def make_shortlist(run: Run, count: int) -> Shortlist:
    """Make the tables of a shortlist, with `count` pieces for each source piece, from the run's training corpus.

    Raises `ArtifactError` if the corpus is no longer there.
    """
    from nmt.corpus.lexicon import best_translations, most_frequent  # here: exports without it need no numpy
    from nmt.corpus.prepare import prepare

    data = run.config.data
    where = f"run it in the folder where the model was trained (data.root: {data.root}, data.cache: {data.cache})"
    try:
        corpus = prepare(data, data.cache)
    except (CorpusError, TokenizerError) as error:
        raise ArtifactError(f"--shortlist needs the training corpus: {error}; {where}, or export without it") from None
    if corpus.tokenizer.to_bytes() != run.tokenizer.to_bytes():
        raise ArtifactError(f"--shortlist needs the training corpus, but that of {data.root} is another one; {where}")
    size = run.tokenizer.vocabulary
    frequent = most_frequent(corpus.train.target, size, FREQUENT)
    lexicon = best_translations(corpus.train.source, corpus.train.target, size, count)
    kind = torch.int16 if size <= 2**15 else torch.int32
    return Shortlist(torch.from_numpy(lexicon).to(kind), torch.from_numpy(frequent).to(kind))


def script(model: StepModel, shortlist: Shortlist | None = None) -> bytes:
    """Script the search around a model; returns the bytes of a `torch.jit.save`."""
    buffer = io.BytesIO()
    with torchscript():
        for name in BeamSearch.SCRIPTED:  # the methods that the engine calls, besides forward
            torch.jit.export(getattr(BeamSearch, name))
        torch.jit.save(torch.jit.script(BeamSearch(model, *(shortlist or ())).eval()), buffer)
    return buffer.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(
        "python -m nmt.export",
        "Export the best model of a run folder to one file that needs torch and sentencepiece only.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of nmt.train")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="file to write; RUN/model-DTYPE.pt if not given"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="type of the weights")
    parser.add_argument(
        "--shortlist",
        type=positive,
        nargs="?",
        const=40,
        metavar="N",
        help=f"translate a sentence by the N (40 if not given) most probable target pieces of its source pieces and "
        f"the {FREQUENT} most frequent ones; needs the training corpus",
    )
    parser.add_argument("--licence", default="", help="licence of the weights, for the manifest")
    options = parser.parse_args(argv)

    from nmt.training.run_folder import load_run  # here, so that exporting functions need no training code

    run = load_run(options.run)
    path = options.output or options.run / f"model-{options.dtype}.pt"
    began = time.monotonic()
    shortlist = make_shortlist(run, options.shortlist) if options.shortlist else None
    manifest, parity = export(run, path, options.dtype, licence=options.licence, shortlist=shortlist)
    print(f"compared with the trained model on {parity}")
    print(
        f"{path}: {' '.join(f'{source}-{target}' for source, target in manifest.pairs)}, {manifest.dtype}, "
        f"{manifest.parameters / 1e6:.1f} M parameters, {path.stat().st_size / 1e6:.1f} MB, "
        f"exported in {time.monotonic() - began:.1f} s"
    )
    return 0
