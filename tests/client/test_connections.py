"""Connections: kept alive, closed, and without trust."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_ampexp.client import (
    ConnectionFailedError,
    ManagementClient,
    NoAnswerError,
    NotFoundError,
    UncertainWriteError,
    UnexpectedResponseError,
)

from .bare_server import BareServer, Last, reply


def test_twenty_calls_use_one_connection(to_bare: ManagementClient, bare: BareServer):
    bare.answer = lambda asked: reply({"id": "1"} if asked.method != "PATCH" else b"OK")
    for _ in range(5):
        to_bare.flags.get("1")
        to_bare.experiments.create({"projectId": "1", "key": "k"})
        to_bare.flags.edit("1", {"enabled": True})
        to_bare.deployments.create({"projectId": "1", "label": "a", "type": "client"})
    assert (len(bare.asked), bare.connections) == (20, 1)


def test_errors_and_redirects_use_the_same_connection_too(to_bare: ManagementClient, bare: BareServer):
    answers = [reply(b"x" * 5000, status, Location="/") for status in (500, 302, 429, 404)]
    bare.answer = lambda asked: answers.pop(0)
    for _ in range(2):
        with pytest.raises((UnexpectedResponseError, NotFoundError)):
            to_bare.flags.get("1")
    assert (len(bare.asked), bare.connections) == (4, 1)


def test_a_connection_that_the_service_closed_is_made_anew_before_a_write_is_sent(
    to_bare: ManagementClient, bare: BareServer, waits: list[float]
):
    bare.answer = lambda asked: Last(reply({"id": "1"}))
    for _ in range(3):
        to_bare.flags.create({"projectId": "1", "key": "k"})
        bare.wait_for_a_close()
    assert (len(bare.asked), bare.connections, waits) == (3, 3, [])


def test_closing_closes_the_session_that_is_its_own_only(bare: BareServer, monkeypatch: pytest.MonkeyPatch):
    closed: list[requests.Session] = []
    monkeypatch.setattr(requests.Session, "close", lambda session: closed.append(session))
    given = requests.Session()
    with ManagementClient("ampex_x", base_url=bare.base_url, session=given):
        pass
    assert closed == []
    with ManagementClient("ampex_x", base_url=bare.base_url):
        pass
    assert len(closed) == 1
    assert closed[0] is not given


def test_a_client_can_be_used_again_after_it_was_closed(to_bare: ManagementClient, bare: BareServer):
    bare.answer = lambda asked: reply({"id": "1"})
    to_bare.flags.get("1")
    to_bare.close()
    to_bare.close()
    assert to_bare.flags.get("1")["id"] == "1"


@pytest.fixture
def own_certificate(tmp_path: Path) -> ssl.SSLContext:
    """Return a context with an untrusted certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "own.pem"
    no_password = serialization.NoEncryption()
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


CALLS: dict[str, Callable[[ManagementClient], object]] = {
    "get": lambda client: client.flags.get("1"),
    "edit": lambda client: client.flags.edit("1", {"enabled": True}),
    "create": lambda client: client.flags.create({"projectId": "1", "key": "k"}),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_certificate_that_is_not_trusted_gets_nothing_and_no_repeats(
    call: str, own_certificate: ssl.SSLContext, waits: list[float]
):
    with BareServer(tls=own_certificate) as server:
        client = ManagementClient("ampex_x", base_url=server.base_url, timeout=2)
        with client, pytest.raises(ConnectionFailedError, match=r"nothing was sent.*(?i:certificate)"):
            CALLS[call](client)
        assert (server.asked, server.connections, waits) == ([], 1, [])


def test_a_handshake_that_fails_has_sent_nothing(bare: BareServer, waits: list[float]):
    address = bare.base_url.replace("http:", "https:")  # a server without TLS
    with ManagementClient("ampex_x", base_url=address, timeout=2) as client, pytest.raises(ConnectionFailedError):
        client.flags.create({"projectId": "1", "key": "k"})


def test_nothing_is_sent_where_the_address_is_none(waits: list[float]):
    client = ManagementClient("ampex_x", base_url="https://.example.com")
    with client, pytest.raises(ConnectionFailedError, match="nothing was sent"):
        client.flags.create({"projectId": "1", "key": "k"})
    assert waits == []


@pytest.mark.parametrize(
    "said",
    [
        Last(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"),
        Last(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"'),
        reply(b"not gzip", Content_Encoding="gzip"),
        Last(b"SSH-2.0-OpenSSH\r\n"),
        Last(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
        Last(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"),
    ],
    ids=["short body", "short chunk", "no gzip", "no HTTP", "too many headers", "too long a header"],
)
def test_half_an_answer_is_none(said: bytes, to_bare: ManagementClient, bare: BareServer, waits: list[float]):
    bare.answer = lambda asked: said
    with pytest.raises(NoAnswerError):
        to_bare.flags.get("1")
    assert len(waits) > 4
    del bare.asked[:]
    with pytest.raises(UncertainWriteError) as caught:
        to_bare.flags.create({"projectId": "1", "key": "k"})
    assert caught.value.maybe_in_flight
    assert len(bare.asked) == 1


WRONG_SHAPES = [
    b"",
    b"null",
    b"5",
    b'"flags"',
    b"[5]",
    b"[null]",
    b"{}",
    b'{"id": null}',
    b'{"versions": 5}',
    b"\xff\xfe\xfd",
]
READS: dict[str, Callable[[ManagementClient], object]] = {
    "list": lambda client: list(client.flags.list()),
    "find": lambda client: client.flags.find("k"),
    "get": lambda client: client.flags.get("1"),
    "versions": lambda client: client.flags.versions("1"),
    "version": lambda client: client.flags.version("1", 1),
    "variants": lambda client: client.flags.variants("1"),
    "variant": lambda client: client.flags.variant("1", "on"),
    "inclusions": lambda client: client.flags.inclusions("1", "on"),
    "deployments": lambda client: client.flags.deployments("1"),
    "deployments.list": lambda client: list(client.deployments.list()),
}


def _shapes() -> list[object]:
    cases = []
    for name in READS:
        for body in WRONG_SHAPES:
            if name == "inclusions" and body in (b"[5]", b"[null]"):
                continue  # ids of users may be numbers
            cases.append((name, body))
    return cases


@pytest.mark.parametrize(("call", "body"), _shapes())
def test_an_answer_of_another_shape_is_told(
    call: str, body: bytes, to_bare: ManagementClient, bare: BareServer, waits: list[float]
):
    bare.answer = lambda asked: reply(body)
    with pytest.raises(UnexpectedResponseError) as caught:
        READS[call](to_bare)
    assert caught.value.status == 200
    assert (len(bare.asked), waits) == (1, [])


@pytest.mark.parametrize("body", [b"", b"OK", b"{}", b"[]", b'{"id": null}', b'"1"'])
def test_a_create_that_does_not_tell_the_id_is_uncertain(body: bytes, to_bare: ManagementClient, bare: BareServer):
    bare.answer = lambda asked: reply(body)
    for call in (
        lambda: to_bare.flags.create({"projectId": "1", "key": "k"}),
        lambda: to_bare.deployments.create({"projectId": "1", "label": "a", "type": "client"}),
    ):
        with pytest.raises(UncertainWriteError) as caught:
            call()
        assert (caught.value.status, caught.value.maybe_in_flight) == (200, False)
    assert len(bare.asked) == 2


def test_versions_may_come_wrapped(to_bare: ManagementClient, bare: BareServer):
    bare.answer = lambda asked: reply({"versions": [{"version": 1, "flagConfig": {"id": 5}}]})
    assert to_bare.flags.versions("1") == [{"version": 1, "flagConfig": {"id": "5"}}]


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_https_on_loopback_honours_the_ca_bundle_and_never_a_proxy(
    own_certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(variable, str(tmp_path / "own.pem"))
    with BareServer(tls=own_certificate) as bare:
        bare.answer = lambda asked: reply({"id": "1"})
        with ManagementClient("ampex_x", base_url=bare.base_url, timeout=2, retry_for=0) as client:
            assert client.flags.get("1")["id"] == "1"
