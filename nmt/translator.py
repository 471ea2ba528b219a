"""Text in, text out: the one path from text to text that validation, the commands and the service share.

In the way of the data: text -> segments -> pieces -> engine -> pieces -> text. `Translator.translate` is for a list of
texts and an engine of its own. The path itself is a generator, `Translator.steps`, that yields search requests and is
sent their results, so that any driver can run the searches: a loop here, a worker thread in the service.

    plan      cut a text into segments, clean and encode them: the requests
    revise    cut each segment in two whose translation did not finish, and try once more
    join      decode the best hypotheses, replace unknown pieces, put the text together

Text that is only copied (line ends, white space, symbols) is kept in the plan as a plain string.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, Unpack, overload

import torch

from nmt.artifact import Artifact
from nmt.errors import TranslationError
from nmt.search.engine import ROWS, Engine, Hypothesis, Request, Result, SearchOptions
from nmt.search.pool import EnginePool
from nmt.search.request import SearchKeywords
from nmt.text.cleaning import SPACE, clean
from nmt.text.form import end_like, unwrap
from nmt.text.letter_case import as_sentence, is_title, is_upper
from nmt.text.protected import protect
from nmt.text.segments import halve, is_translatable, split
from nmt.text.special_ids import EOS, UNK
from nmt.text.tokenizer import Tokenizer
from nmt.translation import Candidate, Plan, Reading, Segment, SegmentTranslation, Translation, combine

END_LABEL = "</s>"
"""label of the end of a sentence among source and target pieces"""

# Control characters and lone surrogates are no text; white space among them (tab, line ends) is kept where it is.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")
_serial = itertools.count()


Steps = Generator[list[Request], list[Result], list[Translation]]
"""yields requests, is sent their results in the same order, returns the translations"""


class Translator:
    """Translates texts of any length.

        translator = Translator.load("models/starter.pt")
        translator.translate("Good morning!").text
        translator.translate(["Good morning!", "Thank you."], beam=10, n_best=3)[1].alternatives

    `plan`, `revise`, `join` and `steps` use no engine and may be called from any thread.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        engine: Engine | EnginePool | None = None,
        *,
        max_source_pieces: int,
        source_language: str = "",
        target_language: str = "",
        target_tags: Sequence[str] = (),
        search_defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """Combine a tokenizer with the limits of a model; only `translate` needs an `engine`.

        max_source_pieces: longer segments are cut. source_language: a code, for the sentence-splitting rules.
        target_language: the only target language, so that any other is refused. target_tags: the target languages of a
        model whose sources begin with a target-language tag. search_defaults: values for fields of `SearchOptions`.
        """
        self.tokenizer = tokenizer
        self.engine = engine
        self.max_source_pieces = max_source_pieces
        self.source_language = source_language
        self.target_language = target_language
        self.target_tags = tuple(target_tags)
        self.search_defaults = dict(search_defaults or {})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        device: str = "auto",
        dtype: str | None = None,
        *,
        threads: int | None = None,
        rows: int = ROWS,
        engines: int | None = None,
    ) -> Translator:
        """Load an exported file, or the best model of a run folder.

        device: auto, cpu, cuda or cuda:N. dtype: float32, bfloat16 or float16 to compute in another type than the
        file's. threads: CPU threads, for the whole process (default: torch's choice). rows: hypotheses decoded at once,
        as many for each sentence as its beam is wide. engines: see `EnginePool`.
        Raises `ArtifactError` or `CheckpointError` naming the file when it is missing, damaged or of a newer format.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        from nmt.loading import load_model  # here: it may need the training code, the rest of this module never does

        artifact = load_model(path, device, dtype)
        pool = EnginePool(artifact.search, rows=rows, engines=engines, device=artifact.device)
        return cls.from_artifact(artifact, pool)

    @classmethod
    def from_artifact(cls, artifact: Artifact, engine: Engine | EnginePool | None = None) -> Translator:
        """Make a translator with an artifact's tokenizer, languages, limits and search defaults."""
        manifest = artifact.manifest
        sources, targets = manifest.source_languages, manifest.target_languages
        return cls(
            artifact.tokenizer,
            engine,
            max_source_pieces=manifest.max_source_pieces,
            source_language=sources[0] if len(sources) == 1 else "",
            target_language=targets[0] if len(targets) == 1 else "",
            target_tags=targets if manifest.target_tags else (),
            search_defaults=manifest.search,
        )

    def search_options(self, **search: Unpack[SearchKeywords]) -> SearchOptions:
        """Return the model's search defaults with these values in their place; a value of None keeps the default.

        A default beam is widened to `n_best`. Raises `SearchError` for a value out of range.
        """
        known = {field.name for field in dataclasses.fields(SearchOptions)}
        given = {name: value for name, value in search.items() if value is not None}
        values: dict[str, Any] = {name: v for name, v in self.search_defaults.items() if name in known} | given
        if "beam" not in given:
            values["beam"] = max(values.get("beam", SearchOptions.beam), values.get("n_best", 1))
        return SearchOptions(**values)

    @overload
    def translate(  # type: ignore[overload-overlap]  # a str is a sequence of str, but the first overload wins
        self,
        texts: str,
        options: SearchOptions | None = None,
        *,
        split_sentences: bool = True,
        source_language: str = "",
        target_language: str = "",
        protect_parts: bool = True,
        keep_form: bool = True,
        progress: Callable[[float], object] | None = None,
        **search: Unpack[SearchKeywords],
    ) -> Translation: ...

    @overload
    def translate(
        self,
        texts: Sequence[str],
        options: SearchOptions | None = None,
        *,
        split_sentences: bool = True,
        source_language: str = "",
        target_language: str = "",
        protect_parts: bool = True,
        keep_form: bool = True,
        progress: Callable[[float], object] | None = None,
        **search: Unpack[SearchKeywords],
    ) -> list[Translation]: ...

    def translate(
        self,
        texts: str | Sequence[str],
        options: SearchOptions | None = None,
        *,
        split_sentences: bool = True,
        source_language: str = "",
        target_language: str = "",
        protect_parts: bool = True,
        keep_form: bool = True,
        progress: Callable[[float], object] | None = None,
        **search: Unpack[SearchKeywords],
    ) -> Translation | list[Translation]:
        """Translate one text, or a list of texts in order.

        The search is the model's default with the keywords of `search_options` (beam, n_best, length_penalty, ...), or
        exactly `options`. split_sentences: translate each sentence of a line by itself; False: only those of lines that
        are too long. target_language: a code, needed if the model has several. protect_parts: carry placeholders, tags,
        addresses and numbers over unharmed, see `nmt.text.protected`. keep_form: capitals, outer quotation marks and
        the mark at the end as in the source, see `nmt.text.form` and `nmt.text.letter_case`. progress: called with the
        share of the segments that is done, 0 to 1. Raises `TranslationError` if the model fails on a text or does not
        translate to the language, and `SearchError` for a value out of range.
        """
        if self.engine is None:
            raise ValueError("translate needs an engine; give Translator one")
        if options is not None and search:
            raise TypeError(f"give options or {', '.join(search)}, not both")
        done = 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            if progress is not None:
                progress(done / len(requests))

        given = [texts] if isinstance(texts, str) else texts
        protected = [protect(text) for text in given] if protect_parts else None
        steps = self.steps(
            given if protected is None else [one.text for one in protected],
            options or self.search_options(**search),
            split_sentences=split_sentences,
            keep_form=keep_form,
            source_language=source_language,
            target_language=target_language,
        )
        requests = next(steps)
        results = self.engine.run(requests, count)
        try:
            while True:
                results = self.engine.run(steps.send(results))
        except StopIteration as end:
            translations: list[Translation] = end.value
            if protected is not None:
                originals = zip(translations, protected, given, strict=True)
                translations = [translation.restored(parts, text) for translation, parts, text in originals]
            return translations[0] if isinstance(texts, str) else translations

    def steps(
        self,
        texts: Sequence[str],
        options: SearchOptions,
        *,
        split_sentences: bool = True,
        keep_form: bool = True,
        source_language: str = "",
        target_language: str = "",
    ) -> Steps:
        """Translate `texts`, with the searches left to the caller: a generator, see `Steps`.

        Yields the requests of all texts, and then, if some translations did not finish, those of their halves.
        """
        plans = [
            self.plan(
                text,
                options,
                split_sentences=split_sentences,
                keep_form=keep_form,
                source_language=source_language,
                target_language=target_language,
            )
            for text in texts
        ]
        return (yield from self.search(plans))

    def unit_steps(
        self,
        text: str,
        options: SearchOptions,
        *,
        split_sentences: bool = False,
        source_language: str = "",
        target_language: str = "",
    ) -> list[Steps]:
        """Return the steps of each unit of a text (see `Plan.edges`); together their translations are that of it."""
        plan = self.plan(
            text,
            options,
            split_sentences=split_sentences,
            source_language=source_language,
            target_language=target_language,
        )
        return [self.search([unit]) for unit in plan.units()]

    def search(self, plans: Sequence[Plan]) -> Steps:
        """Yield the requests of plans, then those of halves; return the translations."""
        results = {r.key: r for r in (yield [request for plan in plans for request in plan.requests])}
        revised = [self.revise(plan, results) for plan in plans]
        if retries := [request for plan in revised if plan is not None for request in plan.requests]:
            results.update((r.key, r) for r in (yield retries))
        return [self.join(again or plan, results) for plan, again in zip(plans, revised, strict=True)]

    def plan(
        self,
        text: str,
        options: SearchOptions,
        *,
        split_sentences: bool = True,
        keep_form: bool = True,
        source_language: str = "",
        target_language: str = "",
    ) -> Plan:
        """Cut `text` into segments and encode them.

        Raises `TranslationError` for an unknown target language.
        """
        tag = self.tag(target_language)
        if not is_translatable(text):
            return Plan(text, (_CONTROL.sub("", text),), (), options, (text,))
        known: dict[str, Reading] = {}

        def length(part: str) -> int:
            if part not in known:
                known[part] = self.read(clean(part), keep_form)
            return len(known[part].ids)

        limit = max(1, self.max_source_pieces - len(tag))
        language = source_language or self.source_language
        spans = split(text, limit, length, split_sentences=split_sentences, language=language)
        key = next(_serial)
        parts: list[str | Segment] = []
        sources: list[str] = []
        for n, span in enumerate(spans):
            before, core, after = unwrap(span.text) if span.translate and keep_form else ("", span.text, "")
            part = self._segment(core, (key, n), tag, options, known, keep_form) if span.translate else ""
            for each, source in ((before, before), (part or _CONTROL.sub("", core), core), (after, after)):
                if source:
                    parts.append(each)
                    sources.append(source)
        requests = tuple(part.request for part in parts if isinstance(part, Segment))
        return Plan(text, tuple(parts), requests, options, tuple(sources))

    def tag(self, target: str) -> tuple[int, ...]:
        """Return the tag pieces that a source for the language `target` (a code, or "") begins with, often none.

        Raises `TranslationError` if the model does not translate to `target`, or has several and none was named.
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

    def revise(self, plan: Plan, results: Mapping[Hashable, Result]) -> Plan | None:
        """Cut each segment in two whose best hypothesis is truncated; None if there is no such segment.

        The requests of the new plan are those of the halves: search them, then `join` with the old and new results.
        """
        if not plan.requests:
            return None
        parts: list[str | Segment] = []
        sources: list[str] = []
        requests: list[Request] = []
        for part, source in zip(plan.parts, plan.sources, strict=True):
            halves = self._halves(part, plan.options, results) if isinstance(part, Segment) else None
            if halves is None:
                parts.append(part)
                sources.append(source)
            else:
                first, space, second = halves
                parts += [first, space, second]
                sources += [source, "", ""]
                requests += [first.request, second.request]
        if not requests:
            return None
        return replace(plan, parts=tuple(parts), sources=tuple(sources), requests=tuple(requests))

    def _halves(
        self, segment: Segment, options: SearchOptions, results: Mapping[Hashable, Result]
    ) -> tuple[Segment, str, Segment] | None:
        """Return the halves of a truncated segment and the white space between them; None if it stays whole."""
        result = results[segment.request.key]
        if segment.halved or result.error is not None or result.hypotheses[0].complete:
            return None
        texts = halve(segment.text)
        if texts is None:
            return None
        tag = segment.request.src[:1] if self.target_tags else ()
        first, second = (
            self._segment(half, (segment.request.key, n), tag, options, {}, segment.keep_form, halved=True)
            for n, half in enumerate(texts)
        )
        if first is None or second is None:
            return None
        return first, texts[0][len(texts[0].rstrip()) :], second

    def join(self, plan: Plan, results: Mapping[Hashable, Result]) -> Translation:
        """Put the translation together from the results of the plan's requests, by key.

        Raises `TranslationError` if one of the searches failed.
        """
        if not plan.requests:
            return Translation(plan.source, "".join(part for part in plan.parts if isinstance(part, str)), 1.0, 0.0, ())
        segments: list[SegmentTranslation] = []
        whole = [Candidate("", 0, 0.0, 0, 0.0)]  # the best translations of the text so far, best first
        begins = set(plan.edges())
        edges: list[tuple[int, int, int]] = []
        places = accumulate(map(len, plan.sources), initial=0)
        for n, (part, place) in enumerate(zip(plan.parts, places, strict=False)):
            if n in begins:
                edges.append((place, len(whole[0].text), len(segments)))
            if isinstance(part, str):
                whole = [candidate.then(part) for candidate in whole]
                continue
            result = results[part.request.key]
            if result.error is not None:
                raise TranslationError(f"the model failed on {_short(part.text)!r}: {result.error}") from result.error
            candidates: dict[str, Candidate] = {}
            for rank, hypothesis in enumerate(result.hypotheses):
                text = self._text(part, hypothesis)
                # Two hypotheses may be one text in different pieces: the better one represents it.
                tokens = len(hypothesis.token_log_probs)
                candidates.setdefault(
                    text, Candidate(text, not hypothesis.complete, hypothesis.log_prob, tokens, hypothesis.score)
                )
                if rank == 0:
                    segments.append(self._detail(part, text, hypothesis))
            whole = combine(whole, list(candidates.values()), plan.options.n_best)
        distinct: dict[str, Candidate] = {}  # different translations of the segments may still join to one text
        for candidate in whole:
            distinct.setdefault(candidate.text, candidate)
        best, *others = distinct.values()
        return Translation(
            plan.source,
            best.text,
            best.confidence,
            best.log_prob,
            tuple(segments),
            tuple(other.text for other in others),
            tuple(other.confidence for other in others),
            tuple(other.truncated > 0 for other in others),
            best.truncated > 0,
            tuple(edges) or ((0, 0, 0),),
        )

    def read(self, text: str, keep_form: bool = True) -> Reading:
        """Encode clean `text`; in ALL CAPS or Title Case as a sentence, if the vocabulary has fewer pieces for it."""
        reading = Reading(text, tuple(self.tokenizer.encode(text)))
        upper = is_upper(text)
        if not keep_form or not (upper or is_title(text)):
            return reading
        sentence = as_sentence(text)
        other = Reading(sentence, tuple(self.tokenizer.encode(sentence)), upper)
        return min(reading, other, key=lambda one: (one.ids.count(UNK), len(one.ids)))

    def coverage(self, text: str) -> float:
        """Return the share of the pieces of `text` that are in the vocabulary, 0 to 1; 0 for no text."""
        ids = self.tokenizer.encode(clean(text))
        return sum(index != UNK for index in ids) / len(ids) if ids else 0.0

    def _segment(
        self,
        raw: str,
        key: Hashable,
        tag: tuple[int, ...],
        options: SearchOptions,
        known: dict[str, Reading],
        keep_form: bool,
        *,
        halved: bool = False,
    ) -> Segment | None:
        """Encode a raw text as a segment; None if nothing of it is left after cleaning."""
        text = clean(raw)
        reading = known.get(raw) or self.read(text, keep_form)
        request = Request(key, (*tag, *reading.ids, EOS), options)
        return Segment(text, reading, request, keep_form, halved) if reading.ids else None

    def _text(self, segment: Segment, hypothesis: Hypothesis) -> str:
        unknown = self._unknown_surfaces(segment, hypothesis) if UNK in hypothesis.ids else ()
        text = self.tokenizer.decode(hypothesis.ids, unknown=unknown)
        text = text.upper() if segment.reading.upper else text
        return end_like(segment.text, text) if segment.keep_form else text

    def _unknown_surfaces(self, segment: Segment, hypothesis: Hypothesis) -> list[str]:
        """Return for each unknown piece of a translation the source text that it attends to most.

        If the source has unknown pieces itself, only these are considered: they are what is most likely to be copied.
        """
        ids, spans = self.tokenizer.encode_with_offsets(segment.reading.text)
        shift = len(segment.request.src) - 1 - len(ids)  # a language tag stands before the text
        unknown = [i for i, index in enumerate(ids) if index == UNK] or list(range(len(ids)))
        surfaces: list[str] = []
        for index, weights in zip(hypothesis.ids, hypothesis.attention, strict=False):
            if index == UNK:
                if weights.any():
                    place = max(unknown, key=lambda i: float(weights[i + shift]))
                else:  # a model without attention gives no weights: take them in the order of the source
                    place = unknown[min(len(surfaces), len(unknown) - 1)]
                begin, end = spans[place]
                surfaces.append(segment.text[begin:end].strip())
        return surfaces

    def _source_pieces(self, segment: Segment) -> list[str]:
        """Return the labels of a segment's pieces, in the letter case of its text."""
        pieces = self.tokenizer.pieces(segment.request.src[:-1])
        if segment.reading.text == segment.text:
            return pieces
        ids, spans = self.tokenizer.encode_with_offsets(segment.reading.text)
        tags = len(pieces) - len(ids)
        for n, (begin, end) in enumerate(spans, tags):
            if ids[n - tags] != UNK:
                space = SPACE * pieces[n].startswith(SPACE)
                pieces[n] = space + segment.text[begin:end].lstrip()
        return pieces

    def _detail(self, segment: Segment, text: str, hypothesis: Hypothesis) -> SegmentTranslation:
        reading, target = segment.reading, self.tokenizer.pieces(hypothesis.ids)
        if reading.upper:
            target = [
                piece if index == UNK else piece.upper() for piece, index in zip(target, hypothesis.ids, strict=True)
            ]
        return SegmentTranslation(
            segment.text,
            text,
            [*self._source_pieces(segment), END_LABEL],
            target + [END_LABEL] * (len(hypothesis.token_log_probs) - len(target)),
            hypothesis.token_log_probs,
            hypothesis.attention,
            hypothesis.complete,
        )


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
