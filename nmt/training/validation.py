"""Validation: loss and BLEU of the present model on held-out text.

In the way of the data: model -> **validation** -> checkpoint, every so many steps of train.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import sacrebleu
import torch

from nmt.corpus.batching import ordered_batches
from nmt.corpus.prepared import Part, Split
from nmt.model.seq2seq import Seq2Seq
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, SearchOptions
from nmt.text.tokenizer import Tokenizer
from nmt.training.loss import batch_loss
from nmt.translator import Translator


@dataclass(frozen=True)
class Scores:
    """The result of one validation."""

    loss: float
    """mean negative log-likelihood of a target piece, nats"""
    bleu_by_direction: Mapping[str, float]
    """BLEU, 0 to 100, of each direction, named as in en-de"""
    sentences_per_second: float
    """decoding speed"""
    signature: str
    """how sacreBLEU computed BLEU"""

    @property
    def perplexity(self) -> float:
        """exp(loss), per piece."""
        return math.exp(min(self.loss, 100.0))

    @property
    def bleu(self) -> float:
        """Mean BLEU of the directions; it decides which model is the best."""
        return sum(self.bleu_by_direction.values()) / len(self.bleu_by_direction)

    def to_dict(self) -> dict[str, float]:
        """Return the values for the log; `bleu en-de` and so on if there are several directions."""
        each = self.bleu_by_direction if len(self.bleu_by_direction) > 1 else {}
        return {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bleu": self.bleu,
            **{f"bleu {direction}": score for direction, score in each.items()},
            "sentences_per_second": self.sentences_per_second,
        }


class Validator:
    """Computes the loss with teacher forcing, and BLEU of translations by the search that everything else uses."""

    def __init__(
        self,
        split: Split,
        tokenizer: Tokenizer,
        search: SearchOptions,
        *,
        max_source_pieces: int,
        batch_tokens: int,
        device: torch.device,
    ) -> None:
        """max_source_pieces: longer segments are cut, as they will be by the exported model."""
        self.split = split
        self.tokenizer = tokenizer
        self.search = search
        self.max_source_pieces = max_source_pieces
        self.batch_tokens = batch_tokens
        self.device = device
        self.metric = sacrebleu.BLEU()

    @torch.no_grad()
    def validate(self, model: Seq2Seq) -> Scores:
        """Score `model`, which is in training mode again afterwards."""
        model.eval()
        nll, tokens = 0.0, 0
        for batch in ordered_batches(self.split, batch_tokens=self.batch_tokens):
            _, batch_nll = batch_loss(model, batch.to(self.device), 0.0, torch.float32)
            nll += float(batch_nll)
            tokens += batch.target_tokens
        began = time.monotonic()
        translator = self.translator(model)
        bleu = {str(part): self._bleu(translator, part) for part in self.split.parts}
        seconds = time.monotonic() - began
        model.train()
        speed = len(self.split) / max(seconds, 1e-9)
        return Scores(nll / max(tokens, 1), bleu, speed, str(self.metric.get_signature()))

    def translator(self, model: Seq2Seq) -> Translator:
        """Return a translator that treats text as the exported model's will."""
        return Translator(
            self.tokenizer,
            Engine(BeamSearch(model), device=self.device),
            max_source_pieces=self.max_source_pieces,
            target_tags=self.split.target_tags,
        )

    def _bleu(self, translator: Translator, part: Part) -> float:
        """Return the BLEU of one direction."""
        translations = translator.translate(
            self.split.source_lines[part.rows],
            self.search,
            source_language=part.source_language,
            target_language=part.target_language,
        )
        hypotheses = [translation.text for translation in translations]
        return float(self.metric.corpus_score(hypotheses, [self.split.reference_lines[part.rows]]).score)
