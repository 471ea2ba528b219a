"""The translation model: embeddings, encoder, attention, decoder and output layer in one scriptable module.

In the way of the data: batches -> **model** -> loss (training), pieces -> **model** -> search (translation).

Dimension key, used in every docstring and comment:

    B sentences    K beam    N = B * K rows    S source pieces    T target pieces    V vocabulary
    E embedding    H decoder state    D memory (encoder state)    A attention
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention import BahdanauAttention, Memory
from nmt.config import ModelConfig
from nmt.decoder import Decoder
from nmt.dropout import VariationalDropout, WordDropout
from nmt.encoder import Encoder
from nmt.special import PAD


class Seq2Seq(nn.Module):
    """p(target | source) as a product over target pieces, each given the pieces before it and the source.

    `forward` gives the readouts of whole sentences with teacher forcing; `encode` and `step` decode piece by piece.
    """

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        encoder, decoder = config.encoder, config.decoder
        # One table for source, target and output (Press & Wolf 2017: three-way tying); the vocabulary is joint.
        self.embedding = nn.Embedding(vocabulary, config.embedding, padding_idx=PAD)
        self.output = nn.Linear(config.embedding, vocabulary)
        self.output.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=config.embedding**-0.5)
        nn.init.zeros_(self.embedding.weight.data[PAD])
        nn.init.zeros_(self.output.bias)
        self.embedding_scale = config.embedding**0.5
        self.embedding_dropout = VariationalDropout(config.dropout_embedding)
        self.word_dropout = WordDropout(config.dropout_word)
        self.encoder = Encoder(config.embedding, encoder.hidden, encoder.layers, config.dropout, config.layer_norm)
        self.decoder = Decoder(
            config.embedding,
            decoder.hidden,
            decoder.layers,
            BahdanauAttention(decoder.hidden, self.encoder.output_size, decoder.attention_size),
            self.encoder.output_size,
            config.embedding,
            config.dropout,
            config.layer_norm,
        )

    def embed(self, ids: Tensor) -> Tensor:
        """Embed `ids` (N, T) to (N, T, E)."""
        embedded: Tensor = self.word_dropout(self.embedding_dropout(self.embedding(ids) * self.embedding_scale))
        return embedded

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        """Read `src` (B, S), of which `lengths` (B,) pieces are real: memory and first decoder state, each (B, ·)."""
        states, summary = self.encoder(self.embed(src), lengths)
        mask = torch.arange(src.size(1), device=src.device).unsqueeze(0) < lengths.unsqueeze(1)
        return self.decoder.attention.memory(states, mask), self.decoder.initial_state(summary)

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Read one piece `tokens` (N,) on each row: logits (N, V), the next state, attention weights (N, S)."""
        readout, state, weights = self.decoder(self.embed(tokens.unsqueeze(1)), state, memory)
        return self.output(readout.squeeze(1)), state, weights.squeeze(1)

    def forward(self, src: Tensor, lengths: Tensor, tgt_in: Tensor) -> Tensor:
        """Teacher forcing: readouts (B, T, E) behind each prefix of `tgt_in` (B, T); `output` makes logits of them."""
        memory, state = self.encode(src, lengths)
        readout: Tensor = self.decoder(self.embed(tgt_in), state, memory)[0]
        return readout
