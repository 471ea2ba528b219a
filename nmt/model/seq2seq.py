"""The translation model: embeddings, encoder, attention, decoder and output layer in one scriptable module.

In the way of the data: batches -> **model** -> loss (training), pieces -> **model** -> search (translation). This is
the only module of `nmt/model` that reads the config: it selects the class that each option names.

Legend of dimensions, for the docstrings and comments of the whole project:

    B  sentences of a batch; in the search, slots       E  embedding, also the readout
    K  hypotheses of a sentence (the beam)              H  hidden state of a recurrent layer
    N  rows, N = B * K (K = 1 outside the search)       D  encoder state, also a value of the memory and a context
    S  source pieces                                    A  hidden layer of an additive attention
    T  target pieces                                    I  input of a layer or of a linear map
    V  vocabulary                                       O  output of a layer or of a linear map
    Q  queries to the attention, per sentence           M  real target pieces of a batch, without padding (loss)
    L  longest target that fits, in pieces (search)     P  pieces of a given target prefix (search)
    R  rows selected from a larger tensor (search)      n  any number, such as n-best hypotheses
    ·  any width
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from nmt.config import DecoderConfig, EncoderConfig, ModelConfig
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
from nmt.model.layers import LayerOptions
from nmt.model.readout import AttentionalOutput, DeepOutput
from nmt.model.recurrent import GRU, LSTM, RNN
from nmt.model.wiring import WIRINGS
from nmt.search.interface import Memory
from nmt.text.special_ids import PAD

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class Seq2Seq(nn.Module):
    """p(target | source), factorised into the probabilities of the target pieces, each given its prefix and the source.

    `forward` computes the readouts of whole sentences with teacher forcing; `encode` and `step` decode step by step.
    """

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        width = config.embedding
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.output = nn.Linear(width, vocabulary)
        nn.init.zeros_(self.output.bias)
        if config.tying != "none":  # target embedding and output layer share their weights (Press & Wolf 2017)
            self.output.weight = self.embedding.weight
        table = torch.empty(vocabulary, width)  # not yet initialised: the loop below does it for every table
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
        """Encode `src` (B, S), whose sentences have `lengths` (B,) pieces; padding is ignored.

        Returns the memory and the decoder's initial state, a list of tensors (B, ·).
        """
        states, summary = self.encoder(self.embed_source(src), lengths)
        mask = torch.arange(src.size(1), device=src.device).unsqueeze(0) < lengths.unsqueeze(1)
        return self.decoder.start(states, summary, mask)

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Decode one step from the previous pieces `tokens` (N,).

        Returns the logits (N, V) of the next piece, the next state and the attention weights (N, S).
        """
        readout, state, weights = self.step_readout(tokens, state, memory)
        return self.output(readout), state, weights

    def step_readout(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Compute `step` without the output layer: the readout (N, E) in place of the logits."""
        readout, state, weights = self.decoder(self.embed_target(tokens.unsqueeze(1)), state, memory)
        return readout.squeeze(1), state, weights.squeeze(1)

    def output_rows(self, ids: Tensor) -> list[Tensor]:
        """Return the rows of the output layer for the pieces `ids` (B, C): its weight (B, C, E) and bias (B, C)."""
        weight = self.output.weight[ids]
        bias: Tensor = self.output.bias[ids]
        if hasattr(self.output, "scale"):  # int8, see nmt/model/quantized.py
            weight = weight.to(bias.dtype) * self.output.scale[ids].unsqueeze(2)  # type: ignore[index]
        return [weight, bias]

    def forward(self, src: Tensor, lengths: Tensor, tgt_in: Tensor) -> Tensor:
        """Compute the readouts (B, T, E) after each prefix of `tgt_in` (B, T), with teacher forcing.

        `src` (B, S) and `lengths` (B,) are as in `encode`. `output` maps readouts to logits.
        """
        memory, state = self.encode(src, lengths)
        readout: Tensor = self.decoder(self.embed_target(tgt_in), state, memory)[0]
        return readout


def layer_options(config: ModelConfig, side: EncoderConfig | DecoderConfig) -> LayerOptions:
    """Build the options of the recurrent layers of one side, encoder or decoder."""
    return LayerOptions(
        cell=partial(CELLS[side.cell], norm=config.cell_norm),
        connection=CONNECTIONS[side.connections],
        hidden_size=side.hidden,
        count=side.layers,
        layer_norm=config.layer_norm,
    )


def make_encoder(config: ModelConfig) -> Encoder:
    """Build the encoder of a config."""
    options = layer_options(config, config.encoder)
    layer = BidirectionalLayer if config.encoder.bidirectional else ForwardLayer
    return Encoder(options, layer, config.embedding, config.dropout, config.reverse_source)


def make_attention(config: ModelConfig, memory_size: int) -> Attention:
    """Build the attention over encoder states of width `memory_size`, or the fixed context in its place."""
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
    """Build the decoder of a config, for encoder states of width `memory_size`."""
    decoder = config.decoder
    input_size = config.embedding * (2 if decoder.input_feeding else 1)
    attention = make_attention(config, memory_size)
    wiring = WIRINGS[decoder.wiring](layer_options(config, decoder), attention, input_size)
    bridge = BRIDGES[decoder.initial_state](memory_size, decoder.hidden, decoder.layers)
    readout = (DeepOutput if decoder.deep_output else AttentionalOutput)(
        wiring.size, attention.context_size, input_size, config.embedding
    )
    return Decoder(wiring, bridge, readout, config.embedding, config.dropout, decoder.input_feeding)
