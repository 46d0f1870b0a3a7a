"""Lists yield each object once, with any form of pages and any changes between them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_ampexp.client import AmbiguousKeyError, ManagementClient, ServerError, UnexpectedResponseError
from airflow_provider_ampexp.client._pagination import PageCache
from airflow_provider_ampexp.client.types import FlagConfig
from airflow_provider_ampexp.emulator.control import Emulator

from .bare_server import BareServer, reply
from .paged_server import Change, PagedList, ids

each_kind_of_id = pytest.mark.parametrize("numeric_ids", [False, True])
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _read(server: BareServer, client: ManagementClient, paged: PagedList) -> list[int]:
    server.answer = paged
    many: Any = {"flags": client.flags, "experiments": client.experiments, "deployments": client.deployments}
    return ids(many[paged.name].list())


@st.composite
def lists(draw: st.DrawFn, **fixed: Any) -> PagedList:
    """Draw a list with any odd properties.

    New objects shift the list by up to 8 pages while it is read. The client remembers 10 pages.
    """
    page_size = draw(st.integers(1, 6))
    removals = st.lists(st.integers(0, 60), max_size=5) if fixed.get("removals", True) else st.just([])
    new = st.integers(0, page_size)
    return PagedList(
        size=draw(st.integers(0, 25)),
        page_size=page_size,
        name=draw(st.sampled_from(["flags", "experiments", "deployments"])),
        cursors=fixed.get("cursors") or draw(st.sampled_from(["offset", "numeric offset"])),
        ends=draw(st.sampled_from(["absent", "null", "empty", "repeated"])),
        numeric_ids=fixed["numeric_ids"],
        bare_array=draw(st.sampled_from([False, False, False, True])),
        changes=draw(st.lists(st.builds(Change, new, removals), max_size=8)),
    )


@each_kind_of_id
@quick
@given(data=st.data())
def test_new_ones_while_paging_neither_hide_nor_repeat_any(
    numeric_ids: bool, data: st.DataObject, bare: BareServer, to_bare: ManagementClient
):
    paged = data.draw(lists(removals=False, numeric_ids=numeric_ids))
    found = _read(bare, to_bare, paged)
    assert len(found) == len(set(found))
    assert paged.throughout <= set(found) <= paged.ever


@pytest.mark.parametrize("numeric_ids", [False, True])
@quick
@given(data=st.data())
def test_with_a_cursor_that_keeps_its_place_removals_hide_none_either(
    numeric_ids: bool, data: st.DataObject, bare: BareServer, to_bare: ManagementClient
):
    paged = data.draw(lists(cursors="place", numeric_ids=numeric_ids))
    found = _read(bare, to_bare, paged)
    assert len(found) == len(set(found))
    assert paged.throughout <= set(found) <= paged.ever


@each_kind_of_id
@quick
@given(data=st.data())
def test_with_a_cursor_that_counts_removals_repeat_none(
    numeric_ids: bool, data: st.DataObject, bare: BareServer, to_bare: ManagementClient
):
    # An object that moves up past a counting cursor is on no page, so no client can read it.
    paged = data.draw(lists(numeric_ids=numeric_ids))
    found = _read(bare, to_bare, paged)
    assert len(found) == len(set(found))
    assert set(found) <= paged.ever


@each_kind_of_id
def test_one_new_object_between_two_pages(numeric_ids: bool, bare: BareServer, to_bare: ManagementClient):
    paged = PagedList(size=6, page_size=2, numeric_ids=numeric_ids, changes=[Change(new=1)])
    assert _read(bare, to_bare, paged) == [6, 5, 4, 3, 2, 1]


# -- cursors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursors", ["offset", "numeric offset", "place"])
@pytest.mark.parametrize("ends", ["absent", "null", "empty", "repeated"])
def test_pages_are_asked_for_in_turn_until_there_is_no_cursor(
    ends: Any, cursors: Any, bare: BareServer, to_bare: ManagementClient
):
    paged = PagedList(size=5, page_size=2, cursors=cursors, ends=ends)
    assert _read(bare, to_bare, paged) == [5, 4, 3, 2, 1]
    assert [request["limit"] for request in paged.asked] == ["1000"] * 3
    wanted = {"place": ["from 3 &=%/ü", "from 1 &=%/ü"]}.get(cursors, ["2", "4"])
    assert [request.get("cursor") for request in paged.asked] == [None, *wanted]


@pytest.mark.parametrize("cursors", [["a"], ["a", "b", "a"], [1, "1"], [0, 0], ["a", "b", "c", "b"]])
def test_a_cursor_that_was_there_before_ends_the_list(cursors: list[Any], bare: BareServer, to_bare: ManagementClient):
    bare.answer = lambda asked: reply(
        {"flags": [{"id": str(len(bare.asked))}], "nextCursor": cursors[min(len(bare.asked), len(cursors)) - 1]}
    )
    assert ids(to_bare.flags.list()) == list(range(1, len({str(cursor) for cursor in cursors}) + 2))


def test_an_empty_page_with_a_cursor_is_not_the_end(bare: BareServer, to_bare: ManagementClient):
    answers = [{"flags": [], "nextCursor": "a"}, {"flags": [], "nextCursor": "b"}, {"flags": [{"id": "1"}]}]
    bare.answer = lambda asked: reply(answers.pop(0))
    assert ids(to_bare.flags.list()) == [1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"numeric_ids": True},
        {"numeric_cursor": True},
        {"numeric_cursor": True, "last_page_cursor": "null"},
        {"last_page_cursor": "empty"},
        {"bare_arrays": True},
        {"bare_arrays": True, "numeric_ids": True},
    ],
)
@pytest.mark.parametrize("kind", ["flags", "experiments"])
def test_every_dialect_of_the_service(kind: str, options: dict[str, Any], client: ManagementClient, emulator: Emulator):
    emulator.load({kind: [{"key": f"k{number}"} for number in range(7)]})
    emulator.settings(page_size_cap=3, **options)
    assert [item["key"] for item in getattr(client, kind).list()] == [f"k{number}" for number in range(6, -1, -1)]
    assert emulator.requests()["total"] == (1 if "bare_arrays" in options else 3)


# -- one page at a time -----------------------------------------------------------------------------------------


def test_a_page_is_asked_for_when_it_is_wanted(bare: BareServer, to_bare: ManagementClient):
    bare.answer = PagedList(size=10, page_size=3)
    found = to_bare.flags.list()
    pages = [len(bare.asked)]
    pages += [len(bare.asked) for _ in found]
    assert pages == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


@pytest.mark.parametrize("name", ["flags", "deployments"])
def test_no_more_than_the_page_at_hand_and_the_next_are_in_memory(
    name: str, bare: BareServer, to_bare: ManagementClient
):
    bare.answer = PagedList(size=300, page_size=30, name=name)
    most = 0
    gc.freeze()  # so that older objects are not searched
    try:
        for _ in getattr(to_bare, name).list():
            alive = sum(
                1 for found_object in gc.get_objects() if type(found_object) is dict and "marker" in found_object
            )
            most = max(most, alive)
    finally:
        gc.unfreeze()
    assert 30 <= most <= 2 * 30 + 1


def test_a_failure_between_two_pages_goes_on_where_it_was(client: ManagementClient, emulator: Emulator):
    emulator.load({"flags": [{"key": f"k{number}"} for number in range(6)]})
    emulator.settings(page_size_cap=2)
    emulator.fault("status", status=500, skip=1)
    emulator.fault("cut_before", skip=1)
    assert len(ids(client.flags.list())) == 6
    assert emulator.requests()["total"] == 3 + 2


def test_a_failure_for_ever_is_told_after_the_pages_before_it(client: ManagementClient, emulator: Emulator):
    emulator.load({"flags": [{"key": f"k{number}"} for number in range(6)]})
    emulator.settings(page_size_cap=2)
    emulator.fault("status", status=500, skip=1, times=None)
    found = client.flags.list()
    assert [item["key"] for item in islice(found, 2)] == ["k5", "k4"]
    with pytest.raises(ServerError):
        next(found)


@pytest.mark.parametrize(
    "body", [{"experiments": []}, {"flags": {}}, {"flags": [5]}, {"flags": [{"key": "a"}]}, [[]], "flags", None]
)
def test_a_page_of_another_shape_is_told_and_not_taken_for_the_last(
    body: Any, bare: BareServer, to_bare: ManagementClient
):
    answers = [reply({"flags": [{"id": "1"}], "nextCursor": "a"}), reply(body)]
    bare.answer = lambda asked: answers.pop(0)
    found = to_bare.flags.list()
    assert next(found)["id"] == "1"
    with pytest.raises(UnexpectedResponseError):
        next(found)


# -- filters ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["filters", "ignores filters"])
def ignores(request: pytest.FixtureRequest, emulator: Emulator) -> bool:
    """Create several pages of objects in two projects, and return whether the service ignores filters."""
    flags: list[dict[str, Any]] = [{"key": f"k{number}"} for number in range(4)]
    flags += [{"key": "same"}, {"key": "same", "projectId": "100002"}, {"key": "web", "projectId": "100002"}]
    flags += [{"key": "old", "deleted": True}]
    emulator.load({"flags": flags, "experiments": [{"key": "test"}]})
    emulator.settings(ignore_filters=request.param, page_size_cap=2, numeric_ids=True)
    return request.param


def _keys(found: Iterator[Any]) -> list[str]:
    return [item["key"] for item in found]


def test_a_list_is_filtered_wherever_the_service_does_not(ignores: bool, client: ManagementClient, emulator: Emulator):
    many = client.flags
    assert _keys(many.list()) == ["web", "same", "same", "k3", "k2", "k1", "k0"]
    assert _keys(many.list(key="same")) == ["same", "same"]
    assert _keys(many.list(key="sam")) == []
    assert _keys(many.list(key="Same")) == []
    assert _keys(many.list(project_id="100002")) == ["web", "same"]
    assert _keys(many.list(key="same", project_id="100001")) == ["same"]
    assert _keys(many.list(key="old")) == []
    # An older service cannot list archived objects.
    assert _keys(many.list(key="old", include_archived=True)) == ([] if ignores else ["old"])
    assert _keys(many.list(include_archived=True))[0] == ("web" if ignores else "old")
    asked = [request["query"] for request in emulator.request_log()]
    assert "limit=1000&key=same&projectId=100001&includeArchived=true" in asked
    assert "limit=1000&includeArchived=true" in asked


def test_one_is_found_by_its_key(ignores: bool, client: ManagementClient, emulator: Emulator):
    archived = [] if ignores else [("old", None)]
    for key, project in (("k0", None), *archived, ("web", "100002"), ("same", "100001"), ("same", "100002")):
        emulator.clear_requests()
        found = client.flags.find(key, project_id=project)
        assert found is not None
        assert (found["key"], found["projectId"]) == (key, project or "100001")
        assert emulator.requests()["total"] <= (4 if ignores else 1)
    for key, project in (("k", None), ("K0", None), ("web", "100001"), ("test", None)):
        assert client.flags.find(key, project_id=project) is None
    assert client.experiments.find("k0") is None
    found = client.experiments.find("test")
    assert found is not None
    assert found["key"] == "test"


def test_a_key_of_two_projects_is_ambiguous_until_one_is_named(
    ignores: bool, client: ManagementClient, emulator: Emulator
):
    with pytest.raises(AmbiguousKeyError, match=r"'same' .* 100002, 100001.*") as caught:
        client.flags.find("same")
    assert "project_id" in str(caught.value)
    assert (caught.value.method, caught.value.path) == ("GET", "/api/1/flags")


@pytest.mark.parametrize(("project", "pages"), [("100001", 2), (None, 4)])
def test_an_older_service_is_read_until_found_and_to_the_end_where_another_project_may_have_the_key(
    project: str | None, pages: int, client: ManagementClient, emulator: Emulator
):
    emulator.load({"flags": [{"key": f"k{number}"} for number in range(8)]})
    emulator.settings(ignore_filters=True, page_size_cap=2)
    assert client.flags.find("k4", project_id=project) is not None
    assert emulator.requests()["total"] == pages


def test_what_is_archived_is_left_out_also_where_the_service_shows_it(bare: BareServer, to_bare: ManagementClient):
    bare.answer = lambda asked: reply({"flags": [{"id": "1", "key": "k", "deleted": True}, {"id": "2", "key": "k"}]})
    assert ids(to_bare.flags.list()) == [2]
    assert ids(to_bare.flags.list(include_archived=True)) == [1, 2]
    # Two objects in one project, one of them archived: the client does not choose one.
    with pytest.raises(AmbiguousKeyError):
        to_bare.flags.find("k")


def test_an_object_that_does_not_tell_its_project_is_of_the_one_that_was_asked_for(
    bare: BareServer, to_bare: ManagementClient
):
    bare.answer = lambda asked: reply({"flags": [{"id": 1, "key": "k"}, {"id": 2, "key": "k", "projectId": 3}]})
    assert ids(to_bare.flags.list(project_id="7")) == [1]


@pytest.mark.parametrize("kind", ["flags", "experiments"])
def test_an_object_that_is_archived_while_pages_are_read_hides_no_other(
    emulator: Emulator, client: ManagementClient, kind: Any
):
    emulator.settings(page_size_cap=3, rate_per_second=None)
    made = emulator.load({kind: [{"key": f"f{place}"} for place in range(9)]})[kind]
    many: Any = client.flags if kind == "flags" else client.experiments
    listing = many.list()
    found = [next(listing)["key"] for _ in range(3)]
    for id in made[-2:]:  # on the page that is already read
        emulator.edit(kind, id, archive=True)
    found += [item["key"] for item in listing]
    assert found == [f"f{place}" for place in reversed(range(9))]
    assert [item["key"] for item in many.list()] == [f"f{place}" for place in reversed(range(7))]


@each_kind_of_id
@quick
@given(data=st.data())
def test_a_list_that_is_read_again_with_a_cache_has_what_it_has_without(
    numeric_ids: bool, data: st.DataObject, bare: BareServer, to_bare: ManagementClient
):
    cache: PageCache[FlagConfig] = PageCache()
    paged = data.draw(lists(numeric_ids=numeric_ids, cursors="offset"))
    paged.name = "flags"
    paged.changes = []
    bare.answer = paged
    for _ in range(4):
        assert ids(to_bare.flags.list(cache=cache)) == ids(to_bare.flags.list()) == paged.ids
        if data.draw(st.booleans()) and paged.ids:
            paged.ids.pop(data.draw(st.integers(0, len(paged.ids) - 1)))


def test_an_equal_page_is_parsed_once(emulator: Emulator, client: ManagementClient) -> None:
    first, second = (emulator.create_flag(key) for key in ("first", "second"))
    cache: PageCache[FlagConfig] = PageCache()

    def read() -> dict[str, FlagConfig]:
        return {config["id"]: config for config in client.flags.list(cache=cache)}

    before = read()
    assert all(config is before[id] for id, config in read().items())
    emulator.edit("flags", first["id"], rolloutPercentage=5)
    after = read()
    assert (after[first["id"]]["rolloutPercentage"], after[second["id"]]) == (5, before[second["id"]])
