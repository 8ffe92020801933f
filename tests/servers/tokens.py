"""OAuth2 for the tests' FHIR server: client credentials and SMART Backend Services."""

import base64
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response

if TYPE_CHECKING:
    from tests.servers.fhir import FhirServer

__all__ = ["Tokens", "add_tokens"]

_OPEN = ("/fhir/metadata", "/fhir/.well-known/smart-configuration", "/fhir/token")


@dataclass(kw_only=True)
class Tokens:
    """Which clients there are, and the tokens that they were given."""

    secret: str | None = None
    """Of client `medweave`."""

    public_key: Any = None
    """Of client `medweave`, for assertions."""

    lifetime_s: float = 3600.0

    said_s: float | None = 3600.0
    """What it says of that, if anything."""

    methods: tuple[str, ...] = ()
    endpoint: str | None = None
    """Where the configuration says that tokens are given, if elsewhere."""

    given: dict[str, float] = field(default_factory=dict)
    """Token → end, on the monotonic clock."""

    scopes: list[str] = field(default_factory=list)
    headers: list[dict[str, Any]] = field(default_factory=list)
    """Of the assertions."""

    spent: set[str] = field(default_factory=set)
    """Assertions' ids: each is good for once."""

    def end_all(self) -> None:
        """End every token, as a server does that is started anew."""
        self.given.clear()

    def guard(self, app: Any) -> Any:
        """Refuse what comes without a token that is good."""

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            headers = dict(scope["headers"]) if scope["type"] == "http" else {}
            token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
            if scope["path"] in _OPEN or self.given.get(token, 0.0) > time.monotonic():
                await app(scope, receive, send)
            else:
                await Response("", 401)(scope, receive, send)

        return guarded

    def check(self, form: dict[str, str], authorization: str, audience: str) -> str | None:
        """Give OAuth's error code, or None for a client that is known."""
        if form.get("grant_type") != "client_credentials":
            return "unsupported_grant_type"
        if self.secret is not None:
            pair = base64.b64encode(f"medweave:{self.secret}".encode()).decode()
            if "client_secret_post" in self.methods:
                good = form.get("client_secret") == self.secret and not authorization
            else:
                good = authorization == f"Basic {pair}" and "client_secret" not in form
            return None if good else "invalid_client"
        return self._check_assertion(form, audience)

    def _check_assertion(self, form: dict[str, str], audience: str) -> str | None:
        import jwt

        said = form.get("client_assertion", "")
        try:
            self.headers.append(jwt.get_unverified_header(said))
            claims = jwt.decode(
                said,
                self.public_key,
                algorithms=["RS384", "ES384"],
                audience=audience,
                issuer="medweave",
                options={"require": ["exp", "iss", "sub", "aud", "jti"]},
            )
        except jwt.PyJWTError:
            return "invalid_client"
        life = claims["exp"] - time.time()
        if claims["jti"] in self.spent or claims["sub"] != "medweave" or life > 300:
            return "invalid_client"
        self.spent.add(claims["jti"])
        return None


def add_tokens(app: FastAPI, server: "FhirServer") -> None:
    """Give the server its configuration and its token endpoint."""
    tokens = server.tokens
    assert tokens is not None

    @app.get("/fhir/.well-known/smart-configuration")
    def configuration() -> Response:
        told: dict[str, Any] = {
            "token_endpoint": tokens.endpoint or f"{server.origin}/fhir/token",
            "capabilities": ["client-confidential-asymmetric", "permission-v2"],
        }
        if tokens.methods:
            told["token_endpoint_auth_methods_supported"] = tokens.methods
        return Response(json.dumps(told), media_type="application/json")

    @app.post("/fhir/token")
    async def token(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        authorization = request.headers.get("authorization", "")
        error = tokens.check(form, authorization, f"{server.origin}/fhir/token")
        if error is not None:
            return Response(json.dumps({"error": error}), 400, media_type="application/json")
        tokens.scopes.append(form.get("scope", ""))
        fresh = secrets.token_urlsafe(16)
        tokens.given[fresh] = time.monotonic() + tokens.lifetime_s
        told: dict[str, Any] = {"access_token": fresh, "token_type": "Bearer"}
        if tokens.said_s is not None:
            told["expires_in"] = tokens.said_s
        return Response(json.dumps(told), media_type="application/json")
