r"""Find in a text what looks like an identifier, though nothing of the patient's says that it is.

    [CONTACT]  e-mail addresses, URLs, IP addresses, phone numbers (North American, with +, German,
               or any after a word such as "Tel.")
    [ID]       social security, Medicare, German pension and IBAN numbers, UUIDs, OIDs of six parts
               and more, what follows a word such as "MRN" or "Fall-Nr.", and eight digits and more
               in a row
    [NAME]     one or two names after a title: "Dr. Patel", "Frau Schmidt"
    [ADDRESS]  a street with its number
    90+        an age of over 89 years (deidentify_ages.py)

`phonenumbers` 9.0 was tried: in its mild mode it takes "120/80" and "135-145" for numbers, and in
its strict mode leaves those out that are in no plan, such as (555) 810-7203.
"""

import re
from collections.abc import Iterator

from ingest.deidentify_ages import find_ages
from ingest.deidentify_digits import find_near_digits, has_digits, lowered
from ingest.deidentify_terms import ADDRESS, CONTACT, ID, NAME, Span

__all__ = ["find_after_words", "find_likely", "find_long_numbers", "find_sure"]

_EMAIL = re.compile(
    r"(?<![^\W_])[\w.+-]{1,64}\s?(?:@|\(at\)|\[at\])\s?[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}",
    re.IGNORECASE,
)
_URL = re.compile(r"(?:\b[a-z][a-z+]{1,9}://|\bwww\.)[^\s<>\"]+", re.IGNORECASE)
_IP = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)"
)
_HEX = "[0-9a-fA-F]"
_IP_OF_LETTERS = re.compile(
    rf"(?<![\w:])(?:{_HEX}{{1,4}}:){{4,7}}:?(?:{_HEX}{{1,4}}:?){{1,4}}(?![\w:])"
    rf"|(?<![\w:])(?:{_HEX}{{2}}[:-]){{5}}{_HEX}{{2}}(?![\w:-])"
)
_UUID = re.compile(
    rf"(?<![0-9a-zA-Z]){_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"
    r"(?![0-9a-zA-Z])"
)
_HEX_RUN = re.compile(rf"{_HEX}{{8}}")
_OID = re.compile(r"(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\w])")
_SSN = re.compile(r"(?<![\w-])\d{3}[- ]\d{2}[- ]\d{4}(?![\w-])")
_LONG_NUMBER = re.compile(r"(?<![\w.,])\d{8,}(?![\w]|[.,]\d)")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:\+?1[-. ]?)?(?:\(\d{3}\)[ ]?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w]|[-.]\d)"
    r"|(?<![\w.,/-])[2-9]\d{2}(?:/[2-9]\d{2}-\d{4}|[ ][2-9]\d{6})(?![\w]|[-.,/]\d)"
    r"|(?<![\w])\+\d{1,3}[ ./-]?(?:\(0?\d{1,4}\)[ ]?)?\d(?:[ ./-]?\d){5,13}(?![\w])"
    r"|(?<![\w.,/-])(?!\d{4,5}-\d{3,4}-\d{1,2}\b)"  # a drug's number
    r"\(?0\d{2,5}\)?[ ]?[/ -][ ]?\d{3,9}(?:[ -]\d{1,6}){0,3}(?![\w]|[.,/]\d)"
    r"|(?<![\w.,/-])00\d{2}[ -]?\d(?:[ ./-]?\d){6,13}(?![\w])"
)
_PHONE_WORD = re.compile(
    r"\b(?:tel(?:efon|ephone)?|phone|fax|mobile|mobil|handy|cell|pager|call(?:ed)?|callback)\b"
    r"(?:[ ]?(?:no|nr|number|nummer)\b)?[.:# ]{0,4}(?:is |at |unter )?"
    r"(?P<value>\+?\(?\d(?:[ ()./-]{0,2}\d){4,14})(?![\w])",
    re.IGNORECASE,
)
_NUMBER_WORD = r"(?:id|no|nr|num|number|nummer|identifier)\b"
_ID_WORD = re.compile(
    r"\bsv-?(?:nr|nummer)\b[.: ]{0,3}(?P<austrian>\d{4}[ ]?\d{6})(?![\w])"
    r"|\b(?:"
    # Whatever stands behind these is an identifier.
    r"(?:mrn|m\.r\.n\.|med(?:ical)?\.? rec(?:ord)?s?|patient(?:en)?|pat|ssn|social security|"
    r"account|acct|accession|acc|encounter|visit|case|fall|chart|hospital|insurance|policy|member|"
    r"subscriber|versicherten|versicherungs|krankenkassen|licen[cs]e|passport|reisepass|ausweis|"
    r"npi|dea|nhs|specimen|sample|order|auftrags|serial|device|study|id|kennung|mbi|hicn?|csn|har|fin|vin|"
    r"iban|kvnr|svnr|rvnr|lanr|bsnr)"
    rf"[ .-]{{0,2}}(?:{_NUMBER_WORD})?[.:#= ]{{1,4}}(?:is )?"
    # These are words of their own, and mean one where a number is said to follow.
    r"|(?:mr|pt|pid|unit|hosp|enc|dl|driver'?s lic(?:en[cs]e)?|plate|vehicle|certificate|cert|"
    r"record|rec|claim|group|medicare|medicaid|health plan|beneficiary)"
    rf"[ .-]{{0,3}}(?:#|{_NUMBER_WORD})[.:#= ]{{0,4}}(?:is )?"
    r"|(?:aufnahme|patienten|fall|akten|kranken\w{0,13}|versicherten|versicherungs|vers|kv|sv|rv|"
    r"(?:renten|sozial)versicherungs|steuer\w{0,15}|personal(?:ausweis)?|pass|mitglieds|kunden|"
    r"konto|histo(?:logie)?|patho(?:logie)?|zyto(?:logie)?|befund|proben?|labor|einsende|barcode|geräte|"
    r"serien|identifikations|ident|führerschein|arzt|betriebsstätten)"
    r"[ .-]{0,2}(?:nummer|nr)\b[.:#= ]{0,4}(?:lautet )?"
    r")"
    r"(?P<value>(?=[\w./-]{0,30}\d)[a-z0-9](?:[\w./-]{1,38}[a-z0-9]))(?![\w])"
    r"|\b(?:mrn|csn|har|fin)#?(?P<glued>\d{5,14})(?![\w])"
)
_YEAR = re.compile(
    r"(?:fall|case|visit|encounter|hospital|study|order|insurance|policy|fin)[ ]+(?:19|20)\d\d"
)
_WRITTEN_NUMBERS = (
    re.compile(r"(?<![\w-])[A-Z]{2}\d{2}(?:[ ]?\d{4}){3,7}(?:[ ]?\d{1,3})?(?![\w-])"),  # IBAN
    re.compile(  # German pensions
        r"(?<![\w.,-])\d{2}[ ]?(?:[0-2]\d|3[01])(?:0\d|1[0-2])\d{2}[ ]?[A-Z][ ]?\d{3}(?![\w-])"
    ),
    re.compile(  # Medicare
        r"(?<![\w-])[1-9][AC-HJ-NP-RT-Y][AC-HJ-NP-RT-Y\d]\d-?[AC-HJ-NP-RT-Y][AC-HJ-NP-RT-Y\d]\d-?"
        r"[AC-HJ-NP-RT-Y]{2}\d{2}(?![\w-])"
    ),
)
_TITLED = re.compile(
    r"\b(?:[Dd][Rr]|[Mm]rs?|MRS?|[Mm]s|MS|[Mm]iss|[Pp]rof|Herrn?|Frau|HERRN?|FRAU)\b\.?"
    r"(?:[ ](?:med|rer|nat|Dr|Prof|habil|phil)\b\.?)*[ ]+"
    r"(?P<value>(?:(?:von|van|de|der|den|zu)[ ])*(?:[^\W\d_]\.[ ]?){0,3}[^\W\d_a-zà-ÿ][\w'-]+"
    r"(?:[ ](?:(?:von|van|de|der|den|zu)[ ])*[^\W\d_a-zà-ÿ][\w'-]+)?)"
)
_STREET = re.compile(
    r"(?<![\w.,/-])\d{1,5}[a-z]?[ ](?:[NSEW]\.?[ ])?(?:[A-Z][\w'.-]*[ ]){1,3}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Terrace|Parkway|"
    r"Pkwy|Highway|Hwy|Way|Circle|Square)\b\.?(?:,?[ ](?:Apt|Unit|Suite|Ste|#)\.?[ ]?\w{1,6})?"
)
_STREETS = ("straße", "strasse", "str.", "gasse", "allee", "damm", "ufer")
_GERMAN_STREET = re.compile(
    r"(?<![\w])[A-ZÄÖÜ][\wäöüß-]*(?:straße|strasse|str\.|gasse|allee|damm|ufer)[ ]\d{1,4}[a-z]?\b"
    r"(?:,?[ ]\d{5}[ ][A-ZÄÖÜ][\wäöüß-]+)?"
)
_TOWN = re.compile(r"(?<![\w])[A-Z][a-z]+,[ ][A-Z]{2}[ ]\d{5}(?:-\d{4})?(?![\w])")
_MEASURES = re.compile(
    r"(?i)\s*(?:mg|mcg|µg|g|kg|ml|l|mmol|units?|iu|mm|cm|%|x|days?|weeks?|hours?)\b"
)


def find_sure(plain: str, *, coded: bool = False) -> Iterator[Span]:
    """Give what can be nothing but an identifier: no date is written like it.

    In a code, an OID is a code system's.

    >>> text = "jane@example.org, 10.0.0.17, 078-05-1120, 1.2.840.113619.2.62.994"
    >>> [(text[a:b], tag) for a, b, tag in find_sure(text)][2:]
    [('1.2.840.113619.2.62.994', '[ID]'), ('078-05-1120', '[ID]')]
    """
    if "@" in plain or "(at)" in plain or "[at]" in plain:
        yield from _all(_EMAIL, plain, CONTACT)
    if "://" in plain or "www" in plain.lower():
        yield from _all(_URL, plain, CONTACT)
    if has_digits(plain):
        yield from _near(_IP, plain, CONTACT, before=0, digits=4)
        if plain.count(":") > 3 or plain.count("-") > 4:
            yield from _near(_IP_OF_LETTERS, plain, CONTACT, before=40, after=40)
        if _HEX_RUN.search(plain):
            yield from _near(_UUID, plain, ID, before=40, after=40)
        yield from () if coded else _near(_OID, plain, ID, before=0, after=64, digits=6)
        yield from _near(_SSN, plain, ID, before=0, digits=9)
        for pattern in _WRITTEN_NUMBERS:
            yield from _near(pattern, plain, ID, before=4, after=40)


def find_likely(plain: str) -> Iterator[Span]:
    """Give what looks like an identifier in free text and is no date, the likeliest first.

    >>> text = "MRN: 00123, ask (555) 810-7203; BP 120/80, 5 mg, INR 2-3, a 93-year-old"
    >>> [(text[a:b], tag) for a, b, tag in find_likely(text)]
    [('(555) 810-7203', '[CONTACT]'), ('00123', '[ID]'), ('93', '90+')]
    """
    if has_digits(plain):
        yield from _near(_PHONE, plain, CONTACT, digits=6)
        yield from find_after_words(plain)
        yield from _near(_STREET, plain, ADDRESS, before=0, after=160)
        if any(ending in plain for ending in _STREETS):
            yield from _near(_GERMAN_STREET, plain, ADDRESS, before=64, after=64)
        yield from _near(_TOWN, plain, ADDRESS, before=64, digits=5)
    yield from find_ages(plain)
    yield from _values(_TITLED, plain, NAME)


def find_long_numbers(plain: str) -> Iterator[Span]:
    """Give eight digits and more in a row; a date may be written so, and is looked for before."""
    yield from _near(_LONG_NUMBER, plain, ID, before=0, digits=8)


def find_after_words(plain: str) -> Iterator[Span]:
    """Give what follows a word such as "MRN" or "Tel."."""
    for m in find_near_digits(_PHONE_WORD, plain, before=40, digits=5):
        yield (*m.span("value"), CONTACT)
    for m in find_near_digits(_ID_WORD, lowered(plain), before=80, after=48):
        # "Case 3", "order 5 mg", "visit 2-3 days": a number that short is one of these.
        group = m.lastgroup or "value"
        digits = sum(letter.isdigit() for letter in m[group])
        # "Fall 2019", "hospital 2019": a year.
        year = _YEAR.fullmatch(m[0]) is not None
        if digits >= 4 and not year and not _MEASURES.match(plain, m.end(group)):
            yield (*m.span(group), ID)


def _all(pattern: re.Pattern[str], plain: str, tag: str) -> Iterator[Span]:
    for m in pattern.finditer(plain):
        yield (*m.span(), tag)


def _near(pattern: re.Pattern[str], plain: str, tag: str, **where: int) -> Iterator[Span]:
    for m in find_near_digits(pattern, plain, **where):
        yield (*m.span(), tag)


def _values(pattern: re.Pattern[str], plain: str, tag: str) -> Iterator[Span]:
    for m in pattern.finditer(plain):
        yield (*m.span("value"), tag)
