"""Obtain tokens: a fixed one, OAuth2 client credentials, or SMART Backend Services.

    BearerToken         a token that the user was given
    ClientCredentials   OAuth2: a client id and its secret (RFC 6749 section 4.4)
    BackendServices     SMART: a client id and a private key, which never leaves this machine; the
                        server sees a signed assertion (private_key_jwt, RS384 or ES384)
                        https://hl7.org/fhir/smart-app-launch/backend-services.html

The token endpoint is given, or is found in the server's `.well-known/smart-configuration`. An
assertion is bound to its endpoint and lives for minutes, so it may go where the server's
configuration points; a secret goes to the server's own origin, to one that is allowed by name, or
to the endpoint that the user gave, and to no other.
"""

import base64
import json
import math
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx

from ingest.errors import InputError, UsageError
from ingest.fetching import Auth, Fetcher, Token
from ingest.origins import SourceError, is_private_line, origin_of

__all__ = [
    "BackendServices",
    "BearerToken",
    "ClientCredentials",
    "SigningKey",
    "finding_at",
    "read_key",
]

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_S = 240  # at most five minutes are allowed, and clocks differ
_LEAST_RSA_BITS = 2048
_WHAT = "a token"


@dataclass(frozen=True, kw_only=True)
class BearerToken:
    """A token that the user was given, and that cannot be renewed."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        _check_token(self.token, UsageError)

    def obtain(self, fetcher: Fetcher) -> Token:
        """Give the token; once the server refuses it, there is no other."""
        return Token(authorization=f"Bearer {self.token}")


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """OAuth2 client credentials."""

    client_id: str
    secret: str = field(repr=False)

    token_url: str | None = None
    """None finds it in the server's configuration."""

    found_at: str | None = None
    """Base URL of the server whose configuration that is; None is the server that is asked."""

    scope: str | None = None
    """None asks to read everything, as the server's version of SMART writes it."""

    def obtain(self, fetcher: Fetcher) -> Token:
        """Ask the token endpoint, the secret in the header where the server does not mind."""
        endpoint = _Endpoint.find(fetcher, self.token_url, self.scope, self.found_at)
        if self.token_url is None and origin_of(endpoint.url) not in (
            fetcher.origin,
            *fetcher.allowed,
        ):
            raise SourceError(
                f"{fetcher.origin} names {origin_of(endpoint.url)} for tokens, and the client's "
                "secret was not sent there; give the token URL, or allow that origin by name"
            )
        form = {"grant_type": "client_credentials", "scope": endpoint.scope}
        headers: dict[str, str] = {}
        if endpoint.methods and "client_secret_basic" not in endpoint.methods:
            form |= {"client_id": self.client_id, "client_secret": self.secret}
        else:
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode('ascii')}"
        return endpoint.ask(fetcher, lambda: form, headers)


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private key that signs assertions."""

    key: Any = field(repr=False)
    algorithm: str
    """`RS384` or `ES384`: the two that every SMART server knows."""

    kid: str | None = None
    """The name under which the server has the public key."""


@dataclass(frozen=True, kw_only=True)
class BackendServices:
    """SMART Backend Services."""

    client_id: str
    key: SigningKey

    token_url: str | None = None
    """None finds it in the server's configuration."""

    found_at: str | None = None
    """Base URL of the server whose configuration that is; None is the server that is asked."""

    scope: str | None = None
    """None asks to read everything, as the server's version of SMART writes it."""

    def obtain(self, fetcher: Fetcher) -> Token:
        """Ask the token endpoint with a fresh assertion for each attempt."""
        endpoint = _Endpoint.find(fetcher, self.token_url, self.scope, self.found_at)

        def form() -> dict[str, str]:
            return {
                "grant_type": "client_credentials",
                "scope": endpoint.scope,
                "client_assertion_type": _ASSERTION,
                "client_assertion": self._assertion(str(endpoint.url)),
            }

        return endpoint.ask(fetcher, form, {})

    def _assertion(self, audience: str) -> str:
        import jwt  # cryptography takes a tenth of a second that other fetches should not

        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "exp": now + _ASSERTION_S,
            "iat": now,
            "jti": str(uuid.uuid4()),  # a server takes each only once
        }
        head = {"kid": self.key.kid} if self.key.kid else {}
        return jwt.encode(claims, self.key.key, algorithm=self.key.algorithm, headers=head)


def finding_at(auth: Auth, base: str) -> Auth:
    """Let the token endpoint be looked for at another server of the same origin."""
    if isinstance(auth, ClientCredentials | BackendServices):
        return replace(auth, found_at=base)
    return auth


@dataclass(frozen=True, kw_only=True)
class _Endpoint:
    url: httpx.URL
    scope: str
    methods: tuple[str, ...]

    @classmethod
    def find(
        cls, fetcher: Fetcher, token_url: str | None, scope: str | None, found_at: str | None
    ) -> "_Endpoint":
        told: Mapping[str, Any] = {}
        if token_url is None:
            told = _discover(fetcher, found_at)
        url = fetcher.link(token_url or told["token_endpoint"])
        if not is_private_line(url) and origin_of(url) not in fetcher.allowed:
            raise SourceError(f"{origin_of(url)} gives tokens in the clear; it was not asked")
        able = _words(told.get("capabilities"))
        second = "permission-v2" in able and "permission-v1" not in able
        return cls(
            url=url,
            scope=scope or ("system/*.rs" if second else "system/*.read"),
            methods=_words(told.get("token_endpoint_auth_methods_supported")),
        )

    def ask(
        self, fetcher: Fetcher, form: Callable[[], Mapping[str, str]], headers: Mapping[str, str]
    ) -> Token:
        told = fetcher.post_form(self.url, form, what=_WHAT, headers=headers)
        token = told.get("access_token") if isinstance(told, dict) else None
        kind = str(told.get("token_type", "bearer")) if isinstance(told, dict) else ""
        if not isinstance(token, str) or kind.lower() != "bearer":
            raise SourceError(f"{origin_of(self.url)} answered without a bearer token")
        _check_token(token, SourceError)
        life = told.get("expires_in")
        try:
            lasts_s = None if life is None else float(life)
        except (TypeError, ValueError):
            lasts_s = None
        known = lasts_s is not None and math.isfinite(lasts_s) and lasts_s > 0
        return Token(authorization=f"Bearer {token}", lasts_s=lasts_s if known else None)


def read_key(path: Path, kid: str | None = None) -> SigningKey:
    """Read a private key, in PEM or as a JWK (or the first private key of a JWK set).

    Args:
        path: The file; it is read once and never copied.
        kid: The key's name at the server; a JWK carries its own.

    Raises:
        InputError: it is not there, or holds no private key that could be read.
        UsageError: it is of a kind that SMART does not take.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the key {path} can't be read: {error.strerror}") from None
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if content.lstrip().startswith(b"{"):
            document = json.loads(content)
            listed = document.get("keys", [document])
            entry = next(key for key in listed if "d" in key)
            key, kid = jwt.PyJWK(entry, _algorithm_of(entry)).key, kid or entry.get("kid")
        else:
            key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, AttributeError, StopIteration, jwt.PyJWTError):
        # What is in the file must not be in the message.
        raise InputError(
            f"{path} holds no private key that could be read; give PEM without a password, or a JWK"
        ) from None
    return SigningKey(key=key, algorithm=_algorithm(key), kid=kid)


def _algorithm(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _LEAST_RSA_BITS:
            raise UsageError(f"an RSA key needs {_LEAST_RSA_BITS} bits; got {key.key_size}")
        return "RS384"
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        return "ES384"
    raise UsageError("a SMART key is RSA (RS384) or elliptic on P-384 (ES384); got another kind")


def _algorithm_of(entry: Mapping[str, Any]) -> str | None:
    # A JWK may name none or another of its family; the kind of key decides.
    return {"RSA": "RS384", "EC": "ES384"}.get(str(entry.get("kty")))


def _discover(fetcher: Fetcher, found_at: str | None) -> Mapping[str, Any]:
    what = "its SMART configuration"
    base = None if found_at is None else httpx.URL(found_at.rstrip("/") + "/")
    told, _ = fetcher.get_json(
        fetcher.link(".well-known/smart-configuration", seen_at=base),
        what=what,
        cap_bytes=1 << 20,
        accept="application/json",
        anonymous=True,
    )
    if not isinstance(told, dict) or not isinstance(told.get("token_endpoint"), str):
        raise SourceError(f"{fetcher.origin} names no token endpoint in {what}; give the token URL")
    return told


def _words(value: Any) -> tuple[str, ...]:
    return tuple(w for w in value if isinstance(w, str)) if isinstance(value, list) else ()


def _check_token(token: str, error: type[Exception]) -> None:
    # A line break in it would be a header of somebody's making.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise error("a token is one word of printable ASCII; got something else")
