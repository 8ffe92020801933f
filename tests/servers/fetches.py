"""What the tests of fetching share: patience that takes no time, and what came to lie on disk."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

from ingest.page_landing import Fetched
from ingest.patience import Patience

__all__ = ["Waits", "landed_keys", "landed_lines", "owner_only", "quick"]


class Waits(list[float]):
    """Note what would have been waited for."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def quick(**bounds: Any) -> tuple[Patience, Waits]:
    """Give patience that waits for nothing, and the note of what it was asked to wait."""
    waits = Waits()
    return Patience(**{"timeout_s": 10.0, **bounds, "pause": waits}), waits


def landed_lines(fetched: Fetched) -> list[dict[str, Any]]:
    """Read all lines of all files."""
    lines: list[dict[str, Any]] = []
    for path in fetched.files:
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        lines += [json.loads(line) for line in text.splitlines()]
    return lines


def landed_keys(fetched: Fetched) -> Counter[str]:
    """Count each `Type/id`; Bundles of one are looked into."""
    keys: Counter[str] = Counter()
    for line in landed_lines(fetched):
        for entry in line["entry"] if line["resourceType"] == "Bundle" else [{"resource": line}]:
            resource = entry.get("resource")
            keys[f"{resource['resourceType']}/{resource['id']}" if resource else "deletion"] += 1
    return keys


def owner_only(path: Path) -> bool:
    """Say whether nobody but its owner can do anything with a path, and all below it."""
    return all(p.stat().st_mode & 0o077 == 0 for p in (path, *path.rglob("*")))
