"""Tokens: how they are obtained, renewed, and kept from everyone but the server."""

import base64
import json
import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ingest.errors import InputError, UsageError
from ingest.fetching import Fetcher
from ingest.fhir_server import fetch_fhir
from ingest.origins import ForeignOriginError, SourceError
from ingest.signing import BackendServices, BearerToken, ClientCredentials, read_key
from tests.servers.faults import Redirect, Status
from tests.servers.fetches import landed_keys, quick
from tests.servers.fhir import FhirServer, fhir_server
from tests.servers.tokens import Tokens
from tests.servers.ward import note, ward

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P384 = ec.generate_private_key(ec.SECP384R1())
WORD, BROKEN, WRONG = "abc", "abc\r\nX-Evil: 1", "another"
SHARED = "s3cret/+ and more"
SECRET = ClientCredentials(client_id="medweave", secret=SHARED)


def fetch(server: FhirServer, into: Path, **options: Any) -> Any:
    use = {"patients": ["p1"], "types": ["Patient"], "patience": quick()[0], "workers": 1}
    return fetch_fhir(server.url, into, **{**use, **options})


def pem(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def tokens(**options: Any) -> Tokens:
    return Tokens(**{"secret": quote_plus(SECRET.secret), **options})


def test_a_given_token_is_sent_with_every_request_to_the_server(tmp_path: Path) -> None:
    given = tokens()
    given.given[WORD] = time.monotonic() + 60
    with fhir_server(tokens=given) as server:
        server.put(*ward(1))
        fetched = fetch(server, tmp_path, auth=BearerToken(token=WORD))
        assert len(landed_keys(fetched)) == len(server.all())
        assert {asked.token for asked in server.layer.seen()} == {f"Bearer {WORD}"}


def test_client_credentials_are_exchanged_once_for_the_whole_fetch(tmp_path: Path) -> None:
    with fhir_server(tokens=tokens()) as server:
        server.put(*ward(3))
        fetched = fetch(server, tmp_path, auth=SECRET, patients=["p1", "p2", "p3"], workers=4)
        assert len(landed_keys(fetched)) == len(server.all())
        assert len(server.layer.seen("token")) == 1
        assert server.tokens is not None
        assert server.tokens.scopes == ["system/*.rs"]


def test_a_server_that_takes_secrets_in_the_form_alone_gets_it_there(tmp_path: Path) -> None:
    given = Tokens(secret=SECRET.secret, methods=("client_secret_post",))
    with fhir_server(tokens=given) as server:
        server.put(*ward(1))
        assert fetch(server, tmp_path, auth=SECRET).fresh


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS384"), (P384, "ES384")])
def test_an_assertion_signed_with_a_key_gets_a_token(
    tmp_path: Path, key: Any, algorithm: str
) -> None:
    (tmp_path / "key.pem").write_bytes(pem(key))
    signing = read_key(tmp_path / "key.pem", kid="site-1")
    given = Tokens(public_key=key.public_key(), said_s=0.01)
    with fhir_server(tokens=given) as server:
        server.put(*ward(1))
        auth = BackendServices(client_id="medweave", key=signing)
        assert fetch(server, tmp_path / "in", auth=auth).fresh
        assert given.headers[0] == {"alg": algorithm, "kid": "site-1", "typ": "JWT"}


def test_a_jwk_and_a_set_of_them_are_read_with_their_name(tmp_path: Path) -> None:
    told = jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)
    for number, document in enumerate(
        ({**told, "kid": "k"}, {"keys": [{**public, "kid": "no"}, {**told, "kid": "k"}]})
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(document), "utf-8")
        found = read_key(path)
        assert (found.algorithm, found.kid) == ("RS384", "k")
        assert found.key.private_numbers() == RSA.private_numbers()
    elliptic = jwt.algorithms.ECAlgorithm.to_jwk(P384, as_dict=True)
    (tmp_path / "ec.json").write_text(json.dumps(elliptic), "utf-8")
    assert read_key(tmp_path / "ec.json").algorithm == "ES384"


def test_keys_that_smart_does_not_take_are_refused(tmp_path: Path) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    p256 = ec.generate_private_key(ec.SECP256R1())
    jwk = json.dumps(jwt.algorithms.ECAlgorithm.to_jwk(p256, as_dict=True)).encode()
    for content, kind, message in (
        (pem(short), UsageError, "2048 bits; got 1024"),
        (pem(p256), UsageError, "P-384"),
        (jwk, UsageError, "P-384"),
        (b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n", InputError, "no private key"),
        (b'{"kty": "RSA", "n": "c2VjcmV0"}', InputError, "no private key"),
    ):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(kind, match=message) as caught:
            read_key(tmp_path / "key")
        assert "c2VjcmV0" not in str(caught.value)
    with pytest.raises(InputError, match="can't be read: No such file"):
        read_key(tmp_path / "none")


def test_a_token_is_renewed_before_its_end(tmp_path: Path) -> None:
    # The server would take it for a minute, so that only its word makes us renew it.
    with fhir_server(tokens=tokens(lifetime_s=60.0, said_s=0.4)) as server:
        server.put(*ward(1))
        with Fetcher(server.url, auth=SECRET, patience=quick()[0]) as fetcher:
            url = fetcher.link("Patient/p1")
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                fetcher.get(url, what="a patient", cap_bytes=1 << 20)
                time.sleep(0.02)
        given = len(server.layer.seen("token"))
        assert 2 <= given <= 5
        assert len({asked.token for asked in server.layer.seen("read")}) == given


def test_a_token_that_ends_early_is_renewed_once_and_the_page_asked_again(tmp_path: Path) -> None:
    given = tokens(said_s=None)
    with fhir_server(tokens=given) as server:
        server.put(*ward(1))
        server.layer.misbehave("everything", 2, fault=Status(401))
        fetched = fetch(server, tmp_path, auth=SECRET)
        assert len(landed_keys(fetched)) == len(server.all())
        assert len(server.layer.seen("token")) == 2
        second, third = server.layer.seen("everything")[1:3]
        assert second.query == third.query
        assert second.token != third.token


def test_a_token_that_is_refused_again_ends_the_fetch(tmp_path: Path) -> None:
    with fhir_server(tokens=tokens()) as server:
        server.layer.misbehave("everything", fault=Status(401))
        with pytest.raises(SourceError, match="answered 401 when asked for a page of Patient/"):
            fetch(server, tmp_path, auth=SECRET)
        assert len(server.layer.seen("everything")) == 2
        assert len(server.layer.seen("token")) == 2


def test_a_client_that_is_not_known_is_told_so_without_its_secret(tmp_path: Path) -> None:
    with fhir_server(tokens=tokens(secret=WRONG)) as server:
        with pytest.raises(SourceError, match=r"answered 400 \(invalid_client\)") as caught:
            fetch(server, tmp_path, auth=SECRET)
        assert "s3cret" not in str(caught.value)
        assert "s3cret" not in repr(SECRET)


def test_a_token_goes_to_no_other_origin(tmp_path: Path) -> None:
    given = tokens()
    with fhir_server() as other, fhir_server(tokens=given) as server:
        other.attachments["a.txt"] = ("text/plain", b"Stable.")
        other.attachments["b.txt"] = ("text/plain", b"Better.")
        server.put(*ward(1), note("doc", "p1", f"{other.origin}/files/a.txt"))
        server.put(note("led", "p1", "/files/b.txt"))
        server.layer.misbehave("attachment", fault=Redirect(f"{other.origin}/files/b.txt"))
        allowed = frozenset([other.origin])
        fetched = fetch(server, tmp_path, auth=SECRET, allow_origins=allowed)
        assert fetched.landed["Binary"] == 2
        assert [asked.token for asked in other.layer.seen()] == [None, None]
        assert all("cookie" not in asked.headers for asked in other.layer.seen())
        # The server's own cookie does come back to it: some need it to give the next page.
        assert "cookie" in server.layer.seen("everything")[0].headers


def test_who_was_led_away_and_back_carries_no_token(tmp_path: Path) -> None:
    with fhir_server() as other, fhir_server() as server:
        server.put(*ward(1), note("doc", "p1", "/files/a.txt"))
        server.attachments["b.txt"] = ("text/plain", b"Better.")
        server.layer.misbehave("attachment", 1, fault=Redirect(f"{other.origin}/files/c.txt"))
        other.layer.misbehave("attachment", fault=Redirect(f"{server.origin}/files/b.txt"))
        allowed = frozenset([other.origin])
        auth = BearerToken(token=WORD)
        fetched = fetch(server, tmp_path, auth=auth, allow_origins=allowed)
        assert fetched.landed["Binary"] == 1
        tokens = [asked.token for asked in server.layer.seen("attachment")]
        assert tokens == [f"Bearer {WORD}", None]


def test_a_page_that_redirects_elsewhere_takes_no_token_with_it(tmp_path: Path) -> None:
    with fhir_server() as other, fhir_server(tokens=tokens()) as server:
        server.layer.misbehave("everything", fault=Redirect(f"{other.url}/Patient/p1"))
        with pytest.raises(ForeignOriginError):
            fetch(server, tmp_path, auth=SECRET, allow_origins=frozenset([other.origin]))
        assert other.layer.seen() == []


def test_a_secret_goes_to_a_token_endpoint_elsewhere_only_if_the_user_says_so(
    tmp_path: Path,
) -> None:
    elsewhere = tokens()
    with fhir_server(tokens=elsewhere) as other, fhir_server(tokens=tokens()) as server:
        server.put(*ward(1))
        assert server.tokens is not None
        server.tokens.endpoint = endpoint = f"{other.url}/token"
        server.tokens.given = elsewhere.given
        with pytest.raises(SourceError, match="secret was not sent there"):
            fetch(server, tmp_path / "a", auth=SECRET)
        assert other.layer.seen() == []
        allowed = frozenset([other.origin])
        assert fetch(server, tmp_path / "b", auth=SECRET, allow_origins=allowed).fresh
        named = ClientCredentials(client_id="medweave", secret=SHARED, token_url=endpoint)
        assert fetch(server, tmp_path / "c", auth=named).fresh


def test_a_token_is_not_sent_in_the_clear_over_a_network(tmp_path: Path) -> None:
    url = "http://fhir.example.org/r4"
    with pytest.raises(UsageError, match="a token in the clear"):
        Fetcher(url, auth=SECRET)
    Fetcher(url, auth=SECRET, allow_origins=frozenset(["http://fhir.example.org"]))


def test_a_token_with_a_line_break_is_refused() -> None:
    with pytest.raises(UsageError, match="one word of printable ASCII"):
        BearerToken(token=BROKEN)


def test_no_log_carries_a_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with fhir_server(tokens=tokens()) as server:
        server.put(*ward(1))
        fetch(server, tmp_path, auth=SECRET)
        assert server.tokens is not None
        pair = base64.b64encode(b"medweave").decode()[:10]
        for secret in (*server.tokens.given, "s3cret", pair, "p1"):
            assert secret not in caplog.text
