"""The closed word classes of the starter grammar: pronouns, determiners, adverbs, names, numbers, times and dates."""

from __future__ import annotations

from dataclasses import dataclass

CASES = ("nom", "acc", "dat", "gen")


@dataclass(frozen=True)
class Pronoun:
    """A personal pronoun; ``person`` indexes ich, du, er, wir, sie."""

    en: str
    en_object: str
    person: int
    nom: str
    acc: str
    dat: str
    possessive_en: str
    possessive_de: str


PRONOUNS = [
    Pronoun("I", "me", 0, "ich", "mich", "mir", "my", "mein"),
    Pronoun("you", "you", 1, "du", "dich", "dir", "your", "dein"),
    Pronoun("he", "him", 2, "er", "ihn", "ihm", "his", "sein"),
    Pronoun("she", "her", 2, "sie", "sie", "ihr", "her", "ihr"),
    Pronoun("we", "us", 3, "wir", "uns", "uns", "our", "unser"),
    Pronoun("they", "them", 4, "sie", "sie", "ihnen", "their", "ihr"),
]
FORMAL = Pronoun("you", "you", 4, "Sie", "Sie", "Ihnen", "your", "Ihr")
REFLEXIVE = ["mich", "dich", "sich", "uns", "sich"]

# English determiner: (German stem, declension). Declensions: der, ein (no ending in nom. m/n, acc. n), dieser.
DETERMINERS = {
    "the": ("d", "der"),
    "a": ("ein", "ein"),
    "no": ("kein", "ein"),
    "this": ("dies", "dieser"),
    "these": ("dies", "dieser"),
    "every": ("jed", "dieser"),
    "which": ("welch", "dieser"),
    "all": ("all", "dieser"),
    **{pronoun.possessive_en: (pronoun.possessive_de, "ein") for pronoun in PRONOUNS},
}
# Plural words without a determiner of their own: strong adjective endings follow.
QUANTIFIERS = {"some": "einig", "many": "viel"}

# Time adverbials: English, German, and when they fit: past, future, habit (any day), now.
TIMES = """
today ; heute ; future
tomorrow ; morgen ; future
tomorrow evening ; morgen Abend ; future
this evening ; heute Abend ; future
soon ; bald ; future
next week ; nächste Woche ; future
next month ; nächsten Monat ; future
next year ; nächstes Jahr ; future
in an hour ; in einer Stunde ; future
yesterday ; gestern ; past
yesterday evening ; gestern Abend ; past
last week ; letzte Woche ; past
last month ; letzten Monat ; past
last year ; letztes Jahr ; past
two days ago ; vor zwei Tagen ; past
a week ago ; vor einer Woche ; past
three years ago ; vor drei Jahren ; past
every day ; jeden Tag ; habit
every week ; jede Woche ; habit
every morning ; jeden Morgen ; habit
every evening ; jeden Abend ; habit
in the morning ; am Morgen ; habit
in the afternoon ; am Nachmittag ; habit
in the evening ; am Abend ; habit
at the weekend ; am Wochenende ; habit
after work ; nach der Arbeit ; habit
after lunch ; nach dem Mittagessen ; habit
before breakfast ; vor dem Frühstück ; habit
in summer ; im Sommer ; habit
in winter ; im Winter ; habit
"""
FREQUENCY = [
    ("always", "immer"),
    ("often", "oft"),
    ("sometimes", "manchmal"),
    ("never", "nie"),
    ("usually", "normalerweise"),
    ("rarely", "selten"),
    ("already", "schon"),
    ("still", "noch"),
]
HABITUAL = FREQUENCY[:6]
MANNERS = [
    ("fast", "schnell"),
    ("slowly", "langsam"),
    ("loudly", "laut"),
    ("quietly", "leise"),
    ("well", "gut"),
    ("badly", "schlecht"),
    ("a lot", "viel"),
    ("little", "wenig"),
    ("alone", "allein"),
    ("together", "zusammen"),
    ("here", "hier"),
    ("there", "dort"),
    ("at home", "zu Hause"),
    ("outside", "draußen"),
]
DEGREES = [
    ("very", "sehr"),
    ("too", "zu"),
    ("quite", "ziemlich"),
    ("really", "wirklich"),
    ("not", "nicht"),
    ("no longer", "nicht mehr"),
]

WEEKDAYS = [
    ("Monday", "Montag"),
    ("Tuesday", "Dienstag"),
    ("Wednesday", "Mittwoch"),
    ("Thursday", "Donnerstag"),
    ("Friday", "Freitag"),
    ("Saturday", "Samstag"),
    ("Sunday", "Sonntag"),
]
MONTHS = [
    ("January", "Januar"),
    ("February", "Februar"),
    ("March", "März"),
    ("April", "April"),
    ("May", "Mai"),
    ("June", "Juni"),
    ("July", "Juli"),
    ("August", "August"),
    ("September", "September"),
    ("October", "Oktober"),
    ("November", "November"),
    ("December", "Dezember"),
]
SEASONS = [("spring", "Frühling"), ("summer", "Sommer"), ("autumn", "Herbst"), ("winter", "Winter")]
COUNTRIES = [
    ("Germany", "Deutschland", "German", "Deutsch"),
    ("England", "England", "English", "Englisch"),
    ("France", "Frankreich", "French", "Französisch"),
    ("Italy", "Italien", "Italian", "Italienisch"),
    ("Spain", "Spanien", "Spanish", "Spanisch"),
    ("Poland", "Polen", "Polish", "Polnisch"),
    ("Russia", "Russland", "Russian", "Russisch"),
    ("Greece", "Griechenland", "Greek", "Griechisch"),
    ("Sweden", "Schweden", "Swedish", "Schwedisch"),
    ("Japan", "Japan", "Japanese", "Japanisch"),
]
CITIES = [
    ("Berlin", "Berlin"),
    ("Vienna", "Wien"),
    ("Munich", "München"),
    ("Cologne", "Köln"),
    ("Hamburg", "Hamburg"),
    ("London", "London"),
    ("Paris", "Paris"),
    ("Rome", "Rom"),
    ("Zurich", "Zürich"),
    ("Prague", "Prag"),
    ("Warsaw", "Warschau"),
    ("Geneva", "Genf"),
]
WOMEN = ["Anna", "Maria", "Lena", "Julia", "Laura", "Emma", "Clara", "Eva"]
MEN = ["Paul", "Peter", "Leon", "David", "Martin", "Simon", "Oskar", "Tim"]
SURNAMES = ["Weber", "Meyer", "Becker", "Wolf", "Braun", "Vogel"]
# Subordinating and coordinating conjunctions, prepositions and question words, counted among the lemmas.
CONJUNCTIONS = [
    ("because", "weil"),
    ("that", "dass"),
    ("when", "wenn"),
    ("if", "wenn"),
    ("whether", "ob"),
    ("although", "obwohl"),
    ("and", "und"),
    ("but", "aber"),
    ("or", "oder"),
    ("in order to", "um zu"),
    ("before", "bevor"),
]
PLACES = [
    ("on", "auf"),
    ("under", "unter"),
    ("in", "in"),
    ("behind", "hinter"),
    ("next to", "neben"),
    ("in front of", "vor"),
    ("between", "zwischen"),
]
PREPOSITIONS = [
    *PLACES,
    ("with", "mit"),
    ("without", "ohne"),
    ("for", "für"),
    ("from", "von"),
    ("out of", "aus"),
    ("to", "zu"),
    ("at", "bei"),
    ("after", "nach"),
    ("since", "seit"),
    ("through", "durch"),
    ("around", "um"),
    ("against", "gegen"),
    ("on top", "an"),
    ("about", "über"),
]
QUESTION_WORDS = [
    ("what", "was"),
    ("who", "wer"),
    ("where", "wo"),
    ("where to", "wohin"),
    ("when", "wann"),
    ("why", "warum"),
    ("how", "wie"),
    ("how many", "wie viele"),
    ("which", "welcher"),
]

EN_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
EN_TENS = ["-", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
EN_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
    "twenty": "twentieth",
    "thirty": "thirtieth",
}
DE_SMALL = [
    "null",
    "eins",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
]
DE_TENS = ["-", "zehn", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]
DE_ORDINALS = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}


@dataclass(frozen=True)
class Time:
    """A time adverbial in both languages."""

    en: str
    de: str
    when: str


def read_times() -> list[Time]:
    """The table of time adverbials together with weekdays and months."""
    times = [Time(*(part.strip() for part in line.split(";"))) for line in TIMES.strip().splitlines()]
    times += [Time(f"on {en}", f"am {de}", "day") for en, de in WEEKDAYS]
    times += [Time(f"in {en}", f"im {de}", "day") for en, de in MONTHS]
    return times


ALL_TIMES = read_times()


def english_number(number: int) -> str:
    """A number below one thousand in English words."""
    if number < 20:
        return EN_SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return EN_TENS[tens] + (f"-{EN_SMALL[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{EN_SMALL[hundreds]} hundred" + (f" and {english_number(rest)}" if rest else "")


def german_number(number: int) -> str:
    """A number below one thousand in German words, counting (eins, not ein)."""
    if number < 20:
        return DE_SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        if not ones:
            return DE_TENS[tens]
        return f"{'ein' if ones == 1 else DE_SMALL[ones]}und{DE_TENS[tens]}"
    hundreds, rest = divmod(number, 100)
    return f"{'ein' if hundreds == 1 else DE_SMALL[hundreds]}hundert" + (german_number(rest) if rest else "")


def english_ordinal(number: int) -> str:
    """third, twenty-first, ..."""
    head, dash, last = english_number(number).rpartition("-")
    return head + dash + EN_ORDINALS.get(last, last + "th")


def german_ordinal(number: int) -> str:
    """The ordinal stem: dritt, einundzwanzigst, ... (an adjective ending follows)."""
    if number in DE_ORDINALS:
        return DE_ORDINALS[number]
    return german_number(number) + ("t" if number < 20 else "st")


def clock(hour: int, minute: int) -> tuple[str, str]:
    """A clock time in both languages: (7, 30) -> half past seven, halb acht."""
    following = hour % 12 + 1
    if minute == 0:
        return f"{english_number(hour)} o'clock", f"{'ein' if hour == 1 else german_number(hour)} Uhr"
    if minute == 30:
        return f"half past {english_number(hour)}", f"halb {german_number(following)}"
    past = minute < 30
    distance = minute if past else 60 - minute
    en_distance = "quarter" if distance == 15 else english_number(distance)
    de_distance = "Viertel" if distance == 15 else german_number(distance)
    reference = hour if past else following
    return (
        f"{en_distance} {'past' if past else 'to'} {english_number(reference)}",
        f"{de_distance} {'nach' if past else 'vor'} {german_number(reference)}",
    )


def date(day: int, month: int, case: str) -> tuple[str, str]:
    """A date, as ``nom`` (the third of May, der dritte Mai) or ``dat`` (on the third of May, am dritten Mai)."""
    english, german = MONTHS[month - 1]
    en = f"the {english_ordinal(day)} of {english}"
    if case == "dat":
        return f"on {en}", f"am {german_ordinal(day)}en {german}"
    return en, f"der {german_ordinal(day)}e {german}"
