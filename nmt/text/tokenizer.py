"""Text to ids and back: a SentencePiece model with fixed special ids, language tags and subword sampling.

In the way of the data: between cleaned text and batches in training, and between segments and the engine in
translation. Text is normalised by `nmt.text.cleaning.clean`, not by SentencePiece, so that `decode(encode(x)) == x` for
every clean x without unknown characters.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import sentencepiece

from nmt.errors import TokenizerError
from nmt.text.cleaning import SPACE
from nmt.text.special_ids import BOS, EOS, PAD, UNK

Kind = Literal["unigram", "bpe", "char", "word"]
UNKNOWN = "\u2047"
"""the text of an unknown piece whose source is not known"""
_SPECIALS = 4
# The serialized model ends with the SHA-256 of the bytes before it, as protobuf field 200 (reserved for extensions,
# ignored by SentencePiece). Protobuf itself accepts a file that was cut between two fields, and most flipped bytes.
_DIGEST_FIELD = b"\xc2\x0c\x20"
_DIGEST_BYTES = 32
_LONGEST_LINE_BYTES = 1 << 16

# The generator for sampling is seeded for the whole process (each thread has its own, re-seeded at its first draw after
# set_random_generator_seed), so seeding and drawing must not be interleaved with those of another thread.
_sampling = threading.Lock()


class Tokenizer:
    """A trained SentencePiece model. Encoding and decoding are thread-safe."""

    def __init__(self, model: bytes) -> None:
        """Read a serialized model; raises `TokenizerError` if the bytes are damaged or not such a model."""
        self._model = bytes(model)
        self._processor = sentencepiece.SentencePieceProcessor()
        if not _is_whole(self._model):
            raise TokenizerError("the tokenizer is damaged: its digest does not match; restore it, or train again")
        try:
            self._processor.LoadFromSerializedProto(self._model)
            self._pieces: list[str] = list(self._processor.id_to_piece(list(range(self._processor.get_piece_size()))))
        except (RuntimeError, UnicodeDecodeError):
            raise TokenizerError("the tokenizer is not a SentencePiece model; train again") from None
        ids = tuple(getattr(self._processor, f"{name}_id")() for name in ("pad", "unk", "bos", "eos"))
        if ids != (PAD, UNK, BOS, EOS):
            raise TokenizerError(
                f"the tokenizer has the ids {ids} for pad, unk, bos, eos instead of {(PAD, UNK, BOS, EOS)}; "
                "train it with this package"
            )
        # A word model has no piece for a single space: its unknown pieces are whole words including the space.
        self._unknown_is_word = self._processor.piece_to_id(SPACE) == UNK
        self.can_sample = self._probe_sampling()
        """whether a text can have several segmentations: False for characters and words"""

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocabulary: int,
        kind: Kind = "bpe",
        languages: Sequence[str] = (),
        character_coverage: float = 1.0,
    ) -> Tokenizer:
        """Train a model of `vocabulary` pieces (special pieces and language tags included) on clean `texts`.

        Deterministic: the same texts and settings give the same bytes. A `char` model is smaller than `vocabulary` if
        the text has fewer characters. Raises `TokenizerError` if `vocabulary` is too large for the text (naming the
        largest possible size) or smaller than its number of characters.
        """
        if kind not in get_args(Kind):
            raise TokenizerError(f"data.units: unknown kind {kind!r}; use one of {', '.join(get_args(Kind))}")
        smallest = _SPECIALS + len(languages) + 1
        if vocabulary < smallest:
            raise TokenizerError(f"data.vocabulary: {vocabulary} is too small; give at least {smallest}")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(text for text in texts if text),
                model_writer=model,
                model_type=kind,
                vocab_size=vocabulary,
                character_coverage=character_coverage,
                control_symbols=[_tag(language) for language in languages],  # never produced by encoding text
                normalization_rule_name="identity",
                max_sentence_length=_LONGEST_LINE_BYTES,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                num_threads=4,  # fixed: rounding in the unigram sums depends on it
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise TokenizerError(_explain(str(error), vocabulary, kind)) from None
        content = model.getvalue()
        return cls(content + _DIGEST_FIELD + hashlib.sha256(content).digest())

    def to_bytes(self) -> bytes:
        """Return the serialized model, for `Tokenizer(model)`; SentencePiece's own tools can read it as well."""
        return self._model

    @property
    def vocabulary(self) -> int:
        """Number of pieces, special pieces and language tags included."""
        return len(self._pieces)

    def encode(self, text: str, *, sample_alpha: float = 0.0) -> list[int]:
        """Return the ids of clean `text`, without BOS and EOS.

        With `sample_alpha` > 0 the segmentation is random. For BPE it is the probability of skipping each merge
        (Provilkov et al. 2020). For unigram it is the exponent that sharpens the distribution over segmentations (Kudo
        2018): uniform near 0, close to the best segmentation at 0.5. Characters and words have only one segmentation.
        """
        if sample_alpha <= 0 or not self.can_sample:
            return list(self._processor.encode(text))
        with _sampling:
            return list(self._processor.encode(text, enable_sampling=True, alpha=sample_alpha, nbest_size=-1))

    def encode_many(self, texts: Sequence[str], *, sample_alpha: float = 0.0, seed: int = 0) -> list[list[int]]:
        """Return the ids of each text; with `sample_alpha` > 0 a pure function of the texts, alpha and `seed`."""
        lines = list(texts)
        if sample_alpha <= 0 or not self.can_sample:
            return list(self._processor.encode(lines))
        with _sampling:
            sentencepiece.set_random_generator_seed(seed % (1 << 32))
            # One thread, so that the order of the draws does not depend on the scheduler.
            return list(
                self._processor.encode(lines, enable_sampling=True, alpha=sample_alpha, nbest_size=-1, num_threads=1)
            )

    def _probe_sampling(self) -> bool:
        with _sampling:
            try:
                self._processor.encode("a", enable_sampling=True, alpha=0.5, nbest_size=-1)
            except RuntimeError:
                return False
        return True

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of clean `text`, and for each its span (begin, end) in characters; the spans cover the text.

        A span may begin with the space before the word. Adjacent unknown characters share one UNK.
        """
        mapping: dict[str, Any] = self._processor.encode(text, return_type="offset_mapping")
        return list(mapping["ids"]), [(int(begin), int(end)) for begin, end in mapping["offsets"]]

    def decode(self, ids: Sequence[int], *, unknown: Sequence[str] = ()) -> str:
        """Return the text of `ids`; PAD, BOS, EOS and language tags are skipped.

        The k-th UNK becomes `unknown[k]`, or U+2047 beyond the end of `unknown`.
        """
        surfaces = iter(unknown)
        parts: list[str] = []
        for index in ids:
            if index == UNK:
                surface = next(surfaces, UNKNOWN)
                parts.append(f" {surface}" if self._unknown_is_word else surface)
            elif not self._processor.is_control(index):
                parts.append(self._pieces[index].replace(SPACE, " "))
        return " ".join("".join(parts).split())

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces as written in the vocabulary, e.g. ['▁Hel', 'lo']."""
        return [self._pieces[index] for index in ids]

    def tag(self, language: str) -> int:
        """Return the id of the target tag `<2language>`; raises `TokenizerError` if the tokenizer has none."""
        index = int(self._processor.piece_to_id(_tag(language)))
        if index == UNK:
            known = ", ".join(p[2:-1] for p in self._pieces[_SPECIALS:] if re.fullmatch(r"<2[^>]+>", p)) or "none"
            raise TokenizerError(f"no tag for target language {language!r}; this tokenizer has {known}")
        return index


def _is_whole(model: bytes) -> bool:
    content = model[: -_DIGEST_BYTES - len(_DIGEST_FIELD)]
    return model == content + _DIGEST_FIELD + hashlib.sha256(content).digest()


def _tag(language: str) -> str:
    return f"<2{language}>"


def _explain(message: str, vocabulary: int, kind: str) -> str:
    """Turn SentencePiece's error into one line that names the setting and the remedy."""
    if match := re.search(r"Please set it to a value <= (\d+)", message):
        return (
            f"data.vocabulary: {vocabulary} is too large for this text ({kind} pieces); "
            f"set it to {match[1]} or less, or give more text"
        )
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"data.vocabulary: {vocabulary} is too small, because the text has more different characters; "
            f"set it to at least {match[1]}, or lower data.character_coverage"
        )
    if "sentences_.empty()" in message or "all_chars_count" in message:
        return "no text to train the tokenizer on: all lines are empty"
    return f"the tokenizer cannot be trained: {' '.join(message.split())}"
