"""Read a mapping: the YAML that says what the columns of a CSV with images mean.

Every key, by the example of one row of one film:

    file: data.csv                    the CSV, within the folder that is ingested
    subject: patient_id               column of the subject
    subject_prefix: site1/            put before it, where several sets go into one store
    time:                             when the row's film was taken and its note was written
      offset: admission_offset        days …
      negate: true                    … with the sign turned
      epoch: 2000-01-01T12:00:00      … from this (made-up) moment, in UTC
      missing: 0                      offset where there is none; without it, such rows are undated
      spread_seconds: 1               a subject's rows at one time come so much apart, in file order
    # or `time: {column: date}`: ISO 8601 dates and times; a date without hour is its day's end
    # or neither, for a table without times: `time: {epoch: …, spread_seconds: 1}`, every row there
    optional: [sex, age]              columns that may be lacking: their cells are empty then
    where: {modality: [X-ray]}        rows with other values are skipped, and counted
    sex: {column: sex, map: {m: M}}   values to F, M, O or U
    age_years: age                    column; the birth date is the epoch less so many years
    codes:                            a code a row, from a column's value
      - {column: projection, code: "VIEW//{value}", map: {ap: AP}}
    measurements:
      - {column: crp_val, code: LOINC//1988-5, name: CRP, unit: mg/L, range: [0, 1000],
         below: 0, above: 500,        what stands for -inf and inf (beyond the detection limits)
         offset: crp_offset}          days from the row's own time; without it, the row's time
    notes:
      - {column: clinical_notes, code: NOTE//TEXT//clinical_notes,
         drop: [regex],               cut out of the text first
         drop_sentences: [regex]}     sentences with such a match are left out; case does not matter
    image:
      {column: image_file, directory: images, code: "IMAGE//{value}", value: modality,
       map: {X-ray: CR}}
    outcomes:                         what models must not see beforehand
      - {code: OUTCOME//SEVERE, when: {severe: [1]}, days_after_first: 365}
      - {code: MEDS_DEATH, offset: death_offset, at: day_end}     day_start, day_end or same
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ingest.errors import MappingError

__all__ = ["Coded", "Mapping", "Measurement", "Note", "Outcome", "Picture", "read_mapping"]


def _as_text(value: Any) -> Any:
    """Take YAML's 1, 1.0 and true for the texts that a CSV would hold; `map: {no: N}` is a trap."""
    if isinstance(value, bool):
        raise ValueError(f"{value} is YAML for a truth value; put the text in quotes")
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_as_text)]
Code = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class When(_Part):
    """Say how a row's time is read."""

    column: str | None = None
    offset: str | None = None
    negate: bool = False
    epoch: datetime = datetime(2000, 1, 1, 12, tzinfo=UTC)
    missing: float | None = None
    spread_seconds: float = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_of_two(self) -> "When":
        if self.column is not None and self.offset is not None:
            raise ValueError("give either `column` (dates) or `offset` (days), not both")
        if self.column is None and self.offset is None and "epoch" not in self.model_fields_set:
            raise ValueError(
                "give either `column` (dates) or `offset` (days), or an `epoch` alone, at which "
                "every row stands"
            )
        return self


class Coded(_Part):
    """Say how a column's value becomes a code; `{value}` stands for the mapped value."""

    column: str
    code: Code = "{value}"
    map: dict[Text, Text] = {}
    """Without a map the value is taken as it is; with one, other values give no event."""

    name: str | None = None


class Measurement(_Part):
    """Say what a column with numbers measures."""

    column: str
    code: Code
    name: str | None = None
    unit: str | None = None
    range: tuple[float, float] | None = None
    """What is plausible; other values give no event."""

    below: float | None = None
    above: float | None = None
    offset: str | None = None


class Note(_Part):
    """Say how a column with text becomes a note."""

    column: str
    code: Annotated[str, Field(pattern=r"^NOTE//\S")]
    drop: tuple[str, ...] = ()
    drop_sentences: tuple[str, ...] = ()

    @field_validator("drop", "drop_sentences")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns


class Picture(_Part):
    """Say where a row's image lies and what its code is."""

    column: str
    directory: str = "."
    code: Annotated[str, Field(pattern=r"^IMAGE//\S")]
    value: str | None = None
    """Column that `{value}` in the code stands for."""

    map: dict[Text, Text] = {}

    @model_validator(mode="after")
    def _value_for_code(self) -> "Picture":
        if ("{value}" in self.code) != (self.value is not None):
            raise ValueError("`code` has {value} if, and only if, `value` names a column")
        return self


class Outcome(_Part):
    """Say when an outcome's event happens."""

    code: Code
    when: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = {}
    """Column → values, all of which must fit; without it, wherever there is an offset."""

    offset: str | None = None
    """Column: days from the row's own time."""

    days_after_first: float | None = Field(default=None, gt=0)
    """Days from the subject's first row: for outcomes without a date."""

    at: Literal["same", "day_start", "day_end"] = "same"
    """Which moment of the day; `same` is the time of day that rows have."""

    @model_validator(mode="after")
    def _one_of_two(self) -> "Outcome":
        if (self.offset is None) == (self.days_after_first is None):
            raise ValueError("give either `offset` or `days_after_first`, not both or neither")
        if self.days_after_first is not None and not self.when:
            raise ValueError("`days_after_first` needs `when`, else everyone has the outcome")
        return self


class Mapping(_Part):
    """Hold a whole mapping; the module's docstring has an example."""

    file: str
    subject: str
    subject_prefix: str = ""
    time: When
    optional: tuple[str, ...] = ()
    """Columns that the CSV may lack."""

    where: dict[str, tuple[Text, ...]] = {}
    sex: Coded | None = None
    age_years: str | None = None
    codes: tuple[Coded, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    notes: tuple[Note, ...] = ()
    image: Picture | None = None
    outcomes: tuple[Outcome, ...] = ()
    notice: str | None = None
    """Source, licence, what was found out about the columns: for people."""

    @model_validator(mode="after")
    def _not_optional(self) -> "Mapping":
        needed = {self.subject, self.time.column, self.time.offset} - {None}
        wrong = sorted(needed & set(self.optional))
        if wrong:
            raise ValueError(f"subject and time need their columns; {wrong[0]} can't be optional")
        unknown = sorted(set(self.optional) - self.columns().keys())
        if unknown:
            raise ValueError(f"optional names {unknown[0]}, which no other key does")
        return self

    @field_validator("sex")
    @classmethod
    def _sexes(cls, sex: Coded | None) -> Coded | None:
        wrong = [v for v in (sex.map.values() if sex else ()) if v not in ("F", "M", "O", "U")]
        if wrong:
            raise ValueError(f"sex must map to F, M, O or U; got {', '.join(wrong)}")
        return sex

    def columns(self) -> dict[str, str]:
        """Give each column that is asked for, with the key that asks first."""
        asked: list[tuple[str | None, str]] = [
            (self.subject, "subject"),
            (self.time.column, "time.column"),
            (self.time.offset, "time.offset"),
            *((column, "where") for column in self.where),
            (self.sex.column if self.sex else None, "sex.column"),
            (self.age_years, "age_years"),
        ]
        for kind in ("codes", "measurements", "notes"):
            for place, part in enumerate(getattr(self, kind)):
                asked.append((part.column, f"{kind}.{place}.column"))
                asked.append((getattr(part, "offset", None), f"{kind}.{place}.offset"))
        if self.image is not None:
            asked += [(self.image.column, "image.column"), (self.image.value, "image.value")]
        for place, outcome in enumerate(self.outcomes):
            asked += [(column, f"outcomes.{place}.when") for column in outcome.when]
            asked.append((outcome.offset, f"outcomes.{place}.offset"))
        found: dict[str, str] = {}
        for column, key in asked:
            if column is not None:
                found.setdefault(column, key)
        return found


def read_mapping(path: Path) -> Mapping:
    """Read and check a mapping file.

    Raises:
        MappingError: it is not there, not YAML, or says something that mappings don't have.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError:
        raise MappingError(f"{path} cannot be read; a mapping is a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise MappingError(f"{path} is not YAML{where}") from None
    if not isinstance(content, dict):
        raise MappingError(f"{path} is not a mapping: it has no keys such as `file` and `subject`")
    try:
        return Mapping(**{str(key): value for key, value in content.items()})
    except ValidationError as error:
        told = [_explain(problem) for problem in error.errors()]
        raise MappingError(f"{path}: " + "; ".join(told[:3])) from None


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "mapping"
    if problem["type"] == "extra_forbidden":
        return f"{where} is no key of a mapping"
    if problem["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
