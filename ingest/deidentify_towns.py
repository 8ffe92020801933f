"""List towns that are words, too, and tell which of them are hardly any in a chart.

Towns are called Normal, Mobile, Bend and Reading, so a town of one word is

    a word            if it is listed here or in deidentify_words.py: it needs a place's context,
                      which deidentify_town_context.py tells ("Normal sinus rhythm" has none)
    rarely a word     York, Paris, Siegen: in a chart the town nearly always, so a capital is enough
    hardly any other  what is not listed (Boise): a capital is enough, and in lower case goes, too,
                      what has six letters, or ends as towns do and words do not (Potsdam, Velburg)

The list is of towns that are words: a list of a language's words has towns among them.
"""

import re

__all__ = ["ends_like_a_town", "is_rarely_a_word", "is_word_and_town"]

_WORDS = frozenset(
    """
    accident advance affinity agate agency alert alliance alpha alpine anchor antelope apex arcade
    arch aspen assumption atlas axis bark basin basis battle bay beacon beaver bend blanket blaze
    blessing bliss blossom bluff bluffs boring boulder boundary brick bridges bucks buffalo bunker
    butte button cactus canal canyon cape carbon cardinal carefree cascade cataract cave cedar
    celebration cement central century champion charm chloride choice circle clam climax clover
    colony colt column comet commerce compass competition concrete convent copper coral corona
    cottage cove crab crater creek crescent crest crossing crystal deer defiance delight delta
    deposit desire detour diagonal dinosaur distant divide dolphin dominion dove downs drum drums
    duck due eagle echo eclectic eclipse economy effort eight elbow electric electron embarrass
    eminence empire energy enigma enterprise equality excel exchange experiment export fairplay
    falcon fancy farmers fate fence fern fertile fertility flasher flat flats flora floral fly
    force forks fossil fountain four friendly friendship fruit garnet gas gem glacier glide globe
    goodnight goose granite grass gravel gravity guide gulf halfway happy harbor harmony harness
    harvest hasty hazard heaven hell helper hemlock hero holiday honor horizon humble hurricane
    hurt hygiene ideal imperial independence index indian industry inlet inspiration intercourse
    island jasper jersey jet jolly junction keystone kidney kinder knob ladder lakes landing lark
    laurel lava laws lead leader level liberal liberty lick likely limestone lone lookout loop
    lover loyal luck lynx magnet manly maple marble marina marine mars mash memory mercury meridian
    midway mineral mint mirror mobile model money monument moraine mosquito motley muddy muscle
    muse narrows natural necessity needles neutral nine ninety noodle normal notch novelty nursery
    oasis oblong ocean oil okay omega only onset opal opportunity oracle oral orchard ordinary
    orient orion outing oval pacific painter panic panther paradise paradox paragon peculiar
    pelican pep pilot pine pines pinnacle pioneer plains pleasant plum plush pocket point polo
    portage portal pound prairie president princess progress promise prospect prosperity protection
    providence quail quality quartz radiant radium rainbow random ranger rapid rapids raven rebel
    recluse recovery reform relay relief remote rescue reserve ridge rifle ripple rising rocket
    rolling romance rough rover rugby rural saddle safe saline salmon sandstone sandwich scales
    seaside secret security seminary sentinel severance shamrock shelter shoals shot sister sisters
    slate sleeper slick smoke snowflake soda soldier solo spade span spanish sparks speculator
    speed spirit splint spray springs sprout spur stab stamps standard start state static station
    story sublime success sugar sulphur summit superior supply supreme surf surprise swiss tangent
    tangerine teller temperance terrace thermal thrift toast tool topaz torch tornado trade trail
    trainer transfer traverse tribune triumph trout trumpet tulip turkey turtle twig twist two
    uncertain unity universal upland uranium veteran veto village viola viper vista volcano walnut
    war warrior waterproof weed welcome western why wing wink winner wisdom wonder worthy wren
    zenith zero

    ach alt amt asche au aue baden balg bann birke birken born breite brucken buche buchen buchse
    deich derben dorf eich eiche eichen elend ellen ende engen enger erden erlen falten fang feucht
    flecken friede geist gerade glatten grube gruben hallen halten harz heide heiligen hemmen
    herbst hohe hohn holle hungen kahl kehlen kloster kochen korb krippen lachen lage lahm langen
    lauf lauter leben lehre leiden lichte linde lust main meer messen mitte mitten much muhlen
    neuen neun nieder norden oder ort ost osten pforten plan plus quelle quellen rast reise ringen
    rohr ruhen saal satteln schlag schmelz schwalbe segeln seifen senden singen sorge stadt stelle
    stollen strom tanne tiefen triften uhr wald wangen wanne warten weil weisen welle wende wenden
    wiesen winden wissen zeiten zell zelle zug zwingen
    """.split()  # noqa: SIM905 - one a line would be a page
)
"""Towns and places of the United States and Germany that are words or parts of them, folded."""

_RARELY_WORDS = frozenset(
    """
    amity auburn aurora badger bayou broadway buckeye canton capitol concord cottonwood deadwood
    derby elk eureka felicity frostproof grapevine hamburg headland hominy jordan lakeside larkspur
    magnolia metropolis midland mustang naples norman palisade paris riverside savannah springer
    sterling stonewall sweetwater townsend trent tuxedo utopia washington whitefish woodland york
    zion

    bergen binsen damme gehren hagen inden kamen kappel kehl kleve leimen leopold lich metz mucke
    munden munster murr schotten siegen stade sulz tann wedel weiden weiler werder winsen zeil
    """.split()  # noqa: SIM905 - one a line would be a page
)
"""Towns that are words elsewhere, but with a capital mean the town in nearly every chart."""

_ENDING = re.compile(
    r"[^\W\d_]{2,}(?:ville|burgh?|sfield|ngfield|boro|borough|polis|bury|shire|ington|ingham|haven"
    r"|mouth|chester|dorf|hausen|stadt|stedt|furth?|bruck|kirchen|weiler|hofen|roda)"
)


def is_word_and_town(token: str) -> bool:
    """Say whether a folded word is listed as both.

    >>> [is_word_and_town(word) for word in ("normal", "buffalo", "boise")]
    [True, True, False]
    """
    return token in _WORDS


def is_rarely_a_word(token: str) -> bool:
    """Say whether a folded word with a capital means the town in nearly every chart.

    >>> [is_rarely_a_word(word) for word in ("york", "siegen", "normal")]
    [True, True, False]
    """
    return token in _RARELY_WORDS


def ends_like_a_town(token: str) -> bool:
    """Say whether a folded word can be nothing but a town.

    >>> [ends_like_a_town(word) for word in ("springfield", "wolfsburg", "button")]
    [True, True, False]
    """
    return _ENDING.fullmatch(token) is not None
