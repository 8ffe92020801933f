"""Say whether a sentence denies what it speaks of.

Sentence encoders put "no leg oedema" beside "leg oedema": they were trained on topic. So each
sentence's token also carries its sign. The rule is NegEx's (Chapman et al., "A Simple Algorithm
for Identifying Negated Findings and Diseases in Discharge Summaries", J Biomed Inform 34, 2001,
https://doi.org/10.1006/jbin.2001.1029): cue words, less the phrases that only look like them. Its
scope here is the clause, which `encoders.text` cuts at "but" and its like. English and Chinese.
"""

import re

__all__ = ["CUES_VERSION", "is_negated"]

CUES_VERSION = "1"
"""Part of the preprocessing that is saved with a model: tokens change with the cues."""

_CUES = re.compile(
    r"\b(?:no|not|none|nor|neither|never|without|denies|denied|deny|denying|negative|absent|"
    r"absence of|free of|free from|ruled out|nil|lacks|lack of|"
    r"isn't|wasn't|doesn't|didn't|hasn't|aren't)\b"
    r"|否认|未见|未闻|未及|没有|并无|均无|无",
    re.IGNORECASE,
)
_PSEUDO = re.compile(
    r"\b(?:no (?:increase|change|improvement|further|longer able)|not only|not (?:certain|sure|"
    r"necessarily|ruled out|excluded|able to rule out)|cannot be (?:ruled out|excluded)|"
    r"without (?:difficulty|delay)|no doubt|gram negative|negative pressure)\b"
    r"|不能排除|无明显变化|无好转",
    re.IGNORECASE,
)


def is_negated(sentence: str) -> bool:
    """Say whether a clause has a cue of negation.

    >>> [is_negated(s) for s in ("No leg oedema.", "Leg oedema.", "Effusion cannot be ruled out.")]
    [True, False, False]
    >>> is_negated("否认胸痛。")
    True
    """
    return _CUES.search(_PSEUDO.sub(" ", sentence)) is not None
