"""A poll of many flags takes as few requests as possible, counted by the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_ampexp.client import (
    AmbiguousKeyError,
    AuthenticationError,
    ManagementClient,
    RateLimitError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure._errors import TargetNotFoundError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.polling import _batch_reader as module
from airflow_provider_ampexp.polling._batch_reader import BatchReader, ReadResult

READ, LIST, FEED = "GET /api/1/flags/{id}", "GET /api/1/flags", "GET /api/1/versions"


@pytest.fixture
def lookout(emulator: Emulator) -> Iterator[BatchReader]:
    emulator.settings(rate_per_second=None)
    one = BatchReader(ManagementClient(emulator.api_key, base_url=emulator.base_url, retry_for=0))
    yield one
    one.close()


def flags(emulator: Emulator, count: int, kind: str = "flags", **fields: Any) -> list[FlagRef]:
    made = [{"key": f"{kind}-{number}", "variants": [{"key": "on"}], **fields} for number in range(count)]
    ids = emulator.load({kind: made})[kind]
    emulator.advance(60)  # so that the new objects do not count as changes
    emulator.clear_requests()
    return [FlagRef(kind, id=id) for id in ids]  # type: ignore[misc]


def look(
    lookout: BatchReader, due: list[FlagRef], *, of: list[FlagRef] | None = None, ending: Any = frozenset()
) -> ReadResult:
    """Poll these flags. No other flag is due before the next poll."""
    return lookout.look(set(due), set(due), set(of or due), set(ending))


def counted(emulator: Emulator) -> dict[str, int]:
    counts: dict[str, int] = emulator.requests()["by_route"]
    emulator.clear_requests()
    return counts


def test_one_is_read_by_itself(emulator: Emulator, lookout: BatchReader) -> None:
    (one,) = flags(emulator, 1)
    flags(emulator, 3, "experiments")
    emulator.clear_requests()
    sight = look(lookout, [one])
    assert (sight.configs[one]["key"], sight.error) == ("flags-0", None)
    assert counted(emulator) == {READ: 1}


@pytest.mark.parametrize("count", [2, 1000])
def test_more_are_listed_if_that_is_one_page(emulator: Emulator, lookout: BatchReader, count: int) -> None:
    all_flags = flags(emulator, 1000)
    watched = all_flags[-count:]
    emulator.clear_requests()
    for _ in range(3):
        assert look(lookout, watched).configs.keys() == set(watched)
        assert counted(emulator) == {LIST: 1}


def test_who_is_not_due_is_seen_along(emulator: Emulator, lookout: BatchReader) -> None:
    watched = flags(emulator, 10)
    assert look(lookout, watched[-3:], of=watched).configs.keys() >= set(watched[-3:])
    emulator.clear_requests()
    # One flag is due, and nine are due soon. One request for all ten costs as much as one request for the one.
    sight = lookout.look({watched[0]}, set(watched), set(watched))
    assert sight.configs.keys() == set(watched)
    assert counted(emulator) == {LIST: 1}


def test_archived_ones_are_seen_in_the_list(emulator: Emulator, lookout: BatchReader) -> None:
    watched = flags(emulator, 5, deleted=True)
    assert all(config["deleted"] for config in look(lookout, watched).configs.values())


def test_flags_and_experiments_are_two_lists(emulator: Emulator, lookout: BatchReader) -> None:
    watched = flags(emulator, 5) + flags(emulator, 5, "experiments")
    emulator.clear_requests()
    assert look(lookout, watched).configs.keys() == set(watched)
    assert counted(emulator) == {LIST: 1, "GET /api/1/experiments": 1}


def test_a_list_that_takes_more_pages_than_single_reads_is_left_alone(emulator: Emulator, lookout: BatchReader) -> None:
    """The reader finds this with a poll that stops after as many pages as single reads would have taken."""
    watched = flags(emulator, 3)  # the oldest, on the last page
    emulator.load({"flags": [{"key": f"newer-{number}"} for number in range(4000)]})
    emulator.clear_requests()
    assert look(lookout, watched).configs.keys() == set(watched)
    assert counted(emulator) == {LIST: 3, READ: 3}
    assert look(lookout, watched).configs.keys() == set(watched)
    assert counted(emulator) == {FEED: 1, READ: 3}  # the server does not have the feed, so it is requested once
    assert look(lookout, watched).configs.keys() == set(watched)
    assert counted(emulator) == {READ: 3}


def test_the_feed_where_it_saves_requests(emulator: Emulator, lookout: BatchReader) -> None:
    emulator.settings(extra_endpoints=True)
    watched = flags(emulator, 2500)
    emulator.clear_requests()
    assert look(lookout, watched).configs.keys() == set(watched)
    assert counted(emulator) == {LIST: 3}
    sight = look(lookout, watched)
    assert (sight.configs, sight.unchanged) == ({}, set(watched))
    assert counted(emulator) == {FEED: 1}

    changed = watched[1234]
    emulator.edit("flags", changed.id, enabled=True)
    sight = look(lookout, watched)
    assert {flag: config["enabled"] for flag, config in sight.configs.items()} == {changed: True}
    assert sight.unchanged == set(watched) - {changed}
    assert counted(emulator) == {FEED: 1, READ: 1}
    assert look(lookout, watched).configs == {}
    assert counted(emulator) == {FEED: 1}

    # A due flag is read, also if the feed shows no change, and so is a new flag.
    (new,) = flags(emulator, 1, "experiments")
    counted(emulator)
    sight = look(lookout, [*watched, new], ending=watched[:1])
    assert sight.configs.keys() == {new, watched[0]}
    assert counted(emulator) == {FEED: 1, READ: 1, "GET /api/1/experiments/{id}": 1}


def test_the_feed_is_not_trusted_for_ever(
    emulator: Emulator, lookout: BatchReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.settings(extra_endpoints=True)
    watched = flags(emulator, 1001)
    look(lookout, watched)
    look(lookout, watched)
    emulator.clear_requests()
    monkeypatch.setattr(module, "_FEED_IS_TRUSTED_FOR", 0)
    assert look(lookout, watched).configs.keys() == set(watched)
    assert counted(emulator) == {LIST: 2}


def test_what_the_feed_told_is_told_again_when_it_could_not_be_read(emulator: Emulator, lookout: BatchReader) -> None:
    emulator.settings(extra_endpoints=True)
    watched = flags(emulator, 1001)
    for _ in range(3):
        look(lookout, watched)
    emulator.edit("flags", watched[7].id, enabled=True)
    emulator.fault("status", status=503, route=READ)
    sight = look(lookout, watched)
    assert isinstance(sight.error, ServerError)
    assert watched[7] not in sight.unchanged
    assert look(lookout, watched).configs[watched[7]]["enabled"] is True


def test_when_very_much_has_changed_all_are_looked_at(emulator: Emulator, lookout: BatchReader) -> None:
    emulator.settings(extra_endpoints=True)
    watched = flags(emulator, 1001)
    look(lookout, watched)
    emulator.load({"flags": [{"key": f"new-{number}"} for number in range(1000)]})
    emulator.clear_requests()
    sight = look(lookout, watched)
    assert sight.configs.keys() == set(watched)
    assert counted(emulator) == {FEED: 1, LIST: 3}
    emulator.advance(60)
    look(lookout, watched)
    counted(emulator)
    look(lookout, watched)
    assert counted(emulator) == {FEED: 1}


@pytest.mark.parametrize(
    "fault", [{"kind": "html", "status": 200}, {"kind": "status", "status": 200, "body": {"versions": [{"x": 1}]}}]
)
def test_a_feed_that_is_none_is_done_without(emulator: Emulator, lookout: BatchReader, fault: dict[str, Any]) -> None:
    emulator.settings(extra_endpoints=True)
    watched = flags(emulator, 1001)
    look(lookout, watched)
    emulator.fault(times=None, route=FEED, **fault)
    emulator.clear_requests()
    for feed in (1, 0):
        assert look(lookout, watched).configs.keys() == set(watched)
        assert counted(emulator) == {LIST: 2, **({FEED: 1} if feed else {})}


def test_a_bad_target_is_a_matter_of_its_own(emulator: Emulator, lookout: BatchReader) -> None:
    watched = flags(emulator, 5)
    gone: FlagRef = FlagRef("flags", id="999")
    sight = look(lookout, [*watched, gone])
    assert sight.configs.keys() == set(watched)
    assert list(sight.refused) == [gone]
    assert isinstance(sight.refused[gone], TargetNotFoundError)
    assert sight.error is None


def test_a_list_that_is_refused_is_done_without(emulator: Emulator, lookout: BatchReader) -> None:
    watched = flags(emulator, 3)
    emulator.fault("status", times=None, status=403, route=LIST)
    emulator.clear_requests()
    assert look(lookout, watched).configs.keys() == set(watched)
    assert counted(emulator) == {LIST: 1, READ: 3}
    assert look(lookout, watched).configs.keys() == set(watched)
    assert counted(emulator)[READ] == 3


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 401}, AuthenticationError),
        ({"kind": "status", "status": 429}, RateLimitError),
        ({"kind": "status", "status": 503}, ServerError),
        ({"kind": "garbage"}, UnexpectedResponseError),
    ],
)
def test_what_is_wrong_with_the_service_ends_the_look(
    emulator: Emulator, lookout: BatchReader, fault: dict[str, Any], kind: type
) -> None:
    watched = flags(emulator, 100)
    emulator.fault(times=None, **fault)
    emulator.clear_requests()
    sight = look(lookout, watched)
    assert isinstance(sight.error, kind)
    assert (sight.configs, sight.refused) == ({}, {})
    assert emulator.requests()["total"] == 1


@pytest.mark.parametrize("place", [0, 1])
def test_one_that_always_fails_hides_no_other(
    emulator: Emulator, lookout: BatchReader, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    watched = flags(emulator, 2)
    emulator.fault("status", times=None, status=400, route=LIST)
    bad, good = watched[place], watched[1 - place]
    get = lookout.client.flags.get

    def broken(id: str) -> Any:
        if id == bad.id:
            raise ServerError("GET", "/", status=500)
        return get(id)

    monkeypatch.setattr(lookout.client.flags, "get", broken)
    look(lookout, watched)
    for _ in range(3):
        sight = look(lookout, watched)
        assert isinstance(sight.error, ServerError)
        assert sight.configs.keys() == {good}


def test_only_one_projects_list_is_asked_for(emulator: Emulator, lookout: BatchReader) -> None:
    watched = flags(emulator, 3)
    look(lookout, watched)
    emulator.clear_requests()
    look(lookout, watched)
    assert f"projectId={emulator.project_id}" in emulator.request_log()[0]["query"]


def test_by_their_keys_they_are_found_in_the_same_list(emulator: Emulator, lookout: BatchReader) -> None:
    all_flags = flags(emulator, 1000)
    by_key = [FlagRef("flags", key=f"flags-{number}") for number in range(500)]
    by_both = [FlagRef("flags", key=f"flags-{number}", project_id=emulator.project_id) for number in range(200)]
    watched = [*by_key, *by_both, *all_flags[-200:]]
    sight = look(lookout, watched)
    assert counted(emulator) == {LIST: 1}
    assert sight.configs.keys() == set(watched)
    assert {flag.key: config["key"] for flag, config in sight.configs.items() if flag.key} == {
        flag.key: flag.key for flag in by_key
    }


@pytest.mark.parametrize("project_id", [None, "100001"])
def test_a_key_in_two_projects(emulator: Emulator, project_id: str | None) -> None:
    emulator.load(
        {
            "projects": [{"id": "100002", "name": "Two"}],
            "keys": [{"key": "ampex_two", "person": "Two", "projects": ["100001", "100002"]}],
            "flags": [{"key": "same"}, {"key": "same", "projectId": "100002"}, {"key": "other"}],
        }
    )
    same, other, gone = (FlagRef("flags", key=key) for key in ("same", "other", "gone"))
    with ManagementClient("ampex_two", base_url=emulator.base_url, retry_for=0) as client:
        sight = look(BatchReader(client, project_id), [same, other, gone])
    assert isinstance(sight.refused[gone], TargetNotFoundError)
    assert sight.configs[other]["key"] == "other"
    if project_id is None:
        assert isinstance(sight.refused[same], AmbiguousKeyError)
    else:
        assert sight.configs[same]["projectId"] == project_id


def test_the_feed_tells_of_what_is_watched_by_its_key(emulator: Emulator, lookout: BatchReader) -> None:
    emulator.settings(extra_endpoints=True)
    watched = [*flags(emulator, 1001), FlagRef("flags", key="flags-5")]
    look(lookout, watched)
    emulator.edit("flags", watched[5].id or "", enabled=True)
    emulator.clear_requests()
    assert look(lookout, watched).configs.keys() == {watched[5], watched[-1]}
    assert emulator.requests()["by_route"][FEED] == 1


def test_nobody_is_vouched_for_who_was_never_seen(emulator: Emulator, lookout: BatchReader) -> None:
    emulator.settings(extra_endpoints=True)
    emulator.fault("status", times=None, status=403, route=LIST)
    watched = flags(emulator, 3)
    look(lookout, watched)
    new = flags(emulator, 3, "experiments")
    sight = lookout.look({new[0]}, set(new), set(new))
    assert (list(sight.configs), sight.error) == ([new[0]], None) or sight.configs.keys() == set(new)
