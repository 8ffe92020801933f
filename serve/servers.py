"""The options of `medweave ingest` for servers: what to ask them for, and with which tokens."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ingest.errors import UsageError

if TYPE_CHECKING:  # httpx is not needed where no server is asked
    from ingest.fetching import Auth
    from ingest.remote import Remote

__all__ = ["add_servers", "moment", "remote_of"]


def add_servers(sub: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand."""
    group = sub.add_argument_group("servers")
    group.add_argument(
        "--patients", type=Path, help="file with a patient a line: an id, or SYSTEM|IDENTIFIER"
    )
    group.add_argument("--search", help='such as "Patient?birthdate=ge1950"')
    group.add_argument("--export", metavar="LEVEL", help="Bulk Data: system, patient or group/ID")
    group.add_argument("--include", nargs="+", default=[], help="_include and _revinclude")
    group.add_argument("--type", nargs="+", default=[], help="resource types (default: all used)")
    group.add_argument("--since", type=_since, help="only what changed since: ISO 8601, or `last`")
    group.add_argument("--dicomweb", metavar="URL", help="fetch the records' studies from here")
    group.add_argument("--studies", metavar="QUERY", help="DICOMweb search, in their place")
    group.add_argument(
        "--allow-origin", nargs="+", default=[], help="others that files may come from; no token"
    )
    group.add_argument("--client-id", help="OAuth2; with --client-secret or --client-key")
    group.add_argument("--client-secret", type=Path, help="file: client credentials")
    group.add_argument("--client-key", type=Path, help="file, PEM or JWK: SMART Backend Services")
    group.add_argument("--token", type=Path, help="file with a bearer token")
    group.add_argument("--token-url", help="where tokens are given (default: the server says)")
    group.add_argument("--scope", help="what to ask leave for (default: to read everything)")


def remote_of(a: argparse.Namespace) -> "Remote":
    """Put the options together; secrets are read from files, since others see command lines."""
    from ingest.remote import Remote

    patients = None
    if a.patients:
        lines = (line.strip() for line in a.patients.read_text("utf-8").splitlines())
        patients = tuple(line for line in lines if line)
    return Remote(
        patients=patients,
        search=a.search,
        export=a.export,
        include=tuple(a.include),
        types=tuple(a.type),
        since=a.since,
        images=a.dicomweb,
        image_search=a.studies,
        auth=_auth(a),
        allow_origins=frozenset(a.allow_origin),
    )


def _auth(a: argparse.Namespace) -> "Auth | None":
    given = [name for name in ("client_secret", "client_key", "token") if getattr(a, name)]
    if not given:
        if a.client_id:
            raise UsageError("--client-id needs --client-secret or --client-key")
        return None
    if len(given) > 1:
        raise UsageError("give one of --client-secret, --client-key and --token")
    from ingest.signing import BackendServices, BearerToken, ClientCredentials, read_key

    if a.token:
        return BearerToken(token=a.token.read_text("utf-8").strip())
    if not a.client_id:
        raise UsageError(f"--{given[0].replace('_', '-')} needs --client-id")
    asked = {"client_id": a.client_id, "token_url": a.token_url, "scope": a.scope}
    if a.client_secret:
        return ClientCredentials(secret=a.client_secret.read_text("utf-8").strip(), **asked)
    return BackendServices(key=read_key(a.client_key), **asked)


def _since(text: str) -> datetime | Literal["last"]:
    """Read a time as `moment` does, for a server, which is asked in a time zone."""
    return "last" if text == "last" else moment(text).replace(tzinfo=UTC)


def moment(text: str) -> datetime:
    """Read a time of ISO 8601 as UTC, and give it as the store keeps times, without a zone."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"must be ISO 8601, such as 2026-03-01T08:00:00Z; got {text!r}"
        ) from None
