"""One frozen config for a run: what data, which model, how to train, how to search.

In the way of the data: read from YAML and the command line before anything else; everything below takes plain values
from it. An unknown key is refused with the nearest known one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from nmt.errors import ConfigError


class Section(BaseModel):
    """A frozen part of the config; the docstring under a field is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


class DirectionConfig(Section):
    """From which language to which, and the text for it."""

    source_language: str = Field(min_length=1)
    """code of the source language, e.g. en"""
    target_language: str = Field(min_length=1)
    """code of the target language, e.g. de"""
    train_src: tuple[Path, ...] = ()
    """training text, source side: plain UTF-8 or gzip, a sentence a line"""
    train_tgt: tuple[Path, ...] = ()
    """training text, target side: as many files and lines"""
    train_tsv: tuple[Path, ...] = ()
    """training text as source<TAB>target lines, instead of or beside the two above"""
    valid_src: Path | None = None
    """validation text, source side; without it `valid_size` pairs are split off the training text"""
    valid_tgt: Path | None = None
    """validation text, target side"""
    test_src: Path | None = None
    """test text, source side; scored once, at the end of a run"""
    test_tgt: Path | None = None
    """test text, target side"""

    @property
    def pair(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_language, self.target_language


class DataConfig(DirectionConfig):
    """Which parallel text, how it is cleaned and cut into pieces: one direction, or `directions`."""

    source_language: str = Field("en", min_length=1)
    """code of the source language, e.g. en"""
    target_language: str = Field("de", min_length=1)
    """code of the target language, e.g. de"""
    directions: tuple[DirectionConfig, ...] = ()
    """several pairs of languages in one model: sections of the keys above, in their place; as YAML, whole"""
    root: Path = Path("data/corpora")
    """folder below which the file names are looked up; absolute names stand for themselves"""
    valid_size: int = Field(1000, ge=1)
    """pairs (a direction) split off for validation where no validation files are given"""
    test_size: int = Field(0, ge=0)
    """pairs (a direction) split off for the test where no test files are given"""
    split_seed: int = 1
    """seed of that split"""
    vocabulary: int = Field(8000, ge=8)
    """pieces in the joint vocabulary"""
    units: Literal["unigram", "bpe", "char", "word"] = "bpe"
    """what a piece is"""
    character_coverage: float = Field(1.0, gt=0, le=1)
    """share of the text's characters that get a piece; the rest is unknown"""
    max_length: int = Field(100, ge=1)
    """longest training sentence, in pieces, a target tag included; longer pairs are dropped and counted"""
    max_ratio: float = Field(4.0, gt=1)
    """largest ratio of the two lengths of a training pair"""
    deduplicate: bool = True
    """drop training pairs seen before"""
    drop_test_overlap: bool = False
    """drop training pairs whose source also stands in the validation or test text of their direction"""
    sampling: float = Field(0.0, ge=0, le=1)
    """subword regularisation, 0 is off: BPE-dropout probability (say 0.1), or unigram smoothing (say 0.3)"""
    cache: Path = Path("data/cache")
    """where prepared corpora are kept, found again by content"""

    @property
    def all_directions(self) -> tuple[DirectionConfig, ...]:
        """The directions, or the only one."""
        return self.directions or (self,)

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("directions"):
            for name in DirectionConfig.model_fields:
                if name in values:
                    raise ValueError(
                        f"{name} stands beside directions; move it into one of them, or leave directions out"
                    )
        return values

    @model_validator(mode="after")
    def _each_once(self) -> DataConfig:
        pairs = [direction.pair for direction in self.directions]
        for number, pair in enumerate(pairs):
            if pair in pairs[:number]:
                raise ValueError(f"directions: {'-'.join(pair)} stands there twice; name all its files in one section")
        return self

    @model_serializer(mode="wrap")
    def _used_form(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the keys of the form that is not used: what is written can be read again."""
        unused = DirectionConfig.model_fields if self.directions else ("directions",)
        return {name: value for name, value in dump(self).items() if name not in unused}


Cell = Literal["lstm", "gru", "rnn"]
Connections = Literal["none", "residual", "highway", "dense"]


class EncoderConfig(Section):
    """The encoder: recurrent layers over the source."""

    cell: Cell = "lstm"
    """what carries the state along; rnn has a tanh and no gates"""
    layers: int = Field(1, ge=1)
    """stacked layers"""
    hidden: int = Field(256, ge=1)
    """state size a direction"""
    bidirectional: bool = True
    """read from both ends"""
    connections: Connections = "none"
    """around each layer above the first"""

    @property
    def memory_size(self) -> int:
        """D, the width of an encoder state as the decoder sees it."""
        directions = 2 if self.bidirectional else 1
        return self.hidden * directions * (self.layers if self.connections == "dense" else 1)


class DecoderConfig(Section):
    """The decoder: recurrent layers over the target, and how they look at the source."""

    cell: Cell = "lstm"
    """what carries the state along"""
    layers: int = Field(2, ge=1)
    """stacked layers"""
    hidden: int = Field(512, ge=1)
    """state size"""
    connections: Connections = "none"
    """around each layer above the first"""
    attention: Literal["bahdanau", "luong_dot", "luong_general", "none"] = "bahdanau"
    """how source states are scored; none: a fixed context, the encoder's last state"""
    attention_size: int = Field(256, ge=1)
    """width of the perceptron that scores a source state (bahdanau)"""
    heads: int = Field(1, ge=1)
    """attentions side by side (bahdanau)"""
    wiring: Literal["gnmt", "bahdanau", "luong", "conditional"] = "gnmt"
    """which state asks the attention: layer 1's; the top one of the step before; the top one; that of half a step"""
    context: Literal["every_step", "start"] = "every_step"
    """start: without attention, the source is seen in the initial state only"""
    input_feeding: bool = False
    """read the previous readout together with the previous piece; training then goes step by step"""
    deep_output: bool = True
    """the readout sees the previous piece too, not only state and context"""
    initial_state: Literal["last", "mean", "zero"] = "last"
    """the state before the first piece: from the encoder's last states, from the mean of all, or zero"""

    @model_validator(mode="after")
    def _fits(self) -> DecoderConfig:
        if self.heads > 1 and self.attention != "bahdanau":
            raise ValueError(f"heads: {self.attention} has one; set attention: bahdanau")
        if self.attention_size % self.heads:
            raise ValueError(f"attention_size {self.attention_size} cannot be dealt to {self.heads} heads")
        if self.context == "start" and self.attention != "none":
            raise ValueError(f"context: start is for attention: none, not {self.attention}, which looks at every step")
        if self.context == "start" and self.initial_state == "zero":
            raise ValueError("initial_state: zero with context: start hides the source; set initial_state: last")
        if self.context == "start" and self.wiring == "conditional":
            raise ValueError("wiring: conditional reads the context in its second cell; set context: every_step")
        return self

    @property
    def query_size(self) -> int:
        """Width of the state that asks the attention."""
        return self.hidden * (self.layers if self.wiring == "luong" and self.connections == "dense" else 1)


class ModelConfig(Section):
    """Sizes, members of the family, and regularisation."""

    embedding: int = Field(256, ge=1)
    """width of the piece embeddings and of the readout"""
    encoder: EncoderConfig = EncoderConfig()
    decoder: DecoderConfig = DecoderConfig()
    reverse_source: bool = False
    """read the source from its end (Sutskever et al. 2014)"""
    tying: Literal["three_way", "target", "none"] = "three_way"
    """one table for source, target and output; one for target and output; or three"""
    layer_norm: bool = True
    """normalise each recurrent layer's output (Ba et al. 2016)"""
    cell_norm: bool = False
    """normalise inside the cells, at every step (Ba et al. 2016); without torch's fused kernels, so slower"""
    dropout: float = Field(0.3, ge=0, lt=1)
    """variational dropout on states, context and readout"""
    dropout_embedding: float = Field(0.2, ge=0, lt=1)
    """variational dropout on embeddings"""
    dropout_word: float = Field(0.1, ge=0, lt=1)
    """whole words dropped, on both sides"""

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        memory, decoder = self.encoder.memory_size, self.decoder
        if memory % decoder.heads:
            raise ValueError(f"decoder.heads {decoder.heads} cannot share encoder states of {memory} numbers")
        if decoder.attention == "luong_dot" and decoder.query_size != memory:
            raise ValueError(
                f"luong_dot multiplies states of one width, but the decoder's have {decoder.query_size} numbers and "
                f"the encoder's {memory}; change a hidden, or set decoder.attention: luong_general"
            )
        return self


class TrainingConfig(Section):
    """How to train, and when to stop."""

    seed: int = 1
    """seed of weights, batches and dropout"""
    batch_tokens: int = Field(2000, ge=1)
    """padded pieces a batch, counted on the longer side"""
    learning_rate: float = Field(1e-3, gt=0)
    """highest learning rate of AdamW"""
    warmup_steps: int = Field(200, ge=0)
    """steps over which the learning rate rises from zero"""
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = "cosine"
    """how it falls afterwards; linear and cosine end at `final_learning_rate` when the first bound is reached"""
    final_learning_rate: float = Field(0.02, ge=0, le=1)
    """where linear and cosine end, as a share of the highest"""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay; not on biases and norms"""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's moment decays"""
    clip_norm: float = Field(1.0, gt=0)
    """gradients are scaled down to this norm"""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """probability mass spread over the vocabulary"""
    average_decay: float = Field(0.998, ge=0, lt=1)
    """decay a step of the exponential average of the weights, which is validated and saved; 0 is off"""
    max_steps: int | None = Field(None, ge=1)
    """bound on updates"""
    max_epochs: int | None = Field(None, ge=1)
    """bound on passes over the training text"""
    max_minutes: float | None = Field(None, gt=0)
    """bound on wall time, minutes"""
    validate_every: int = Field(500, ge=1)
    """steps between validations"""
    patience: int = Field(10, ge=1)
    """stop after so many validations without a better BLEU"""
    log_every: int = Field(50, ge=1)
    """steps between log lines"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """type of the matrix products; auto: bfloat16 where the hardware computes it"""
    threads: int | None = Field(None, ge=1)
    """CPU threads; the default is torch's"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""

    @model_validator(mode="after")
    def _bounded(self) -> TrainingConfig:
        if self.max_steps is None and self.max_epochs is None and self.max_minutes is None:
            raise ValueError("no bound: set training.max_epochs, training.max_steps or training.max_minutes")
        return self


class SearchConfig(Section):
    """How translations are searched."""

    beam: int = Field(5, ge=1)
    """hypotheses kept; 1 is greedy"""
    length_penalty: float = Field(1.0, ge=0)
    """exponent alpha of the length penalty (Wu et al. 2016, eq. 14)"""
    valid_beam: int = Field(1, ge=1)
    """beam of the validations while training"""


class Config(Section):
    """Everything a run depends on."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    search: SearchConfig = SearchConfig()

    def digest(self) -> str:
        """Twelve hexadecimal digits that name this config, wherever the files lie and whatever machine runs it."""
        elsewhere: Any = {"data": {"root", "cache"}, "training": {"device", "threads", "log_every"}}
        values = self.model_dump(mode="json", exclude=elsewhere)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def load_config(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> Config:
    """Read a YAML config and replace keys by the `overrides`, such as ("training.max_steps", "100").

    Raises `ConfigError` naming the file, the key and the nearest known key.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"{path}: no such config; give a YAML file or one of {known}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections data, model, training, search")
    return make_config(values, overrides, str(path))


def make_config(values: Mapping[str, Any], overrides: Sequence[tuple[str, str]] = (), origin: str = "config") -> Config:
    """Build a `Config` from nested `values` and dotted `overrides`; `origin` names them in errors."""
    merged: dict[str, Any] = json.loads(json.dumps(values, default=str))
    options = dict(known_options())
    for key, text in overrides:
        if key not in options:
            raise ConfigError(f"--{key}: unknown option{nearest(key, options)}")
        section = merged
        *parents, name = key.split(".")
        for parent in parents:
            child = section.setdefault(parent, {})
            if not isinstance(child, dict):
                raise ConfigError(f"{origin}: {parent} must be a section, not {child!r}")
            section = child
        try:
            section[name] = yaml.safe_load(text) if options[key] else text
        except yaml.YAMLError:
            raise ConfigError(f"--{key}: {text!r} cannot be read") from None
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, origin)) from None


def _explain(error: ValidationError, origin: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [*dict(known_options()), *Config.model_fields]
        if key.startswith("data.directions."):
            known = [f"{key.rpartition('.')[0]}.{name}" for name in DirectionConfig.model_fields]
        return f"{origin}: unknown key {key}{nearest(key, known)}"
    if first["type"] == "missing":
        return f"{origin}: {key} is missing"
    got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"  # a whole section says nothing
    return f"{origin}: {key}: {first['msg'].removeprefix('Value error, ')}{got}"


def nearest(key: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """`; did you mean X?` for the known key most like `key`, or nothing."""
    if whole := [name for name in known if "." in name and key.startswith(f"{name}.")]:  # a list, or a plain value
        return f"; {whole[0]} can be set as a whole only"
    leaf = key.rsplit(".", 1)[-1]
    by_leaf = {name.rsplit(".", 1)[-1]: name for name in known}
    match = difflib.get_close_matches(key, list(known), n=1, cutoff=0.8)
    match = match or [by_leaf[m] for m in difflib.get_close_matches(leaf, list(by_leaf), n=1)]
    return f"; did you mean {match[0]}?" if match else ""


def known_options(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All dotted keys with their pydantic field, in order."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from known_options(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


CONFIGS = Path(__file__).parent / "configs"
"""where the configs that come with the package are"""
