"""Say whose a URL is: a server's own, or somebody else's.

A server is its origin: scheme, host and port. What a server may see (a token, a cookie, a next
link that names a patient) is its own origin's alone.

    SourceError              a server that is out of reach, refuses, or makes no sense
    ├── ForeignOriginError   a link or a redirect to a host that nobody allowed
    └── OutOfReachError      no usable answer after every attempt; run again later
"""

import ipaddress

import httpx

from ingest.errors import InputError

__all__ = ["ForeignOriginError", "OutOfReachError", "SourceError", "is_private_line", "origin_of"]

_PORTS = {"http": 80, "https": 443}


class SourceError(InputError):
    """A server that is out of reach, refuses, or answers with what cannot be used.

    Its exit code is its own, since a script may want to try again where no file is at fault.
    """

    exit_code = 10

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status that was the end of it, or None where there was no such answer."""


class ForeignOriginError(SourceError):
    """A link or a redirect to another origin, which was not followed."""


class OutOfReachError(SourceError):
    """No usable answer after every attempt; the same may work later."""


def origin_of(url: httpx.URL | str) -> str:
    """Give scheme, host and port; a default port is left out.

    >>> origin_of("HTTPS://Example.org:443/fhir?x=1")
    'https://example.org'
    >>> origin_of("ftp://example.org")
    Traceback (most recent call last):
        ...
    ingest.origins.SourceError: a link that is not an http or https URL

    Raises:
        SourceError: it is no http or https URL.
    """
    # Parsed by what sends the request, so that the two can't differ over where it goes.
    try:
        url = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise SourceError("a link that is not a URL") from None
    if url.scheme not in _PORTS or not url.host:
        raise SourceError("a link that is not an http or https URL")
    # By hand: httpx leaves the default port of `HTTPS://host:443` on.
    host = url.raw_host.decode("ascii")
    host = f"[{host}]" if ":" in host else host
    port = "" if url.port in (None, _PORTS[url.scheme]) else f":{url.port}"
    return f"{url.scheme}://{host}{port}"


def is_private_line(url: httpx.URL | str) -> bool:
    """Say whether what goes to a URL can't be read on the way: https, or this very machine.

    >>> is_private_line("http://127.0.0.1:8080/fhir"), is_private_line("http://fhir.example.org")
    (True, False)
    """
    url = httpx.URL(url)
    if url.scheme == "https" or url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False
