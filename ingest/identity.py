"""Give each subject a keyed pseudonym: a number that says nothing without the key.

subject_id is the first 53 bits of HMAC-SHA256(key, subject key): 53 bits, so that it is exact as a
JSON number and in JavaScript; at a million subjects the chance of any collision is 6e-5, and one
is refused, never merged.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from ingest.errors import InputError, StoreError, UsageError

__all__ = ["PUBLIC_KEY", "load_or_create_key", "subject_ids"]

PUBLIC_KEY = b"medweave: public or simulated data; ids are no secret"
"""For data that anyone may have: with it, ids and splits are the same on every machine."""

_BITS = 53
_SHORTEST_KEY_BYTES = 16


def load_or_create_key(raw: Path, *, key: Path | None = None, public: bool = False) -> bytes:
    """Give the key of a raw zone: the one asked for, else its own, made on the first call.

    A raw zone remembers a fingerprint of its key, so that no subject ever gets two ids.

    Raises:
        UsageError: both `key` and `public`, or another key than the raw zone began with.
        InputError: the key file is missing or too short.
        StoreError: the fingerprint is damaged.
    """
    if key is not None and public:
        raise UsageError("--key and --public exclude each other; give one")
    own, mark = raw / "key", raw / "key.sha256"
    try:
        stated = mark.read_text("ascii").strip() if mark.is_file() else None
    except UnicodeDecodeError:
        raise StoreError(f"{mark} is damaged; put it back, or start a new store") from None
    if key is not None:
        secret = _read_key(key)
    elif public or stated == _fingerprint(PUBLIC_KEY):
        secret = PUBLIC_KEY
    elif own.is_file():
        secret = _read_key(own)
    elif stated is not None:
        raise UsageError(f"{raw} began with a key of your own; give it again with --key FILE")
    else:
        secret = secrets.token_bytes(32)
    if stated is not None and stated != _fingerprint(secret):
        raise UsageError(
            f"{raw} began with another key, and one subject can't have two ids; "
            "give that key, or start a new store"
        )
    if stated is None:
        raw.mkdir(parents=True, exist_ok=True)
        raw.chmod(0o700)
        if key is None and not public:
            own.touch(mode=0o600)
            own.write_bytes(secret)
        mark.write_text(_fingerprint(secret) + "\n", "ascii")
    return secret


def subject_ids(keys: Iterable[str], secret: bytes) -> dict[str, int]:
    """Map subject keys (`Patient/ID`) to positive numbers under 2**53.

    >>> subject_ids(["Patient/1"], b"k" * 16)
    {'Patient/1': 5344571808619059}

    Raises:
        StoreError: two keys fall on one number.
    """
    ids: dict[str, int] = {}
    taken: set[int] = set()
    for key in keys:
        if key in ids:
            continue
        digest = hmac.digest(secret, key.encode(), "sha256")
        number = int.from_bytes(digest[:8]) >> (64 - _BITS)
        if number in taken or number == 0:
            raise StoreError("two subjects fall on one id with this key; start with another --key")
        taken.add(number)
        ids[key] = number
    return ids


def _read_key(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} is not there; --key takes a file of 16 bytes or more")
    secret = path.read_bytes()
    if len(secret) < _SHORTEST_KEY_BYTES:
        raise InputError(f"{path} is too short for a key: {len(secret)} bytes; take 16 or more")
    return secret


def _fingerprint(secret: bytes) -> str:
    return hashlib.sha256(b"medweave key fingerprint" + secret).hexdigest()
