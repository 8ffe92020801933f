"""List names that are ordinary words, which a note may use without meaning the patient.

Given and family names and towns of English and German that are words of either language, or of
medicine; the particles of names and their titles; and names of diseases.
"""

import re

__all__ = [
    "NOBODY",
    "ORDINARY",
    "PARTICLES",
    "TITLES",
    "find_eponym",
]

_PARTICLES = """
abu af al and av ben bin da das de del della dem den der di do dos du e el ibn la le les mac
mc op san santa st te ten ter und van vom von y zu zum zur
"""
_ORDINARY = """
abel able ace adam alter amber angel angst anonymous april archer arm arms art arzt ash
august autumn back bacon baker ball band bank banks bar barber barn baron barrel bass bath
bauer baum beach beam bean bear beck becker bed bell belle bench berg berger best bett bill
binder bird bishop black blank blanke blau block bloom blue boden body bogen bolt bond bone
booth bow bowl box boy branch brand braun brave bread breast bridge bright brink brook
brooks brown bruder brunnen brush buck bull burg burn burns bush butcher butler butter call
camp candy cane cannon car card care carpenter carter case cash castle center chance chase
cherry chest child christian church clark clay clear clinic close cloud coach coal cold cole
colon comfort cook cool cope corn cotton court crane cross crow crown cruise curt cutter
dale dance daniel date dawn day days dean deck dell diamond dick dietrich dill disease dolor
down drake draper duke dunn earl early east easter ebb edge eisen elder elm emerald engel
english ernst essen evening ever example eye eyes fair faith fall falls farmer fast father
faust fay feet fein feld fell fels felt fields fine finger fink fire fischer fish fisher fit
flag fleck flint flood flower flowers foley foot ford forest forster fort fortune foster fox
frank frau free freedom fremd french freund frey friend frisch fritz frost frueh fuchs
fuller funk gabel gamble gans garden garland gate gates gay gelb general gentle gerber
ginger glass glenn glory gluck gold golden good goodman grace graf gram grand grant grau
graves gray green grey grob gross groves gruen grund guest gut guy haar hahn hair hale hall
halle hamburg hammer hand hands handy hardy harms harp hart hase haus hausen hawk hay hazel
head heal healer health heart heath heather heel heil heim held helm henna herz hicks high
hill hills hirsch hirte hitch hoch hof holder holly holmes holz home honig hood hook hope
horn house howe huber huff hummer hund hunger hunt hunter husten ice ill ingram inner iris
iron ivory ivy jack jade jaeger jasmine jay jewel job jordan joy judge jug july june jung
just justice kaiser kalt kamm kamp kane kater keen keller kern key kind king kings kirche
klar klein knapp knee knie knight koch koenig kohl konig kopf krank kranz kraus krebs kreuz
krieg krone kurz lake lamb lamm lance land lane lang lange last law lawn lay leach leaf lee
leer leib leicht leiter leopold lever liebe light lily lima linden link lion lip list little
live lock lodge long longo lord lot love low lowe lucky luft lung lustig lynch madison magen
magic mai major malady male mann manor mark marks marsh martin mason master mat matter
maurer max may meadow mean means meier melody mercy merry messer metz miles mill miller mine
mission mist moll monday moody moon moor moore moos more morgen morning moss mother mound
mount mountain mouse mund musik myers nacht nadel nagel nail naples narr nase nash nebel neu
neumann new newton nice noble noll nord norm norman north novel oak obst odd ode old olive
orange order otter over owen owens page pain paine palm paris park parker parks parson
parsons part pat patience patient paul payne pea peace peach peacock pearl penny pepper
person petal peters pfeiffer philips pia piper pitt plain plank player plaza pole pond poole
pope port porter post potter power powers pray press price pride prime prince prior proctor
prosper provost pulse purdy quick quinn rabe rad rain ramp rand ransom rau ray read reading
reed reeves regen reich reif rein reis reiter rest reuter rhodes rice rich richter riding
riese right ring ritter river rivers road robe robin rock rod rogers roman root rosa rose
rosen roses rot roth rowe royal ruby rue ruf ruhe rule rush russ russel russell rust sack
sage sahne sailor salt salter sam sand sanders sands sandy sattler sauer savage savannah
schaefer scharf schatz schiller schlaf schlange schmerz schmied schneider schoen schon
schramm schreiber schuh schuler schulter schulz schwarz schwer sea seal season see seele
seller senior serena shade sharp shell shepherd shields shine shore short shoulder silver
simple singer singh sinn skinner sky slaughter sloan small smart smiley smoker snow sommer
sonne sonntag speaker spear speck speer spencer spiegel spring stamm star stark steel steele
stein stem step stern steward still stock stoll stone storm stout strand strange strauss
street stroke strong student stumpf style sue suess summer summers sun sunny sure surge swan
sweet tab tag tanner tate taube taylor teacher teague temple tenor test teufel thorn thumb
thunder tide tiger tod toll tongue topf tower towne townsend trauer traut travel treat tree
trent trinity trip trost trotter true tucker turner twin ulcer under union unknown unruh
unter urban valentin valley van vase vater veil victor victory vine violet virgin virtue
vogel vogt voll wade wagner walker wall waller walls walter ward warm warner washington
wasser watch water waters way weaver webb weber webster weeks weiss welch well wells welsh
wenig werner west wheat wheeler white wild will willow winkel winkler winter wirt wirth wise
wolf wood woodman woods word work worms worth wright wunder wunsch wyatt yard year yellow
york young youngblood zahn zander zeit zeller zimmer zimmermann zorn
"""
_CLINICAL = """
bauch bein bitter bland blood blunt blut brain bruch clamp crisp darm drain dry fieber flow gelenk
gicht gill graft grippe hals knochen lean leber mass mild milz niere nurse organ pfleger pill pink
plate poor puls ready round rucken sample schock schwindel shock sick sleep soft sound spine stable
staples stich strain stuhl sturz swallow tender trocken valve vein wake weich wet wound wunde
"""

_TITLE_WORDS = """
dds dipl do doz dr frau herr herrn ii iii ing jr md med miss mph mr mrs ms msc mx nat np pa phd priv
prof rer rn sir sr
"""

NOBODY = frozenset(["anonymous", "female", "male", "name", "none", "patient", "test", "unknown"])
"""What stands in the place of a name, and names nobody."""

PARTICLES = frozenset(_PARTICLES.split())

TITLES = frozenset(_TITLE_WORDS.split())

ORDINARY = frozenset(_ORDINARY.split()) | frozenset(_CLINICAL.split())

_EPONYMS = frozenset(
    """
    addison alzheimer apgar babinski barrett basedow bell bence bowen crohn cushing doppler down
    foley fournier glasgow graves guillain hashimoto hodgkin holter huntington kaposi kerley
    kussmaul lynch marfan meniere merkel murphy paget parkinson raynaud reye rinne romberg sjogren
    still swan tourette turner weber wegener whipple wilms wilson
    """.split()  # noqa: SIM905 - one a line would be a page
)
_CALLED_AFTER = re.compile(
    r"(?:['\u2019]s?|s['\u2019]?)?[ -]{1,2}(?:disease|syndromes?|palsy|signs?|coma|lymphoma|"
    r"sarcoma|scores?|scale|ulcer|b[ -]lines?|catheter|tests?|ultraso\w+|monitor\w*|o?esophagus|"
    r"phenomenon|thyroiditis|tumou?r|orbitopathy|ophthalmopathy|granulomatosis|gangrene|breathing|"
    r"krankheit|lymphom|zeichen|reflex)\b",
    re.IGNORECASE,
)


# "Mr. Smith's fracture" is Mr. Smith's, "a Smith fracture" is not.
_FRACTURES = frozenset(["barton", "bennett", "jones", "pott", "smith"])
_FRACTURE = re.compile(r"(?:[ -]type)?[ ]fractures?\b|-fraktur", re.IGNORECASE)
_A_FRACTURE = re.compile(
    r"\b(?:an?|the|of|no|left|right|bilateral|distal|radial|closed|open|displaced|comminuted|acute"
    r"|old|eine?|der|die)[ ]\Z",
    re.IGNORECASE,
)
_TWO_NAMES = {"hill": re.compile("-sachs", re.IGNORECASE)}


def find_eponym(word: str, text: str, end: int) -> bool:
    """Say whether a folded name, which ends at a place, is there a disease's or a test's.

    >>> text = "Parkinson's disease of Mr. Parkinson"
    >>> find_eponym("parkinson", text, 9), find_eponym("parkinson", text, len(text))
    (True, False)
    """
    if word in _FRACTURES:
        start = end - len(word)
        named = _A_FRACTURE.search(text, max(0, start - 14), start) is not None
        return named and _FRACTURE.match(text, end) is not None
    if word in _TWO_NAMES:
        return _TWO_NAMES[word].match(text, end) is not None
    return word in _EPONYMS and _CALLED_AFTER.match(text, end) is not None
