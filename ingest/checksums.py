"""Say of each file of a store what it must hash to: `checksums.json`, written with the store.

A store is only ever replaced as a whole: what differs was damaged, or changed by hand.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from ingest.errors import StoreError

__all__ = ["CHECKSUMS", "crc_of", "read_checksums", "sha256_of", "write_checksums"]

CHECKSUMS = "checksums.json"


def sha256_of(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def crc_of(path: Path) -> str:
    """Give a file's size and CRC-32: ten times as fast, and enough to tell what was damaged."""
    size = crc = 0
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return f"{size}-{crc:08x}"


def write_checksums(store: Path, known: Mapping[str, str]) -> None:
    """Write the SHA-256 of each file of a store, by its path in it.

    Args:
        store: a whole store.
        known: hashes of files that were brought over as they are, and need no second reading.
    """
    found = {
        name: known.get(name) or sha256_of(path)
        for path in sorted(store.rglob("*"))
        if path.is_file() and (name := path.relative_to(store).as_posix()) != CHECKSUMS
    }
    (store / CHECKSUMS).write_text(json.dumps(found, indent=0) + "\n", "utf-8")


def read_checksums(store: Path) -> dict[str, str]:
    """Read what `write_checksums` wrote.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        found = json.loads((store / CHECKSUMS).read_text("utf-8"))
    except OSError:
        raise StoreError(f"{store} lacks {CHECKSUMS}; ingest into it again") from None
    except ValueError:
        raise StoreError(f"{store / CHECKSUMS} is damaged; ingest into the store again") from None
    if not isinstance(found, dict):
        raise StoreError(f"{store / CHECKSUMS} is damaged; ingest into the store again")
    return found
