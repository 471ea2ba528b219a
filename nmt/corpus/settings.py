"""The settings of a corpus: its directions, their files, and how the text is cleaned, filtered and split.

In the way of the data: given by the config or by the options of `nmt.data`, used by `prepare`. Field docstrings are the
help texts of `python -m nmt.train --help`; errors name a field as `data.<field>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from nmt.text.tokenizer import Kind

Paths = tuple[Path, ...]


class Augment(BaseModel):
    """Shares of the training pairs that are changed, others in each epoch; see `nmt.corpus.augment`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    lower: float = Field(0.0, ge=0, le=0.5)
    """share of the training pairs with the source in lower case, and the target as it is; e.g. 0.15"""
    lower_first: float = Field(0.0, ge=0, le=0.5)
    """share of the training pairs with the first letter of the source in lower case; e.g. 0.1"""
    drop_stop: float = Field(0.0, ge=0, le=0.5)
    """share of the training pairs without the full stop at the end of both sides; e.g. 0.05"""

    def __bool__(self) -> bool:
        return max(self.lower, self.lower_first, self.drop_stop) > 0


class Direction(BaseModel):
    """A source and a target language, and the parallel text for them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    source_language: str = Field(min_length=1)
    """code of the source language, e.g. en"""
    target_language: str = Field(min_length=1)
    """code of the target language, e.g. de"""
    train_src: Paths = ()
    """training text, source side: plain UTF-8 or gzip, one sentence per line"""
    train_tgt: Paths = ()
    """training text, target side: as many files, with as many lines"""
    train_tsv: Paths = ()
    """training text as source<TAB>target lines, instead of the two above or in addition to them"""
    valid_src: Path | None = None
    """validation text, source side; without it `valid_size` pairs are split off the training text"""
    valid_tgt: Path | None = None
    """validation text, target side"""
    test_src: Path | None = None
    """test text, source side; training only checks it for overlap (see `drop_test_overlap`), nmt.evaluate scores it"""
    test_tgt: Path | None = None
    """test text, target side"""

    @property
    def pair(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_language, self.target_language

    @property
    def name(self) -> str:
        """The languages as they are shown, e.g. en-de."""
        return "-".join(self.pair)


class CorpusSettings(Direction):
    """Everything that determines a prepared corpus: one direction, or several as `directions`."""

    source_language: str = Field("en", min_length=1)
    """code of the source language, e.g. en"""
    target_language: str = Field("de", min_length=1)
    """code of the target language, e.g. de"""
    directions: tuple[Direction, ...] = ()
    """several language pairs in one model: a list of sections with the keys above, which replaces them"""
    root: Path = Path("data/corpora")
    """folder that file names are relative to; absolute names are used as they are"""
    valid_size: int = Field(1000, ge=0)
    """pairs per direction split off for validation where no validation files are given"""
    test_size: int = Field(0, ge=0)
    """pairs per direction split off for the test where no test files are given"""
    split_seed: int = 1
    """seed of that split"""
    vocabulary: int = Field(8000, ge=8)
    """size of the vocabulary, which source and target share, in pieces"""
    units: Kind = "bpe"
    """kind of the pieces: subwords (unigram, bpe), characters or words"""
    character_coverage: float = Field(1.0, gt=0, le=1)
    """share of the text's characters that get a piece; the rest is unknown"""
    augment: Augment = Augment()
    max_length: int = Field(100, ge=1)
    """longest training sentence, in pieces, a target tag included; longer pairs are dropped and counted"""
    max_ratio: float = Field(4.0, gt=1)
    """largest ratio of the two lengths of a training pair, in pieces"""
    deduplicate: bool = True
    """drop repeated training pairs"""
    drop_test_overlap: bool = False
    """drop training pairs whose source is also in the validation or test text of their direction, or whose target is a
    source in that of the opposite direction"""

    @property
    def all_directions(self) -> tuple[Direction, ...]:
        """The directions, or the only one."""
        return self.directions or (self,)

    @property
    def tags(self) -> tuple[str, ...]:
        """Languages that get a target tag in the vocabulary."""
        return target_tags(direction.pair for direction in self.all_directions)

    @property
    def opposites(self) -> dict[int, int]:
        """The number of each direction's opposite (de-en for en-de), for those that have one."""
        numbers = {direction.pair: number for number, direction in enumerate(self.all_directions)}
        found = {number: numbers.get((target, source)) for (source, target), number in numbers.items()}
        return {number: other for number, other in found.items() if other is not None and other != number}

    def files(self, direction: int, split: str) -> tuple[Paths, Paths, Paths]:
        """Paths of the source, target and TSV files of `split` (train, valid or test)."""

        def below_root(name: str) -> Paths:
            value = getattr(self.all_directions[direction], name, None) or ()
            return tuple(self.root / path for path in ([value] if isinstance(value, Path) else value))

        return below_root(f"{split}_src"), below_root(f"{split}_tgt"), below_root(f"{split}_tsv")

    def setting(self, direction: int, key: str) -> str:
        """The name of a direction's key in the config, for errors."""
        return f"data.directions.{direction}.{key}" if self.directions else f"data.{key}"

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("directions"):
            for name in Direction.model_fields:
                if name in values:
                    raise ValueError(f"{name} and directions exclude each other; move {name} into a direction")
        return values

    @model_validator(mode="after")
    def _each_once(self) -> CorpusSettings:
        names = [direction.name for direction in self.directions]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"directions: {name} is listed twice; name all its files in one section")
        return self

    @model_serializer(mode="wrap")
    def _used_form(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the keys of the form that is not used, so that what is written can be read again."""
        unused = Direction.model_fields if self.directions else ("directions",)
        return {name: value for name, value in dump(self).items() if name not in unused}


def target_tags(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the languages of (source, target) `pairs` that need a tag: the targets, if there are several."""
    targets = tuple(dict.fromkeys(target for _, target in pairs))
    return targets if len(targets) > 1 else ()
