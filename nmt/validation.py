"""Validation: how good the model is now, on text that it does not train on.

In the way of the data: model -> **validation** -> checkpoint, every so many steps of train.
"""

from __future__ import annotations

import math
import time

import sacrebleu
import torch

from nmt.batching import ordered_batches
from nmt.engine import Engine, SearchOptions
from nmt.loss import batch_loss
from nmt.model import Seq2Seq
from nmt.prepared import Split
from nmt.search import BeamSearch
from nmt.tokenizer import Tokenizer
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
        """loss (nats a piece), perplexity, bleu and sentences a second."""
        model.eval()
        nll, tokens = 0.0, 0
        for batch in ordered_batches(self.split, batch_tokens=self.batch_tokens):
            _, batch_nll = batch_loss(model, batch.to(self.device), 0.0, torch.float32)
            nll += float(batch_nll)
            tokens += batch.target_tokens
        began = time.monotonic()
        translator = Translator(self.tokenizer, Engine(BeamSearch(model), device=self.device))
        hypotheses = [t.text for t in translator.translate(self.split.source_lines, self.search)]
        seconds = time.monotonic() - began
        bleu = self.metric.corpus_score(hypotheses, [self.split.reference_lines])
        self.signature = str(self.metric.get_signature())
        model.train()
        loss = nll / max(tokens, 1)
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 100.0)),
            "bleu": bleu.score,
            "sentences_per_second": len(hypotheses) / max(seconds, 1e-9),
        }
