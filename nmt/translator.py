"""Text in, text out: the one path that validation, the commands and the service share.

In the way of the data: text -> segments -> pieces -> engine -> pieces -> text. The work is in pure halves, so that
anybody can drive the engine in between:

    plan = translator.plan(text, options)                # cut, clean, encode: requests for the engine
    results = ... search plan.requests ...
    again = translator.revise(plan, results)             # what did not end is cut in two and tried once more
    translation = translator.join(plan, results)         # decode, replace unknown pieces, put together

`translate` does all that for a list of texts. What is to be copied and not translated (line ends, symbols) is a span of
the plan that is no segment; protected text such as addresses would enter there.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from nmt.artifact import Artifact, load
from nmt.errors import TranslationError
from nmt.search.engine import Engine, Hypothesis, Request, Result, SearchOptions
from nmt.text.cleaning import clean
from nmt.text.segments import Span, halve, split
from nmt.text.special_ids import EOS, UNK
from nmt.text.tokenizer import Tokenizer

DEFAULT_MAX_SOURCE_PIECES = 200
END_LABEL = "</s>"

# Control characters and lone surrogates are no text; white space among them (tab, line ends) is kept where it stands.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")
_serial = itertools.count()


@dataclass(frozen=True)
class Segment:
    """A stretch of the text that is translated as one sentence."""

    text: str
    """clean"""
    request: Request
    halved: bool = False
    """whether it is half of a segment whose translation did not end"""


@dataclass(frozen=True)
class Plan:
    """What is to be done for one text."""

    source: str
    parts: tuple[str | Segment, ...]
    """in order: text to be copied, and segments"""
    requests: tuple[Request, ...]
    """searches that are still to be made; their keys are unique in the process"""
    options: SearchOptions


@dataclass(frozen=True)
class SegmentTranslation:
    """The best translation of one segment, with what is known about it."""

    source: str
    text: str
    source_pieces: list[str]
    """S, with the end sign"""
    target_pieces: list[str]
    """T, with the end sign if the translation ended"""
    token_log_probs: list[float]
    """T, natural logarithm"""
    attention: Tensor
    """(T, S) float32"""
    complete: bool
    """False when the length limit cut it off"""


@dataclass(frozen=True)
class Translation:
    """The translation of one text."""

    source: str
    text: str
    score: float
    """geometric mean of the probabilities of its pieces, 0 to 1; 1 where nothing had to be translated"""
    log_prob: float
    """of all its pieces, natural logarithm"""
    segments: tuple[SegmentTranslation, ...]
    alternatives: tuple[str, ...] = ()
    """further translations, best first, at most n_best - 1"""
    alternative_scores: tuple[float, ...] = ()
    """their mean probabilities, as `score`"""
    truncated: bool = False
    """whether the length limit cut a segment's translation off, even after that was halved"""


class Translator:
    """Translates texts of any length; see the module's first lines. Its pure halves may be called from any thread."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        engine: Engine | None = None,
        *,
        max_source_pieces: int = DEFAULT_MAX_SOURCE_PIECES,
        source_language: str = "",
        target_language: str = "",
        target_tags: Sequence[str] = (),
    ) -> None:
        """`engine` is needed by `translate` only.

        max_source_pieces: longer segments are cut. source_language: code, for the rules of sentences. target_language:
        the only one, so that another is refused. target_tags: the languages to choose from, of a model that is told
        its target by a tag.
        """
        self.tokenizer = tokenizer
        self.engine = engine
        self.max_source_pieces = max_source_pieces
        self.source_language = source_language
        self.target_language = target_language
        self.target_tags = tuple(target_tags)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], device: str = "auto", dtype: str | None = None, *, slots: int = 64
    ) -> Translator:
        """Load an exported file and make it ready to translate, with the search defaults of its manifest.

        Raises `ArtifactError` when the file is missing, damaged or of a newer format.
        """
        model = load(path, device, dtype)
        return cls.of(model, Engine(model.search, slots=slots, device=model.device))

    @classmethod
    def of(cls, artifact: Artifact, engine: Engine | None = None) -> Translator:
        """A translator with an artifact's tokenizer and limits."""
        manifest = artifact.manifest
        sources, targets = manifest.source_languages, manifest.target_languages
        return cls(
            artifact.tokenizer,
            engine,
            max_source_pieces=manifest.max_source_pieces,
            source_language=sources[0] if len(sources) == 1 else "",
            target_language=targets[0] if len(targets) == 1 else "",
            target_tags=targets if manifest.target_tags else (),
        )

    def translate(
        self,
        texts: Sequence[str],
        options: SearchOptions | None = None,
        *,
        split_sentences: bool = False,
        source: str = "",
        target: str = "",
        progress: Callable[[float], object] | None = None,
    ) -> list[Translation]:
        """Translate `texts`, in order; see `plan` for the options. `progress` is told the share that is done, 0 to 1.

        Raises `TranslationError` when the model fails on one of them.
        """
        if self.engine is None:
            raise ValueError("translate needs an engine; give Translator one")
        options = options or SearchOptions()
        plans = [
            self.plan(text, options, split_sentences=split_sentences, source=source, target=target) for text in texts
        ]
        requests = [request for plan in plans for request in plan.requests]
        ended = 0

        def count(more: int) -> None:
            nonlocal ended
            ended += more
            if progress is not None:
                progress(ended / len(requests))

        results = {result.key: result for result in self.engine.run(requests, count)}
        revised = {i: again for i, plan in enumerate(plans) if (again := self.revise(plan, results.values()))}
        more = self.engine.run([request for plan in revised.values() for request in plan.requests])
        results.update((result.key, result) for result in more)
        return [self._join(revised.get(i, plan), results) for i, plan in enumerate(plans)]

    def plan(
        self,
        text: str,
        options: SearchOptions,
        *,
        split_sentences: bool = False,
        source: str = "",
        target: str = "",
    ) -> Plan:
        """Cut `text` into segments and encode them.

        A line that the model can take stays whole unless `split_sentences`. `source` and `target` are language codes;
        a target is needed only where the model has several. Raises `TranslationError` for an unknown one.
        """
        tag = self.tag(target)
        known: dict[str, list[int]] = {}

        def length(part: str) -> int:
            if part not in known:
                known[part] = self.tokenizer.encode(clean(part))
            return len(known[part])

        limit = max(1, self.max_source_pieces - len(tag))
        language = source or self.source_language
        spans = split(text, limit, length, split_sentences=split_sentences, language=language)
        key = next(_serial)
        parts: list[str | Segment] = []
        for n, span in enumerate(spans):
            part = self._segment(span, (key, n), tag, options, known) if span.translate else ""
            parts.append(part or _CONTROL.sub("", span.text))
        requests = tuple(part.request for part in parts if isinstance(part, Segment))
        return Plan(text, tuple(parts), requests, options)

    def tag(self, target: str) -> tuple[int, ...]:
        """The pieces that tell the model its target language (its code, or nothing), none where it has one only.

        Raises `TranslationError` where the model does not translate to it, or needs to be told and is not.
        """
        choice = self.target_tags or ((self.target_language,) if self.target_language else ())
        known = ", ".join(choice)
        if target and choice and target not in choice:
            raise TranslationError(f"target language {target!r} is not known to this model; it has {known}")
        if not self.target_tags:
            return ()
        if not target:
            raise TranslationError(f"the model has several target languages; choose one of {known} (--target)")
        return (self.tokenizer.tag(target),)

    def revise(self, plan: Plan, results: Iterable[Result]) -> Plan | None:
        """The plan with each segment cut in two whose best translation did not end, None where there is none such.

        Only the halves are its requests: search them, and `join` with the old and the new results.
        """
        cut_off = {r.key for r in results if r.error is None and not r.hypotheses[0].complete}
        parts: list[str | Segment] = []
        requests: list[Request] = []
        for part in plan.parts:
            halves = None
            if isinstance(part, Segment) and part.request.key in cut_off and not part.halved:
                halves = halve(part.text)
            if halves is None or not isinstance(part, Segment):
                parts.append(part)
                continue
            space = halves[0][len(halves[0].rstrip()) :]
            tag = part.request.src[:1] if self.target_tags else ()
            segments = [
                self._segment(Span(half, True), (part.request.key, n), tag, plan.options, {}, halved=True)
                for n, half in enumerate(halves)
            ]
            first, second = segments
            if first is None or second is None:
                parts.append(part)
            else:
                parts += [first, space, second]
                requests += [first.request, second.request]
        return replace(plan, parts=tuple(parts), requests=tuple(requests)) if requests else None

    def join(self, plan: Plan, results: Iterable[Result]) -> Translation:
        """Put the translation together from the `results` of all the plan's requests.

        Raises `TranslationError` when one of them failed.
        """
        return self._join(plan, {result.key: result for result in results})

    def _join(self, plan: Plan, results: dict[Hashable, Result]) -> Translation:
        segments: list[SegmentTranslation] = []
        whole = [_Candidate("", 0.0, 0, 0.0)]  # the best translations of the text so far, best first
        for part in plan.parts:
            if isinstance(part, str):
                whole = [candidate.then(part) for candidate in whole]
                continue
            result = results[part.request.key]
            if result.error is not None:
                raise TranslationError(f"the model failed on {_short(part.text)!r}: {result.error}") from result.error
            candidates: dict[str, _Candidate] = {}
            for n, hypothesis in enumerate(result.hypotheses):
                text = self._text(part, hypothesis)
                # Two hypotheses may be one text in different pieces: the better one stands for it.
                candidates.setdefault(
                    text, _Candidate(text, hypothesis.log_prob, len(hypothesis.token_log_probs), hypothesis.score)
                )
                if n == 0:
                    segments.append(self._detail(part, text, hypothesis))
            whole = _combine(whole, list(candidates.values()), plan.options.n_best)
        best, *others = whole
        return Translation(
            plan.source,
            best.text,
            best.confidence,
            best.log_prob,
            tuple(segments),
            tuple(other.text for other in others),
            tuple(other.confidence for other in others),
            not all(segment.complete for segment in segments),
        )

    def _segment(
        self,
        span: Span,
        key: Hashable,
        tag: tuple[int, ...],
        options: SearchOptions,
        known: dict[str, list[int]],
        *,
        halved: bool = False,
    ) -> Segment | None:
        """The segment of a span, None when nothing of it is left after cleaning."""
        text = clean(span.text)
        ids = known.get(span.text)
        ids = self.tokenizer.encode(text) if ids is None else ids
        return Segment(text, Request(key, (*tag, *ids, EOS), options), halved) if ids else None

    def _text(self, segment: Segment, hypothesis: Hypothesis) -> str:
        if UNK not in hypothesis.ids:
            return self.tokenizer.decode(hypothesis.ids)
        return self.tokenizer.decode(hypothesis.ids, unknown=self._unknown_surfaces(segment, hypothesis))

    def _unknown_surfaces(self, segment: Segment, hypothesis: Hypothesis) -> list[str]:
        """For each unknown piece of a translation the source text that it looked at.

        Where the source has unknown pieces, the most attended of those: what the model cannot read it can only copy.
        """
        ids, spans = self.tokenizer.encode_with_offsets(segment.text)
        shift = len(segment.request.src) - 1 - len(ids)  # a language tag stands before the text
        unknown = [i for i, index in enumerate(ids) if index == UNK] or list(range(len(ids)))
        surfaces: list[str] = []
        for index, weights in zip(hypothesis.ids, hypothesis.attention, strict=False):
            if index == UNK:
                if weights.any():
                    place = max(unknown, key=lambda i: float(weights[i + shift]))
                else:  # a model without attention looks nowhere: in the order of the source
                    place = unknown[min(len(surfaces), len(unknown) - 1)]
                begin, end = spans[place]
                surfaces.append(segment.text[begin:end].strip())
        return surfaces

    def _detail(self, segment: Segment, text: str, hypothesis: Hypothesis) -> SegmentTranslation:
        target = self.tokenizer.pieces(hypothesis.ids)
        return SegmentTranslation(
            segment.text,
            text,
            [*self.tokenizer.pieces(segment.request.src[:-1]), END_LABEL],
            target + [END_LABEL] * (len(hypothesis.token_log_probs) - len(target)),
            hypothesis.token_log_probs,
            hypothesis.attention,
            hypothesis.complete,
        )


@dataclass(frozen=True)
class _Candidate:
    """One way to translate the text up to some place."""

    text: str
    log_prob: float
    tokens: int
    score: float  # sum of the segments' normalised scores, by which candidates are ranked

    @property
    def confidence(self) -> float:
        return math.exp(self.log_prob / self.tokens) if self.tokens else 1.0

    def then(self, copied: str) -> _Candidate:
        return replace(self, text=self.text + copied)


def _combine(left: Sequence[_Candidate], right: Sequence[_Candidate], count: int) -> list[_Candidate]:
    """The `count` best of all ways to go on from one of `left` with one of `right`, each best first."""
    pairs = (
        _Candidate(a.text + b.text, a.log_prob + b.log_prob, a.tokens + b.tokens, a.score + b.score)
        for (i, a), (j, b) in itertools.product(enumerate(left), enumerate(right))
        if (i + 1) * (j + 1) <= count  # so many are better or equal anyway
    )
    return heapq.nlargest(count, pairs, key=lambda candidate: candidate.score)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
