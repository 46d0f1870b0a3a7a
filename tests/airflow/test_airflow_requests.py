"""The number of requests of each task, counted by the emulator. `docs/requests.md` has the table."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.guardrails import CheckContext
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.operators.decision import AmplitudeDecideExperimentOperator
from airflow_provider_ampexp.operators.dependencies import AmplitudeSetDependenciesOperator
from airflow_provider_ampexp.operators.drill import AmplitudeRollbackDrillOperator
from airflow_provider_ampexp.operators.groups import (
    AmplitudeAddToGroupOperator,
    AmplitudeCreateHoldoutGroupOperator,
    AmplitudeEditGroupOperator,
    AmplitudeRemoveFromGroupOperator,
)
from airflow_provider_ampexp.operators.inclusions import (
    AmplitudeAddCohortsOperator,
    AmplitudeAddInclusionsOperator,
    AmplitudeRemoveCohortsOperator,
    AmplitudeRemoveInclusionsOperator,
    AmplitudeSetCohortsOperator,
)
from airflow_provider_ampexp.operators.lifecycle import AmplitudeArchiveOperator, AmplitudeEnableOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeSetRolloutOperator
from airflow_provider_ampexp.operators.variants import AmplitudeEditVariantOperator, AmplitudeRemoveVariantOperator
from airflow_provider_ampexp.operators.version import AmplitudeRestoreVersionOperator
from airflow_provider_ampexp.polling._batch_reader import BatchReader
from airflow_provider_ampexp.polling._shared_poller import poll_until

ON: list[dict[str, Any]] = [{"key": "on"}]
BETA = [{"type": "property", "prop": "gp:beta", "op": "is", "values": ["true"]}]


def cost(emulator: Emulator, operator: Any) -> int:
    """Return the number of requests of a task."""
    emulator.clear_requests()
    operator.execute({})
    return int(emulator.requests()["total"])


def ways(flag: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {"key": {"flag_key": flag["key"]}, "id": {"flag_id": flag["id"]}}


@pytest.mark.parametrize("way", ["key", "id"])
def test_enabling_and_percentages(emulator: Emulator, way: str) -> None:
    named = ways(emulator.create_flag("search", variants=ON))[way]
    assert cost(emulator, AmplitudeEnableOperator(task_id="a", **named)) == 3
    assert cost(emulator, AmplitudeEnableOperator(task_id="a", **named)) == 1
    assert cost(emulator, AmplitudeSetRolloutOperator(task_id="a", percentage=25, **named)) == 4
    assert cost(emulator, AmplitudeSetRolloutOperator(task_id="a", percentage=25, **named)) == 1


@pytest.mark.parametrize("way", ["key", "id"])
def test_archiving(emulator: Emulator, way: str) -> None:
    for key, if_depended_on, changed in (("a", "fail", 5), ("b", "archive", 3)):
        named = ways(emulator.create_flag(key, variants=ON))[way]
        archive = AmplitudeArchiveOperator(task_id="a", if_depended_on=if_depended_on, **named)
        assert (cost(emulator, archive), cost(emulator, archive)) == (changed, 1)


@pytest.mark.parametrize("way", ["key", "id"])
@pytest.mark.parametrize("losers", [1, 3])
@pytest.mark.parametrize("segments", [0, 2])
def test_decisions(emulator: Emulator, way: str, losers: int, segments: int) -> None:
    keys = ["winner", *(f"loser_{number}" for number in range(losers))]
    beta = {"conditions": BETA, "percentage": 5, "rolloutWeights": dict.fromkeys(keys, 1)}
    experiment = emulator.create_experiment(
        "search",
        enabled=True,
        rolloutPercentage=20,
        variants=[{"key": key} for key in keys],
        targetSegments=[{**beta, "name": f"Segment {number}"} for number in range(segments)],
    )
    named = {"experiment_key": "search"} if way == "key" else {"experiment_id": experiment["id"]}
    roll_out = AmplitudeDecideExperimentOperator(task_id="a", decision="rollout", winner="winner", **named)
    roll_back = AmplitudeDecideExperimentOperator(task_id="b", decision="rollback", **named)
    assert cost(emulator, roll_out) == losers + 7
    assert cost(emulator, roll_out) == 2
    assert cost(emulator, roll_back) == 4
    assert cost(emulator, roll_back) == 1


@pytest.mark.parametrize("way", ["key", "id"])
def test_dependencies(emulator: Emulator, way: str) -> None:
    named = ways(emulator.create_flag("web"))[way]
    for key in ("api", "login"):
        emulator.create_flag(key)
    first, other, none = (
        AmplitudeSetDependenciesOperator(task_id="a", depends_on=depends_on, **named)
        for depends_on in ({"api": ["on"]}, {"api": ["on"], "login": ["on", "off"]}, {})
    )
    assert [cost(emulator, task) for task in (none, first, first, other, other, none, none)] == [1, 5, 3, 6, 3, 6, 1]


def test_rollback_drills(emulator: Emulator) -> None:
    drill = AmplitudeRollbackDrillOperator(task_id="a", flag_key="drill", create=True)
    assert cost(emulator, drill) == 14
    assert cost(emulator, drill) == 9


@pytest.mark.parametrize("way", ["key", "id"])
def test_adding_inclusions(emulator: Emulator, way: str) -> None:
    """By id, the flag is read as well, because the connection's project is compared with the flag's project."""
    named = ways(emulator.create_flag("search", variants=ON))[way]
    users = [f"user-{number}" for number in range(500)]
    add = AmplitudeAddInclusionsOperator(task_id="a", variant="on", users=users, **named)
    assert cost(emulator, add) == 4
    assert cost(emulator, add) == 2


@pytest.mark.parametrize("present", [20, 2000])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_removing_inclusions_by_index(emulator: Emulator, present: int, count: int) -> None:
    """A removal by value is tried once, and each removal by place is read back."""
    emulator.settings(rate_per_second=None)
    assert removal(emulator, present, count) == 2 * count + 3


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100, 101, 250, 2000])
def test_removing_inclusions_by_value(emulator: Emulator, count: int) -> None:
    emulator.settings(rate_per_second=None, extra_endpoints=True)
    assert removal(emulator, 2000, count) == math.ceil(count / 100) + 3


WITHOUT_BLUE = {"variants": [{"key": "on", "payload": 1}, {"key": "off"}], "rolloutWeights": {"on": 1, "off": 1}}


@pytest.mark.parametrize("way", ["key", "id"])
@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        ({"description": "Hers"}, 4),
        ({"description": "Hers", "rolloutPercentage": 7}, 5),
        ({"tags": ["hers"]}, 5),
        ({"description": "Hers", "rolloutWeights": {"on": 3, "off": 2, "blue": 1}}, 4 + 2 + 3),
        ({"description": "Hers", **WITHOUT_BLUE}, 4 + 3 + 3 + 1 + 3),
        ({"description": "Hers", "deployments": []}, 4 + 3),
    ],
)
def test_restoring_a_version(emulator: Emulator, way: str, edit: dict[str, Any], changed: int) -> None:
    weights = {"on": 1, "off": 1, "blue": 1}
    deployments = [stored["id"] for stored in emulator.dump()["deployments"]]
    flag = emulator.create_flag(
        "search", variants=[{"key": key} for key in weights], rolloutWeights=weights, deployments=deployments
    )
    emulator.edit("flags", flag["id"], **edit)
    restore = AmplitudeRestoreVersionOperator(task_id="a", version=1, overwrite=True, **ways(flag)[way])
    assert (cost(emulator, restore), cost(emulator, restore)) == (changed, 2)


@pytest.mark.parametrize("way", ["key", "id"])
def test_variants(emulator: Emulator, way: str) -> None:
    """By id, the flag is read as well, as for inclusions."""
    variants = [{"key": "on"}, {"key": "old"}]
    named = {**ways(emulator.create_flag("search", variants=variants))[way], "variant": "old"}
    for fields, changed in (({"name": "Old"}, 4), ({"rolloutWeight": 3}, 5), ({"rolloutWeight": 0}, 6)):
        edit = AmplitudeEditVariantOperator(task_id="a", fields=fields, **named)  # type: ignore[arg-type]
        assert (cost(emulator, edit), cost(emulator, edit)) == (changed, 2)
    remove = AmplitudeRemoveVariantOperator(task_id="a", **named)
    assert (cost(emulator, remove), cost(emulator, remove)) == (7, 2)


@pytest.mark.parametrize("way", ["key", "id"])
def test_groups(emulator: Emulator, way: str) -> None:
    emulator.settings(extra_endpoints=True)
    id = emulator.create_experiment("search")["id"]
    experiment: dict[str, Any] = {"experiment_key": "search"} if way == "key" else {"experiment_id": id}
    create = AmplitudeCreateHoldoutGroupOperator(
        task_id="a", holdout_key="no-tests", name="No tests", holdout_percentage=5
    )
    assert (cost(emulator, create), cost(emulator, create)) == (3, 1)
    (made,) = emulator.dump()["holdouts"]
    group: dict[str, Any] = {"holdout_key": "no-tests"} if way == "key" else {"holdout_id": made["id"]}
    for task, changed, unchanged in (
        (AmplitudeEditGroupOperator(task_id="b", fields={"description": "x"}, **group), 3, 1),
        (AmplitudeAddToGroupOperator(task_id="c", **experiment, **group), 4, 2),
        (AmplitudeRemoveFromGroupOperator(task_id="d", **experiment, **group), 4, 2),
    ):
        assert (cost(emulator, task), cost(emulator, task)) == (changed, unchanged)


@pytest.mark.parametrize("way", ["key", "id"])
def test_cohorts(emulator: Emulator, way: str) -> None:
    emulator.settings(extra_endpoints=True)
    named: dict[str, Any] = {**ways(emulator.create_flag("search", variants=ON))[way], "variant": "on"}
    many = [f"c-{number}" for number in range(100)]
    for operator, cohorts, changed in (
        (AmplitudeAddCohortsOperator, many, 4),
        (AmplitudeSetCohortsOperator, [*many[:50], "other"], 6),
        (AmplitudeRemoveCohortsOperator, many, 4),
    ):
        task = operator(task_id="a", cohorts=cohorts, **named)
        assert (cost(emulator, task), cost(emulator, task)) == (changed, 2)


def removal(emulator: Emulator, present: int, count: int) -> int:
    users = [f"user-{number}" for number in range(present)]
    flag = emulator.create_flag("search", variants=ON, inclusions={"on": users})
    gone = users[:: present // count][:count]
    remove = AmplitudeRemoveInclusionsOperator(task_id="a", variant="on", users=gone, flag_id=flag["id"])
    took = cost(emulator, remove)
    assert emulator.inclusions("flags", flag["id"], "on") == [user for user in users if user not in set(gone)]
    return took


@pytest.mark.parametrize(("filters", "pages"), [(True, 1), (False, 3)])
def test_finding_by_key(emulator: Emulator, filters: bool, pages: int) -> None:
    """Pages are read until the flag is found. The newest flags are first, and this one is on the third page of four."""
    emulator.settings(ignore_filters=not filters)
    emulator.load({"flags": [{"key": f"flag-{number}"} for number in range(3500)]})
    emulator.clear_requests()
    with ManagementClient(emulator.api_key, base_url=emulator.base_url) as client:
        found = client.flags.find("flag-1200", project_id=emulator.project_id)
    assert found is not None
    assert found["key"] == "flag-1200"
    assert emulator.requests()["total"] == pages


@pytest.mark.parametrize("stages", [[100], [1, 100], [1, 5, 25, 50, 100]])
def test_a_ramp_without_soaks(emulator: Emulator, stages: list[int]) -> None:
    """2 requests for the flag and its history, 1 for cohorts, which the service does not have, and 2 for each stage."""
    flag = emulator.create_flag("search", variants=ON)
    ramp = AmplitudeRampRolloutOperator(task_id="a", flag_key="search", stages=stages, soak=0, deferrable=False)
    assert cost(emulator, ramp) == 3 + 2 * len(stages)
    assert emulator.flag(flag["id"])["rolloutPercentage"] == 100
    assert cost(emulator, ramp) == 3


@pytest.mark.parametrize(("rollback", "more"), [("off", 0), ("hold", 0), (2, 3)])
def test_a_rollback_where_the_service_has_cohorts(emulator: Emulator, rollback: Any, more: int) -> None:
    """1 request for each variant at the start, and again after a rollback if the flag stays enabled."""
    emulator.settings(extra_endpoints=True)
    variants = [{"key": "on"}, {"key": "new"}, {"key": "newer"}]
    emulator.create_flag("search", variants=variants, enabled=True, rolloutPercentage=2)
    ramp = AmplitudeRampRolloutOperator(
        task_id="a", flag_key="search", stages=[5, 25], soak=0, deferrable=False, rollback=rollback, guardrails=[_fails]
    )
    emulator.clear_requests()
    with pytest.raises(AirflowFailException):
        ramp.execute({})
    by_route = emulator.requests()["by_route"]
    assert by_route["GET /api/1/flags/{id}/variants/{variantKey}/cohorts"] == 3 + more


def _fails(_: CheckContext) -> bool:
    return False


class Wait:
    """A wait for a number of polls."""

    interval = 0.2

    def __init__(self, id: str, looks: int) -> None:
        self.target = FlagRef("flags", id=id)
        self._left = looks

    def seconds_left(self, now: object) -> float:
        return 1000.0

    def saw(self, config: object, client: object) -> dict[str, Any] | None:
        self._left -= 1
        return {} if self._left == 0 else None

    def failed(self, error: Exception) -> dict[str, Any]:
        raise error


@pytest.mark.parametrize(
    ("flags", "waits", "offered", "a_round"),
    [
        (1, 1, False, {"GET /api/1/flags/{id}": 1}),
        (500, 500, False, {"GET /api/1/flags": 1}),
        (1000, 1000, False, {"GET /api/1/flags": 1}),
        (1000, 1000, True, {"GET /api/1/flags": 1}),
        (3000, 1000, True, {"GET /api/1/versions": 1}),
        (3000, 1000, False, {"GET /api/1/flags": 3}),
    ],
)
def test_a_round_of_many_waits(
    emulator: Emulator, flags: int, waits: int, offered: bool, a_round: dict[str, int]
) -> None:
    """The first rounds find the number of pages, and whether the service has a feed."""
    emulator.settings(rate_per_second=None, extra_endpoints=offered)
    ids = emulator.load({"flags": [{"key": f"flag-{number}"} for number in range(flags)]})["flags"]
    emulator.advance(60)
    watched = {FlagRef("flags", id=id) for id in ids[:waits]}
    with ManagementClient(emulator.api_key, base_url=emulator.base_url, retry_for=0) as client:
        lookout = BatchReader(client)
        for number in range(5):
            if number == 2:
                emulator.clear_requests()
            sight = lookout.look(watched, watched, watched)
            assert sight.configs.keys() | sight.unchanged == watched
    assert emulator.requests()["by_route"] == {route: 3 * count for route, count in a_round.items()}


def test_the_waits_of_a_triggerer_are_those_rounds(emulator: Emulator) -> None:
    ids = emulator.load({"flags": [{"key": f"flag-{number}"} for number in range(1000)]})["flags"]
    emulator.clear_requests()

    async def all_of_them() -> None:
        await asyncio.gather(*(poll_until("amplitude_experiment_default", Wait(id, 5)) for id in ids))

    asyncio.run(all_of_them())
    assert emulator.requests()["by_route"] == {"GET /api/1/flags": 5}


def test_a_day_of_500_flags_under_rollout(emulator: Emulator) -> None:
    """500 tasks each raise a flag through 5 stages in a day, with four soaks in the triggerer.

    Two parts are measured: a task's requests on workers, which do not depend on the soaks, and the requests of a round.
    The number for a day is computed from them, as in `docs/requests.md`.
    """
    from airflow.sdk.exceptions import TaskDeferred

    emulator.create_flag("search", variants=ON)
    emulator.settings(rate_per_second=None)
    ramp: Any = AmplitudeRampRolloutOperator(task_id="a", flag_key="search", stages=[1, 5, 25, 50, 100], soak="6h")
    emulator.clear_requests()
    waits = 0
    resume = ramp.execute
    given: dict[str, Any] = {}
    while True:
        try:
            resume({}, **given)
            break
        except TaskDeferred as deferred:
            waits += 1
            emulator.advance(6 * 3600 + 5)
            event = {"status": "due", "archived": False, "why": ""}
            resume, given = ramp.resume, {"event": event, **(deferred.kwargs or {})}
    on_workers = emulator.requests()["total"]
    assert (waits, on_workers) == (4, 3 + 5 * 2 + 4)

    ids = emulator.load({"flags": [{"key": f"flag-{number}"} for number in range(500)]})["flags"]
    watched = {FlagRef("flags", id=id) for id in ids}
    with ManagementClient(emulator.api_key, base_url=emulator.base_url, retry_for=0) as client:
        lookout = BatchReader(client)
        emulator.clear_requests()
        lookout.look(watched, watched, watched)
    a_round = emulator.requests()["total"]
    rounds = 24 * 60  # with the default of a poll each minute
    ends = 4 * 500  # and each soak's end may fall between two
    assert a_round == 1
    assert 500 * on_workers + (rounds + ends) * a_round == 11_940
