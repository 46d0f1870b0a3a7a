"""What `make chaos` judges by, without its Airflow: a judge that finds nothing wrong with anything proves nothing."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from airflow_provider_ampexp.emulator.fixture import amplitude_emulator  # noqa: F401
from tools.chaos import kinds, witness
from tools.chaos.judge import judge, plan_of
from tools.chaos.witness import Line, Witness, read

BEGAN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Told:
    """A rollout as the emulator and the witness tell of it."""

    def __init__(self, kind: str, ended: str = "success") -> None:
        self.rollout: Any = SimpleNamespace(kind=kinds.KINDS[kind], ended=ended, flag_id="1")
        self.lines: list[Line] = []
        self.history: list[dict[str, Any]] = []
        self.config: dict[str, Any] = kinds.flag_fields(kinds.KINDS[kind])
        self.tries: list[Any] = [SimpleNamespace(number=1, state=ended, ended=BEGAN + timedelta(minutes=5))]
        self._version(-9, "Seed")
        self._line(0, "running")

    def writes(self, at: float, pid: int = 7, is_witnessed: bool = True, **body: Any) -> Told:
        if is_witnessed:
            self._line(at, "answered", pid, newest=len(self.history))
            self._line(at, "sent", pid, method="PATCH", body=body)
        self.config = {**self.config, **body}
        self._version(at, "Airflow")
        return self

    def ends(self, at: float, what: str = "success", said: str = "") -> Told:
        self._line(at, what, said=said)
        return self

    def verdict(self) -> list[str]:
        emulator: Any = SimpleNamespace(versions=lambda *_: self.history[::-1], flag=lambda _: self.config)
        return judge(self.rollout, emulator, self.tries, self.lines, [])

    def _line(self, at: float, what: str, pid: int = 7, **more: Any) -> None:
        self.lines.append(Line(what, (BEGAN + timedelta(seconds=at)).timestamp(), "run", 1, pid, more))

    def _version(self, at: float, by: str) -> None:
        made = (BEGAN + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        number = len(self.history) + 1
        self.history.append({"version": number, "createdAt": made, "createdBy": by, "flagConfig": self.config})


def whole() -> Told:
    told = Told("plain").writes(1, rolloutPercentage=1, enabled=True)
    for at, percentage in ((6, 5), (11, 25), (16, 100)):
        told.writes(at, rolloutPercentage=percentage)
    return told.ends(17)


def test_a_rollout_that_went_as_planned_is_told_nothing() -> None:
    assert whole().verdict() == []


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
    yield "late though somebody cared", told.writes(60, rolloutPercentage=5), "no_soak_begins_anew"


@pytest.mark.parametrize(("told", "what"), [pytest.param(told, what, id=name) for name, told, what in wrong()])
def test_what_is_wrong_is_found(told: Told, what: str) -> None:
    found = told.verdict()
    assert any(re.search(what, one) for one in found), found


def test_the_plan_that_is_judged_is_the_one_that_the_operator_is_told() -> None:
    spec = importlib.util.spec_from_file_location("chaos_rollouts", Path(kinds.__file__).parent / "dags/rollouts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    told = {dag_id: dag.get_task("ramp").plan() for dag_id, dag in module.DAGS.items()}
    assert told == {f"chaos-{name}": plan_of(kind) for name, kind in kinds.KINDS.items()}


def test_a_witness_tells_what_is_sent_before_it_is_answered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    amplitude_emulator: Any,  # noqa: F811
) -> None:
    file = tmp_path / "witness.jsonl"
    monkeypatch.setenv(witness.FILE, str(file))
    monkeypatch.setattr(requests.Session, "request", requests.Session.request)  # put back afterwards
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
    told = [(one.what, one.more["method"]) for one in lines if one.more["path"].startswith("/api/")]
    assert told == [("sent", "GET"), ("answered", "GET"), ("sent", "PATCH")]
    assert [one.more["newest"] for one in lines if one.more.get("newest")] == [1]
    assert {(one.run_id, one.try_number) for one in lines} == {("run-1", 2)}
