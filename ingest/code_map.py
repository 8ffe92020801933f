"""Read a user's code map: what a site's own code systems, codes and units are called.

A CSV (a row a rule) or a YAML (a list of rules) with these columns; what is not needed stays empty:

    system                 code prefix  dotting standard      unit
    urn:oid:1.2.276.0.76.9      LAB                                  LAB//… for all its codes
    https://kh.example/icd      ICD10GM icd10                        I509 becomes I50.9
    urn:oid:1.2.276.0.76.9 NA                   LOINC//2951-2        LAB//NA is a parent
                           HB                   LOINC//718-7  g/L    a code without a system

A rule without `code` is of a whole system, a URL or an OID. `dotting` says how codes that lack
their dot get it: icd10, icd9, icd9-procedure or none; without it the prefix's own way. `unit` is
the UCUM unit that the code's values are converted to (ingest/units.py), where that is to be another
than the built-in one. No rule overrules an earlier one: two that differ are a mistake.
"""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ingest.codes import DOTTING, ROLES, Naming, name_coding, plain_system
from ingest.errors import MappingError
from ingest.ucum import measure

__all__ = ["COLUMNS", "CodeMap", "Rule", "make_code_map", "read_code_map", "require_prefix"]

COLUMNS = ("system", "code", "prefix", "dotting", "standard", "unit")
_PREFIX = re.compile(r"[A-Z0-9][A-Z0-9_.]*")
Rule = dict[str, str]
"""One row: of COLUMNS those that are not empty."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeMap:
    """Hold a code map that was checked: as it was written, and as naming and units use it."""

    rules: tuple[Rule, ...] = ()
    naming: Naming = field(default_factory=Naming)
    units: dict[str, str] = field(default_factory=dict)
    """The UCUM unit by the event's code, where the user set one."""


def read_code_map(path: Path) -> list[Rule]:
    """Read the rules of a CSV or YAML file; `make_code_map` checks them.

    Raises:
        MappingError: it is missing, unreadable or of another shape; a rule that can't be.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise MappingError(f"{path} is not there; --code-map takes a CSV or YAML file") from None
    except UnicodeDecodeError:
        raise MappingError(f"{path} is not UTF-8 text") from None
    where = str(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        rules = _read_yaml(text, where)
    else:
        rules = _read_csv(text, where)
    make_code_map(rules, where=where)
    return rules


def make_code_map(rules: list[Rule], *, default_prefix: str = "LOCAL", where: str = "") -> CodeMap:
    """Check rules and make them ready for use.

    Raises:
        MappingError: a rule that can't be, or two that contradict each other.
    """
    systems: dict[str, tuple[str, str]] = {}
    codes: dict[tuple[str, str], str] = {}
    for number, rule in enumerate(rules, 1):
        told = f"{where or 'the code map'}, rule {number}: "
        system, code = rule.get("system", ""), rule.get("code", "")
        if not code:
            found = _system_rule(rule, told)
            if systems.setdefault(plain_system(system), found) != found:
                raise MappingError(
                    f"{told}an earlier rule gives {system} another prefix or dotting"
                )
            continue
        if "prefix" in rule or "dotting" in rule:
            raise MappingError(f"{told}prefix and dotting are of a whole system; leave code empty")
        if "standard" not in rule and "unit" not in rule:
            raise MappingError(f"{told}a code needs a standard code or a unit to be mapped to")
        standard = rule.get("standard", "")
        if standard:
            _check_standard(standard, told)
            if codes.setdefault((plain_system(system), code), standard) != standard:
                raise MappingError(f"{told}an earlier rule maps this code to something else")
    naming = Naming(systems=systems, codes=codes, default_prefix=default_prefix)
    return CodeMap(rules=tuple(rules), naming=naming, units=_units(rules, naming, where))


def require_prefix(prefix: str) -> None:
    """Refuse what can't be a code's first part.

    Raises:
        MappingError: it is no name in capitals, or already says what an event is.
    """
    if not _PREFIX.fullmatch(prefix):
        raise MappingError(
            f"{prefix!r} can't be a prefix; it is capitals, digits, _ and . only, such as KH_LAB"
        )
    if prefix in ROLES:
        raise MappingError(f"{prefix} can't be a prefix: Medweave's own codes begin with it")


def _system_rule(rule: Rule, told: str) -> tuple[str, str]:
    if "system" not in rule:
        raise MappingError(f"{told}it has neither a system nor a code")
    if "standard" in rule or "unit" in rule:
        raise MappingError(f"{told}a standard code or a unit is of one code; name it under code")
    if "prefix" not in rule:
        raise MappingError(f"{told}a system needs a prefix")
    try:
        require_prefix(rule["prefix"])
    except MappingError as error:
        raise MappingError(f"{told}{error}") from None
    dotting = rule.get("dotting", "")
    if dotting and dotting not in DOTTING:
        raise MappingError(f"{told}dotting must be one of {', '.join(DOTTING)}; got {dotting!r}")
    return rule["prefix"], dotting


def _check_standard(standard: str, told: str) -> None:
    prefix, _, code = standard.partition("//")
    try:
        require_prefix(prefix)
    except MappingError:
        code = ""
    if not code.strip() or "//" in code or code != code.strip():
        raise MappingError(
            f"{told}a standard code is SYSTEM//CODE, such as LOINC//2951-2; got {standard!r}"
        )


def _units(rules: list[Rule], naming: Naming, where: str) -> dict[str, str]:
    units: dict[str, str] = {}
    for number, rule in enumerate(rules, 1):
        if "unit" not in rule:
            continue
        told = f"{where or 'the code map'}, rule {number}: "
        found = measure(rule["unit"])
        if found is None:
            raise MappingError(f"{told}{rule['unit']!r} is no UCUM unit, such as mmol/L or mm[Hg]")
        concept = name_coding({"system": rule.get("system"), "code": rule["code"]}, naming)
        if concept is None or concept.code is None:
            continue
        if units.setdefault(concept.code, rule["unit"]) != rule["unit"]:
            raise MappingError(f"{told}an earlier rule gives {concept.code} another unit")
    return units


def _read_csv(text: str, where: str) -> list[Rule]:
    try:
        head, *rows = list(csv.reader(io.StringIO(text), strict=True)) or [[]]
    except csv.Error as error:
        raise MappingError(f"{where} is not CSV: {error}") from None
    names = [name.strip() for name in head]
    _check_columns(names, where)
    rules = []
    for number, row in enumerate(rows, 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(names):
            raise MappingError(f"{where}, line {number}: {len(row)} cells under {len(names)} names")
        cells = zip(names, (cell.strip() for cell in row), strict=True)
        rules.append({name: cell for name, cell in cells if cell})
    return rules


def _read_yaml(text: str, where: str) -> list[Rule]:
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise MappingError(f"{where}{line} is not YAML") from None
    if not isinstance(content, list) or not all(isinstance(rule, dict) for rule in content):
        raise MappingError(f"{where} is a list of rules, each with some of {', '.join(COLUMNS)}")
    rules = []
    for number, rule in enumerate(content, 1):
        for name, value in rule.items():
            # YAML makes 0123 of a code a number, and `no` a truth value.
            if not isinstance(value, str):
                raise MappingError(f"{where}, rule {number}: put the {name} in quotes")
        _check_columns([str(name) for name in rule], f"{where}, rule {number}", whole=False)
        rules.append({name: value.strip() for name, value in rule.items() if value.strip()})
    return rules


def _check_columns(names: list[str], where: str, *, whole: bool = True) -> None:
    strange = [name for name in names if name not in COLUMNS]
    if strange:
        raise MappingError(
            f"{where}: unknown column {strange[0]!r}; the columns are {', '.join(COLUMNS)}"
        )
    if len(set(names)) < len(names):
        raise MappingError(f"{where}: a column stands twice")
    if whole and "prefix" not in names and "standard" not in names and "unit" not in names:
        raise MappingError(f"{where}: the first line names the columns: {', '.join(COLUMNS)}")
