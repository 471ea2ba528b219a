"""The frozen config of a run: data, model, training and search.

In the way of the data: read from YAML and the command line before anything else. The layers below take plain values
from it. The docstring under a field is its help text in `python -m nmt.train --help`, and an unknown key is refused
with the nearest known one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from nmt.corpus.settings import CorpusSettings, Direction
from nmt.errors import ConfigError


class Section(BaseModel):
    """A frozen part of the config."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


class DataConfig(CorpusSettings):
    """The corpus, where it is cached, and how it is segmented in training."""

    sampling: float = Field(0.0, ge=0, le=1)
    """subword regularisation: BPE-dropout probability (e.g. 0.1) or unigram smoothing (e.g. 0.3); 0 is off"""
    cache: Path = Path("data/cache")
    """folder of prepared corpora, which are reused while text and settings stay the same"""


Cell = Literal["lstm", "gru", "rnn"]
Connections = Literal["none", "residual", "highway", "dense"]


class EncoderConfig(Section):
    """The encoder: recurrent layers over the source."""

    cell: Cell = "lstm"
    """recurrent cell; rnn is the tanh cell without gates"""
    layers: int = Field(1, ge=1)
    """number of stacked layers"""
    hidden: int = Field(256, ge=1)
    """size of the hidden state, per direction"""
    bidirectional: bool = True
    """run a second layer from right to left and concatenate the states of both"""
    connections: Connections = "none"
    """skip connections around each layer above the first"""

    @property
    def memory_size(self) -> int:
        """D, the width of the encoder states that the decoder attends to."""
        directions = 2 if self.bidirectional else 1
        return self.hidden * directions * (self.layers if self.connections == "dense" else 1)


class DecoderConfig(Section):
    """The decoder: recurrent layers over the target, and their attention to the source."""

    cell: Cell = "lstm"
    """recurrent cell"""
    layers: int = Field(2, ge=1)
    """number of stacked layers"""
    hidden: int = Field(512, ge=1)
    """size of the hidden state"""
    connections: Connections = "none"
    """skip connections around each layer above the first"""
    attention: Literal["bahdanau", "luong_dot", "luong_general", "none"] = "bahdanau"
    """score function of the attention; none: a fixed context, the encoder's last state"""
    attention_size: int = Field(256, ge=1)
    """A, width of the attention's hidden layer (bahdanau)"""
    heads: int = Field(1, ge=1)
    """number of attention heads (bahdanau)"""
    wiring: Literal["gnmt", "bahdanau", "luong", "conditional"] = "gnmt"
    """state that is the attention's query: of layer 1 (gnmt), of the top layer at the previous step (bahdanau), of the
    top layer (luong), or of the first of two cells (conditional)"""
    context: Literal["every_step", "start"] = "every_step"
    """where a fixed context (attention: none) is used: at every step, or only in the initial state"""
    input_feeding: bool = False
    """feed the previous readout back with the previous piece; training then runs one step at a time"""
    deep_output: bool = True
    """compute the readout from the previous piece as well, not only from state and context"""
    initial_state: Literal["last", "mean", "zero"] = "last"
    """initial state: from the encoder's last states, from the mean of all its states, or zero"""

    @model_validator(mode="after")
    def _fits(self) -> DecoderConfig:
        if self.heads > 1 and self.attention != "bahdanau":
            raise ValueError(f"heads: {self.attention} attention has one head; set attention: bahdanau")
        if self.attention_size % self.heads:
            raise ValueError(f"attention_size {self.attention_size} is not a multiple of heads {self.heads}")
        if self.context == "start" and self.attention != "none":
            raise ValueError(f"context: start needs attention: none; {self.attention} has a context at every step")
        if self.context == "start" and self.initial_state == "zero":
            raise ValueError("initial_state: zero with context: start leaves out the source; set initial_state: last")
        if self.context == "start" and self.wiring == "conditional":
            raise ValueError("wiring: conditional reads the context in its second cell; set context: every_step")
        return self

    @property
    def query_size(self) -> int:
        """Width of the attention's query."""
        return self.hidden * (self.layers if self.wiring == "luong" and self.connections == "dense" else 1)


class ModelConfig(Section):
    """Sizes, encoder and decoder, and regularisation."""

    embedding: int = Field(256, ge=1)
    """E, width of the embeddings and of the readout"""
    encoder: EncoderConfig = EncoderConfig()
    decoder: DecoderConfig = DecoderConfig()
    reverse_source: bool = False
    """reverse the source (Sutskever et al. 2014)"""
    tying: Literal["three_way", "target", "none"] = "three_way"
    """shared embeddings: one table for source, target and output; one for target and output; or three tables"""
    layer_norm: bool = True
    """layer normalisation of each recurrent layer's output (Ba et al. 2016)"""
    cell_norm: bool = False
    """layer normalisation inside the cells, at every step (Ba et al. 2016); slower, without torch's fused kernels"""
    dropout: float = Field(0.3, ge=0, lt=1)
    """probability of variational dropout on states, context and readout"""
    dropout_embedding: float = Field(0.2, ge=0, lt=1)
    """probability of variational dropout on embeddings"""
    dropout_word: float = Field(0.1, ge=0, lt=1)
    """probability of dropping a whole piece, on both sides"""

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        memory, decoder = self.encoder.memory_size, self.decoder
        if memory % decoder.heads:
            raise ValueError(f"encoder states of width {memory} cannot be divided among decoder.heads {decoder.heads}")
        if decoder.attention == "luong_dot" and decoder.query_size != memory:
            raise ValueError(
                f"luong_dot needs states of equal width, but the decoder's have {decoder.query_size} and the "
                f"encoder's {memory}; change encoder.hidden or decoder.hidden, or set decoder.attention: luong_general"
            )
        return self


class TrainingConfig(Section):
    """Optimisation, validation, and the bounds of a run."""

    seed: int = 1
    """seed of weights, batches and dropout"""
    batch_tokens: int = Field(2000, ge=1)
    """size of a batch in pieces, with padding, counted on the longer side"""
    learning_rate: float = Field(1e-3, gt=0)
    """peak learning rate of AdamW"""
    warmup_steps: int = Field(200, ge=0)
    """steps of linear warm-up from zero to the peak"""
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = "cosine"
    """learning rate after the warm-up; linear and cosine fall to `final_learning_rate` at the first bound reached"""
    final_learning_rate: float = Field(0.02, ge=0, le=1)
    """final learning rate of linear and cosine, as a fraction of the peak"""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay, not applied to biases and norms"""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's decay rates of the first and second moment"""
    clip_norm: float = Field(1.0, gt=0)
    """largest norm of the gradient; larger gradients are scaled down to it"""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """probability mass spread uniformly over the vocabulary"""
    average_decay: float = Field(0.998, ge=0, lt=1)
    """decay per step of the exponential moving average of the weights, which is validated and saved; 0 is off"""
    max_steps: int | None = Field(None, ge=1)
    """largest number of updates"""
    max_epochs: int | None = Field(None, ge=1)
    """largest number of passes over the training text"""
    max_minutes: float | None = Field(None, gt=0)
    """longest wall time, in minutes"""
    validate_every: int = Field(500, ge=1)
    """steps between validations"""
    patience: int = Field(10, ge=1)
    """number of validations without a better BLEU after which training stops"""
    log_every: int = Field(50, ge=1)
    """steps between log lines"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """data type of the matrix products in training; auto: bfloat16 where the hardware supports it"""
    threads: int | None = Field(None, ge=1)
    """CPU threads; null: torch's default"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""

    @model_validator(mode="after")
    def _bounded(self) -> TrainingConfig:
        if self.max_steps is None and self.max_epochs is None and self.max_minutes is None:
            raise ValueError("no bound: set training.max_epochs, training.max_steps or training.max_minutes")
        return self


class SearchConfig(Section):
    """Beam search."""

    beam: int = Field(5, ge=1)
    """hypotheses kept at each step; 1 is greedy search"""
    length_penalty: float = Field(1.0, ge=0)
    """exponent alpha of the length penalty (Wu et al. 2016, eq. 14)"""
    valid_beam: int = Field(1, ge=1)
    """beam of the validations during training"""


class Config(Section):
    """Everything that determines a run."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    search: SearchConfig = SearchConfig()

    def digest(self) -> str:
        """Return twelve hexadecimal digits that identify this config, independent of folders and hardware."""
        elsewhere: Any = {"data": {"root", "cache"}, "training": {"device", "threads", "log_every"}}
        values = self.model_dump(mode="json", exclude=elsewhere)
        if not self.data.augment:  # a later key: digests of published results stay
            del values["data"]["augment"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def load_config(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> Config:
    """Read a YAML config; `overrides` such as ("training.max_steps", "100") replace its keys.

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
    """Build a `Config` from nested `values` and dotted `overrides`; `origin` names `values` in errors."""
    merged: dict[str, Any] = json.loads(json.dumps(values, default=str))
    options = dict(known_options())
    for key, text in overrides:
        if key not in options:
            raise ConfigError(unknown_option(key))
        section = merged
        *parents, name = key.split(".")
        for parent in parents:
            child = section.setdefault(parent, {})
            if not isinstance(child, dict):
                raise ConfigError(f"{origin}: {parent} must be a section, not {child!r}")
            section = child
        try:
            section[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"--{key}: {text!r} cannot be read as YAML") from None
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, origin, dict(overrides))) from None


def _explain(error: ValidationError, origin: str, overrides: Mapping[str, str]) -> str:
    """Return the first error as one line that names the file or the options, the key and what it takes."""
    first = error.errors()[0]
    location, value = first["loc"], first["input"]
    key, field = _field_at(location)
    for option, text in overrides.items():
        if option == key:
            return f"--{option} {_short(text)}: expected {expected(field)}"
        if key.startswith(f"{option}."):
            origin = f"--{option} {_short(text)}"
        elif option.startswith(f"{key}."):
            origin += f" with --{option} {_short(text)}"
    if first["type"] == "extra_forbidden":
        known = [*dict(known_options()), *Config.model_fields]
        if key.startswith("data.directions."):
            known = [f"{key.rpartition('.')[0]}.{name}" for name in Direction.model_fields]
        return f"{origin}: unknown key {key}{nearest(key, known)}"
    if first["type"] == "value_error":  # from a validator of ours, whose message is complete
        return f"{origin}: {key}: {first['msg'].removeprefix('Value error, ')}"
    if first["type"] == "missing" and isinstance(location[-1], str):
        return f"{origin}: {key} is missing"
    got = "a section" if isinstance(value, dict) else _short(json.dumps(value, ensure_ascii=False))
    return f"{origin}: {key}: expected {expected(field)}; got {got}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _field_at(location: Sequence[int | str]) -> tuple[str, FieldInfo]:
    """Return the dotted key at the location of an error, and its field; of a list of plain values, the whole list."""
    model: type[BaseModel] | None = Config
    found, key = FieldInfo(annotation=Config), []
    for part in location:
        if model is None:
            break
        if isinstance(part, str):
            found = model.model_fields.get(part, found)  # an unknown key has no field
            model = _section(found)
        key.append(str(part))
    return ".".join(key), found


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section or a list of sections."""
    kind = next(iter(get_args(field.annotation)), field.annotation)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def expected(field: FieldInfo) -> str:
    """Describe in words what a field takes: its type, choices and range."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    optional = ", or null" if len(kinds) < len(get_args(field.annotation)) else ""
    kind = kinds[0] if optional else field.annotation
    several = get_origin(kind) is tuple
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if _section(field):
        return "a list of sections" if several else "a section"
    if several:
        return "a list of file names, e.g. [a.en, b.en]" if Path in get_args(kind) else "two numbers, e.g. [0.9, 0.98]"
    names: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [(sign, getattr(limit, name, None)) for limit in field.metadata for name, sign in signs.items()]
    limits = " and ".join(f"{sign} {value:g}" for sign, value in found if value is not None)
    return f"{names.get(kind, 'non-empty text')} {limits}".rstrip() + optional


def nearest(key: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Return `; did you mean X?` for the known key most similar to `key`, or an empty string."""
    if whole := [name for name in known if "." in name and key.startswith(f"{name}.")]:  # a list or a plain value
        return f"; {whole[0]} can be set as a whole only"
    leaf = key.rsplit(".", 1)[-1]
    by_leaf = {name.rsplit(".", 1)[-1]: name for name in known}
    match = difflib.get_close_matches(key, list(known), n=1, cutoff=0.8)
    match = match or [by_leaf[m] for m in difflib.get_close_matches(leaf, list(by_leaf), n=1)]
    return f"; did you mean {match[0]}?" if match else ""


def unknown_option(key: str) -> str:
    """Return the error for an unknown `--section.key`, with the nearest known one."""
    return f"--{key}: unknown option{nearest(f'--{key}', [f'--{name}' for name, _ in known_options()])}"


def known_options(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield all dotted keys with their fields, in order."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from known_options(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


CONFIGS = Path(__file__).parent / "configs"
"""folder of the configs that come with the package"""
