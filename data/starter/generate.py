"""Write the starter corpus: ``python data/starter/generate.py``, or ``--check`` to compare with what is on disk.

The same seed gives the same bytes on every Python from 3.11 on. Pure standard library.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs as a script too

from data.starter import templates_being, templates_complex, templates_joined, templates_numbers, templates_simple
from data.starter.adjectives import ADJECTIVE
from data.starter.basics import as_typed, basics, read_sections
from data.starter.build import Dice, Item
from data.starter.grammar import Use
from data.starter.inflect import english_ing, english_third
from data.starter.nouns import NOUN
from data.starter.registry import REGISTRY
from data.starter.verbs import VERBS

HERE = Path(__file__).resolve().parent
SEED = 20240501
GENERATED = 29_500
VALID_EVERYDAY, VALID_GENERATED, TEST, TEST_NEW = 30, 470, 700, 500
MIN_WORDS, MAX_WORDS = 3, 16
# How many combinations of each kind are kept for test_new, and how often each of their words occurs elsewhere.
HELD_OUT = {"verb object": 150, "adjective noun": 120, "subject verb": 80}
# Their import filled the registry.
TEMPLATES = (templates_simple, templates_being, templates_numbers, templates_complex, templates_joined)
SPLITS = ("train", "valid", "test", "test_new")


@dataclass
class Corpus:
    """The four splits and the combinations held out of train and valid."""

    splits: dict[str, list[Item]]
    held_out: list[Use]
    everyday: list[Item]
    templates: Counter[str] = field(default_factory=Counter)


def read_everyday(path: Path = HERE / "everyday.tsv") -> list[Item]:
    """The hand-written pairs."""
    items = []
    for line in path.read_text(encoding="utf-8").splitlines():
        english, german = line.split("\t")
        items.append(Item(english, german, "everyday"))
    return items


def generate_items(dice: Dice, taken: set[str], total: int) -> list[Item]:
    """Distinct items, each template near its share, in template order."""
    weights = sum(entry.weight for entry in REGISTRY)
    items: list[Item] = []
    seen = set(taken)
    for entry in REGISTRY:
        quota = round(total * entry.weight / weights)
        kept = attempts = 0
        while kept < quota and attempts < 25 * quota:
            attempts += 1
            item = entry.make(dice)
            if item is None or not MIN_WORDS <= len(item.en.split()) <= MAX_WORDS or item.en in seen:
                continue
            seen.add(item.en)
            items.append(replace(item, template=entry.name))
            kept += 1
    return items


def word_forms(kind: str, word: str) -> set[str]:
    """The English forms of a word in a combination: kind is subject, verb, object, adjective or noun."""
    if kind == "verb":
        heads = [entry for entry in VERBS if entry.key == word]
        forms = {form for entry in heads for form in (entry.en, entry.en_past, entry.en_participle)}
        return forms | {form for entry in heads for form in (english_third(entry.en), english_ing(entry.en))}
    if kind == "adjective":
        entry = ADJECTIVE[word]
        return {part for form in (word, entry.en_comparative, entry.en_superlative) for part in form.split()[-1:]}
    noun = NOUN.get(word)
    return {part for form in ((noun.en, noun.en_plural) if noun else (word,)) for part in form.split()[-1:]}


def in_everyday(use: Use, everyday: list[set[str]]) -> bool:
    """Whether a hand-written sentence has both words of the combination."""
    first, second = use[0].split()
    one, other = word_forms(first, use[1]), word_forms(second, use[2])
    return any(words & one and words & other for words in everyday)


def choose_held_out(dice: Dice, items: list[Item], everyday: list[Item]) -> list[Use]:
    """Combinations whose words all occur often without them, and that no everyday sentence has either."""
    by_hand = [set(re.findall(r"[a-z]+", item.en.lower())) for item in everyday]
    combinations: Counter[Use] = Counter()
    words: Counter[tuple[str, str]] = Counter()
    for item in items:
        for use in sorted(item.uses):
            combinations[use] += 1
            words[(use[0] + "/1", use[1])] += 1
            words[(use[0] + "/2", use[2])] += 1
    chosen: list[Use] = []
    for kind, count in HELD_OUT.items():
        options = [
            use
            for use in sorted(combinations)
            if use[0] == kind
            and combinations[use] >= 2
            and words[(kind + "/1", use[1])] >= 5 * combinations[use] + 15
            and words[(kind + "/2", use[2])] >= 5 * combinations[use] + 15
            and not in_everyday(use, by_hand)
        ]
        dice.shuffle(options)
        chosen += options[:count]
    return sorted(chosen)


def comparable(text: str) -> str:
    """A sentence without what depends on how it is typed."""
    return text.rstrip(".!?").lower()


def generate_basics(dice: Dice, everyday: list[Item], held_out: list[Use], elsewhere: list[Item]) -> list[Item]:
    """The basic sentences without held-out combinations, and without those that valid or a test has."""
    english, german = {comparable(item.en) for item in elsewhere}, {comparable(item.de) for item in elsewhere}
    banned = []
    for kind, first, second in held_out:
        one, other = kind.split()
        banned.append((word_forms(one, first), word_forms(other, second)))
    items = []
    for item in basics(dice, everyday):
        words = set(re.findall(r"[a-z]+", item.en.lower()))
        if (
            comparable(item.en) in english
            or comparable(item.de) in german
            or any(words & a and words & b for a, b in banned)
        ):
            continue
        items.append(item)
    return items


def build_corpus(seed: int = SEED) -> Corpus:
    """The whole corpus in memory."""
    dice = Dice(seed)
    everyday = read_everyday()
    items = generate_items(dice, {item.en for item in everyday}, GENERATED)
    held_out = choose_held_out(dice, items, everyday)
    banned = set(held_out)
    new = [item for item in items if item.uses & banned]
    known = [item for item in items if not item.uses & banned]
    dice.shuffle(new)
    dice.shuffle(known)
    basic = {english for _, english, _, _ in read_sections()}
    shuffled = list(everyday)
    dice.shuffle(shuffled)
    shuffled.sort(key=lambda item: item.en in basic)  # valid has none of the basics
    valid = shuffled[:VALID_EVERYDAY] + known[:VALID_GENERATED]
    train = shuffled[VALID_EVERYDAY:] + known[VALID_GENERATED + TEST :]
    test = known[VALID_GENERATED : VALID_GENERATED + TEST]
    english = {item.en for item in train + valid}
    german = {item.de for item in train + valid}
    # A German sentence can render two English ones, so the tests drop those that train or valid already has.
    test = [item for item in test if item.en not in english and item.de not in german]
    new = [item for item in new if item.en not in english and item.de not in german]
    # Dice of their own: the tests stay as they are when the basics change.
    own = Dice(seed + 1)
    train = [as_typed(own, item) for item in train]
    taken = {item.en for item in train}
    for item in generate_basics(own, everyday, held_out, valid + test + new):
        if item.en not in taken:
            taken.add(item.en)
            train.append(item)
    dice.shuffle(train)
    dice.shuffle(valid)
    splits = {"train": train, "valid": valid, "test": test, "test_new": new[:TEST_NEW]}
    return Corpus(splits, held_out, everyday, Counter(item.template for item in train))


def render(corpus: Corpus) -> dict[str, str]:
    """File name to content."""
    files = {}
    for name, items in corpus.splits.items():
        files[f"{name}.en"] = "".join(item.en + "\n" for item in items)
        files[f"{name}.de"] = "".join(item.de + "\n" for item in items)
    return files


def summary(corpus: Corpus) -> str:
    """Sizes, lengths and shares, for people."""
    lines = []
    for name, items in corpus.splits.items():
        english = sum(len(item.en.split()) for item in items) / len(items)
        german = sum(len(item.de.split()) for item in items) / len(items)
        lines.append(f"{name:9} {len(items):6} pairs, {english:.1f} English and {german:.1f} German words on average")
    total = sum(corpus.templates.values())
    lines.append(f"{len(corpus.held_out)} held-out combinations, {len(corpus.templates)} sources of train:")
    lines += [f"  {name:24} {count:5} {100 * count / total:5.1f} %" for name, count in corpus.templates.most_common()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the files on disk, write nothing")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the corpus files")
    parser.add_argument("--summary", action="store_true", help="print sizes and the share of each template")
    options = parser.parse_args(arguments)
    corpus = build_corpus()
    if options.summary:
        print(summary(corpus))
    files = render(corpus)
    if options.check:
        different = [
            name
            for name, text in files.items()
            if not (options.out / name).is_file() or (options.out / name).read_bytes() != text.encode("utf-8")
        ]
        print("differs: " + " ".join(different) if different else "identical")
        return 1 if different else 0
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (options.out / name).write_bytes(text.encode("utf-8"))
    print(f"wrote {len(files)} files to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
