"""Sentence templates about being: adjectives, jobs, comparisons, places, possession."""

from __future__ import annotations

from dataclasses import replace

from data.starter.adjectives import ADJECTIVES
from data.starter.build import (
    POSSESSIVES,
    Dice,
    Item,
    adjective_for,
    clause,
    location,
    name_of,
    person_object,
    person_phrase,
    place_german,
    subject_phrase,
)
from data.starter.grammar import Clause, Phrase, noun_phrase, sentence, with_preposition
from data.starter.nouns import NOUN, nouns_of
from data.starter.registry import copula, statement, template
from data.starter.verbs import verb
from data.starter.words import (
    CITIES,
    COUNTRIES,
    DEGREES,
    PLACES,
)

# -- being: adjectives, jobs, comparisons -----------------------------------------------------------------------------


def thing_phrase(dice: Dice, adjective_share: float = 0.0) -> Phrase | None:
    """Something an adjective can be said of."""
    noun = dice.pick([entry for entry in NOUN.values() if entry.classes - {"period", "unit", "part", "quality", "day"}])
    plural = noun.countable and dice.chance(0.2) and "family" not in noun.classes
    det = "the"
    if noun.classes & {"own", "family", "clothing", "pet", "thing", "mind"}:
        det = dice.pick(["the", "the", "this" if not plural else "these", dice.pick(POSSESSIVES)])
    elif dice.chance(0.25):
        det = "these" if plural else "this"
    adjective = adjective_for(dice, noun) if dice.chance(adjective_share) else None
    return noun_phrase(noun, det, plural, adjective)


@template(13)
def is_adjective(dice: Dice) -> Item | None:
    subject = subject_phrase(dice) if dice.chance(0.4) else thing_phrase(dice)
    if subject is None:
        return None
    if subject.noun:
        adjective = adjective_for(dice, NOUN[subject.noun])
    else:
        adjective = dice.pick([entry for entry in ADJECTIVES if "person" in entry.classes])
    if adjective is None or subject.uses:
        return None
    uses = {("adjective noun", adjective.en, subject.noun)} if subject.noun else set()
    english, german = adjective.en, adjective.de
    if dice.chance(0.5):
        degree = dice.pick(DEGREES)
        if not adjective.gradable and degree[0] in ("very", "too", "quite"):
            degree = DEGREES[4]
        english, german = f"{degree[0]} {english}", f"{degree[1]} {german}"
    item = copula(subject, english, german, past=dice.chance(0.25))
    return replace(item, uses=item.uses | uses)


@template(4)
def is_job(dice: Dice) -> Item | None:
    """German drops the article (Er ist Lehrer) unless there is an adjective; the jobs here are masculine."""
    subject = subject_phrase(dice)
    noun = dice.pick([entry for entry in nouns_of("job") if entry.en not in ("nurse", "shop assistant")])
    men = ("brother", "father", "uncle", "son", "grandfather")
    masculine = subject.en in ("he", "I") if subject.pronoun else subject.gender == "m"
    if not masculine or (subject.noun and subject.noun not in men):
        return None
    adjective = adjective_for(dice, noun) if dice.chance(0.6) else None
    phrase = noun_phrase(noun, "a", adjective=adjective)
    german = phrase.german("nom") if adjective else noun.de
    item = copula(subject, phrase.en, german, past=dice.chance(0.2))
    return replace(item, uses=item.uses | phrase.uses)


@template(6)
def comparative(dice: Dice) -> Item | None:
    first, second = thing_phrase(dice), thing_phrase(dice)
    if dice.chance(0.35):
        first, second = subject_phrase(dice), person_phrase(dice, 0.0)
    if not first or not second or first.en == second.en or first.uses or second.uses or "every" in second.en:
        return None
    classes = NOUN[second.noun].classes & (NOUN[first.noun].classes if first.noun else NOUN[second.noun].classes)
    options = [entry for entry in ADJECTIVES if entry.gradable and entry.classes & classes]
    if not options:
        return None
    adjective = dice.pick(options)
    uses = {("adjective noun", adjective.en, phrase.noun) for phrase in (first, second) if phrase.noun}
    equal = dice.chance(0.3)
    if equal:
        nicht = dice.chance(0.4)
        item = copula(
            first,
            f"{'not ' if nicht else ''}as {adjective.en} as {second.en}",
            f"{'nicht ' if nicht else ''}so {adjective.de} wie {second.german('nom')}",
        )
    else:
        item = copula(
            first,
            f"{adjective.en_comparative} than {second.en}",
            f"{adjective.de_comparative} als {second.german('nom')}",
        )
    return replace(item, uses=frozenset(uses))


@template(4)
def superlative(dice: Dice) -> Item | None:
    noun = dice.pick([entry for entry in NOUN.values() if entry.countable])
    adjective = adjective_for(dice, noun, gradable=True)
    if adjective is None:
        return None
    top = noun_phrase(noun, "the", adjective=adjective, degree="superlative")
    roll = dice.below(3)
    if roll == 0:
        subject = noun_phrase(noun, dice.pick(["this", *POSSESSIVES]))
        item = copula(subject, top.en, top.german("nom"))
    elif roll == 1:
        place = dice.pick(nouns_of("town"))
        if not noun.classes & {"building"}:
            return None
        where = ("in the " + place.en, place_german("in", place, "dat"))
        item = Item(f"Where is {top.en} {where[0]}?", f"Wo ist {top.german('nom')} {where[1]}?")
    else:
        subject = noun_phrase(noun, dice.pick(["this", "the", *POSSESSIVES]))
        item = copula(subject, f"the {adjective.en_superlative}", f"am {adjective.de_superlative}en")
    return replace(item, uses=top.uses)


@template(3)
def degree_object(dice: Dice) -> Item | None:
    """A comparative or superlative as an attribute: a better book, the best book."""
    built = clause(dice, dice.pick(["present", "want to", "past", "will", "would like to"]), kinds=("acc",))
    if not built.obj or not built.obj.noun or "person" in NOUN[built.obj.noun].classes:
        return None
    noun = NOUN[built.obj.noun]
    adjective = adjective_for(dice, noun, gradable=True)
    if adjective is None or not noun.countable:
        return None
    top = dice.chance(0.5)
    phrase = noun_phrase(
        noun, "the" if top else "a", adjective=adjective, degree="superlative" if top else "comparative"
    )
    return statement(replace(built, obj=phrase, middle=None))


# -- places -----------------------------------------------------------------------------------------------------------


@template(6)
def object_is_somewhere(dice: Dice) -> Item | None:
    noun = dice.pick(nouns_of("thing", "pet", "clothing"))
    subject = noun_phrase(
        noun,
        dice.pick(["the", "the", *POSSESSIVES]),
        noun.countable and dice.chance(0.2),
        adjective_for(dice, noun) if dice.chance(0.3) else None,
    )
    ground = dice.pick(nouns_of("furniture", "box"))
    if ground.en == noun.en or (noun.classes & {"box"} and ground.classes & {"box"}):
        return None
    names = {"in"} if "box" in ground.classes and dice.chance(0.6) else {"on", "under", "behind", "next to"}
    if names != {"in"} and "top" not in ground.classes:
        names -= {"on", "under"}
    place = dice.pick([pair for pair in PLACES if pair[0] in names])
    phrase = noun_phrase(ground, dice.pick(["the", "the", "the", "this", "my"]))
    item = copula(subject, f"{place[0]} {phrase.en}", with_preposition(place[1], phrase, "dat"), dice.chance(0.2))
    return item


@template(4)
def person_is_somewhere(dice: Dice) -> Item | None:
    subject = subject_phrase(dice)
    where, uses = location(dice)
    negation = ("not ", "nicht ") if dice.chance(0.25) else ("", "")
    item = copula(subject, negation[0] + where[0], negation[1] + where[1], dice.chance(0.4))
    return replace(item, uses=item.uses | uses)


@template(4)
def there_is(dice: Dice) -> Item | None:
    inside = dice.chance(0.5)
    if inside:
        noun, ground = dice.pick(nouns_of("building")), dice.pick(nouns_of("town"))
    else:
        noun, ground = dice.pick(nouns_of("furniture")), dice.pick(nouns_of("room"))
    adjective = adjective_for(dice, noun) if dice.chance(0.4) else None
    roll = dice.below(4)
    number = 2 + dice.below(9) if roll == 0 else 0
    det = {0: "", 1: "many"}.get(roll, "a")
    phrase = noun_phrase(noun, det, roll < 2, adjective, number=number)
    ground_phrase = noun_phrase(ground, dice.pick(["the", "the", "this", "our"]))
    where = with_preposition("in", ground_phrase, "dat")
    return Item(
        sentence(f"there {'is' if phrase.person == 2 else 'are'} {phrase.en} in {ground_phrase.en}"),
        sentence(f"{where} gibt es {phrase.german('acc')}"),
        uses=phrase.uses,
    )


@template(5)
def put_somewhere(dice: Dice) -> Item | None:
    """put is legen for what lies and stellen for what stands."""
    upright = dice.chance(0.45)
    noun = dice.pick(nouns_of("upright" if upright else "flat"))
    action = verb("put", "stand" if upright else "lay")
    tense = dice.pick(["present", "perfect", "will", "can", "must", "should", "want to"])
    subject = subject_phrase(dice)
    ground = dice.pick([entry for entry in nouns_of("top", "box") if entry.en not in ("chair", "basket", noun.en)])
    preposition = ("in", "in") if "box" in ground.classes else dice.pick([PLACES[0], PLACES[0], PLACES[4], PLACES[1]])
    if noun.classes & {"box"} and ground.classes & {"box"} and ground.en != "cupboard":
        return None
    english = "into" if preposition[0] == "in" else preposition[0]
    obj = noun_phrase(
        noun,
        dice.pick(["the", "the", "my", "a", "his", "her"]),
        adjective=adjective_for(dice, noun) if dice.chance(0.25) else None,
    )
    target = noun_phrase(ground, "the")
    tail = (f"{english} {target.en}", with_preposition(preposition[1], target, "acc"))
    return statement(Clause(subject, action, tense, obj=obj, tail=tail))


@template(4)
def countries(dice: Dice) -> Item | None:
    subject = subject_phrase(dice)
    english, german, tongue_en, tongue_de = dice.pick(COUNTRIES)
    roll = dice.below(4)
    if roll == 0:
        city = dice.pick(CITIES)
        origin = dice.pick([(english, german), city])
        built = Clause(subject, verb("come", "to"), "present", tail=(f"from {origin[0]}", f"aus {origin[1]}"))
        return statement(built)
    if roll == 1:
        tense = dice.pick(["past", "perfect", "will", "want to", "present", "would like to"])
        place = dice.pick([(english, german), dice.pick(CITIES)])
        tail = (f"to {place[0]}", f"nach {place[1]}")
        built = clause(dice, tense, subject=subject, kinds=("land",), timed=0.6)
        return statement(replace(built, tail=tail))
    action = verb("speak", "tongue")
    how = dice.pick([("", ""), ("very good ", "sehr gut "), ("a little ", "ein wenig "), ("no ", "kein ")])
    tense = dice.pick(["present", "present", "can"])
    built = Clause(subject, action, tense, tail=(how[0] + tongue_en, how[1] + tongue_de))
    return statement(built)


# -- possession -------------------------------------------------------------------------------------------------------


@template(5)
def genitive(dice: Dice) -> Item | None:
    """the colour of the car: die Farbe des Autos."""
    head, owners, adjectives = dice.pick(
        [
            ("colour", ("clothing", "own", "furniture", "opening"), ("beautiful", "ugly")),
            ("price", ("clothing", "own", "furniture", "device"), ("good",)),
            ("name", ("person", "building", "pet", "town", "show"), ("strange", "beautiful", "long", "short")),
            ("roof", ("building",), ("red", "old", "new")),
            ("window", ("building", "room"), ("small", "dirty")),
            ("door", ("building", "room", "own"), ("green", "new")),
            ("end", ("show", "text"), ("sad", "funny", "boring")),
            ("beginning", ("show", "text"), ("interesting", "funny", "boring")),
        ]
    )
    noun = dice.pick(nouns_of(*owners))
    det = dice.pick(POSSESSIVES) if noun.classes & {"own", "family", "clothing", "pet"} else dice.pick(["the", "this"])
    owner = noun_phrase(
        noun, dice.pick([det, "the"]), adjective=adjective_for(dice, noun) if dice.chance(0.3) else None
    )
    head_phrase = noun_phrase(NOUN[head], "the")
    english = f"{head_phrase.en} of {owner.en}"
    cases = [f"{head_phrase.german(case)} {owner.german('gen')}" for case in ("nom", "acc", "dat")]
    whole = Phrase(english, english, (cases[0], cases[1], cases[2], ""), 2, head_phrase.gender, noun=head)
    if dice.chance(0.55):
        adjective = dice.pick([entry for entry in ADJECTIVES if entry.en in adjectives])
        item = copula(whole, adjective.en, adjective.de, past=dice.chance(0.2))
        item = replace(item, uses=frozenset({("adjective noun", adjective.en, head)}))
    elif head in ("roof", "window", "door"):
        built = clause(dice, dice.pick(["present", "perfect", "past"]), kinds=("acc",))
        action = verb(dice.pick(["see", "clean", "repair", "open"] if head != "roof" else ["see", "photograph"]), "acc")
        item = statement(Clause(built.subject, action, built.tense, obj=whole))
    else:
        action = verb(dice.pick(["forget", "like", "understand"] if head in ("end", "beginning") else ["like"]), "acc")
        item = statement(Clause(subject_phrase(dice), action, "present", obj=whole))
    return replace(item, uses=item.uses | owner.uses)


@template(4)
def names_of(dice: Dice) -> Item | None:
    """Anna's dog: Annas Hund."""
    name = name_of(dice)
    noun = dice.pick(nouns_of("own", "pet", "family", "clothing", "building", "room"))
    if noun.classes & {"building"} and noun.en not in ("house", "shop", "hotel", "restaurant"):
        return None
    adjective = adjective_for(dice, noun)
    if adjective is None:
        return None
    owned = noun_phrase(noun, "")
    english = f"{name.en}'s {noun.en}"
    cases = [f"{name.en}s {noun.german(case, False)}" for case in ("nom", "acc", "dat")]
    whole = Phrase(english, english, (cases[0], cases[1], cases[2], ""), 2, owned.gender, noun=noun.en)
    if dice.chance(0.5):
        item = copula(whole, adjective.en, adjective.de, past=dice.chance(0.25))
        return replace(item, uses=frozenset({("adjective noun", adjective.en, noun.en)}))
    built = clause(dice, dice.pick(["present", "past", "perfect", "will", "want to"]), kinds=("acc", "dat"))
    if not built.obj or not built.obj.noun:
        return None
    wanted = NOUN[built.obj.noun].classes - {"person", "thing"}
    if not wanted & noun.classes or name.en in built.english():
        return None
    return statement(replace(built, obj=whole))


@template(3)
def belongs(dice: Dice) -> Item | None:
    noun = dice.pick(nouns_of("own", "pet", "clothing", "thing"))
    subject = noun_phrase(
        noun, dice.pick(["the", "this"]), adjective=adjective_for(dice, noun) if dice.chance(0.4) else None
    )
    built = Clause(
        subject, verb("belong", "owner"), obj=person_object(dice, subject, plain=True), negated=dice.chance(0.2)
    )
    assert built.obj
    shown = replace(built.obj, en_object=f"to {built.obj.en_object}", pronoun=False)
    return statement(replace(built, obj=shown))
