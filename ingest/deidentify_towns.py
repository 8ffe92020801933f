r"""Tell by its context whether a word that is a town's name means the town.

Towns are called Normal, Mobile, Bend and Reading, so the name of a town, which is one word, is

    surely none   in lower case without a place's context: pt is mobile, able to bend, lungs normal
    surely one    with a state or postal code behind it, or where somebody lives: Mobile, AL;
                  lives in Reading; moved to Bend; a resident of Normal; wohnhaft in Essen; in lower
                  case only where a sentence goes on as it does behind a place
    one           behind in, from, near, aus and the like, where its phrase ends, or goes on as it
                  does behind a place: "from Mobile.", "in Reading with his wife"

and beside what else is known of the address. With a capital, a word that is listed here or in
deidentify_words.py needs such a context, too ("Normal sinus rhythm", "BP Reading: 150/90"); one
that is not (Boise) goes anywhere. In lower case goes, too, what is not listed and has six letters,
or ends as towns do and words do not (Potsdam, Velburg).

The list is of towns that are words: a list of a language's words has towns among them.
"""

import re

__all__ = ["ends_like_a_town", "is_word_and_town", "names_place"]

_WORDS = frozenset(
    """
    accident advance affinity agate agency alert alliance alpha alpine amity anchor antelope
    apex arcade arch aspen assumption atlas auburn aurora axis badger bark basin basis battle
    bay bayou beacon beaver bend blanket blaze blessing bliss blossom bluff bluffs boring
    boulder boundary brick bridges broadway buckeye bucks buffalo bunker butte button cactus
    canal canton canyon cape capitol carbon cardinal carefree cascade cataract cave cedar
    celebration cement central century champion charm chloride choice circle clam climax clover
    colony colt column comet commerce compass competition concord concrete convent copper coral
    corona cottage cottonwood cove crab crater creek crescent crest crossing crystal deadwood
    deer defiance delight delta deposit derby desire detour diagonal dinosaur distant divide
    dolphin dominion dove downs drum drums duck due eagle echo eclectic eclipse economy effort
    eight elbow electric electron elk embarrass eminence empire energy enigma enterprise
    equality eureka excel exchange experiment export fairplay falcon fancy farmers fate
    felicity fence fern fertile fertility flasher flat flats flora floral fly force forks
    fossil fountain four friendly friendship frostproof fruit garnet gas gem glacier glide
    globe goodnight goose granite grapevine grass gravel gravity guide gulf halfway happy
    harbor harmony harness harvest hasty hazard headland heaven hell helper hemlock hero
    holiday hominy honor horizon humble hurricane hurt hygiene ideal imperial independence
    index indian industry inlet inspiration intercourse island jasper jersey jet jolly junction
    keystone kidney kinder knob ladder lakes lakeside landing lark larkspur laurel lava laws
    lead leader level liberal liberty lick likely limestone lone lookout loop lover loyal luck
    lynx magnet magnolia manly maple marble marina marine mars mash memory mercury meridian
    metropolis midland midway mineral mint mirror mobile model money monument moraine mosquito
    motley muddy muscle muse mustang narrows natural necessity needles neutral nine ninety
    noodle normal notch novelty nursery oasis oblong ocean oil okay omega only onset opal
    opportunity oracle oral orchard ordinary orient orion outing oval pacific painter palisade
    panic panther paradise paradox paragon peculiar pelican pep pilot pine pines pinnacle
    pioneer plains pleasant plum plush pocket point polo portage portal pound prairie president
    princess progress promise prospect prosperity protection providence quail quality quartz
    radiant radium rainbow random ranger rapid rapids raven rebel recluse recovery reform relay
    relief remote rescue reserve ridge rifle ripple rising riverside rocket rolling romance
    rough rover rugby rural saddle safe saline salmon sandstone sandwich scales seaside secret
    security seminary sentinel severance shamrock shelter shoals shot sister sisters slate
    sleeper slick smoke snowflake soda soldier solo spade span spanish sparks speculator speed
    spirit splint spray springer springs sprout spur stab stamps standard start state static
    station sterling stonewall story sublime success sugar sulphur summit superior supply
    supreme surf surprise sweetwater swiss tangent tangerine teller temperance terrace thermal
    thrift toast tool topaz torch tornado trade trail trainer transfer traverse tribune triumph
    trout trumpet tulip turkey turtle tuxedo twig twist two uncertain unity universal upland
    uranium utopia veteran veto village viola viper vista volcano walnut war warrior waterproof
    weed welcome western whitefish why wing wink winner wisdom wonder woodland worthy wren
    zenith zero zion

    ach alt amt asche au aue baden balg bann bergen binsen birke birken born breite brucken
    buche buchen buchse damme deich derben dorf eich eiche eichen elend ellen ende engen enger
    erden erlen falten fang feucht flecken friede gehren geist gerade glatten grube gruben
    hagen hallen halten harz heide heiligen hemmen herbst hohe hohn holle hungen inden kahl
    kamen kappel kehl kehlen kleve kloster kochen korb krippen lachen lage lahm langen lauf
    lauter leben lehre leiden leimen lich lichte linde lust main meer messen mitte mitten much
    mucke muhlen munden munster murr neuen neun nieder norden oder ort ost osten pforten plan
    plus quelle quellen rast reise ringen rohr ruhen saal satteln schlag schmelz schotten
    schwalbe segeln seifen senden siegen singen sorge stade stadt stelle stollen strom sulz
    tann tanne tiefen triften uhr wald wangen wanne warten wedel weiden weil weiler weisen
    welle wende wenden werder wiesen winden winsen wissen zeil zeiten zell zelle zug zwingen
    """.split()  # noqa: SIM905 - one a line would be a page
)
"""Towns and places of the United States and Germany that are words or parts of them, folded."""


_ENDING = re.compile(
    r"[^\W\d_]{2,}(?:ville|burgh?|sfield|ngfield|boro|borough|polis|bury|shire|ington|ingham|haven"
    r"|mouth|chester|dorf|hausen|stadt|stedt|furth?|bruck|kirchen|weiler|hofen|roda)"
)
_STATES = (
    r"A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]"
    r"|T[NX]|UT|V[AT]|W[AIVY]"
)
_SURE_STATES = r"AK|AZ|F[Ll]a?|GA|I[AL]|KS|KY|M[NO]|N[DEHJMVY]|OH|S[CD]|T[NX]|UT|VT|W[IVY]"
_FULL_STATES = (
    r"(?:Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia"
    r"|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts"
    r"|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New[ ](?:Hampshire|Jersey"
    r"|Mexico|York)|(?:North|South)[ ](?:Carolina|Dakota)|Ohio|Oklahoma|Oregon|Pennsylvania"
    r"|Rhode[ ]Island|Tennessee|Texas|Utah|Vermont|(?:West[ ])?Virginia|Washington|Wisconsin"
    r"|Wyoming)"
)
_GOES_ON = (
    r"(?:[ ]{0,2}(?:[.,;)!?\"'\n\r]|\Z)|[ ]{1,2}(?:and|with|w/|since|for|where|who|but|alone|to"
    r"|until|before|after|last|this|when|while|area|at|on|by|near|in|is|was|und|mit|seit|wo|bei|zu|bis|ist"
    r"|war|zusammen|allein|geboren|verlegt|gezogen)\b)"
)
_ON = re.compile(_GOES_ON, re.IGNORECASE)
_STATE_NEXT = re.compile(
    rf",?[ ](?:(?:{_STATES})[ ,]{{1,2}}\d{{5}}(?!\d)|(?:{_SURE_STATES})(?![^\W_])|{_FULL_STATES}\b)"
    rf"|,[ ](?:{_STATES})(?![^\W_]){_GOES_ON}"
)
_STATE_AND_CODE = re.compile(rf",?[ ](?:{_STATES})[ ,]{{1,2}}\d{{5}}(?!\d)", re.IGNORECASE)
_ANY_STATE = re.compile(rf",[ ](?:{_STATES})(?![^\W_])|,?[ ]{_FULL_STATES}\b", re.IGNORECASE)
_PREPOSITION = (
    r"[ ](?:back |out |alone )?(?:in|at|of|on|from|to|near|outside|around|nach|aus|bei|von|an|am"
    r"|im)(?: downtown| nearby| de[rmn]| the)?[ \n]{1,2}\Z"
)
_DWELLS = (
    r"liv(?:es?|ed|ing)|resid(?:es?|ed|ing)|residents?|grew up|wohnt|wohnte|wohnhaft|lebt|lebte"
    r"|aufgewachsen"
)
_LIVES = re.compile(rf"\b(?:{_DWELLS}){_PREPOSITION}", re.IGNORECASE)
_LIVES_OR_GOES = re.compile(
    rf"\b(?:{_DWELLS}|native|citizen|born|raised|moved|relocated|home|house|apartment|based|located"
    r"|works?|worked|working|employed|town|city|county|suburb|travel(?:s|l?ed|l?ing)?"
    r"|visit(?:s|ed|ing)?|transferred|drove|flew|family|relatives|sister|brother|daughter|son"
    r"|hospitals?|clinic|zog|stammt|kommt|geboren|gezogen|umgezogen|arbeitet|tätig|stadt|klinik"
    rf"|krankenhaus){_PREPOSITION}",
    re.IGNORECASE,
)
_AT = re.compile(
    r"\b(?:in|from|near|outside(?: of)?|around|aus|bei|city of|town of|stadt)[ \n]{1,2}\Z",
    re.IGNORECASE,
)
_ALONE = re.compile(r"(?:\A|[\n:(])[ ]*\Z")
_ENDS = re.compile(r"[ ]*(?:\Z|[\n.,;)])")
_BEHIND = re.compile(
    r"[ ](?:resident|native|area|police|fire dep\w*|hospital|clinic|airport|county|general)\b",
    re.IGNORECASE,
)
_WINDOW = 48


def names_place(text: str, start: int, end: int, *, ordinary: bool) -> bool:
    """Say whether a word that is the name of a town of the patient's means the town there.

    >>> def finds(text: str, ordinary: bool) -> list[bool]:
    ...     found = re.finditer("(?i)normal|boise", text)
    ...     return [names_place(text, *m.span(), ordinary=ordinary) for m in found]
    >>> finds("Normal sinus rhythm. From Normal, IL. Lives in Normal. lungs normal", True)
    [False, True, True, False]
    >>> finds("Boise clinic; seen in boise. boise", False)
    [True, True, False]

    Args:
        text: where it stands.
        start: its first character.
        end: behind its last one.
        ordinary: whether it is a word of the language, too.
    """
    from_start = max(0, start - _WINDOW)
    goes_on = _ON.match(text, end) is not None
    if not text[start].isupper():
        if goes_on and _LIVES.search(text, from_start, start):
            return True
        if _STATE_AND_CODE.match(text, end):
            return True
        if ordinary:
            return False
        alone = _ALONE.search(text, from_start, start) and _ENDS.match(text, end)
        behind = _BEHIND.match(text, end) or _ANY_STATE.match(text, end)
        return (alone or behind or _AT.search(text, from_start, start)) is not None
    if not ordinary or _STATE_NEXT.match(text, end):
        return True
    if _LIVES_OR_GOES.search(text, from_start, start):
        return goes_on or not _is_lower(text, end)
    if text[start:end].isupper():
        return False
    return goes_on and _AT.search(text, from_start, start) is not None


def _is_lower(text: str, end: int) -> bool:
    """Say whether a word in lower case follows, as in "in Reading glasses"."""
    return re.match(r"[ ]{1,2}[^\W\d_A-ZÄÖÜ]", text[end : end + 4]) is not None


def is_word_and_town(token: str) -> bool:
    """Say whether a folded word is listed as both.

    >>> [is_word_and_town(word) for word in ("normal", "buffalo", "boise")]
    [True, True, False]
    """
    return token in _WORDS


def ends_like_a_town(token: str) -> bool:
    """Say whether a folded word can be nothing but a town.

    >>> [ends_like_a_town(word) for word in ("springfield", "wolfsburg", "button")]
    [True, True, False]
    """
    return _ENDING.fullmatch(token) is not None
