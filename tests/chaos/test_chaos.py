"""Test the judge of `make chaos` without an Airflow: it must find the violations in rollouts that have them."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator  # noqa: F401
from airflow_provider_ampexp.ensure import FlagRef
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout._heartbeat import Heartbeat, RolloutSubject
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot
from tests.chaos import kinds, secrets_backend, signals, witness
from tests.chaos.judge import judge, plan_of
from tests.chaos.report import scenarios_report
from tests.chaos.scenarios import Scenario, Scenarios
from tests.chaos.watchdog import play_rounds
from tests.chaos.witness import Line, Witness, read

BEGAN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Told:
    """A rollout, with the versions of the emulator and the lines of the witness."""

    def __init__(self, kind: str, ended: str = "success") -> None:
        self.rollout: Any = SimpleNamespace(
            kind=kinds.ALL_KINDS[kind], ended=ended, flag_id="1", foreign_versions=set()
        )
        self.lines: list[Line] = []
        self.history: list[dict[str, Any]] = []
        self.config: dict[str, Any] = kinds.flag_fields(kinds.ALL_KINDS[kind])
        self.tries: list[Any] = [SimpleNamespace(number=1, state=ended, ended=BEGAN + timedelta(minutes=5))]
        self._version(-9, "Seed")
        self.number = 1
        self._line(0, "running")

    def writes(self, at: float, pid: int = 7, is_witnessed: bool = True, **body: Any) -> Told:
        if is_witnessed:
            self._line(at, "answered", pid, newest=len(self.history))
            self._line(at, "sent", pid, method="PATCH", body=body)
        self.config = {**self.config, **body}
        self._version(at, "Airflow")
        return self

    def foreign(self, at: float, **body: Any) -> Told:
        """Write as another actor with the rollouts' own key."""
        self.config = {**self.config, **body}
        self._version(at, "Airflow")
        self.rollout.foreign_versions.add(len(self.history))
        return self

    def asks(self, at: float, percentage: int, acts: str) -> Told:
        """Add a verdict of the guardrails."""
        now = (BEGAN + timedelta(seconds=at)).isoformat()
        self._line(at, "verdict", now=now, percentage=percentage, acts=acts)
        return self

    def ends(self, at: float, what: str = "success", said: str = "") -> Told:
        self._line(at, what, said=said)
        return self

    def verdict(self) -> list[str]:
        emulator: Any = SimpleNamespace(versions=lambda *_: self.history[::-1], flag=lambda _: self.config)
        return judge(self.rollout, emulator, self.tries, self.lines, [])

    def _line(self, at: float, what: str, pid: int = 7, **more: Any) -> None:
        self.lines.append(Line(what, (BEGAN + timedelta(seconds=at)).timestamp(), "run", self.number, pid, more))

    def _version(self, at: float, by: str) -> None:
        made = (BEGAN + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        number = len(self.history) + 1
        self.history.append({"version": number, "createdAt": made, "createdBy": by, "flagConfig": self.config})


def whole() -> Told:
    told = Told("plain").writes(1, rolloutPercentage=1, enabled=True)
    for at, percentage in ((6, 5), (11, 25), (16, 100)):
        told.writes(at, rolloutPercentage=percentage)
    return told.ends(17)


def rolled_back_after(seconds: float) -> Told:
    told = Told("api-server-gone", "failed").writes(1, rolloutPercentage=1, enabled=True).asks(5, 1, "roll back")
    return told.writes(5 + seconds, rolloutPercentage=0, enabled=False).ends(5 + seconds, "failed", "Rolled back")


def foreign_raise(to: int = 25, kind: str = "foreign-next", ended: str = "failed") -> Told:
    told = Told(kind, ended).writes(1, rolloutPercentage=1, enabled=True).writes(6, rolloutPercentage=5)
    return told.foreign(7, rolloutPercentage=to)


def test_a_rollout_that_went_as_planned_is_told_nothing() -> None:
    assert whole().verdict() == []
    assert rolled_back_after(4).verdict() == []
    assert foreign_raise().ends(8, "failed", "It has stopped").verdict() == []
    assert foreign_raise(100, "foreign-later").ends(8, "failed", "It has stopped").verdict() == []


def overtaken(last: str, ended: str = "failed") -> Told:
    """Return a rollout in which a second attempt runs the check, and then the first one, still alive, sets a stage."""
    told = Told("breaks", ended).writes(1, rolloutPercentage=1, enabled=True)
    for at, percentage in ((6, 5), (11, 25)):
        told.asks(at, told.config["rolloutPercentage"], "go").writes(at, rolloutPercentage=percentage)
    told.tries.append(SimpleNamespace(number=2, state=ended, ended=BEGAN))
    told.number = 2
    told.asks(16, 25, last)
    told.number = 1
    told.asks(16, 25, "go").writes(17, rolloutPercentage=100)
    told.number = 2
    return told.ends(18, "failed", "from 25 % to 100 % by Airflow (this connection's own key: another task did it)")


def test_an_attempt_whose_check_has_not_passed_may_stop_where_an_older_one_went_on() -> None:
    assert overtaken("wait").verdict() == []
    assert "was to end as success" in overtaken("go").verdict()[0]


def test_a_higher_percentage_that_was_not_restored_is_told_and_a_lower_one_must_be() -> None:
    """Our raise came through, Maria set another percentage, and the raise was repeated after a lost response."""

    def told(kind: str, said: str) -> list[str]:
        story = Told(kind, "failed").writes(1, rolloutPercentage=1, enabled=True).writes(6, rolloutPercentage=5)
        return story.ends(7, "failed", said).verdict()

    refused = "Conflict on flag 1: Maria changed it. That change was NOT restored"
    assert told("raised", refused) == []
    assert "was to stand at" in told("raised", "Conflict on flag 1: Maria changed it.")[0]
    assert "was to stand at" in told("lowered", refused)[0]


def wrong() -> Iterator[tuple[str, Told, str]]:
    told = Told("plain").writes(1, rolloutPercentage=1, enabled=True).writes(3, rolloutPercentage=5)
    yield "a short soak", told.ends(4), "no_soak_is_cut_short"
    told = Told("plain").writes(1, rolloutPercentage=1, enabled=True).writes(6, rolloutPercentage=25)
    yield "a stage left out", told.ends(7), "exposure_is_earned"
    yield "lowered for nothing", whole().writes(30, rolloutPercentage=5), "lowered_only_by_a_rollback"
    yield "written by nobody", whole().writes(30, is_witnessed=False, rolloutPercentage=7), "nobody is known who wrote"
    told = whole()
    told.rollout.ended = None
    yield "not ended", told, "has ended as None, and was to end as success"
    told = whole()
    told.config = {**told.config, "rolloutPercentage": 25}
    yield "elsewhere", told, r"stands at \(25, True\), and was to stand at \(100, True\)"
    told = Told("plain").writes(1, rolloutPercentage=1, enabled=True)
    yield "rolled back late", rolled_back_after(29), "lowered 29.0 s after the failed check, at most 5 s"
    told = Told("api-server-gone", "failed").writes(1, rolloutPercentage=1, enabled=True).asks(5, 1, "roll back")
    yield "not rolled back", told.ends(9, "failed", "ROLLBACK NOT CONFIRMED"), "the flag was not lowered after it"
    told = foreign_raise(100, "foreign-later", "success")
    yield "green after a foreign raise", told.ends(8), "has ended as success, and was to end as failed"
    told = foreign_raise().writes(20, rolloutPercentage=100)
    yield "raised after a foreign raise", told.ends(21, "failed"), "nothing_is_written_after_a_persons_edit"
    told = foreign_raise().writes(8, rolloutPercentage=5)
    yield "a foreign raise undone", told.ends(9, "failed"), "lowered_only_by_a_rollback"
    for kind in ("vault", "refused", "trickled"):
        told = Told(kind, "failed").writes(1, rolloutPercentage=1, enabled=True)
        yield f"given up: {kind}", told.ends(3, "failed", "401"), "has ended as failed, and was to end as success"
    told = Told("plain").writes(1, rolloutPercentage=1, enabled=True)
    yield "late though somebody cared", told.writes(60, rolloutPercentage=5), "no_soak_begins_anew"


@pytest.mark.parametrize(("told", "what"), [pytest.param(told, what, id=name) for name, told, what in wrong()])
def test_what_is_wrong_is_found(told: Told, what: str) -> None:
    found = told.verdict()
    assert any(re.search(what, violation) for violation in found), found


def test_the_plan_that_is_judged_is_the_one_that_the_operator_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(signals.FOLDER, str(tmp_path))
    spec = importlib.util.spec_from_file_location("chaos_rollouts", Path(kinds.__file__).parent / "dags/rollouts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    # As JSON, because the rules depend only on it. The operator's plan also has the functions and the poll interval.
    told = {dag_id: dag.get_task("ramp").plan().as_json() for dag_id, dag in module.DAGS.items()}
    assert told == {f"chaos-{name}": plan_of(kind).as_json() for name, kind in kinds.ALL_KINDS.items()}


def test_a_witness_tells_what_is_sent_before_it_is_answered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    amplitude_emulator: Any,  # noqa: F811
) -> None:
    file = tmp_path / "witness.jsonl"
    monkeypatch.setenv(witness.FILE, str(file))
    monkeypatch.setattr(requests.Session, "request", requests.Session.request)  # restored after the test
    flag = amplitude_emulator.create_flag("search", variants=[{"key": "on"}])
    Witness("run-1", 2).listen()
    headers = {"Authorization": f"Bearer {amplitude_emulator.api_key}"}
    url = f"{amplitude_emulator.base_url}/api/1/flags/{flag['id']}"
    with requests.Session() as session:
        session.trust_env = False
        session.request("GET", f"{url}/versions", headers=headers, timeout=5)
        amplitude_emulator.fault("cut_after")
        with pytest.raises(requests.ConnectionError):
            session.request("PATCH", url, json={"rolloutPercentage": 5}, headers=headers, timeout=5)

    lines = read(file)
    told = [(line.what, line.more["method"]) for line in lines if line.more["path"].startswith("/api/")]
    assert told == [("sent", "GET"), ("answered", "GET"), ("sent", "PATCH")]
    assert [line.more["newest"] for line in lines if line.more.get("newest")] == [1]
    assert {(line.run_id, line.try_number) for line in lines} == {("run-1", 2)}


def test_a_scenario_that_hit_nothing_or_is_not_over_is_a_violation() -> None:
    assert Scenario("well", [], struck=1).problems() == []
    assert Scenario("idle", [], struck=0).problems() == ["idle: it hit nothing, so it shows nothing"]
    assert Scenario("hung", [], struck=1, is_over=False).problems() == ["hung: not over 120 s after it"]


def test_each_scenario_has_a_line() -> None:
    gone: Any = SimpleNamespace(kind=kinds.ALL_KINDS["api-server-gone"], ended="failed")
    vault: Any = SimpleNamespace(kind=kinds.ALL_KINDS["vault"], ended="success")
    played = [Scenario("api-server killed", [gone], 1), Scenario("secrets away", [vault, vault], 7)]
    head, *told = scenarios_report(played, lambda _: 0.42).splitlines()
    assert head.split() == ["scenario", "rollouts", "hits", "ended"]
    assert [line.split() for line in told] == [
        ["api-server", "killed", "1", "1", "1", "failed,", "lowered", "after", "0.4", "s"],
        ["secrets", "away", "2", "7", "2", "success"],
    ]


def test_the_secrets_backend_can_be_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signals.FOLDER, str(tmp_path))
    monkeypatch.setenv(secrets_backend.CONNECTION, '{"conn_type": "amplitude_experiment"}')
    backend, told = secrets_backend.ChaosSecretsBackend(), signals.Signals(tmp_path)
    assert backend.get_conn_value("another") is None
    assert backend.get_conn_value("amplitude_vault") == '{"conn_type": "amplitude_experiment"}'
    with told.secrets_away("raises"), pytest.raises(ConnectionError):
        backend.get_conn_value("amplitude_vault")
    with told.secrets_away("returns nothing"):
        assert backend.get_conn_value("amplitude_vault") is None
    assert backend.get_conn_value("amplitude_vault") is not None
    assert told.asked_while_away() == 2


def test_a_check_fails_only_once_its_outage_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signals.FOLDER, str(tmp_path))
    told = signals.Signals(tmp_path)
    check = kinds.ALL_KINDS["api-server-gone"].check
    assert check is not None
    now = BEGAN + timedelta(minutes=1)
    ti = SimpleNamespace(run_id="run", try_number=1)
    asked = {"percentage": 5, "stage_started_at": BEGAN, "now": now, "context": {"ti": ti}, "is_preflight": False}
    moment: Any = SimpleNamespace(**asked)
    assert check(moment) is True
    assert not told.wants_outage("run")
    moment.percentage = 1
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(check, moment)
        deadline = time.monotonic() + 10
        while not told.wants_outage("run") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not answer.done()
        told.grant_outage("run")
        assert answer.result(timeout=10) is False


class Director:
    """A controller whose rollouts run as given, without an Airflow."""

    def __init__(self, emulator: Any, folder: Path) -> None:
        self.emulator = emulator
        self.installation: Any = SimpleNamespace(signals=signals.Signals(folder), is_healthy=lambda: True)
        self.processes: Any = SimpleNamespace(kill=self._gone, suspended=lambda part: nullcontext(self._gone(part)))
        self.gone: list[str] = []
        self.begun: list[Any] = []

    def begin(self, kind: kinds.Kind) -> Any:
        number = len(self.begun) + 1
        fields = {**kinds.flag_fields(kind), "enabled": True, "rolloutPercentage": 5}
        flag_id = self.emulator.create_flag(f"{kind.name}-{number}", **fields)["id"]
        rollout = SimpleNamespace(
            kind=kind, flag_id=flag_id, run_id=f"rollout-{number}", ended="failed", foreign_versions=set()
        )
        self.installation.signals._file("wanted", rollout.run_id).touch()
        self.begun.append(rollout)
        return rollout

    def look(self) -> dict[str, Any]:
        return {rollout.run_id: SimpleNamespace(state="queued") for rollout in self.begun}

    def until(self, condition: Any, seconds: float) -> bool:
        """Let the time pass at once, with look-ups of the connection and reads of the flag."""
        self.installation.signals.how_secrets_are_away()
        with requests.Session() as session, suppress(requests.RequestException):
            session.trust_env = False
            session.get(f"{self.emulator.base_url}/api/1/flags", timeout=0.5)
        return bool(condition())

    def clear_faults(self) -> int:
        struck = sum(fault["struck"] for fault in self.emulator.faults())
        self.emulator.clear_faults()
        return struck

    def _gone(self, part: str) -> None:
        self.gone.append(part)


def test_every_scenario_hits_its_rollouts_and_leaves_the_service_well(
    tmp_path: Path,
    amplitude_emulator: Any,  # noqa: F811
) -> None:
    director: Any = Director(amplitude_emulator, tmp_path)
    scenarios = Scenarios(director)
    assert scenarios.run(time.monotonic() + 60)
    assert len(scenarios.played) == 6
    assert [problem for played in scenarios.played for problem in played.problems()] == []
    assert {rollout.kind.name for rollout in director.begun} == set(kinds.SCENARIO_KINDS)
    assert director.gone == ["api-server", "api-server"]
    assert amplitude_emulator.faults() == []
    assert director.installation.signals.how_secrets_are_away() is None
    raised = {
        rollout.kind.name: amplitude_emulator.flag(rollout.flag_id)["rolloutPercentage"]
        for rollout in director.begun
        if rollout.foreign_versions
    }
    assert raised == {"foreign-next": 25, "foreign-later": 100, "foreign-checked": 25}


class DeadAirflow(Director):
    """An Airflow whose rollouts are at 25 % when all its processes are killed.

    :param leaves_heartbeat: whether a heartbeat names the version of 25 %, and 5 % as confirmed
    :param raises_again: whether it sets 25 % again after its restart
    """

    def __init__(self, emulator: Any, folder: Path, *, leaves_heartbeat: bool, raises_again: bool = False) -> None:
        super().__init__(emulator, folder)
        self.processes = SimpleNamespace(kill_all=self._die, start_all=self._start)
        self._leaves_heartbeat, self._raises_again = leaves_heartbeat, raises_again
        self.rollouts: list[Any] = []

    def begin(self, kind: kinds.Kind) -> Any:
        rollout = super().begin(kind)
        self.rollouts.append(rollout)
        self._set(rollout, 25)
        return rollout

    def _set(self, rollout: Any, percentage: int) -> None:
        self.emulator.edit("flags", rollout.flag_id, by="Airflow", rolloutPercentage=percentage)

    def _die(self) -> None:
        folder = self.installation.signals.heartbeats / "dag"
        folder.mkdir(parents=True)
        for rollout in self.rollouts if self._leaves_heartbeat else []:
            now = datetime.now(timezone.utc)
            beat = Heartbeat(
                RolloutSubject("dag", self.emulator.base_url, "flags", rollout.flag_id, hold_tag="rollout-hold"),
                at=now,
                due=now,
                exposure=Exposure(25, True),
                version=int(self.emulator.versions("flags", rollout.flag_id)[0]["version"]),
                lower_to=Exposure(5, True),
                audience=self._seen(rollout.flag_id).audience.digest(),
            )
            (folder / beat.subject.file_name).write_text(beat.as_json())

    def _seen(self, flag_id: str) -> FlagSnapshot:
        with ManagementClient(self.emulator.api_key, base_url=self.emulator.base_url) as client:
            return ManagedFlag.find(client, FlagRef("flags", id=flag_id), None).seen

    def _start(self) -> None:
        for rollout in self.rollouts if self._raises_again else []:
            self._set(rollout, 25)


def test_the_watchdog_must_lower_each_flag_after_the_death_of_airflow(
    tmp_path: Path,
    amplitude_emulator: Any,  # noqa: F811
) -> None:
    told: list[str] = []
    well: Any = DeadAirflow(amplitude_emulator, tmp_path / "well", leaves_heartbeat=True)
    assert play_rounds(well, 2, 3, told.append) == []
    assert well.rollouts == []
    assert told[-1].startswith(
        "2 kills of all of Airflow with 6 rollouts: 6 flags lowered by the watchdog, 0 violations"
    )

    amplitude_emulator.reset()
    left: Any = DeadAirflow(amplitude_emulator, tmp_path / "left", leaves_heartbeat=False)
    violations = play_rounds(left, 1, 1, told.append)
    assert len(violations) == 2
    assert "the watchdog left the flag at 25 %" in violations[0]

    amplitude_emulator.reset()
    raised: Any = DeadAirflow(amplitude_emulator, tmp_path / "raised", leaves_heartbeat=True, raises_again=True)
    violations = play_rounds(raised, 1, 1, told.append)
    assert any("Airflow wrote after the watchdog had lowered the flag" in violation for violation in violations)
