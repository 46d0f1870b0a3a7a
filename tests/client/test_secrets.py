"""The key is only in the header of requests."""

from __future__ import annotations

import base64
import logging
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from airflow_provider_ampexp.client import InvalidInputError, ManagementApiError, ManagementClient

from .bare_server import CUT, Asked, BareServer, Last, reply

# A global of the module, because the searched tracebacks include the frames of the tests.
KEY = "ampex_5ecre7-%&/=+~"
SAID = {
    "text": f"Bearer {KEY} is no good".encode(),
    "long text": ("x" * 490 + KEY).encode(),
    "cut text": ("x" * 190 + KEY).encode(),
    "HTML": f"<html><body>Authorization: Bearer {KEY}</body></html>".encode(),
    "JSON": ('{"error": "' + KEY + '"}').encode(),
    "JSON in JSON": ('{"error": {"headers": {"Authorization": ["Bearer ' + KEY + '"]}}}').encode(),
    "JSON of another kind": ('{"headers": {"Authorization": "Bearer ' + KEY + '"}}').encode(),
}
REFUSALS = [(status, "text") for status in (400, 401, 403, 404, 405, 409, 429, 500, 502, 503)]
REFUSALS += [(status, said) for said in SAID for status in (400, 429, 502) if said != "text"]
CALLS: dict[str, Callable[[ManagementClient], object]] = {
    "get": lambda client: client.flags.get("1"),
    "edit": lambda client: client.flags.edit("1", {"enabled": True}),
    "create": lambda client: client.flags.create({"projectId": "1", "key": "k"}),
}
WITHOUT_ANSWER: dict[str, bytes] = {
    "cut": CUT,
    "cut body": Last(f"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{KEY}".encode()),
    "cut chunk": Last(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}".encode()),
    "no HTTP": Last(f"{KEY}\r\n\r\n".encode()),
    "no status": Last(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
    "no gzip": reply(KEY.encode(), Content_Encoding="gzip"),
    "redirect": reply(b"", 307, Location=f"/{KEY}"),
    "redirect to nowhere": reply(b"", 307, Location=f"http://{KEY}:99999"),
}


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "tenacity", "airflow_provider_ampexp"):
        caplog.set_level(logging.DEBUG, name)
    return lambda: "\n".join(f"{record.name} {record.getMessage()} {vars(record)!r}" for record in caplog.records)


@pytest.fixture
def client(bare: BareServer) -> Iterator[ManagementClient]:
    with ManagementClient(KEY, base_url=bare.base_url, timeout=0.3, retry_for=2) as made:
        yield made


def _told(error: BaseException) -> str:
    """Return the text of an error and of its causes, with the local variables of all frames."""
    parts, waiting = [], [error]
    while waiting:
        one = waiting.pop()
        with_locals = traceback.TracebackException.from_exception(one, capture_locals=True)
        parts += [str(one), repr(one), repr(vars(one)), *with_locals.format(chain=False)]
        if isinstance(one, ManagementApiError | InvalidInputError):
            parts.append(repr(pickle.dumps(one, protocol=0)))
        waiting += [behind for behind in (one.__cause__, one.__context__) if behind is not None]
    return "\n".join(parts)


def _check(error: BaseException, logs: Callable[[], str], client: ManagementClient | None = None) -> None:
    told = _told(error)
    assert "Traceback" in told
    for hidden in (KEY, base64.b64encode(KEY.encode()).decode(), KEY[:12]):
        assert hidden not in told
        assert hidden not in logs()
        assert hidden not in f"{client!r} {client}"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("status", "said"), REFUSALS)
def test_no_error_tells_the_key_that_the_service_echoed(
    status: int, said: str, call: str, client: ManagementClient, bare: BareServer, logs: Callable[[], str]
):
    bare.answer = lambda asked: reply(SAID[said], status, Retry_After="1")
    with pytest.raises(ManagementApiError) as caught:
        CALLS[call](client)
    assert bare.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert "urllib3" in logs()
    _check(caught.value, logs, client)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("said", WITHOUT_ANSWER)
def test_no_failure_of_the_connection_tells_the_key(
    said: str, call: str, client: ManagementClient, bare: BareServer, logs: Callable[[], str]
):
    bare.answer = lambda asked: WITHOUT_ANSWER[said]
    with pytest.raises(ManagementApiError) as caught:
        CALLS[call](client)
    assert bare.asked
    _check(caught.value, logs, client)


@pytest.mark.parametrize("call", CALLS)
def test_no_timeout_and_no_refused_connection_tells_the_key(call: str, bare: BareServer, logs: Callable[[], str]):
    bare.answer = bare.never
    with ManagementClient(KEY, base_url=bare.base_url, timeout=0.1, retry_for=0) as client:
        with pytest.raises(ManagementApiError, match="No response within") as caught:
            CALLS[call](client)
        _check(caught.value, logs, client)
        bare.__exit__(None, None, None)
        with pytest.raises(ManagementApiError, match="nothing was sent") as caught:
            CALLS[call](client)
        _check(caught.value, logs, client)


@pytest.mark.parametrize("call", ["get", "create"])
@pytest.mark.parametrize("said", SAID)
def test_an_answer_that_says_yes_but_is_not_of_this_api_does_not_tell_the_key(
    said: str, call: str, client: ManagementClient, bare: BareServer, logs: Callable[[], str]
):
    bare.answer = lambda asked: reply(SAID[said])
    with pytest.raises(ManagementApiError) as caught:
        CALLS[call](client)
    _check(caught.value, logs, client)


class _TaskTimeout(BaseException):
    """The error that Airflow raises at any place of a task when its time is over or it is cleared."""


def test_being_interrupted_does_not_tell_the_key(client: ManagementClient, bare: BareServer, logs: Callable[[], str]):
    def interrupt(*_: object) -> None:
        raise _TaskTimeout

    bare.answer = bare.never
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(_TaskTimeout) as caught:
            client.flags.get("1")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    _check(caught.value, logs, client)


BAD_CLIENTS: dict[str, Callable[[], object]] = {
    "line end": lambda: ManagementClient(f"{KEY}\n"),
    "deployment key": lambda: ManagementClient(f"client-{KEY}"),
    "region": lambda: ManagementClient(KEY, region="mars"),
    "base_url": lambda: ManagementClient(KEY, base_url="http://example.com"),
    "base_url with a password": lambda: ManagementClient("ampex_x", base_url=f"https://me:{KEY[:12]}@example.com"),
    "base_url with a query": lambda: ManagementClient("ampex_x", base_url=f"https://example.com?key={KEY}"),
    "timeout": lambda: ManagementClient(KEY, timeout=-1),
}


@pytest.mark.parametrize("make", BAD_CLIENTS)
def test_the_message_of_a_client_that_cannot_be_made_does_not_tell_the_key(make: str, logs: Callable[[], str]):
    with pytest.raises(InvalidInputError) as caught:
        BAD_CLIENTS[make]()
    error = caught.value
    for seen in (str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error, protocol=0)), logs()):
        assert KEY[:12] not in seen


@pytest.mark.parametrize("make", BAD_CLIENTS)
def test_the_traceback_of_a_client_that_cannot_be_made_does_not_tell_the_key(make: str, logs: Callable[[], str]):
    with pytest.raises(InvalidInputError) as caught:
        BAD_CLIENTS[make]()
    _check(caught.value, logs)


def test_a_client_does_not_show_its_key(client: ManagementClient):
    things = [client, client.flags, client.experiments, client.deployments]
    for call in things:
        assert KEY not in f"{call!r} {call} {call.__dict__}"
    assert client.base_url in repr(client)
    assert client.base_url in repr(client.flags)


def test_a_pickle_of_a_client_does_not_hold_its_key(client: ManagementClient):
    try:
        pickled = pickle.dumps(client, protocol=0)
    except Exception:
        return
    assert KEY.encode() not in pickled


# -- the receivers of the key -----------------------------------------------------------------------------------


@pytest.mark.parametrize("own_session", [False, True])
def test_a_netrc_does_not_replace_the_key(
    own_session: bool, bare: BareServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\ndefault login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    bare.answer = lambda asked: reply({"id": "1"})
    with requests.Session() as session:
        assert session.trust_env
        session.get(bare.base_url)
        with ManagementClient(KEY, base_url=bare.base_url, session=session if own_session else None) as client:
            client.flags.get("1")
    fooled, sent = bare.asked
    assert fooled.headers["authorization"].startswith("Basic ")  # so the file would be used
    assert sent.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS)
def test_a_redirect_is_not_followed(status: int, call: str, client: ManagementClient, bare: BareServer):
    with BareServer(lambda asked: reply({"id": "1"})) as elsewhere:
        bare.answer = lambda asked: reply(b"", status, Location=elsewhere.base_url + asked.target)
        with pytest.raises(ManagementApiError, match="redirect") as caught:
            CALLS[call](client)
        assert (caught.value.status, len(bare.asked), elsewhere.connections) == (status, 1, 0)


def test_a_proxy_of_the_environment_is_not_used_for_this_very_machine(
    client: ManagementClient, bare: BareServer, monkeypatch: pytest.MonkeyPatch
):
    bare.answer = lambda asked: reply({"id": "1"})
    with BareServer(lambda asked: reply({"id": "proxy"})) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with requests.Session() as session:
            assert session.get(bare.base_url).json() == {"id": "proxy"}  # so it would be used
        before = proxy.connections
        assert client.flags.get("1")["id"] == "1"
        assert proxy.connections == before


def test_the_key_is_in_the_header_alone(client: ManagementClient, bare: BareServer):
    seen: list[Asked] = bare.asked
    bare.answer = lambda asked: reply({"id": "1"})
    for call in CALLS.values():
        call(client)
    for asked in seen:
        others = {name: value for name, value in asked.headers.items() if name != "authorization"}
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in f"{asked.target} {others} {asked.body!r}"
