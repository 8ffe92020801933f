"""The ingest report in words: a page at most, however many files there were."""

from typing import Any

__all__ = ["describe_report"]

_MOST_ROWS = 30
_MOST_NAMES = 5


def describe_report(report: dict[str, Any]) -> str:
    """Say what became of the records, file by file and in sum, and why some are not in the store.

    Many small files of one kind (DICOM, single resources) are one line.
    """
    rows: dict[str, list[int]] = {}
    reasons: dict[str, dict[str, int]] = {"skipped": {}, "quarantined": {}}
    for name, file in report["files"].items():
        counts = [
            file["records"],
            file["projected"],
            sum(file["skipped"].values()),
            sum(file["quarantined"].values()),
            file["superseded"],
            file["deleted"],
        ]
        many = len(report["files"]) > _MOST_ROWS
        suffix = name.rsplit(".", 1)[-1].lower() if "." in name else name
        key = f"*.{suffix}" if many else name
        rows[key] = [a + b for a, b in zip(rows.get(key, [0] * 6), counts, strict=True)]
        for kind, found in reasons.items():
            for reason, n in file[kind].items():
                found[reason] = found.get(reason, 0) + n
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)] or [0] * 6
    width = max(len(name) for name in rows)
    heads = ("records", "projected", "skipped", "quarantined", "superseded", "deleted")
    lines = [" " * width + "".join(f"{head:>13}" for head in heads)]
    lines += [name.ljust(width) + "".join(f"{n:>13,}" for n in row) for name, row in rows.items()]
    for kind, found in reasons.items():
        if found:
            most = sorted(found.items(), key=lambda item: (-item[1], item[0]))
            words = ", ".join(f"{reason} {n:,}" for reason, n in most[:8])
            more = f", and {len(most) - 8} more reasons" if len(most) > 8 else ""
            lines.append(f"{kind}: {words}{more}")
    if report["undated"]:
        words = ", ".join(f"{kind} {n:,}" for kind, n in sorted(report["undated"].items()))
        lines.append(f"without any date, and so left out of features: {words}")
    kept = sum(sum(by_unit.values()) for by_unit in report["units"]["kept_as_received"].values())
    if kept:
        lines.append(
            "values kept in the unit that they came in, since it is no UCUM or can't be converted:"
            f" {kept:,} (ingest_report.json lists them)"
        )
    several, bare = report["units"]["several_units"], report["units"]["without_unit"]
    if several or bare:
        lines.append(
            f"codes whose numbers have several units: {len(several):,}; numbers without a unit, of"
            f" codes that have one elsewhere: {sum(bare.values()):,} (`store info` shows them)"
        )
    if report["ignored"]:
        names = ", ".join(report["ignored"][:_MOST_NAMES])
        more = ", …" if len(report["ignored"]) > _MOST_NAMES else ""
        lines.append(f"files of no kind that is read: {len(report['ignored']):,} ({names}{more})")
    if report.get("not_fetched"):
        words = ", ".join(f"{reason} {n:,}" for reason, n in sorted(report["not_fetched"].items()))
        lines.append(f"asked for and not given by a server: {words}")
    lines.append(
        f"{report['subjects']:,} subjects, {report['events']:,} events,"
        f" {report['notes']:,} notes, {report['images']:,} images"
    )
    return "\n".join(lines)
