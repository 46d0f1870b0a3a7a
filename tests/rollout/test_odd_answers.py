"""Each optional field may be null, missing or odd in each response: a reader works, or names the missing field."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
import tenacity
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_ampexp.client import InvalidInputError, ManagementApiError, ManagementClient
from airflow_provider_ampexp.ensure import FlagRef, _refusals, ensure_fields, ensure_percentage
from airflow_provider_ampexp.ensure._errors import EnsureError
from airflow_provider_ampexp.ensure._fields import differing, shown
from airflow_provider_ampexp.ensure._rollout_percentage import percentage_fields
from airflow_provider_ampexp.history._field_changes import in_order, rows_of, within
from airflow_provider_ampexp.operators._asset_events import _version_that_made
from airflow_provider_ampexp.polling._check_once import seen as seen_by
from airflow_provider_ampexp.polling._conditions import EnabledIs, RolloutAtLeast, StateIs
from airflow_provider_ampexp.polling._rollout_wait import RolloutWait
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._audience import AudienceFields, changed_fields
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._history import (
    Exposure,
    FlagSnapshot,
    exposure_changes,
    exposure_of,
    read_history,
    version_of_exposure,
)
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.ui._rollout_tasks import Rollout, RolloutTask
from airflow_provider_ampexp.ui._serializers import diff_versions, flag_detail, list_item

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
TYPED = (ManagementApiError, EnsureError, InvalidInputError)
CONFIG: dict[str, Any] = {
    "id": "848345",
    "projectId": "100001",
    "key": "search",
    "name": "Search",
    "description": "",
    "enabled": True,
    "deleted": False,
    "evaluationMode": "remote",
    "bucketingKey": "amplitude_id",
    "bucketingSalt": "mHdQDzeE",
    "bucketingUnit": "User",
    "variants": [{"key": "on", "payload": {"a": [1]}, "name": "On", "rolloutWeight": 1}, {"key": "off"}],
    "rolloutPercentage": 5,
    "rolloutWeights": {"on": 1, "off": 1},
    "targetSegments": [
        {
            "name": "Beta",
            "percentage": 5,
            "bucketingKey": "amplitude_id",
            "rolloutWeights": {"on": 1},
            "conditions": [{"type": "property", "prop": "country", "op": "is", "values": ["de"]}],
        },
        {
            "name": "Staff",
            "percentage": 100,
            "conditions": [{"type": "property", "prop": "x", "op": "is", "values": []}],
        },
    ],
    "deployments": ["1", "2"],
    "tags": ["release"],
    "parentDependencies": {"flags": {"848344": ["on"]}, "operator": "all"},
    "stickyBucketing": False,
    "state": "running",
    "decision": None,
    "startDate": "2026-03-01",
    "createdBy": "Maria",
    "createdAt": "2026-03-01T12:00:00.000Z",
    "lastModifiedBy": {"email": "olga@acme.example", "id": 7},
    "lastModifiedAt": "2026-03-02T11:30:00.000Z",
}
VERSIONS: list[dict[str, Any]] = [
    {
        "version": number,
        "createdBy": by,
        "createdAt": f"2026-03-02T{8 + number:02d}:30:00.000Z",
        "flagConfig": {**CONFIG, "rolloutPercentage": percentage},
    }
    for number, by, percentage in ((3, "Airflow", 5), (2, 848345, 1), (1, "Maria", 0))
]
DEPLOYMENTS = [
    {"id": "1", "projectId": "100001", "label": "app", "key": "client-x", "type": "client", "deleted": False}
]
ANSWERS: dict[str, Any] = {
    "/flags": {"flags": [CONFIG], "nextCursor": None},
    "/flags/848345": CONFIG,
    "/flags/848345/versions": VERSIONS,
    "/flags/848345/versions/2": VERSIONS[1],
    "/flags/848345/variants": CONFIG["variants"],
    "/flags/848345/variants/on": CONFIG["variants"][0],
    "/flags/848345/variants/on/users": ["ann", "ben"],
    "/flags/848345/deployments": DEPLOYMENTS,
    "/deployments": {"deployments": DEPLOYMENTS},
    "/versions": {"versions": VERSIONS},
}
PLAN = RolloutPlan(parse_stages([1, 5, 100], "1h"))
ODD: list[Any] = [
    None, True, False, 0, -1, 7, 0.5, 1e300, 10**30, 10**400, float("nan"), float("inf"), "", "x", "5",
    "2026-03-02T25:00:00Z", "9999-12-31T23:59:59-14:00", [], {}, [None], [[1]], [{}], [{"key": None}], [{"name": []}],
    {"a": None}, {"flags": None}, {"flags": {"x": None}}, ["x", 1, None],
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _nothing_waits() -> Iterator[None]:
    """Let each wait end at once, and advance the clock by its time."""
    passed = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: time.monotonic() + passed[0],
        sleep=lambda seconds: passed.__setitem__(0, passed[0] + seconds),
    )
    with pytest.MonkeyPatch.context() as patch:
        for owner in (tenacity, tenacity.nap, _refusals):
            patch.setattr(owner, "time", clock)
        yield


class Answering(requests.Session):
    """A session that answers from a table, and answers each write with OK."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__()
        self.answers = answers

    def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        response = requests.Response()
        path = str(request.path_url).partition("?")[0].removeprefix("/api/1")
        response.status_code = 200 if request.method != "GET" or path in self.answers else 404
        response._content = json.dumps(self.answers.get(path)).encode() if request.method == "GET" else b"OK"
        response.headers["Date"] = "Mon, 02 Mar 2026 12:00:00 GMT"
        return response


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a response."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield (*path, name)
        yield from places(item, (*path, name))


@st.composite
def altered(draw: st.DrawFn) -> dict[str, Any]:
    """Draw all responses with some fields missing, null or odd. All responses with the flag have the same changes."""
    answers = copy.deepcopy(ANSWERS)
    for _ in range(draw(st.integers(1, 3))):
        of = draw(st.sampled_from(sorted(answers)))
        found = list(places(answers[of]))
        if not found:
            continue
        *way, last = draw(st.sampled_from(found))
        owner = answers[of]
        for name in way:
            owner = owner[name]
        if draw(st.booleans()) and draw(st.booleans()):
            del owner[last]
        else:
            owner[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return answers


def client_of(answers: dict[str, Any]) -> ManagementClient:
    return ManagementClient("ampex_x", base_url="http://127.0.0.1:1", retry_for=0, session=Answering(answers))


def tried(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except TYPED:
        return None


@settings(max_examples=150, deadline=None)
@given(altered())
def test_an_odd_answer_is_read_or_refused_in_our_own_words(answers: dict[str, Any]) -> None:
    client = client_of(answers)
    one = [
        tried(lambda: client.flags.get("848345")),
        tried(lambda: client.flags.find("search", project_id="100001")),
        *(tried(lambda: list(client.flags.list())) or []),
    ]
    tried(lambda: client.flags.find("search"))
    for read in (
        lambda: client.flags.version("848345", 2),
        lambda: client.flags.variants("848345"),
        lambda: client.flags.variant("848345", "on"),
        lambda: client.flags.inclusions("848345", "on"),
        lambda: client.flags.deployments("848345"),
        lambda: list(client.deployments.list()),
        lambda: list(client.feed.versions(NOW)),
    ):
        tried(read)
    versions = tried(lambda: client.flags.versions("848345"))
    for config in filter(None, one):
        readers_of_a_flag(client, config)
    if versions is not None:
        readers_of_a_history(versions)
    writers(client)


@settings(max_examples=150, deadline=None)
@given(altered())
def test_what_reads_without_a_client_takes_odd_answers_too(answers: dict[str, Any]) -> None:
    versions = [version for version in answers["/flags/848345/versions"] if isinstance(version, dict)]
    readers_of_a_history(cast("Any", versions))
    config = answers["/flags/848345"]
    watch = RolloutWait("flags", "848345", "Beta", Exposure(5, True), NOW, "hold", audience={"tags": "x"})
    watch.judge(config, NOW)
    exposure_of(config, "Beta")
    AudienceFields.of(config, None).drift_from(AudienceFields.of(cast("Any", CONFIG), None))


def readers_of_a_flag(client: ManagementClient, config: Any) -> None:
    for segment in (None, "Beta", "Nobody"):
        exposure = exposure_of(config, segment)
        audience = AudienceFields.of(config, segment)
        original = AudienceFields.of(cast("Any", CONFIG), segment)
        audience.drift_from(original)
        original.drift_from(audience)
        audience.ways_in()
        changed_fields(original.digest(), audience.digest())
        watch = RolloutWait("flags", "848345", segment, Exposure(5, True), NOW, "hold", audience=original.digest())
        watch.judge(config, NOW)
        tried(lambda segment=segment: percentage_fields(config, 25, segment))  # type: ignore[misc]
        assert exposure is None or isinstance(exposure.effective_percentage, int | float)
    for condition in (StateIs(("running",)), RolloutAtLeast(5), RolloutAtLeast(5, "Beta"), EnabledIs(True)):
        tried(lambda condition=condition: seen_by(client, condition, config))  # type: ignore[misc]
    wanted: dict[str, Any] = {**CONFIG, "archive": True}
    differing(config, wanted)
    shown(config, wanted)
    json.dumps(list_item("flags", config, "", [rollout()], NOW))


def readers_of_a_history(versions: Any) -> None:
    for segment in (None, "Beta"):
        entries = read_history(versions, segment, Exposure(5, True))
        list(exposure_changes(entries, NOW - timedelta(hours=2)))
        exposure = entries[0].exposure if entries else None
        seen = FlagSnapshot(exposure or Exposure(5, True), history=entries)
        version_of_exposure(seen)
        act = decide(PLAN, seen, RolloutState(), NOW)
        assert act.why
        assert all(map(str, entries))
    rows = in_order(rows_of("flags", "848345", versions))
    list(within(rows, NOW - timedelta(days=1), NOW))
    json.dumps(rows)
    json.dumps(flag_detail("flags", "848345", versions, "", [rollout()], NOW))
    with_numbers = [(3, 2), (1, 3)]
    for numbers in with_numbers:
        try:
            diff_versions("flags", "848345", versions, numbers)
        except LookupError as error:
            if not str(error).startswith("Comparing versions failed: version"):
                raise
    _version_that_made(versions, {"rolloutPercentage": 5})


def writers(client: ManagementClient) -> None:
    for target in (FlagRef("flags", id="848345"), FlagRef("flags", key="search", project_id="100001")):
        tried(lambda target=target: ensure_fields(client, target, {"enabled": True, "tags": ["release"]}))  # type: ignore[misc]
        tried(lambda target=target: ensure_percentage(client, target, 5))  # type: ignore[misc]
        tried(lambda target=target: ensure_percentage(client, target, 5, segment="Beta"))  # type: ignore[misc]
        for segment in (None, "Beta"):
            tried(lambda target=target, segment=segment: ManagedFlag.find(client, target, segment).seen)  # type: ignore[misc]


def rollout() -> Rollout:
    return Rollout(
        (
            RolloutTask(
                amplitude_conn_id="x",
                kind="flags",
                flag_id="848345",
                dag_id="dag",
                run_id="run",
                task_id="ramp",
                map_index=-1,
                state="deferred",
                run_state="running",
                run_began=NOW - timedelta(hours=3),
                began=NOW - timedelta(hours=3),
                ended=None,
                plan=PLAN,
            ),
        )
    )


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_tags_end_no_soak(odd: Any) -> None:
    watch = RolloutWait("flags", "848345", None, Exposure(5, True), NOW + timedelta(hours=1), "hold")
    assert watch.judge(cast("Any", {**CONFIG, "tags": odd}), NOW) is None
