"""The words that only the basics use: more nouns, names, cities, and what fills their slots."""

from __future__ import annotations

from data.starter.grammar import Pair
from data.starter.nouns import parse


def pairs(table: str) -> list[Pair]:
    """``good=gut Berlin New_York``: English and German words, the same where there is one, spaces as underscores."""
    found = []
    for entry in table.replace("\n", " ").strip().split(" "):
        english, _, german = entry.replace("_", " ").partition("=")
        found.append((english, german or english))
    return found


def names(table: str) -> list[str]:
    return table.split()


MORE_NOUNS = parse("""
toilet ; Toilette f Toiletten ; place
supermarket ; Supermarkt m Supermärkte ; place
post office ; Post f - ; place
pharmacy ; Apotheke f Apotheken ; place
bakery ; Bäckerei f Bäckereien ; place
bus stop ; Bushaltestelle f Bushaltestellen ; place
town hall ; Rathaus n Rathäuser ; place
university ; Universität f Universitäten ; place
exit ; Ausgang m Ausgänge ; place
entrance ; Eingang m Eingänge ; place
swimming pool ; Schwimmbad n Schwimmbäder ; place
car park ; Parkplatz m Parkplätze ; place
café ; Café n Cafés ; place
zoo ; Zoo m Zoos ; place
harbour ; Hafen m Häfen ; place
police station ; Polizeiwache f Polizeiwachen ; place
bar ; Bar f Bars ; place
mobile phone ; Handy n Handys ; item
laptop ; Laptop m Laptops ; item
bike ; Fahrrad n Fahrräder ; item
pen ; Stift m Stifte ; item
map ; Karte f Karten ; item
passport ; Pass m Pässe ; item
dictionary ; Wörterbuch n Wörterbücher ; item
purse ; Geldbeutel m Geldbeutel ; item
guitar ; Gitarre f Gitarren ; item
piano ; Klavier n Klaviere ; item
machine ; Maschine f Maschinen ; item
doll ; Puppe f Puppen ; item
stone ; Stein m Steine ; item
test ; Test m Tests ; idea
example ; Beispiel n Beispiele ; idea
number ; Nummer f Nummern ; idea
text ; Text m Texte ; idea
page ; Seite f Seiten ; idea
translation ; Übersetzung f Übersetzungen ; idea
secret ; Geheimnis n Geheimnisse ; idea
surprise ; Überraschung f Überraschungen ; idea
family ; Familie f Familien ; idea
address/addresses ; Adresse f Adressen ; idea
photo album ; Fotoalbum n Fotoalben ; item
baby ; Baby n Babys ; being
wolf/wolves ; Wolf m Wölfe ; being
snake ; Schlange f Schlangen ; being
monkey ; Affe m* Affen ; being
tiger ; Tiger m Tiger ; being
goat ; Ziege f Ziegen ; being
chicken ; Huhn n Hühner ; being
bee ; Biene f Bienen ; being
spider ; Spinne f Spinnen ; being
world ; Welt f Welten ; sky
sun ; Sonne f Sonnen ; sky
moon ; Mond m Monde ; sky
star ; Stern m Sterne ; sky
earth ; Erde f - ; sky
sea ; Meer n Meere ; sky
sky/skies ; Himmel m - ; sky
rain ; Regen m - ; liked
snow ; Schnee m - ; liked
wind ; Wind m Winde ; sky
fire ; Feuer n Feuer ; sky
ice ; Eis n - ; liked
love ; Liebe f - ; bare
life/lives ; Leben n - ; bare
time ; Zeit f Zeiten ; bare
money ; Geld n - ; liked
luck ; Glück n - ; bare
peace ; Frieden m - ; bare
freedom ; Freiheit f - ; bare
music ; Musik f - ; liked
sport ; Sport m - ; liked
football ; Fußball m - ; liked
weather ; Wetter n - ; bare
salt ; Salz n - ; spice
sugar ; Zucker m - ; spice
pepper ; Pfeffer m - ; spice
help ; Hilfe f - ; bare
morning ; Morgen m Morgen ; hour
evening ; Abend m Abende ; hour
night ; Nacht f Nächte ; hour
afternoon ; Nachmittag m Nachmittage ; hour
holiday ; Urlaub m Urlaube ; hour
head ; Kopf m Köpfe ; body
face ; Gesicht n Gesichter ; body
hand ; Hand f Hände ; body
finger ; Finger m Finger ; body
foot/feet ; Fuß m Füße ; body
leg ; Bein n Beine ; body
arm ; Arm m Arme ; body
eye ; Auge n Augen ; body
ear ; Ohr n Ohren ; body
nose ; Nase f Nasen ; body
mouth ; Mund m Münder ; body
tooth/teeth ; Zahn m Zähne ; body
hair/hair ; Haar n Haare ; body
heart ; Herz n Herzen ; body
country ; Land n Länder ; land
square ; Platz m Plätze ; land
wife/wives ; Frau f Frauen ; partner
husband ; Mann m Männer ; partner
cousin ; Cousin m Cousins ; partner
""")

# What one orders: a noun, and what it may hold (ein Glas Wasser, eine Tasse Tee).
SERVED = [
    ("coffee ; Kaffee m Kaffees ; drink", ""),
    ("tea ; Tee m Tees ; drink", ""),
    ("beer ; Bier n Biere ; drink", ""),
    ("juice ; Saft m Säfte ; drink", ""),
    ("cola ; Cola f Colas ; drink", ""),
    ("soup ; Suppe f Suppen ; drink", ""),
    ("salad ; Salat m Salate ; drink", ""),
    ("sandwich/sandwiches ; Sandwich n Sandwiches ; drink", ""),
    ("ice cream ; Eis n Eis ; drink", ""),
    ("glass ; Glas n Gläser ; drink", "water=Wasser milk=Milch wine=Wein juice=Saft"),
    ("cup ; Tasse f Tassen ; drink", "tea=Tee coffee=Kaffee"),
    ("piece ; Stück n Stücke ; drink", "cake=Kuchen bread=Brot"),
    ("bottle ; Flasche f Flaschen ; drink", "water=Wasser wine=Wein beer=Bier"),
    ("plate ; Teller m Teller ; drink", "soup=Suppe"),
]
EATEN = ["apple", "banana", "orange", "egg", "cake", "roll", "biscuit", "pizza", "sausage"]

MORE_WOMEN = names("""
Alice Amelia Andrea Angela Anja Anne Antonia Barbara Bianca Carla Caroline Charlotte Chiara Christina Claudia Daniela
Diana Elena Elisa Elisabeth Ella Emily Erika Fatima Franziska Frida Greta Hanna Heidi Helen Ida Ines Irene Isabel Jana
Jane Jasmin Jennifer Jessica Johanna Judith Karin Katharina Kate Katrin Kim Lara Lea Leonie Lily Linda Lisa Lucy Luisa
Magdalena Margaret Maria Marie Marta Mary Mia Michelle Monika Nadia Nancy Natalie Nicole Nina Nora Olivia Petra Rachel
Rebecca Rosa Ruth Sandra Sara Sarah Silvia Sofia Sonja Sophie Stella Susan Tanja Teresa Theresa Tina Vanessa Vera
Victoria Yasmin Zoe
""")
MORE_MEN = names("""
Adam Adrian Ahmed Albert Alex Alexander Ali Andreas Anton Arthur Ben Benjamin Bernd Bill Bob Bruno Carlos Charles
Christian Christoph Daniel Dennis Dominik Edward Elias Emil Eric Fabian Felix Florian Frank Fred Friedrich Fritz Georg
George Hans Harry Heinz Henry Hugo Ivan Jack Jakob James Jan Jens Jim Joe John Jonas Jonathan Josef Julian Jürgen Karl
Kevin Klaus Konrad Kurt Lars Leo Linus Luca Ludwig Lukas Luke Manuel Marco Mark Markus Matthias Max Michael Mike
Mohammed Moritz Nick Niklas Noah Oliver Omar Otto Patrick Philipp Ralf Richard Robert Robin Rolf Sam Samuel Sebastian
Stefan Steve Sven Theo Thomas Tobias Tom Tony Uwe Victor Walter Werner William Wolfgang
""")
MORE_SURNAMES = names("""
Müller Schmidt Schneider Fischer Wagner Hoffmann Schulz Koch Richter Klein Schröder Neumann Schwarz Zimmermann Krüger
Hartmann Lange Werner Krause Lehmann Köhler Maier Huber Smith Brown Miller Johnson
""")
MORE_CITIES = pairs("""
Frankfurt Stuttgart Dresden Leipzig Bremen Bonn Basel Salzburg Graz Bern Amsterdam Madrid Barcelona Stockholm Oslo
Budapest Istanbul Dublin Manchester Edinburgh Liverpool Oxford Cambridge Boston Chicago Sydney Toronto New_York
Los_Angeles Lisbon=Lissabon Milan=Mailand Venice=Venedig Florence=Florenz Naples=Neapel Brussels=Brüssel
Copenhagen=Kopenhagen Moscow=Moskau Athens=Athen Tokyo=Tokio Beijing=Peking Cairo=Kairo Hanover=Hannover
Nuremberg=Nürnberg
""")
# With the German form after aus and in.
MORE_COUNTRIES = pairs("""
Austria=Österreich Switzerland=der_Schweiz Turkey=der_Türkei the_USA=den_USA America=Amerika
the_Netherlands=den_Niederlanden Belgium=Belgien Portugal Ireland=Irland Scotland=Schottland Denmark=Dänemark
Norway=Norwegen Finland=Finnland Hungary=Ungarn Romania=Rumänien Croatia=Kroatien Ukraine=der_Ukraine China
India=Indien Canada=Kanada Brazil=Brasilien Mexico=Mexiko Australia=Australien Egypt=Ägypten Syria=Syrien
""")
MORE_LANGUAGES = pairs("""
Turkish=Türkisch Arabic=Arabisch Chinese=Chinesisch Dutch=Niederländisch Portuguese=Portugiesisch Danish=Dänisch
Norwegian=Norwegisch Finnish=Finnisch Czech=Tschechisch Hungarian=Ungarisch Ukrainian=Ukrainisch Latin=Latein
""")
WEATHER = pairs("""
nice=schön beautiful=schön fine=schön lovely=herrlich good=gut bad=schlecht wonderful=wunderbar terrible=schrecklich
great=toll warm cold=kalt
""")
OUTSIDE = pairs("""
cold=kalt warm hot=heiß sunny=sonnig windy=windig cloudy=bewölkt foggy=neblig dark=dunkel wet=nass dry=trocken
cool=kühl quiet=ruhig nice=schön
""")
WHERE = pairs("""
here=hier there=dort over_there=dort_drüben on_the_left=links on_the_right=rechts around_the_corner=um_die_Ecke
not_far=nicht_weit far_away=weit_weg nearby=in_der_Nähe closed=geschlossen open=geöffnet
""")
COLOURS = pairs("""
red=rot blue=blau green=grün yellow=gelb black=schwarz white=weiß brown=braun grey=grau pink=rosa purple=lila
""")
MORE_FEELINGS = pairs("""
busy=beschäftigt angry=wütend late=spät_dran nervous=nervös crazy=verrückt proud=stolz
""")
QUALITIES = pairs("""
good=gut bad=schlecht great=toll beautiful=schön nice=schön big=groß small=klein easy=einfach difficult=schwierig
important=wichtig interesting=interessant boring=langweilig funny=lustig dangerous=gefährlich expensive=teuer
cheap=billig strange=seltsam possible=möglich impossible=unmöglich new=neu old=alt late=spät early=früh
terrible=schrecklich enough=genug
""")
WOMEN_JOBS = pairs("""
a_teacher=Lehrerin a_doctor=Ärztin a_student=Studentin a_cook=Köchin a_singer=Sängerin an_artist=Künstlerin
a_nurse=Krankenschwester a_police_officer=Polizistin a_shop_assistant=Verkäuferin a_farmer=Bäuerin
""")
# Words that stand alone; nouns, adjectives, numbers, days and months come from the lexicon.
WORDS = pairs("""
now=jetzt later=später soon=bald today=heute tomorrow=morgen yesterday=gestern here=hier there=dort inside=drinnen
outside=draußen left=links right=richtig up=oben down=unten again=wieder together=zusammen alone=allein only=nur
also=auch enough=genug everywhere=überall nowhere=nirgendwo everything=alles nothing=nichts something=etwas
somebody=jemand someone=jemand nobody=niemand more=mehr less=weniger much=viel many=viele few=wenige all=alle
both=beide exactly=genau finally=endlich suddenly=plötzlich slowly=langsam quickly=schnell unfortunately=leider
hopefully=hoffentlich I=ich you=du he=er she=sie it=es we=wir they=sie my=mein your=dein and=und or=oder but=aber
because=weil with=mit without=ohne for=für from=von before=vorher after=nach between=zwischen under=unter
behind=hinter who=wer what=was where=wo when=wann why=warum how=wie late=spät early=früh open=offen closed=geschlossen
free=frei same=gleich different=anders possible=möglich impossible=unmöglich perfect=perfekt super great=toll
terrible=schrecklich pink=rosa purple=lila colourful=bunt parents=Eltern grandparents=Großeltern
brothers_and_sisters=Geschwister vegetables=Gemüse fruit=Obst home=Zuhause mum=Mama dad=Papa internet=Internet
people=Leute
""")
