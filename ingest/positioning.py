"""Read from which side and of which side of the body a film was taken.

View Position (0018,5101) is a defined term (PS3.3 C.8.11.1, C.8.1.1) and the shortest. Newer
mammography and DX objects say it in View Code Sequence (0054,0220) alone, with SNOMED codes of
CID 4010 and CID 4014 (https://dicom.nema.org/medical/dicom/current/output/html/part16.html), in
SCT's numbers today and in SRT's before 2017; enhanced objects say the side in Frame Anatomy
Sequence.

Patient Orientation is left alone: it tells how a picture lies, and a film taken from the front and
one taken from the back lie alike, so that no view follows from it.
"""

import re

from pydicom import Dataset

__all__ = ["find_laterality", "find_view"]

_CODES = {
    "AP": ("399348003", "R-10206"),
    "PA": ("272479007", "R-10214", "R-40888"),
    "LL": ("399173006", "R-10236"),
    "RL": ("399198007", "R-10232"),
    "RAO": ("399356000", "R-40985"),
    "LAO": ("399135007", "R-10220"),
    "RPO": ("399038007", "R-10210"),
    "LPO": ("399006002", "R-10212"),
    "CC": ("399162004", "R-10242"),
    "FB": ("399196006", "R-10244"),
    "MLO": ("399368009", "R-10226"),
    "LMO": ("399099002", "R-10230"),
    "ML": ("399260004", "R-10224"),
    "LM": ("399352003", "R-10228"),
    "XCCL": ("399192008", "R-1024A"),
    "XCCM": ("399101009", "R-1024B"),
    "SIO": ("399188001", "R-102D0"),
    "ISO": ("441555000", "R-40AAA"),
}
"""View Position's term for a view, or mammography's own (PS3.3 C.8.11.7) → its codes."""

_VIEWS = {code: view for view, codes in _CODES.items() for code in codes}


def find_view(header: Dataset, stated: str) -> str:
    """Give the view: what View Position states, else what View Code Sequence says; else nothing."""
    if stated:
        return stated
    for item in _items(header, "ViewCodeSequence"):
        code = _VIEWS.get(str(item.get("CodeValue") or "").strip())
        if code:
            return code
    return ""


def find_laterality(header: Dataset, *stated: str) -> str:
    """Give R, L or B: what is stated first (nothing for U, unpaired), else an enhanced object's."""
    for text in filter(None, stated):
        return text if re.fullmatch("[RLB]", text) else ""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in _items(header, groups)[:1]:
            for anatomy in _items(group, "FrameAnatomySequence"):
                side = str(anatomy.get("FrameLaterality") or "").strip()
                if re.fullmatch("[RLB]", side):
                    return side
    return ""


def _items(header: Dataset, keyword: str) -> list[Dataset]:
    """Give a sequence's items; none where it is missing, empty, or no sequence."""
    if keyword not in header:
        return []
    value = header[keyword].value
    return [item for item in value if isinstance(item, Dataset)] if value else []
