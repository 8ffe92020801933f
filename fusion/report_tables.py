"""Tables of a report: cells of HTML, and figures with their intervals."""

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["cell", "percent", "table"]


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], marked: int | None = None
) -> str:
    """Lay out cells that are HTML already; one row may be marked."""
    body = []
    for i, row in enumerate(rows):
        cells = "".join(f"<td>{one}</td>" for one in row)
        body.append(f"<tr class='champion'>{cells}</tr>" if i == marked else f"<tr>{cells}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    above = f"<p class='caption'>{escape(caption)}</p>" if caption else ""
    return (
        f"{above}<div class='scroll'><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def cell(found: Mapping[str, float | None]) -> str:
    """Give a metric with its interval below it."""
    if found["value"] is None:
        return "n/a"
    interval = "" if found["low"] is None else f"{found['low']:.3f} to {found['high']:.3f}"
    return f"{found['value']:.3f}<small>{interval}</small>"


def percent(found: Mapping[str, float | None]) -> str:
    """Give a share with its interval below it, in per cent."""
    if found["value"] is None:
        return "n/a"
    low, high = found["low"], found["high"]
    interval = "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"
    return f"{100 * found['value']:.1f} %<small>{interval}</small>"
