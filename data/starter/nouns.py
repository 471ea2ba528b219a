"""The nouns of the starter grammar, as a table.

One noun per line: English singular (``/`` plural when it is not regular) ; German singular, gender, plural ; classes.
The gender is m, f or n; ``m*`` marks the weak masculines (der Junge, den Jungen). A plural of ``-`` marks a mass noun.
The classes say with which verbs and adjectives a noun makes sense; see `verbs.py` and `adjectives.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
man/men ; Mann m Männer ; person figure
woman/women ; Frau f Frauen ; person figure
child/children ; Kind n Kinder ; person figure
boy ; Junge m* Jungen ; person figure
girl ; Mädchen n Mädchen ; person figure
teacher ; Lehrer m Lehrer ; person figure job
doctor ; Arzt m Ärzte ; person figure job
student ; Student m* Studenten ; person figure job
neighbour ; Nachbar m* Nachbarn ; person figure
friend ; Freund m Freunde ; person figure
brother ; Bruder m Brüder ; person family
sister ; Schwester f Schwestern ; person family
mother ; Mutter f Mütter ; person family
father ; Vater m Väter ; person family
aunt ; Tante f Tanten ; person family
uncle ; Onkel m Onkel ; person family
grandmother ; Großmutter f Großmütter ; person family
grandfather ; Großvater m Großväter ; person family
son ; Sohn m Söhne ; person family
daughter ; Tochter f Töchter ; person family
guest ; Gast m Gäste ; person figure
waiter ; Kellner m Kellner ; person figure job
baker ; Bäcker m Bäcker ; person figure job
police officer ; Polizist m* Polizisten ; person figure job
boss/bosses ; Chef m Chefs ; person figure
colleague ; Kollege m* Kollegen ; person figure
nurse ; Krankenschwester f Krankenschwestern ; person figure job
king ; König m Könige ; person figure
queen ; Königin f Königinnen ; person figure
driver ; Fahrer m Fahrer ; person figure job
cook ; Koch m Köche ; person figure job
farmer ; Bauer m* Bauern ; person figure job
artist ; Künstler m Künstler ; person figure job
lady ; Dame f Damen ; person figure
shop assistant ; Verkäufer m Verkäufer ; person figure job
singer ; Sänger m Sänger ; person figure job
tourist ; Tourist m* Touristen ; person figure
dog ; Hund m Hunde ; animal pet
cat ; Katze f Katzen ; animal pet
horse ; Pferd n Pferde ; animal
cow ; Kuh f Kühe ; animal
bird ; Vogel m Vögel ; animal
mouse/mice ; Maus f Mäuse ; animal
sheep/sheep ; Schaf n Schafe ; animal
pig ; Schwein n Schweine ; animal
duck ; Ente f Enten ; animal
rabbit ; Kaninchen n Kaninchen ; animal pet
bear ; Bär m* Bären ; animal
lion ; Löwe m* Löwen ; animal
elephant ; Elefant m* Elefanten ; animal
apple ; Apfel m Äpfel ; food fruit
banana ; Banane f Bananen ; food fruit
orange ; Orange f Orangen ; food fruit
pear ; Birne f Birnen ; food fruit
strawberry ; Erdbeere f Erdbeeren ; food fruit
tomato/tomatoes ; Tomate f Tomaten ; food vegetable
potato/potatoes ; Kartoffel f Kartoffeln ; food vegetable
onion ; Zwiebel f Zwiebeln ; food vegetable
carrot ; Karotte f Karotten ; food vegetable
egg ; Ei n Eier ; food dish
cake ; Kuchen m Kuchen ; food baked
roll ; Brötchen n Brötchen ; food baked
biscuit ; Keks m Kekse ; food baked
pizza ; Pizza f Pizzas ; food baked
sausage ; Wurst f Würste ; food dish
bread ; Brot n - ; massfood baked
cheese ; Käse m - ; massfood
butter ; Butter f - ; massfood
meat ; Fleisch n - ; massfood dish
rice ; Reis m - ; massfood dish
soup ; Suppe f - ; massfood dish
fish ; Fisch m - ; massfood dish
chocolate ; Schokolade f - ; massfood
honey ; Honig m - ; massfood
water ; Wasser n - ; drink
milk ; Milch f - ; drink
tea ; Tee m - ; drink
coffee ; Kaffee m - ; drink
juice ; Saft m - ; drink
beer ; Bier n - ; drink
wine ; Wein m - ; drink
lemonade ; Limonade f - ; drink
book ; Buch n Bücher ; text thing flat
letter ; Brief m Briefe ; text writing flat letters
newspaper ; Zeitung f Zeitungen ; text thing flat
magazine ; Zeitschrift f Zeitschriften ; text thing flat
message ; Nachricht f Nachrichten ; text writing
story ; Geschichte f Geschichten ; text writing tale told
joke ; Witz m Witze ; told tale
fairy tale ; Märchen n Märchen ; text told tale
poem ; Gedicht n Gedichte ; text writing tale poems
novel ; Roman m Romane ; text writing
report ; Bericht m Berichte ; text writing
postcard ; Postkarte f Postkarten ; text writing flat
shirt ; Hemd n Hemden ; clothing
dress/dresses ; Kleid n Kleider ; clothing
coat ; Mantel m Mäntel ; clothing
hat ; Hut m Hüte ; clothing
jacket ; Jacke f Jacken ; clothing
skirt ; Rock m Röcke ; clothing
shoe ; Schuh m Schuhe ; clothing
scarf/scarves ; Schal m Schals ; clothing
pullover ; Pullover m Pullover ; clothing
suit ; Anzug m Anzüge ; clothing
tie ; Krawatte f Krawatten ; clothing
cap ; Mütze f Mützen ; clothing
glove ; Handschuh m Handschuhe ; clothing
car ; Auto n Autos ; vehicle own drivable
bus/buses ; Bus m Busse ; vehicle public drivable longway
bicycle ; Fahrrad n Fahrräder ; vehicle own
train ; Zug m Züge ; vehicle public longway
ship ; Schiff n Schiffe ; vehicle public longway
lorry ; Lastwagen m Lastwagen ; vehicle own drivable
taxi ; Taxi n Taxis ; vehicle public drivable
boat ; Boot n Boote ; vehicle own
motorbike ; Motorrad n Motorräder ; vehicle own drivable
tram ; Straßenbahn f Straßenbahnen ; vehicle public drivable
table ; Tisch m Tische ; furniture top
chair ; Stuhl m Stühle ; furniture top
bed ; Bett n Betten ; furniture top
sofa ; Sofa n Sofas ; furniture top
cupboard ; Schrank m Schränke ; furniture box
shelf/shelves ; Regal n Regale ; furniture top
desk ; Schreibtisch m Schreibtische ; furniture top
carpet ; Teppich m Teppiche ; furniture
mirror ; Spiegel m Spiegel ; furniture
picture ; Bild n Bilder ; thing art
photo ; Foto n Fotos ; thing art flat
lamp ; Lampe f Lampen ; thing device upright
clock ; Uhr f Uhren ; thing
computer ; Computer m Computer ; thing device
radio ; Radio n Radios ; thing device upright
television ; Fernseher m Fernseher ; thing device
camera ; Kamera f Kameras ; thing device flat
telephone ; Telefon n Telefone ; thing device
washing machine ; Waschmaschine f Waschmaschinen ; device machine
door ; Tür f Türen ; opening
window ; Fenster n Fenster ; opening
gate ; Tor n Tore ; opening
suitcase ; Koffer m Koffer ; thing opening box upright
bag ; Tasche f Taschen ; thing opening box
bottle ; Flasche f Flaschen ; thing opening upright
box/boxes ; Kiste f Kisten ; thing opening box upright
basket ; Korb m Körbe ; thing box upright
key ; Schlüssel m Schlüssel ; thing flat
cup ; Tasse f Tassen ; thing upright dishes
glass/glasses ; Glas n Gläser ; thing upright dishes
plate ; Teller m Teller ; thing upright dishes
knife/knives ; Messer n Messer ; thing flat dishes
fork ; Gabel f Gabeln ; thing flat dishes
spoon ; Löffel m Löffel ; thing flat dishes
pencil ; Bleistift m Bleistifte ; thing flat
umbrella ; Regenschirm m Regenschirme ; thing flat
ring ; Ring m Ringe ; thing flat
ball ; Ball m Bälle ; thing toys
toy ; Spielzeug n - ; thing toys
present ; Geschenk n Geschenke ; thing flat
ticket ; Fahrkarte f Fahrkarten ; thing flat
flower ; Blume f Blumen ; thing plant
candle ; Kerze f Kerzen ; thing upright
towel ; Handtuch n Handtücher ; thing flat
pillow ; Kissen n Kissen ; thing flat
blanket ; Decke f Decken ; thing flat
house ; Haus n Häuser ; building in home inside stayable
school ; Schule f Schulen ; building in zu visitable
church/churches ; Kirche f Kirchen ; building in visitable
station ; Bahnhof m Bahnhöfe ; building an zu
hotel ; Hotel n Hotels ; building in go home stayable
restaurant ; Restaurant n Restaurants ; building in go
museum ; Museum n Museen ; building in go visitable
hospital ; Krankenhaus n Krankenhäuser ; building in go stayable
shop ; Laden m Läden ; building in go
bank ; Bank f Banken ; building in zu
library ; Bibliothek f Bibliotheken ; building in go
theatre ; Theater n Theater ; building in go visitable
cinema ; Kino n Kinos ; building in go
castle ; Schloss n Schlösser ; building in zu home stayable visitable
factory ; Fabrik f Fabriken ; building in zu
airport ; Flughafen m Flughäfen ; building an zu
office ; Büro n Büros ; room in inside stayable
kitchen ; Küche f Küchen ; room in inside stayable
room ; Zimmer n Zimmer ; room in inside stayable
bathroom ; Badezimmer n Badezimmer ; room in
living room ; Wohnzimmer n Wohnzimmer ; room in inside stayable
cellar ; Keller m Keller ; room in inside
flat ; Wohnung f Wohnungen ; room in home inside stayable
garden ; Garten m Gärten ; outdoor in inside stayable
park ; Park m Parks ; outdoor in go
market ; Markt m Märkte ; outdoor auf zu
street ; Straße f Straßen ; outdoor auf way
bridge ; Brücke f Brücken ; outdoor auf zu
river ; Fluss m Flüsse ; outdoor an zu water river
lake ; See m Seen ; outdoor an zu water
forest ; Wald m Wälder ; outdoor in inside
beach/beaches ; Strand m Strände ; outdoor an zu
mountain ; Berg m Berge ; outdoor tall
island ; Insel f Inseln ; outdoor auf home stayable
village ; Dorf n Dörfer ; town in home stayable
city ; Stadt f Städte ; town in home stayable
wall ; Wand f Wände ; part tall
tree ; Baum m Bäume ; plant tall
question ; Frage f Fragen ; abstract speech
answer ; Antwort f Antworten ; abstract speech answers
word ; Wort n Wörter ; abstract speech answers
sentence ; Satz m Sätze ; abstract speech answers
language ; Sprache f Sprachen ; abstract learn
song ; Lied n Lieder ; abstract music
film ; Film m Filme ; abstract show
game ; Spiel n Spiele ; abstract play
idea ; Idee f Ideen ; abstract mind plans
problem ; Problem n Probleme ; abstract mind plans
plan ; Plan m Pläne ; abstract mind plans
dream ; Traum m Träume ; abstract dreams
mistake ; Fehler m Fehler ; abstract mistakes
exercise ; Übung f Übungen ; abstract learn
rule ; Regel f Regeln ; abstract mind learn rule
party ; Party f Partys ; event
wedding ; Hochzeit f Hochzeiten ; event
concert ; Konzert n Konzerte ; event show
lesson ; Unterricht m - ; event
trip ; Reise f Reisen ; event trips
colour ; Farbe f Farben ; quality
price ; Preis m Preise ; quality
name ; Name m* Namen ; quality
end ; Ende n - ; quality
beginning ; Anfang m - ; quality
roof ; Dach n Dächer ; part
birthday ; Geburtstag m Geburtstage ; day
breakfast ; Frühstück n - ; meal
lunch ; Mittagessen n - ; meal
dinner ; Abendessen n - ; meal
work ; Arbeit f - ; task
meeting ; Besprechung f Besprechungen ; event task
euro ; Euro m Euro ; unit
day ; Tag m Tage ; period
week ; Woche f Wochen ; period
month ; Monat m Monate ; period
year ; Jahr n Jahre ; period
hour ; Stunde f Stunden ; period
minute ; Minute f Minuten ; period
"""

# Genitives that the rule in `genitive_of` does not give.
GENITIVE = {
    "Name": "Namens",
    "Chef": "Chefs",
    "Schal": "Schals",
    "Park": "Parks",
    "Film": "Films",
    "See": "Sees",
    "Lastwagen": "Lastwagens",
    "Bus": "Busses",
    "Tee": "Tees",
    "Reis": "Reises",
    "Bahnhof": "Bahnhofs",
    "Anzug": "Anzugs",
    "Fahrrad": "Fahrrads",
    "Motorrad": "Motorrads",
    "Krankenhaus": "Krankenhauses",
    "Schloss": "Schlosses",
    "Handtuch": "Handtuchs",
    "Geschenk": "Geschenks",
    "Ball": "Balls",
    "Gedicht": "Gedichts",
    "Gast": "Gastes",
    "Anfang": "Anfangs",
    "Plan": "Plans",
    "Ei": "Eies",
    "König": "Königs",
    "Bericht": "Berichts",
}
N_WEAK = {"Nachbar", "Bauer"}


@dataclass(frozen=True)
class Noun:
    """One noun with every form the grammar needs."""

    en: str
    en_plural: str
    de: str
    gender: str
    de_plural: str
    weak: bool
    classes: frozenset[str]

    @property
    def countable(self) -> bool:
        return self.de_plural != "-"

    def german(self, case: str, plural: bool) -> str:
        """The German form in ``nom``, ``acc``, ``dat`` or ``gen``."""
        if plural:
            if case == "dat" and not self.de_plural.endswith(("n", "s")):
                return self.de_plural + "n"
            return self.de_plural
        if case == "gen":
            return genitive_of(self)
        if self.weak and case in ("acc", "dat"):
            return weak_form(self.de)
        return self.de


def weak_form(word: str) -> str:
    """Junge -> Jungen, Student -> Studenten, Nachbar -> Nachbarn."""
    return word + ("n" if word.endswith("e") or word in N_WEAK else "en")


def genitive_of(noun: Noun) -> str:
    """The German genitive singular."""
    if noun.de in GENITIVE:
        return GENITIVE[noun.de]
    if noun.gender == "f":
        return noun.de
    if noun.weak:
        return weak_form(noun.de)
    vowel_groups = 0
    before = "#"
    for letter in noun.de.lower():
        if letter in "aeiouäöüy" and before not in "aeiouäöüy":
            vowel_groups += 1
        before = letter if letter in "aeiouäöüy" else "#"
    ends_in_vowel = noun.de[-1] in "aeiouäöü" or noun.de.endswith(("uh", "ei"))
    if noun.de.endswith(("s", "ß", "x", "z", "tz")) or (vowel_groups == 1 and not ends_in_vowel):
        return noun.de + "es"
    return noun.de + "s"


def english_plural(word: str) -> str:
    """The regular English plural."""
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def parse(table: str) -> list[Noun]:
    """Read the table above."""
    nouns = []
    for line in table.strip().splitlines():
        english, german, classes = (part.strip() for part in line.split(";"))
        singular, _, plural = english.partition("/")
        word, gender, de_plural = german.split()
        nouns.append(
            Noun(
                en=singular,
                en_plural=plural or english_plural(singular),
                de=word,
                gender=gender[0],
                de_plural=de_plural,
                weak=gender.endswith("*"),
                classes=frozenset(classes.split()),
            )
        )
    return nouns


NOUNS: list[Noun] = parse(TABLE)
NOUN: dict[str, Noun] = {noun.en: noun for noun in NOUNS}


def nouns_of(*classes: str) -> list[Noun]:
    """Every noun in one of the classes, in table order."""
    wanted = set(classes)
    return [noun for noun in NOUNS if noun.classes & wanted]
