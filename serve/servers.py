"""The options of `medweave ingest` for servers: what to ask them for, and with which tokens."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ingest.errors import InputError, UsageError

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
    group.add_argument(
        "--dicomweb-token",
        type=Path,
        help="file: for a DICOMweb server of another origin, which sees nothing of the above",
    )
    group.add_argument("--dicomweb-client-id", help="OAuth2 there; with --dicomweb-token-url and")
    group.add_argument("--dicomweb-client-secret", type=Path, help="file, or else")
    group.add_argument("--dicomweb-client-key", type=Path, help="file, PEM or JWK")
    group.add_argument("--dicomweb-token-url", help="where its tokens are given")
    group.add_argument("--dicomweb-scope", help="what to ask leave for there")


def remote_of(a: argparse.Namespace) -> "Remote":
    """Put the options together; secrets are read from files, since others see command lines."""
    from ingest.remote import Remote, is_url

    if not any(is_url(source) for source in a.sources):
        for name in ("patients", "search", "export", "include", "type", "since"):
            if getattr(a, name):
                raise UsageError(f"--{name} is asked of a FHIR server; name its URL as a source")
    patients = None
    if a.patients:
        lines = (line.strip() for line in _read(a.patients).splitlines())
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
        image_auth=_auth(a, "dicomweb-"),
        allow_origins=frozenset(a.allow_origin),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no UTF-8 text; save it as UTF-8") from None


def _auth(a: argparse.Namespace, of: str = "") -> "Auth | None":
    """Put together the options of the FHIR server, or with `dicomweb-` of that one."""

    def told(name: str) -> Any:
        return getattr(a, f"{of}{name}".replace("-", "_"))

    secrets = ("client-secret", "client-key", "token")
    given = [name for name in secrets if told(name)]
    if not given:
        for name in ("client-id", "token-url", "scope"):
            if told(name):
                raise UsageError(f"--{of}{name} needs --{of}client-secret or --{of}client-key")
        return None
    if len(given) > 1:
        raise UsageError(f"give one of --{of}client-secret, --{of}client-key and --{of}token")
    from ingest.signing import BackendServices, BearerToken, ClientCredentials, read_key

    if told("token"):
        return BearerToken(token=_read(told("token")).strip())
    if not told("client-id"):
        raise UsageError(f"--{of}{given[0]} needs --{of}client-id")
    if of and not told("token-url"):  # SMART is FHIR's: an archive has no such configuration
        raise UsageError(f"--{of}{given[0]} needs --{of}token-url")
    asked = {"client_id": told("client-id"), "token_url": told("token-url"), "scope": told("scope")}
    if told("client-secret"):
        secret = _read(told("client-secret")).strip()
        return ClientCredentials(secret=secret, **asked)
    return BackendServices(key=read_key(told("client-key")), **asked)


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
