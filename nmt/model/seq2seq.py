"""The translation model: embeddings, encoder, attention, decoder and output layer in one scriptable module.

In the way of the data: batches -> **model** -> loss (training), pieces -> **model** -> search (translation). Here, and
nowhere else, the words of the config become modules.

Dimension key, used in every docstring and comment:

    B sentences    K beam    N = B * K rows    S source pieces    T target pieces    V vocabulary
    E embedding    H decoder state    D memory (encoder state)    A attention
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from nmt.config import ModelConfig
from nmt.model.attention import (
    Attention,
    BahdanauAttention,
    LuongDotAttention,
    LuongGeneralAttention,
    MultiHeadAttention,
)
from nmt.model.bridge import BRIDGES
from nmt.model.connections import CONNECTIONS
from nmt.model.context import FixedContext, NoContext
from nmt.model.decoder import Decoder
from nmt.model.dropout import VariationalDropout, WordDropout
from nmt.model.encoder import BidirectionalLayer, Encoder, ForwardLayer
from nmt.model.readout import AttentionalOutput, DeepOutput
from nmt.model.recurrent import GRU, LSTM, RNN
from nmt.model.wiring import WIRINGS, Layers
from nmt.search.interface import Memory
from nmt.text.special_ids import PAD

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class Seq2Seq(nn.Module):
    """p(target | source) as a product over target pieces, each given the pieces before it and the source.

    `forward` gives the readouts of whole sentences with teacher forcing; `encode` and `step` decode piece by piece.
    """

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        width = config.embedding
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.output = nn.Linear(width, vocabulary)
        nn.init.zeros_(self.output.bias)
        if config.tying != "none":  # target and output share a table (Press & Wolf 2017)
            self.output.weight = self.embedding.weight
        table = torch.empty(vocabulary, width)  # not yet random
        self.source_embedding = nn.Embedding(vocabulary, width, padding_idx=PAD, _weight=table)
        if config.tying == "three_way":
            self.source_embedding.weight = self.embedding.weight
        for weight in dict.fromkeys([self.embedding.weight, self.source_embedding.weight]):
            nn.init.normal_(weight, std=width**-0.5)
            nn.init.zeros_(weight.data[PAD])
        self.embedding_scale = width**0.5
        self.embedding_dropout = VariationalDropout(config.dropout_embedding)
        self.word_dropout = WordDropout(config.dropout_word)
        self.encoder = make_encoder(config)
        self.decoder = make_decoder(config, self.encoder.output_size)

    def embed_source(self, ids: Tensor) -> Tensor:
        """Embed source `ids` (B, S) to (B, S, E)."""
        return self._drop_out(self.source_embedding(ids))

    def embed_target(self, ids: Tensor) -> Tensor:
        """Embed target `ids` (N, T) to (N, T, E)."""
        return self._drop_out(self.embedding(ids))

    def _drop_out(self, embedded: Tensor) -> Tensor:
        dropped: Tensor = self.word_dropout(self.embedding_dropout(embedded * self.embedding_scale))
        return dropped

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        """Read `src` (B, S), of which `lengths` (B,) pieces are real: memory and first decoder state, each (B, ·)."""
        states, summary = self.encoder(self.embed_source(src), lengths)
        mask = torch.arange(src.size(1), device=src.device).unsqueeze(0) < lengths.unsqueeze(1)
        return self.decoder.open(states, summary, mask)

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Read one piece `tokens` (N,) on each row: logits (N, V), the next state, attention weights (N, S)."""
        readout, state, weights = self.decoder(self.embed_target(tokens.unsqueeze(1)), state, memory)
        return self.output(readout.squeeze(1)), state, weights.squeeze(1)

    def forward(self, src: Tensor, lengths: Tensor, tgt_in: Tensor) -> Tensor:
        """Teacher forcing: readouts (B, T, E) behind each prefix of `tgt_in` (B, T); `output` makes logits of them."""
        memory, state = self.encode(src, lengths)
        readout: Tensor = self.decoder(self.embed_target(tgt_in), state, memory)[0]
        return readout


def make_encoder(config: ModelConfig) -> Encoder:
    """The encoder of a config."""
    encoder = config.encoder
    return Encoder(
        partial(CELLS[encoder.cell], norm=config.cell_norm),
        BidirectionalLayer if encoder.bidirectional else ForwardLayer,
        config.embedding,
        encoder.hidden,
        encoder.layers,
        CONNECTIONS[encoder.connections],
        config.dropout,
        config.layer_norm,
        config.reverse_source,
    )


def make_attention(config: ModelConfig, memory_size: int) -> Attention:
    """What the decoder asks about encoder states of `memory_size`: an attention, or a fixed context in its place."""
    decoder = config.decoder
    if decoder.attention == "none":
        return FixedContext(memory_size) if decoder.context == "every_step" else NoContext()
    if decoder.attention == "luong_dot":
        return LuongDotAttention(memory_size)
    if decoder.attention == "luong_general":
        return LuongGeneralAttention(decoder.query_size, memory_size)
    if decoder.heads > 1:
        return MultiHeadAttention(decoder.query_size, memory_size, decoder.attention_size, decoder.heads)
    return BahdanauAttention(decoder.query_size, memory_size, decoder.attention_size)


def make_decoder(config: ModelConfig, memory_size: int) -> Decoder:
    """The decoder of a config, for encoder states of `memory_size`."""
    decoder = config.decoder
    input_size = config.embedding * (2 if decoder.input_feeding else 1)
    attention = make_attention(config, memory_size)
    layers = Layers(
        partial(CELLS[decoder.cell], norm=config.cell_norm),
        CONNECTIONS[decoder.connections],
        decoder.hidden,
        decoder.layers,
        config.layer_norm,
    )
    wiring = WIRINGS[decoder.wiring](layers, attention, input_size)
    bridge = BRIDGES[decoder.initial_state](memory_size, decoder.hidden, decoder.layers)
    readout = (DeepOutput if decoder.deep_output else AttentionalOutput)(
        wiring.size, attention.context_size, input_size, config.embedding
    )
    return Decoder(wiring, bridge, readout, config.embedding, config.dropout, decoder.input_feeding)
