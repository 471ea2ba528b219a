"""The verbs of the starter grammar, as a table.

One verb per line: English (past and participle after it when irregular) ; German infinitive (``ab.holen`` marks the
separable prefix, ``sich`` a reflexive verb), participle, and ``~stem`` for the du/er form when the vowel changes ;
frame. The perfect takes haben, or sein when ``+sein`` stands after the participle.

Frames: ``-`` takes no object. ``acc food text`` takes an accusative object of these noun classes, ``dat`` a dative
object, ``give`` a dative person and an accusative thing, ``auf+acc`` (and the like) an object with a preposition.
In the English column ``*`` ties a preposition to the verb (look for*), while a plain particle moves (pick him up).
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
buy bought bought ; kaufen gekauft ; acc food massfood drink clothing text thing own furniture
sell sold sold ; verkaufen verkauft ; acc food massfood clothing thing own furniture
eat ate eaten ; essen gegessen ~iss ; acc food massfood
drink drank drunk ; trinken getrunken ; acc drink
cook ; kochen gekocht ; acc dish vegetable
cut cut cut ; schneiden geschnitten ; acc vegetable fruit baked
taste ; probieren probiert ; acc baked dish fruit
read read read ; lesen gelesen ~lies ; acc text
write wrote written ; schreiben geschrieben ; acc writing
see saw seen ; sehen gesehen ~sieh ; acc person animal vehicle building outdoor thing
know knew known ; kennen gekannt ; acc person town building music rule tale show
love ; lieben geliebt ; acc family pet music show outdoor
like ; mögen gemocht ~mag ; acc person animal food massfood drink music show town text clothing
find found found ; finden gefunden ; acc thing text clothing pet speech
look for* ; suchen gesucht ; acc thing text clothing pet person building
need ; brauchen gebraucht ; acc thing clothing own device furniture
have had had ; haben gehabt ~ha ; acc thing own pet clothing family dreams plans
take took taken ; nehmen genommen ~nimm ; acc flat dishes public clothing
get got got ; bekommen bekommen ; acc thing text speech
carry ; tragen getragen ~träg ; acc box thing furniture
wear wore worn ; tragen getragen ~träg ; acc clothing
wash ; waschen gewaschen ~wäsch ; acc clothing own dishes fruit
clean ; putzen geputzt ; acc room opening dishes
repair ; reparieren repariert ; acc vehicle device furniture
open ; öffnen geöffnet ; acc opening letters
close ; schließen geschlossen ; acc opening
draw drew drawn ; zeichnen gezeichnet ; acc animal plant building person
paint ; malen gemalt ; acc animal plant building outdoor art
visit ; besuchen besucht ; acc person town visitable
meet met met ; treffen getroffen ~triff ; acc person
ask ; fragen gefragt ; acc person
understand understood understood ; verstehen verstanden ; acc speech mind person learn
hear heard heard ; hören gehört ; acc music animal person
forget forgot forgotten ; vergessen vergessen ~vergiss ; acc thing clothing speech
lose lost lost ; verlieren verloren ; acc flat clothing
hide hid hidden ; verstecken versteckt ; acc flat dishes
drive drove driven ; fahren gefahren ~fähr ; acc drivable
pay for* paid paid ; bezahlen bezahlt ; acc food drink massfood clothing meal
order ; bestellen bestellt ; acc dish drink baked
use ; benutzen benutzt ; acc device dishes vehicle
learn ; lernen gelernt ; acc learn poems
sing sang sung ; singen gesungen ; acc music
hold held held ; halten gehalten ~hält ; acc flat dishes pet toys
feed fed fed ; füttern gefüttert ; acc animal
photograph ; fotografieren fotografiert ; acc person animal building outdoor
correct ; korrigieren korrigiert ; acc speech writing mistakes
make made made ; machen gemacht ; acc mistakes trips
greet ; begrüßen begrüßt ; acc person
build built built ; bauen gebaut ; acc building furniture
sew sewed sewn ; nähen genäht ; acc clothing
pick up ; ab.holen abgeholt ; acc person
call ; an.rufen angerufen ; acc person
invite ; ein.laden eingeladen ~läd ; acc person
turn on ; ein.schalten eingeschaltet ; acc device
turn off ; aus.schalten ausgeschaltet ; acc device
put on put put ; an.ziehen angezogen ; acc clothing
take off took taken ; aus.ziehen ausgezogen ; acc clothing
try on ; an.probieren anprobiert ; acc clothing
throw away threw thrown ; weg.werfen weggeworfen ~wirf ; acc thing clothing
tidy up ; auf.räumen aufgeräumt ; acc room box
bring along brought brought ; mit.bringen mitgebracht ; acc thing food drink
take along took taken ; mit.nehmen mitgenommen ~nimm ; acc flat clothing pet
give back gave given ; zurück.geben zurückgegeben ~gib ; acc thing own
wake up woke woken ; auf.wecken aufgeweckt ; acc person
write down wrote written ; auf.schreiben aufgeschrieben ; acc speech tale rule
prepare ; vor.bereiten vorbereitet ; acc meal event
look at* ; an.sehen angesehen ~sieh ; acc art animal building show
introduce ; vor.stellen vorgestellt ; acc person
get to know* got got ; kennen.lernen kennengelernt ; acc person town
help ; helfen geholfen ~hilf ; dat person
thank ; danken gedankt ; dat person
answer ; antworten geantwortet ; dat person
follow ; folgen gefolgt +sein ; dat person animal
congratulate ; gratulieren gratuliert ; dat person
trust ; vertrauen vertraut ; dat person
listen to* ; zu.hören zugehört ; dat person
give gave given ; geben gegeben ~gib ; give thing food clothing
show showed shown ; zeigen gezeigt ; give thing text town building clothing
send sent sent ; schicken geschickt ; give writing thing
bring brought brought ; bringen gebracht ; give thing drink food dish
tell told told ; erzählen erzählt ; give told dreams
lend lent lent ; leihen geliehen ; give thing own clothing
explain ; erklären erklärt ; give mind
wait for* ; warten gewartet ; auf+acc person public
talk about* ; sprechen gesprochen ~sprich ; über+acc person event mind show
think of* thought thought ; denken gedacht ; an+acc person event mind
laugh about* ; lachen gelacht ; über+acc person tale show mistakes
dream of* ; träumen geträumt ; von+dat event own animal
play with* ; spielen gespielt ; mit+dat pet toys person
take part in* took taken ; teil.nehmen teilgenommen ~nimm ; an+dat event
be afraid of* was been ; Angst haben gehabt ~ha ; vor+dat animal
sleep slept slept ; schlafen geschlafen ~schläf ; -
work ; arbeiten gearbeitet ; -
laugh ; lachen gelacht ; -
cry ; weinen geweint ; -
smile ; lächeln gelächelt ; -
dance ; tanzen getanzt ; -
sing sang sung ; singen gesungen ; -
swim swam swum ; schwimmen geschwommen +sein ; -
run ran run ; laufen gelaufen +sein ~läuf ; -
wait ; warten gewartet ; -
play ; spielen gespielt ; -
cook ; kochen gekocht ; -
read read read ; lesen gelesen ~lies ; -
learn ; lernen gelernt ; -
eat ate eaten ; essen gegessen ~iss ; -
get up got got ; auf.stehen aufgestanden +sein ; -
arrive ; an.kommen angekommen +sein ; -
fall asleep fell fallen ; ein.schlafen eingeschlafen +sein ~schläf ; -
wake up woke woken ; auf.wachen aufgewacht +sein ; -
go out went gone ; aus.gehen ausgegangen +sein ; -
come back came come ; zurück.kommen zurückgekommen +sein ; -
watch television ; fern.sehen ferngesehen ~sieh ; -
go shopping went gone ; ein.kaufen eingekauft ; -
hurry ; sich beeilen beeilt ; -
rest ; sich aus.ruhen ausgeruht ; -
go went gone ; gehen gegangen +sein ; to
run ran run ; laufen gelaufen +sein ~läuf ; to
drive drove driven ; fahren gefahren +sein ~fähr ; to
come came come ; kommen gekommen +sein ; to
live ; wohnen gewohnt ; in
stay ; bleiben geblieben +sein ; in
travel ; reisen gereist +sein ; land
speak spoke spoken ; sprechen gesprochen ~sprich ; tongue
belong ; gehören gehört ; owner
cost cost cost ; kosten gekostet ; price
depart ; ab.fahren abgefahren +sein ~fähr ; leave
put put put ; legen gelegt ; lay
put put put ; stellen gestellt ; stand
try ; versuchen versucht ; clause
begin began begun ; an.fangen angefangen ~fäng ; clause
promise ; versprechen versprochen ~versprich ; clause
hope ; hoffen gehofft ; clause
think thought thought ; glauben geglaubt ; clause
say said said ; sagen gesagt ; clause
know knew known ; wissen gewusst ~weiß ; clause
be was been ; sein gewesen +sein ; be
"""

MODALS = {
    # English present: (German infinitive, [ich, du, er, wir, sie])
    "can": ("können", ["kann", "kannst", "kann", "können", "können"]),
    "must": ("müssen", ["muss", "musst", "muss", "müssen", "müssen"]),
    "want to": ("wollen", ["will", "willst", "will", "wollen", "wollen"]),
    "would like to": ("möchten", ["möchte", "möchtest", "möchte", "möchten", "möchten"]),
    "may": ("dürfen", ["darf", "darfst", "darf", "dürfen", "dürfen"]),
    "should": ("sollen", ["sollte", "solltest", "sollte", "sollten", "sollten"]),
    "will": ("werden", ["werde", "wirst", "wird", "werden", "werden"]),
    "could": ("können", ["konnte", "konntest", "konnte", "konnten", "konnten"]),
    "had to": ("müssen", ["musste", "musstest", "musste", "mussten", "mussten"]),
    "wanted to": ("wollen", ["wollte", "wolltest", "wollte", "wollten", "wollten"]),
}

# Whole present paradigms the rules do not give: ich, du, er, wir, sie.
IRREGULAR = {
    "sein": ["bin", "bist", "ist", "sind", "sind"],
    "haben": ["habe", "hast", "hat", "haben", "haben"],
    "mögen": ["mag", "magst", "mag", "mögen", "mögen"],
    "wissen": ["weiß", "weißt", "weiß", "wissen", "wissen"],
}
PRETERITE = {
    "sein": ["war", "warst", "war", "waren", "waren"],
    "haben": ["hatte", "hattest", "hatte", "hatten", "hatten"],
}
# Verbs that name a state: no progressive in English, no imperative.
STATIVE = {
    "see",
    "know",
    "love",
    "like",
    "find",
    "need",
    "have",
    "get",
    "understand",
    "hear",
    "forget",
    "lose",
    "trust",
    "be afraid of",
    "get to know",
    "hope",
    "think",
    "belong",
    "cost",
    "live",
    "be",
}
# Verbs that do not go with an indefinite object under negation or are odd as a plan or an order.
NO_ORDER = STATIVE | {
    "follow",
    "dream of",
    "laugh about",
    "cry",
    "smile",
    "wear",
    "congratulate",
    "fall asleep",
    "wake up",
    "arrive",
    "meet",
    "sew",
}


@dataclass(frozen=True)
class Verb:
    """One verb in one frame, in both languages."""

    en: str
    en_past: str
    en_participle: str
    en_rest: str
    en_rest_moves: bool
    de: str
    prefix: str
    reflexive: bool
    noun_part: str
    changed_stem: str
    participle: str
    aux: str
    frame: str
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.en} {self.en_rest}".strip()

    @property
    def key(self) -> str:
        """The German lemma, joined and with its reflexive."""
        joined = f"{self.noun_part} {self.prefix}{self.de}".strip()
        return f"sich {joined}" if self.reflexive else joined

    @property
    def stative(self) -> bool:
        return self.name in STATIVE

    @property
    def orderable(self) -> bool:
        return self.name not in NO_ORDER


def regular_past(word: str) -> str:
    """The regular English past."""
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ied"
    return word + ("d" if word.endswith("e") else "ed")


def parse_english(text: str) -> tuple[str, str, str, str, bool]:
    """``pick up`` -> base, past, participle, rest, whether the rest moves behind a pronoun."""
    fixed = "*" in text
    words = text.replace("*", "").split()
    particles = {
        "up",
        "on",
        "off",
        "away",
        "along",
        "back",
        "down",
        "out",
        "for",
        "to",
        "at",
        "about",
        "of",
        "in",
        "with",
        "know",
        "afraid",
        "part",
        "asleep",
        "television",
        "shopping",
    }
    rest = []
    position = 1
    while position < len(words) and words[position] in particles:
        rest.append(words[position])
        position += 1
    base, forms = words[0], words[position:]
    past = forms[0] if forms else regular_past(base)
    participle = forms[1] if len(forms) > 1 else past
    return base, past, participle, " ".join(rest), bool(rest) and not fixed


def parse(table: str) -> list[Verb]:
    """Read the table above."""
    verbs = []
    for line in table.strip().splitlines():
        english, german, frame = (part.strip() for part in line.split(";"))
        base, past, participle, rest, moves = parse_english(english)
        words = german.split()
        aux = "sein" if "+sein" in words else "haben"
        changed = next((word[1:] for word in words if word.startswith("~")), "")
        words = [word for word in words if word[0] not in "+~"]
        reflexive = words[0] == "sich"
        words = words[1:] if reflexive else words
        noun_part = words.pop(0) if words[0][0].isupper() else ""
        prefix, _, infinitive = words[0].rpartition(".")
        kind, *classes = frame.split()
        verbs.append(
            Verb(
                base,
                past,
                participle,
                rest,
                moves,
                infinitive,
                prefix,
                reflexive,
                noun_part,
                changed,
                words[1],
                aux,
                kind,
                tuple(classes),
            )
        )
    return verbs


VERBS: list[Verb] = parse(TABLE)


def verbs_with(*frames: str) -> list[Verb]:
    """Every verb in one of the frames, in table order."""
    return [verb for verb in VERBS if verb.frame in frames]


def verb(name: str, frame: str) -> Verb:
    """The verb with this English name and frame."""
    return next(entry for entry in VERBS if entry.name == name and entry.frame == frame)
