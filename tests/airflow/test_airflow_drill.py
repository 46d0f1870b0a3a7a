"""A rollback drill finds each cause that would stop a rollback, and leaves its flag disabled at 0 %."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import _refusals
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.operators.drill import AmplitudeRollbackDrillOperator

PATCH = {"route": "PATCH /api/1/flags/{id}", "times": None}
BETA = {"name": "Beta", "conditions": [], "percentage": 5, "rolloutWeights": {}}


@pytest.fixture(autouse=True)
def refusals_are_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a refusal final at once, and not after 5 minutes."""
    monkeypatch.setattr(_refusals, "REFUSED_FOR", 0.0)


def drill(**changed: Any) -> AmplitudeRollbackDrillOperator:
    return AmplitudeRollbackDrillOperator(**{"task_id": "drill", "flag_key": "drill", **changed})


def flag(emulator: Emulator, **fields: Any) -> str:
    return str(emulator.create_flag("drill", **{"enabled": False, "rolloutPercentage": 0, **fields})["id"])


def is_off(emulator: Emulator, flag_id: str) -> bool:
    config = emulator.flag(flag_id)
    return (config["enabled"], config["rolloutPercentage"]) == (False, 0)


def test_it_raises_the_flag_and_rolls_it_back(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        drill()
    ran = run(dag)
    assert ran.succeeded, ran.states
    assert emulator.percentages("flags", flag_id) == [0, 1, 0]
    assert is_off(emulator, flag_id)
    returned = ran.xcom("drill")
    assert (returned["id"], returned["key"], returned["waits_for_429"]) == (flag_id, "drill", 0)
    assert returned["raised"]["requests"] == returned["rolled_back"]["requests"] == 2
    assert returned["rolled_back"]["seconds"] > 0
    assert returned["url"].endswith(flag_id)


def test_it_creates_the_flag_only_if_it_may(emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="does not exist"):
        drill().execute({})
    assert emulator.dump()["flags"] == []
    for _ in range(2):
        drill(create=True).execute({})
        (made,) = emulator.dump()["flags"]
        assert made["deployments"] == []
        assert is_off(emulator, made["id"])
    assert emulator.percentages("flags", made["id"]) == [0, 1, 0, 1, 0]


def test_a_drill_that_was_killed_is_rolled_back_first(emulator: Emulator) -> None:
    flag_id = flag(emulator, enabled=True, rolloutPercentage=1)
    drill().execute({})
    assert emulator.percentages("flags", flag_id) == [1, 0, 1, 0]
    assert is_off(emulator, flag_id)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"deployments": ["1"]}, "it is in deployment 1"),
        ({"enabled": True, "rolloutPercentage": 2}, "it is at 2 %"),
        ({"rolloutPercentage": 50}, r"it is at 50 % \(disabled\)"),
        ({"targetSegments": [BETA]}, "its segments Beta have a percentage"),
        ({"deleted": True}, "it is archived"),
    ],
    ids=["deployment", "enabled", "prepared", "segment", "archived"],
)
def test_a_flag_that_users_may_get_is_refused(emulator: Emulator, fields: dict[str, Any], said: str) -> None:
    flag_id = flag(emulator, **fields)
    before = emulator.versions("flags", flag_id)
    with pytest.raises(AirflowFailException, match=f"expected a flag that no user gets.*{said}. Nothing was changed"):
        drill(create=True).execute({})
    assert emulator.versions("flags", flag_id) == before


def test_a_flag_that_users_had_is_refused_by_its_history(emulator: Emulator) -> None:
    flag_id = flag(emulator)
    emulator.edit("flags", flag_id, enabled=True, rolloutPercentage=25)
    emulator.edit("flags", flag_id, enabled=False, rolloutPercentage=0)
    with pytest.raises(AirflowFailException, match="users got more than 1 % in version 2 by Maria"):
        drill().execute({})
    assert len(emulator.versions("flags", flag_id)) == 3


def test_a_flag_that_another_flag_depends_on_is_refused(emulator: Emulator) -> None:
    """The flag has no deployments, but the users of the other flag would get the other flag."""
    flag_id = flag(emulator)
    emulator.create_flag("child", parentDependencies={"flags": {flag_id: ["on"]}, "operator": "all"})
    with pytest.raises(AirflowFailException, match=r"it is a dependency of flag 'child'\. Nothing was changed"):
        drill().execute({})
    assert len(emulator.versions("flags", flag_id)) == 1


def test_a_revoked_key_is_found(emulator: Emulator) -> None:
    flag_id = flag(emulator)
    emulator.load({"keys": [{"key": emulator.api_key, "person": "Airflow", "projects": ["100001"], "revoked": True}]})
    with pytest.raises(AirflowFailException, match="does not accept the management API key"):
        drill().execute({})
    assert is_off(emulator, flag_id)


def test_a_missing_right_is_found(emulator: Emulator) -> None:
    flag_id = flag(emulator)
    emulator.fault("status", status=403, **PATCH)
    with pytest.raises(AirflowFailException) as raised:
        drill().execute({})
    assert str(raised.value).startswith("Rollback drill of flag 'drill' failed while it raised the flag to 1 %: PATCH ")
    assert str(raised.value).endswith(
        " The flag is at 0 % (disabled). A rollback with connection 'amplitude_experiment_default' may fail in the "
        "same way: fix the cause before the next rollout."
    )
    assert is_off(emulator, flag_id)


@pytest.mark.parametrize("hold", ["all", "percentages"])
def test_a_held_approval_is_found(impatient: Emulator, hold: str) -> None:
    """If only percentages wait for approval, the raise enables the flag, and the drill disables it again."""
    flag_id = flag(impatient)
    impatient.hold(hold)
    with pytest.raises(AirflowFailException, match=r"probably waits for approval.*The flag is at 0 % \(disabled\)"):
        drill().execute({})
    assert is_off(impatient, flag_id)
    assert impatient.pending()


def test_a_rollback_that_does_not_show_is_found(impatient: Emulator) -> None:
    """The raise is visible, and the rollback is not. The error says which exposure users may have."""
    flag_id = flag(impatient)
    impatient.fault("status", status=200, body="OK", skip=1, **PATCH)
    with pytest.raises(AirflowFailException) as raised:
        drill().execute({})
    assert "failed while it rolled back the flag from 1 %" in str(raised.value)
    assert "The flag may still be enabled at 1 %, and no user gets it: it is in no deployment" in str(raised.value)
    assert impatient.percentages("flags", flag_id) == [0, 1]
    impatient.clear_faults()
    drill().execute({})
    assert is_off(impatient, flag_id)


def test_a_429_of_a_moment_is_counted(emulator: Emulator) -> None:
    flag_id = flag(emulator)
    emulator.fault("status", status=429, headers={"Retry-After": "0"}, skip=1, route="PATCH /api/1/flags/{id}")
    assert drill().execute({})["waits_for_429"] == 1
    assert is_off(emulator, flag_id)


def test_a_used_up_request_limit_is_found(impatient: Emulator) -> None:
    flag_id = flag(impatient)
    impatient.fault("status", status=429, **PATCH)
    with pytest.raises(AmplitudeTaskError, match="The project's request limit is used up"):
        drill().execute({})
    assert is_off(impatient, flag_id)


@pytest.mark.parametrize("kind", ["cut_after", "slow_after", "slow"])
def test_a_raise_without_a_response_is_lowered(impatient: Emulator, kind: str) -> None:
    flag_id = flag(impatient)
    impatient.fault(kind, seconds=1.4, route="PATCH /api/1/flags/{id}")
    impatient.fault("status", status=503, route="GET /api/1/flags/{id}/versions", skip=1)
    with pytest.raises(AmplitudeTaskError, match=r"The flag is at 0 % \(disabled\)"):
        drill().execute({})
    assert is_off(impatient, flag_id)
    assert impatient.percentages("flags", flag_id) == [0, 1, 0]


def test_a_change_of_another_person_stays(emulator: Emulator) -> None:
    flag_id = flag(emulator)
    emulator.edit_before_write("flags", flag_id, enabled=True, rolloutPercentage=3)
    with pytest.raises(AirflowFailException, match=r"Maria changed .* to 3 %.*The flag is at 3 %"):
        drill().execute({})
    assert emulator.flag(flag_id)["rolloutPercentage"] == 3


def test_a_change_with_the_same_key_that_is_not_restored_leaves_no_flag_enabled(emulator: Emulator) -> None:
    flag_id = flag(emulator)
    emulator.edit_before_write("flags", flag_id, by="Airflow", enabled=True, rolloutPercentage=100)
    with pytest.raises(AirflowFailException, match=r"change was NOT restored.*The flag is at 0 % \(disabled\)"):
        drill().execute({})
    assert is_off(emulator, flag_id)


def test_a_deployment_that_is_added_during_the_drill_is_found(emulator: Emulator) -> None:
    """The users of that deployment may have got the flag at 1 %."""
    flag_id = flag(emulator)
    emulator.edit_before_write("flags", flag_id, deployments=["1"])
    with pytest.raises(AirflowFailException, match=r"added to deployment 1 during the drill.*The flag is at 0 %"):
        drill().execute({})
    assert is_off(emulator, flag_id)


@pytest.mark.parametrize("done", [False, True], ids=["before it was sent", "after it was applied"])
@pytest.mark.parametrize("place", range(1, 9))
def test_a_task_that_is_ended_lowers_the_flag(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, place: int, done: bool
) -> None:
    flag_id = flag(emulator)
    send, left = requests.Session.send, place

    def ended(session: requests.Session, request: Any, **how: Any) -> requests.Response:
        nonlocal left
        left -= "/_emulator/" not in request.url
        if left == 0 and "/_emulator/" not in request.url:
            if done:
                send(session, request, **how)
            raise SystemExit("ended")
        return send(session, request, **how)

    monkeypatch.setattr(requests.Session, "send", ended)
    with pytest.raises(SystemExit):
        drill().execute({})
    assert is_off(emulator, flag_id)


@pytest.mark.parametrize("wrong", [{"flag_key": ""}, {"create": "maybe"}, {"project_id": ""}])
def test_a_wrong_argument_is_refused_while_the_dag_is_parsed(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        drill(**wrong)
