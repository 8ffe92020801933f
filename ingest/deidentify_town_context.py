r"""Tell by its context whether a word that is a town's name means the town.

The name of a town, which is one word, is

    surely none   in lower case without a place's context: pt is mobile, able to bend, lungs normal
    surely one    with a state, a country or a postal code behind it, or where somebody lives:
                  Mobile, AL; Reading, England; moved to Bend; wohnhaft in Essen; in lower case only
                  where a sentence goes on as it does behind a place
    one           with a capital
                  as a label's value or in an address    Home: Reading; 12 Elm St, Reading
                  at a letter's head                     Essen, den 03.04.2024
                  beside what has a town's name          Reading Hospital, Uniklinik Essen
                  behind in, from, aus and the like      from Reading today, aus Essen kommend;
                  not before a thing                     in Reading glasses

and beside what else is known of the address. A quality (Normal, Mobile), which begins a chart's
lines and stands before its nouns, is one behind "in" and "from" only where the phrase ends or goes
on as it does behind a place: "from Mobile.", but "in Normal limits".
"""

import re

__all__ = ["names_place"]

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
_COUNTRIES = (
    r"(?:England|Scotland|Wales|Ireland|U\.?K\b|U\.?S\.?A\b|United[ ](?:Kingdom|States)|Canada"
    r"|Ontario|Germany|Deutschland|NRW|Hessen|Bayern|Sachsen|France|Frankreich|Italy|Italien"
    r"|Austria|Österreich|Switzerland|Schweiz|Poland|Polen|Peru|Spain|Spanien|Australia|India"
    r"|[A-Z][a-z]+shire|Kent|Surrey|Essex|Sussex)\b"
)
_SHORT_STATES = r"Ala?|Calif?|Conn|Fla|Ill|Ind|Mich|Minn|N\.?[HJY]|Ore|Penna?|Pa|Tex|Wisc?"
_GOES_ON = (
    r"(?:[ ]{0,2}(?:[.,;)!?\"'\n\r]|\Z)|[ ]{1,2}(?:and|with|w/|since|for|where|who|but|alone|to"
    r"|until|before|after|last|this|when|while|area|at|on|by|near|in|is|was|as|via|again|alone"
    r"|originally|today|yesterday|tonight|recently|still|now|currently|during|because|due|he|she"
    r"|they|presents|presented|presenting|admitted|und|mit|seit|wo|bei|zu|bis|ist|war|zusammen"
    r"|allein|geboren|verlegt|gezogen|kommend|stammend|zugewiesen|zuverlegt|eingewiesen|angereist"
    r"|übernommen|heute|gestern|als|nach)\b)"
)
_ON = re.compile(_GOES_ON, re.IGNORECASE)
_STATE_NEXT = re.compile(
    rf",?[ ](?:(?:{_STATES})[ ,]{{1,2}}\d{{5}}(?!\d)|(?:{_SURE_STATES})(?![^\W_])|{_FULL_STATES}\b)"
    rf"|,[ ](?i:{_FULL_STATES})\b|,[ ](?:{_STATES})(?![^\W_]){_GOES_ON}"
    rf"|,?[ ](?:{_STATES})[ ](?i:native|residents?)\b|(?:,|[ ]\()[ ]?(?i:{_COUNTRIES})"
    rf"|,[ ](?:{_SHORT_STATES})\."
    r"|[ ]?(?:[/(]|\ba\.[ ]?d\.|[ ]an[ ]der)[ ]?(?:Saale|Main|Oder|Ruhr)\b"
)
# PA, CT, MS and the like are a view, a scan and a mental state, too.
_DOUBTFUL_STATE = re.compile(rf"[ ](?:{_STATES})(?![^\W_]){_GOES_ON}")
_STATE_AND_CODE = re.compile(rf",?[ ](?:{_STATES})[ ,]{{1,2}}\d{{5}}(?!\d)", re.IGNORECASE)
_NO_WORD = re.compile(r",[ ](?!(?:in|or|ok|me|hi|oh|as)\b)")
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
    r"|visit(?:s|ed|ing)?|transferred|drove|flew|retired|seen|admitted|treated|vacation|urlaub|hausarzt|praxis|verwandte"
    r"|sohn|tochter|bruder|family|relatives|sister|brother|daughter|son"
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
_FROM = re.compile(r"\b(?i:in|from|near|aus|raum|großraum|nähe|kreis|landkreis)[ \n]{1,2}\Z")
# "Husten bei Essen", "Trouble in Reading"
_AILS = re.compile(
    r"(?i)\b(?:hilfe|hilfestellung|unterst\w+|schwierigkeiten|probleme?|\w*schmerz\w*|husten|dyspnoe"
    r"|atemnot|übelkeit|erbrechen|verschlucken|besserung|trouble|difficult\w*|problems?|assist\w*)"
    r"[ ](?:bei|in|beim|with)[ ]{1,2}\Z"
)
_TO = re.compile(
    r"(?i)(?:\b(?:rück)?(?:verlegung|umzug|transport|fahrt|reise|rückkehr|überweisung|verlegt"
    r"|gezogen|umgezogen|verzogen|zog|fuhr|fährt|reist)(?:[ ][^\s,;]{1,12}){0,3}[ ]nach"
    r"|\b(?:sent|referred|brought|taken|drove|driven|flown|airlifted|go(?:ing|es|ne)?|went|return\w*)"
    r"[ ](?:back[ ])?to|\bvisit(?:s|ed|ing))[ \n]{1,2}\Z"
)
_BEHIND_TO = re.compile(
    r"(?i)[ ](?:rück|zurück|weiter)?(?:verlegt|gezogen|umgezogen|umziehen|verzogen|gefahren|gereist"
    r"|geflogen|überwiesen|ziehen|fahren|verlegen)\b"
)
_NACH = re.compile(r"(?i)\bnach[ \n]{1,2}\Z")
_COMES_FROM = re.compile(r"(?i)\b(?:from|lives? in|living in|resident of)[ \n]{1,2}\Z")
_ONCE = re.compile(r"(?i)[ ](?:originally|kommend|stammend)\b")
_PERSON_FROM = re.compile(
    r"(?i)\b(?:pt|pat|patient(?:in)?|he|she|they|is|was|man|woman|male|female|gentleman|lady|m|f|yo"
    r"|comes?|came|coming|arriv\w+|originally|transfer\w*|xfer|hails?|retired|referred|er|sie|kam)"
    r"[ ](?:from|aus)[ \n]{1,2}\Z"
)
_LABEL = re.compile(
    r"(?i)(?<![^\W_])(?:home|home ?town|city|town|wohnort|ort(?:, ?datum)?|adresse|address"
    r"|anschrift|residence|residency|resides|lives|wohnhaft|wohnsitz|stadt|city/state|geburtsort"
    r"|birth ?place|place of birth|heimatort|herkunft)[ ]?[:=][ \t]*\Z"
)
_DOCTOR = re.compile(
    r"(?:\b(?:Dr|Prof)\.?(?:[ ](?:med\.|[A-ZÄÖÜ][\w.-]*)){1,3}"
    r"|(?i:klinik(?:um)?|krankenhaus|praxis|hospital|clinic)"
    r"(?:[ ](?:für|und|of|for|[A-ZÄÖÜ][\w.-]*)){0,4})"
    r",[ ]\Z"
)
_IN_ADDRESS = re.compile(
    r"(?i)(?<![^\W_])(?:adresse|address|anschrift|wohnhaft|residence)[ ]?[:=][^\n;]{0,40}"
    r"(?:,|\d)[ ]\Z"
)
_BEHIND_STREET = re.compile(
    r"(?i)\d[ ](?:[^\W\d_]+\.?[ ]){1,3}(?<![^\W_])(?:st|street|ave|avenue|rd|road|dr|drive|ln|lane"
    r"|blvd|ct|way|pl)\.?,[ ]\Z"
    r"|(?:str\.|straße|strasse|weg|platz|allee|gasse|ring|damm)[ ]\d{1,4}[ ]?[a-z]?,[ ]"
    r"(?:D-)?(?:\d{5}[ ])?\Z|\bD-\d{5}[ ]\Z|(?:\A|[\n,])[ ]?\d{5}[ ]\Z"
)
_LINE = re.compile(r"(?:\A|[\n\r])[ \t]*\Z")
_MONTH = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-zä]*\.?"
_DATE = (
    rf"(?:\[DATE\]|\d{{1,2}}[./-][ ]?(?:\d{{1,2}}[./-]|{_MONTH})|(?:19|20)\d\d-\d"
    rf"|\d{{1,2}}[ ]{_MONTH}|{_MONTH}[ ]\d)"
)
_HEAD = re.compile(
    rf"(?:[ ]?\([^)\n]{{1,15}}\))?(?:,[ ]?(?:(?:den|am|dated?)[ ])?|[ ]den[ ]){_DATE}", re.I
)
_DATED = re.compile(rf"(?:[ ]?\([^)\n]{{1,15}}\))?,[ ]?den[ ]{_DATE}", re.I)
_HOUSE_BEFORE = re.compile(
    r"(?i)(?:klinik(?:um|en)?|kliniken|krankenhaus(?:es)?|hospital|spital|stift|kreis|(?:pflege|senioren"
    r"|alten|alters|wohn)heim|hospiz|notaufnahme|rettungsstelle|rettungsdienst|praxis|\bmvz|\buni"
    r"|universität|gesundheitsamt|jugendamt|amtsgericht|polizei|feuerwehr|bahnhof|jva|zentrum|ambulanz|helios|asklepios|vivantes|\buk|\bukh|stadt|reha"
    r"|university of|city of|town of|county of|borough of|diocese of|port of)[ ]{1,2}\Z"
)
_EATEN = re.compile(
    r"(?i)[ ](?:verweiger\w+|abgelehnt|schmeck\w+|bestell\w+|bekommen|erhalten|gegessen|serviert"
    r"|gereicht|nicht|gut|schlecht|wenig|(?:und|u\.|&|oder)[ ]?trinken)"
)
_HOUSE = (
    r"(?:hospitals?|hosp\b|med(?:ical|\.)?[ ](?:cent(?:er|re)|ctr)|clinics?|infirmary|nursing home"
    r"|(?:nursing|rehab\w*|health|care|dialysis|surgery|cancer)[ ](?:cent(?:er|re)|ctr|facility"
    r"|system|home)|rehab\w*|hospice|fire (?:dep\w*|rescue)|police|sheriff|airport|university"
    r"|college|high school|prison|jail|county|pharmacy|klinikum|krankenhaus)"
    r"(?![^\W_]|[ -](?:course|stays?|days?|visits?|follow|discharge|admission|bed|appointment"
    r"|diet))"
)
_HOUSE_BEHIND = re.compile(
    r"(?i:[ ](?:general|regional|community|memorial|city|district|university|central|royal|county"
    rf"|area|state|children'?s|veterans?|va|st\.?|saint|mercy)){{0,2}}[ ](?i:{_HOUSE})"
)
_AREA_BEHIND = re.compile(r"[ ](?:(?i:area|suburbs?|general|memorial|regional)|ER|ED)(?![^\W_])")
_NATIVE = re.compile(r"(?i)[ ](?:native|resident)(?![^\W_])(?![ ](?:valve|vessel|note|phys))")
_IN_OR_OF = re.compile(r"\b(?i:in|from|of|to|at|near|aus)[ \n]{1,2}\Z")
_MEANT = re.compile(
    r"(?i)[ ](?:hospital|infirmary|medical|police|fire|airport|university|county)\b"
)
_HOUSE_IN_CAPITALS = re.compile(r"[ ][A-Z]")
_MID = re.compile(r"[^\W\d_][ ]{1,2}\Z")
_BEHIND = re.compile(
    r"[ ](?:resident|native|area|police|fire dep\w*|hospital|clinic|airport|county|general)\b",
    re.IGNORECASE,
)
# What a word that is a town stands before when it is none.
_THING_NEXT = re.compile(
    r"(?i)[ -]{1,2}(?:glasses|rooms?|chairs?|tables?|lamps?|books?|materials?|skills?|abilit\w+"
    r"|comprehension|level|hump|juice|urine|stool|skin|colou?r\w*|dis\w+ation|home|homes|phone"
    r"|units?|device|cart|x-?rays?|ct|mri|crt|bear\w*|limits?|range|values?|sinus|saline|position"
    r"|function\w*|tone|size|gait|rhythm|sleep|infestation|eggs|treatment|therapy|pain|time|test\w*"
    r"|strips?|of|scores?|und|oder|um)(?![^\W_])"
)
# "Plaster of Paris", "New York Heart Association", "Aurora kinase": called after no patient's town.
_CALLED_BEHIND = re.compile(r"(?i)[ ](?:classification|kinases?|heart association)\b")
_CALLED_BEFORE = re.compile(r"(?i)\bplaster of[ ]\Z")
_QUALITIES = frozenset(
    """
    advance alert back black blue brown central clear cold distal distant dry early easy fair
    fast fine flat flats free full general gentle good gray green grey halfway happy high hot
    humble ideal key lateral left liberal likely long low main mild mineral mobile model natural
    neutral new normal old only oral ordinary pink plain quick rapid rapids ready red remote
    right rough safe sharp short simple small smart soft stable standard static still straight
    strong sunny superior supreme sweet tender thermal total true uncertain under universal
    upper warm weak well west wet white wild yellow

    frisch fremd grob gross gut hohe jung kahl klar klein lahm lauter leicht letzte lustig mitte
    mitten neu schwer tief trocken warm weich weit
    """.split()  # noqa: SIM905 - one a line would be a page
)
_WINDOW = 64


def names_place(text: str, start: int, end: int, *, ordinary: bool) -> bool:
    """Say whether a word that is the name of a town of the patient's means the town there.

    >>> def finds(text: str, ordinary: bool) -> list[bool]:
    ...     found = re.finditer("(?i)normal|boise|essen", text)
    ...     return [names_place(text, *m.span(), ordinary=ordinary) for m in found]
    >>> finds("Normal sinus rhythm. From Normal, IL. Lives in Normal. lungs normal", True)
    [False, True, True, False]
    >>> finds("Essen, den 03.04.2024: Verlegung aus Uniklinik Essen, beim Essen Husten", True)
    [True, True, False]
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
            state = _NO_WORD.match(text, end) and _ANY_STATE.match(text, end)
            return (state and _COMES_FROM.search(text, from_start, start)) is not None
        alone = _ALONE.search(text, from_start, start) and _ENDS.match(text, end)
        behind = _BEHIND.match(text, end) or _ANY_STATE.match(text, end)
        return (alone or behind or _AT.search(text, from_start, start)) is not None
    before = text[from_start:start]
    if _CALLED_BEFORE.search(before) or _CALLED_BEHIND.match(text, end):
        return False
    if not ordinary or _STATE_NEXT.match(text, end):
        return True
    quality = text[start:end].lower() in _QUALITIES
    if _EATEN.match(text, end):
        return False
    if _stands_in_address(text, before, end, quality=quality):
        return True
    if _names_house(text, before, start, end, quality=quality):
        return True
    return _is_where(text, before, start, end, quality=quality)


def _stands_in_address(text: str, before: str, end: int, *, quality: bool) -> bool:
    """Say whether a town stands as a label's value, in an address or at a letter's head."""
    goes_on = _ON.match(text, end) is not None
    if goes_on and (_LABEL.search(before) or _IN_ADDRESS.search(before)):
        return True
    if goes_on and not quality and (_BEHIND_STREET.search(before) or _DOCTOR.search(before)):
        return True
    alone = _LINE.search(before) is not None
    if _DATED.match(text, end) or (alone and not quality and _HEAD.match(text, end)):
        return True
    somewhere = (_AT if quality else _IN_OR_OF).search(before) or _LABEL.search(before)
    somewhere = somewhere or (alone and not quality)
    return bool(somewhere and _DOUBTFUL_STATE.match(text, end))


def _names_house(text: str, before: str, start: int, end: int, *, quality: bool) -> bool:
    """Say whether a hospital, a county or the like has the town's name."""
    if _HOUSE_BEFORE.search(before):
        return not quality and not _THING_NEXT.match(text, end)
    mid = _MID.search(before) is not None
    if not quality and (_NATIVE.match(text, end) or (mid and _AREA_BEHIND.match(text, end))):
        return True
    house = _HOUSE_BEHIND.match(text, end)
    if house is None:
        return False
    # "Normal hospital diet" and "Mobile Clinic" begin lines; "at Mobile clinic" is no such line.
    capital = _HOUSE_IN_CAPITALS.match(text, end) is not None
    if quality:
        shouted = text[start:end].isupper()
        return mid or (capital and not shouted and _MEANT.match(text, end) is not None)
    return mid or capital


def _is_where(text: str, before: str, start: int, end: int, *, quality: bool) -> bool:
    """Say whether somebody lives, goes to, or comes from there."""
    goes_on = _ON.match(text, end) is not None
    thing = _THING_NEXT.match(text, end) is not None
    if _LIVES_OR_GOES.search(before):
        sure = _LIVES.search(before) is not None and not quality
        return goes_on or not (thing or (_is_lower(text, end) and not sure))
    if _TO.search(before) or (_NACH.search(before) and _BEHIND_TO.match(text, end)):
        return not (thing or quality)
    if _AILS.search(before):
        return False
    if _FROM.search(before) and _ONCE.match(text, end):
        return True
    if text[start:end].isupper():
        if _PERSON_FROM.search(before):
            return goes_on or not (thing or quality)
        in_there = before.rstrip().upper().endswith("IN")
        return goes_on and not quality and not in_there and _FROM.search(before) is not None
    if goes_on:
        to = quality and text.startswith(" to ", end)
        return _AT.search(before) is not None and not (to and not _PERSON_FROM.search(before))
    return not (thing or quality) and _FROM.search(before) is not None


def _is_lower(text: str, end: int) -> bool:
    """Say whether a word in lower case follows, as in "in Reading glasses"."""
    return re.match(r"[ ]{1,2}[^\W\d_A-ZÄÖÜ]", text[end : end + 4]) is not None
