"""Validation: how good the model is now, on text that it does not train on.

In the way of the data: model -> **validation** -> checkpoint, every so many steps of train.
"""

from __future__ import annotations

import math
import time

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


class Validator:
    """Scores the model on the validation text: perplexity with teacher forcing, BLEU through the one search."""

    def __init__(
        self, split: Split, tokenizer: Tokenizer, search: SearchOptions, batch_tokens: int, device: torch.device
    ) -> None:
        self.split = split
        self.tokenizer = tokenizer
        self.search = search
        self.batch_tokens = batch_tokens
        self.device = device
        self.metric = sacrebleu.BLEU()
        self.signature = ""

    @torch.no_grad()
    def validate(self, model: Seq2Seq) -> dict[str, float]:
        """loss (nats a piece), perplexity, bleu and sentences a second.

        With several directions `bleu` is the mean of theirs, all counted alike, and `bleu en-de` is that of one.
        """
        model.eval()
        nll, tokens = 0.0, 0
        for batch in ordered_batches(self.split, batch_tokens=self.batch_tokens):
            _, batch_nll = batch_loss(model, batch.to(self.device), 0.0, torch.float32)
            nll += float(batch_nll)
            tokens += batch.target_tokens
        began = time.monotonic()
        engine = Engine(BeamSearch(model), device=self.device)
        translator = Translator(self.tokenizer, engine, target_tags=self.split.target_tags)
        bleu = {str(part): self._bleu(translator, part) for part in self.split.parts}
        seconds = time.monotonic() - began
        self.signature = str(self.metric.get_signature())
        model.train()
        loss = nll / max(tokens, 1)
        each = {f"bleu {direction}": score for direction, score in bleu.items()} if len(bleu) > 1 else {}
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 100.0)),
            "bleu": sum(bleu.values()) / len(bleu),
            **each,
            "sentences_per_second": len(self.split) / max(seconds, 1e-9),
        }

    def _bleu(self, translator: Translator, part: Part) -> float:
        """BLEU of one direction."""
        translations = translator.translate(
            self.split.source_lines[part.rows],
            self.search,
            source=part.source_language,
            target=part.target_language,
        )
        hypotheses = [translation.text for translation in translations]
        return float(self.metric.corpus_score(hypotheses, [self.split.reference_lines[part.rows]]).score)
