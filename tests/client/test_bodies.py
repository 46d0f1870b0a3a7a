"""Bodies that harm a careless caller: too slow, too large, packed, or nested without end."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.client import (
    ManagementApiError,
    ManagementClient,
    NoAnswerError,
    UncertainWriteError,
    UnexpectedResponseError,
)
from airflow_provider_ampexp.client._response_body import DEEPEST_JSON, LARGEST_BODY, parse_json

from .bare_server import BareServer, reply
from .calls import World

Worlds = Callable[[str], World]
READS: list[Callable[[ManagementClient, str], Any]] = [
    lambda client, id: client.flags.get(id),
    lambda client, id: list(client.flags.list()),
    lambda client, id: client.flags.versions(id),
    lambda client, id: client.flags.deployments(id),
    lambda client, id: list(client.deployments.list()),
]


@pytest.fixture
def once(emulator: Any) -> Any:
    with ManagementClient(emulator.api_key, base_url=emulator.base_url, timeout=0.4, retry_for=0) as made:
        yield made


@pytest.mark.parametrize("read", READS)
def test_a_body_that_trickles_ends_a_read_within_three_timeouts(
    once: ManagementClient, world: Worlds, read: Callable[[ManagementClient, str], Any]
) -> None:
    here = world("flags")
    here.emulator.fault("trickle", seconds=0.1, times=None)
    began = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"not complete within 1\.2 s"):
        read(once, here.id)
    assert 1.2 <= time.monotonic() - began < 2.5


def test_a_body_that_trickles_after_a_write_leaves_it_uncertain(once: ManagementClient, world: Worlds) -> None:
    here = world("flags")
    here.emulator.fault("trickle", seconds=1, times=None)
    with pytest.raises(UncertainWriteError):
        once.flags.edit(here.id, {"enabled": True})
    assert here.emulator.flag(here.id)["enabled"]


@pytest.mark.parametrize("kind", ["oversized", "zip_bomb"])
@pytest.mark.parametrize("read", READS[:2])
def test_a_body_that_is_too_large_is_given_up_unpacked_or_not(
    emulator: Any, world: Worlds, kind: str, read: Callable[[ManagementClient, str], Any]
) -> None:
    here = world("flags")
    here.emulator.fault(kind, megabytes=400, times=None)
    tracemalloc.start()
    try:
        with (
            ManagementClient(emulator.api_key, base_url=emulator.base_url, retry_for=60) as patient,
            pytest.raises(UnexpectedResponseError, match="larger than 64 MiB"),
        ):
            read(patient, here.id)
        assert patient.requests.total == 1
        assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST_BODY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["oversized", "zip_bomb"])
def test_a_body_that_is_too_large_after_a_write_leaves_it_uncertain(emulator: Any, world: Worlds, kind: str) -> None:
    here = world("flags")
    here.emulator.fault(kind, megabytes=100, times=None)
    with (
        ManagementClient(emulator.api_key, base_url=emulator.base_url, retry_for=0) as once,
        pytest.raises(UncertainWriteError),
    ):
        once.flags.create_variant(here.id, {"key": "another"})


def test_a_whole_body_is_read_over_one_connection(bare: BareServer, to_bare: ManagementClient) -> None:
    bare.answer = lambda asked: reply({"id": "1", "description": "x" * 500_000})
    for _ in range(3):
        assert len(to_bare.flags.get("1")["description"]) == 500_000
    assert bare.connections == 1


def nested(depth: int) -> bytes:
    return b'{"id": "1", "tags": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize("depth", [DEEPEST_JSON, 900, 100_000])
@pytest.mark.parametrize("read", READS)
def test_json_nested_too_deeply_is_no_answer_of_the_api(
    bare: BareServer, to_bare: ManagementClient, read: Callable[[ManagementClient, str], Any], depth: int
) -> None:
    bare.answer = lambda asked: reply(nested(depth))
    with pytest.raises(UnexpectedResponseError, match="nested too deeply"):
        read(to_bare, "1")


def test_after_a_create_it_leaves_it_uncertain(bare: BareServer, to_bare: ManagementClient) -> None:
    bare.answer = lambda asked: reply(nested(100_000))
    with pytest.raises(UncertainWriteError, match="nested too deeply"):
        to_bare.flags.create({"projectId": "1", "key": "search"})
    to_bare.flags.edit("1", {"enabled": True})  # the client does not read the response of a write


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("write", [True, False])
def test_an_error_with_such_a_body_is_told_all_the_same(bare: BareServer, status: int, write: bool) -> None:
    bare.answer = lambda asked: reply(b"[" * 100_000, status)
    with (
        ManagementClient("ampex_bare", base_url=bare.base_url, retry_for=0) as once,
        pytest.raises(ManagementApiError) as caught,
    ):
        once.flags.edit("1", {"enabled": True}) if write else once.flags.get("1")
    assert caught.value.status == status
    assert len(str(caught.value)) < 1_000


def test_a_payload_of_some_depth_is_read() -> None:
    value: Any = "x"
    for _ in range(DEEPEST_JSON - 1):
        value = {"of": value}
    assert parse_json(json.dumps(value)) == value


def test_a_number_that_json_has_not_is_none() -> None:
    assert parse_json(b'{"rolloutPercentage": NaN, "more": -Infinity}') == {"rolloutPercentage": None, "more": None}
