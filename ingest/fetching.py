"""Ask a server over HTTP, and show it no more than it may see.

Every request of a fetch goes through `Fetcher`: it tries again (`ingest.patience`), obtains and
renews tokens (`ingest.signing`), and keeps to origins (`ingest.origins`). A token, and a cookie
that the server set, goes to the server's own origin alone. Redirects are followed here and not by
httpx: within the origin as they are, to an origin that was allowed by name without the token, and
to any other not at all.

No URL reaches an error or a log, for its path and query may name a patient: messages say what was
asked for ("a page of Observation") and of whom. Proxies and a hospital's own certificates come
from the environment (HTTPS_PROXY, SSL_CERT_FILE), as httpx reads them.
"""

import functools
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import httpx

from ingest.answers import Answer, complaint, parse_json
from ingest.errors import LimitError, UsageError
from ingest.origins import (
    ForeignOriginError,
    OutOfReachError,
    SourceError,
    is_private_line,
    origin_of,
)
from ingest.patience import Passing, Patience, Retrying, describe, may_pass, retry_after_s

__all__ = ["FHIR_JSON", "Auth", "Fetcher", "Token"]

FHIR_JSON = "application/fhir+json"

_ENCODINGS = ("", "identity", "gzip")
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_RENEW_S = 60.0  # before a token's end; one that lives for minutes, in the last tenth of its life


@dataclass(frozen=True, kw_only=True)
class Token:
    """Hold what the Authorization header says, and for how long."""

    authorization: str
    """`Bearer …`"""

    lasts_s: float | None = None
    """From now; None where the server did not say, and a 401 must tell."""

    def __repr__(self) -> str:
        return f"Token(lasts_s={self.lasts_s})"


class Auth(Protocol):
    """Obtain tokens; the kinds are in `ingest.signing`."""

    def obtain(self, fetcher: "Fetcher") -> Token:
        """Give a fresh token for the fetcher's server."""
        ...


class _Hush(logging.Filter):
    """Drop what httpx logs of our requests: whole URLs, and at debug level headers."""

    here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.here, "on", False)


_HUSH = _Hush()
for _name in ("httpx", *(f"httpcore.{n}" for n in ("connection", "http11", "proxy", "socks"))):
    logging.getLogger(_name).addFilter(_HUSH)


class Fetcher:
    """Ask one server, from any number of threads.

    Raises:
        UsageError: the URL is none, carries a password or a query, or would have a token sent
            in the clear over a network.
    """

    def __init__(
        self,
        base: str,
        *,
        auth: Auth | None = None,
        patience: Patience | None = None,
        allow_origins: frozenset[str] = frozenset(),
    ) -> None:
        try:
            url = httpx.URL(base.rstrip("/") + "/")
            self.origin = origin_of(url)
            self.allowed = frozenset(origin_of(origin) for origin in allow_origins)
        except (SourceError, httpx.InvalidURL):
            raise UsageError("a server or an origin is named by an http or https URL") from None
        if url.userinfo or url.query or url.fragment:
            raise UsageError("a server's URL carries no user, password, query or fragment")
        if auth is not None and not is_private_line(url) and self.origin not in self.allowed:
            raise UsageError(
                f"{self.origin} would be sent a token in the clear; give an https URL, or allow "
                "that origin by name"
            )
        self.base = url
        self.patience = patience or Patience()
        self.requests = 0
        """How many have been sent, tokens and repeats included."""
        self.retrying = Retrying(self.patience, self.origin)
        self._auth = auth
        self._token: Token | None = None
        self._renew_at = 0.0
        self._token_lock = threading.Lock()
        # A client an origin, so that a cookie of the server's never goes elsewhere.
        self._clients: dict[str, httpx.Client] = {}
        self._client_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.retrying.stop()
        for client in self._clients.values():
            client.close()

    def link(self, reference: str, *, seen_at: httpx.URL | None = None) -> httpx.URL:
        """Resolve a link against where it was read, else against the server's base.

        Raises:
            SourceError: it is no URL that could be fetched.
        """
        try:
            url = (seen_at or self.base).join(reference)
        except (httpx.InvalidURL, TypeError, ValueError):
            raise SourceError("a link that is not a URL") from None
        origin_of(url)
        return url

    def check_origin(self, url: httpx.URL, what: str, *, foreign: bool = False) -> None:
        """Refuse a URL of another origin, or with `foreign` of one that nobody allowed.

        Raises:
            ForeignOriginError: it is.
        """
        origin = origin_of(url)
        if origin == self.origin or (foreign and origin in self.allowed):
            return
        mend = f"; if it is to be trusted, allow {origin} by name" if foreign else ""
        raise ForeignOriginError(
            f"{self.origin} leads to another origin, {origin}, for {what}; nothing was sent "
            f"there{mend}"
        )

    def get(self, url: httpx.URL, *, what: str, cap_bytes: int, **how: Any) -> Answer:
        """Fetch a whole answer, of `cap_bytes` at most once unpacked.

        For `what` and `how` (method, accept, headers, foreign, anonymous) see `open`.

        Raises:
            SourceError: the server refuses, or went on failing.
            LimitError: there is more of it than `cap_bytes`.
        """
        return self.retrying.call(what, lambda: self._get_once(url, what, cap_bytes, **how))

    def get_json(
        self,
        url: httpx.URL,
        *,
        what: str,
        cap_bytes: int,
        parse_float: Callable[[str], Any] = float,
        **how: Any,
    ) -> tuple[Any, Answer]:
        """Fetch JSON as `get` does; what breaks off in the middle is fetched again."""

        def attempt() -> tuple[Any, Answer]:
            answer = self._get_once(url, what, cap_bytes, **how)
            return parse_json(answer.content, what, parse_float), answer

        return self.retrying.call(what, attempt)

    def post_form(
        self,
        url: httpx.URL,
        form: Callable[[], Mapping[str, str]],
        *,
        what: str,
        headers: Mapping[str, str],
    ) -> Any:
        """Post a form, made anew for each attempt, to a URL that the caller vouches for.

        Neither a token nor a redirect goes with it. Gives the JSON of the answer.
        """

        def attempt() -> Any:
            sent = {"Accept": "application/json", **headers}
            with self._hushed(), self._answered("POST", url, sent, data=form()) as response:
                self._check(response, what)
                return parse_json(self._read(response, what, 1 << 20).content, what)

        return self.retrying.call(what, attempt)

    @contextmanager
    def open(
        self,
        url: httpx.URL,
        *,
        what: str,
        method: str = "GET",
        accept: str = FHIR_JSON,
        headers: Mapping[str, str] | None = None,
        foreign: bool = False,
        anonymous: bool = False,
    ) -> Iterator[httpx.Response]:
        """Make one attempt and give the answer's head; its body is for the caller to read.

        Args:
            url: Of the server's own origin, or with `foreign` of one that is allowed.
            what: What is asked for, in words that name no patient.
            method: GET or DELETE.
            accept: The Accept header.
            headers: What is sent besides.
            foreign: Whether origins that are allowed by name may answer.
            anonymous: Send no token, whoever asks for one.

        Raises:
            Passing: it failed in a way that may be over at the next attempt.
            SourceError: it is refused, by the server or by us.
        """
        # gzip alone: what else httpx may know (br, zstd) can swell beyond all measure in one step.
        sent = {"Accept": accept, "Accept-Encoding": "gzip", **(headers or {})}
        renewed = False
        with self._hushed():
            for _ in range(_MOST_REDIRECTS + 1):
                self.check_origin(url, what, foreign=foreign)
                home = origin_of(url) == self.origin
                bearer = self._authorization() if home and not anonymous else None
                signed = {**sent, "Authorization": bearer} if bearer else sent
                with self._answered(method, url, signed) as response:
                    if response.status_code == 401 and bearer and not renewed:
                        self._authorization(spent=bearer)
                        renewed = True
                    elif response.status_code in _REDIRECTS and "Location" in response.headers:
                        url = self.link(response.headers["Location"], seen_at=url)
                        anonymous = anonymous or not home  # once led away, a stranger for good
                    else:
                        self._check(response, what)
                        yield response
                        return
        raise SourceError(f"{self.origin} redirects in a ring for {what}")

    @contextmanager
    def _hushed(self) -> Iterator[None]:
        before = getattr(_HUSH.here, "on", False)
        _HUSH.here.on = True
        try:
            yield
        finally:
            _HUSH.here.on = before

    @contextmanager
    def _answered(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        data: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        if self.retrying.is_stopped:
            raise OutOfReachError("stopped")
        client = self._client(origin_of(url))
        try:
            request = client.build_request(method, url, headers=headers, data=data)
            response = client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                yield response
            finally:
                response.close()
        except httpx.LocalProtocolError:
            raise SourceError("a request could not be written as HTTP") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Passing(describe(error)) from None

    def _client(self, origin: str) -> httpx.Client:
        with self._client_lock:
            self.requests += 1
            if origin not in self._clients:
                self._clients[origin] = httpx.Client(
                    timeout=self.patience.timeout_s,
                    headers={"User-Agent": "medweave"},
                    verify=_certificates(),
                )
            return self._clients[origin]

    def _check(self, response: httpx.Response, what: str) -> None:
        status, server = response.status_code, origin_of(response.url)
        if response.headers.get("Content-Encoding", "identity").lower() not in _ENCODINGS:
            raise SourceError(f"{server} packed {what} in a way that it was not asked for")
        if status < 300:
            return
        if may_pass(status):
            wait_s = retry_after_s(response.headers)
            raise Passing(f"answered {status}", status=status, wait_s=wait_s)
        said = complaint(response)
        raise SourceError(f"{server} answered {status}{said} when asked for {what}", status=status)

    def _authorization(self, spent: str | None = None) -> str | None:
        """Give the token, a fresh one where the last is about to end or is `spent`."""
        if self._auth is None:
            return None
        with self._token_lock:
            now = time.monotonic()
            token = self._token
            if token is None or token.authorization == spent or now >= self._renew_at:
                self._token = token = self._auth.obtain(self)
                life_s = float("inf") if token.lasts_s is None else token.lasts_s
                self._renew_at = now + max(life_s - _RENEW_S, 0.9 * life_s)
            return token.authorization

    def _get_once(self, url: httpx.URL, what: str, cap_bytes: int, **how: Any) -> Answer:
        with self.open(url, what=what, **how) as response:
            return self._read(response, what, cap_bytes)

    def _read(self, response: httpx.Response, what: str, cap_bytes: int) -> Answer:
        # In parts, and not one that grows: growing it copies what may be at the cap.
        parts: list[bytes] = []
        size = 0
        until = time.monotonic() + self.patience.longest_answer_s
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > cap_bytes:
                raise LimitError(f"{what} is over the cap of {cap_bytes >> 20} MiB")
            if time.monotonic() > until:
                raise Passing("answered too slowly")
        return Answer(
            url=response.url,
            status=response.status_code,
            headers=response.headers,
            content=b"".join(parts),
        )


@functools.cache
def _certificates() -> ssl.SSLContext:
    # A tenth of a second to load, and the same for every client.
    return httpx.create_ssl_context()
