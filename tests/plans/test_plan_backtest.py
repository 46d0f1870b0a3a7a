"""``plans backtest``: past releases from the version history, and a warehouse with the bad releases."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.plans._cli import main

PLAN = """
flag: checkout
stages: [1, 25, 100]
soak: 12h
check_every: 3h
guardrails:
  - kind: sql
    name: errors
    conn_id: warehouse
    sql: >-
      select avg(failed), count(*) from checkouts
      where flag = {{ flag_key }} and at > {{ stage_started_at }} and at <= {{ now }}
    at_most: 0.1
    min_sample: 10
    no_data: hold
"""
STAGES = (1, 25, 100)
FIRST = datetime(2025, 1, 5, 9, tzinfo=timezone.utc)
SPACING = timedelta(days=30)
PERIOD = ("--since", "2025-01-01T00:00Z", "--until", "2025-07-20T00:00Z")
Command = Callable[..., tuple[int, str, str]]


class Release:
    """A release by persons, with 12 hours for each stage.

    :param bad_at: half of the checkouts fail from this percentage on
    :param lowered_after: the hours from the first raise to Ana's lowering; without it, the flag is reset after 25 days
    """

    def __init__(self, number: int, bad_at: int | None = None, lowered_after: float | None = None) -> None:
        self.began = FIRST + number * SPACING
        self.bad_at = bad_at
        self.ends = self.began + timedelta(hours=lowered_after or 25 * 24)

    def changes(self) -> list[tuple[datetime, bool, int, str]]:
        raises = [
            (self.began + place * timedelta(hours=12), True, stage, "Airflow") for place, stage in enumerate(STAGES)
        ]
        return [*(change for change in raises if change[0] < self.ends), (self.ends, False, 0, "Ana")]

    def fails_at(self, at: datetime) -> bool:
        present = [percentage for time, _, percentage, _ in self.changes() if time < at]
        return bool(present) and self.bad_at is not None and present[-1] >= self.bad_at


RELEASES = [
    Release(0),
    Release(1, bad_at=25, lowered_after=35),
    Release(2, bad_at=1, lowered_after=14),
    Release(3, lowered_after=20),  # for a reason that is not in the warehouse
    Release(4, bad_at=100),  # no person noticed, and the last stage has no soak
    Release(5, bad_at=25),  # nobody noticed
]


def history(releases: list[Release]) -> list[dict[str, Any]]:
    changes = [(FIRST - SPACING, False, 0, "Seed"), *(change for release in releases for change in release.changes())]
    return [
        {
            "version": number,
            "createdAt": at.isoformat().replace("+00:00", "Z"),
            "createdBy": by,
            "flagConfig": {"key": "checkout", "enabled": enabled, "rolloutPercentage": percentage, "tags": []},
        }
        for number, (at, enabled, percentage, by) in enumerate(changes, 1)
    ]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a warehouse with 20 checkouts an hour: 1 of 20 fails, and 10 of 20 during a bad release."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    rows = [
        (at.isoformat(" ", "seconds"), int(number < (10 if release.fails_at(at) else 1)))
        for release in RELEASES
        for hour in range(48)
        for at in [release.began + timedelta(hours=hour, minutes=30)]
        for number in range(20)
    ]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table checkouts (flag text, at text, failed integer)")
        database.executemany("insert into checkouts values ('checkout', ?, ?)", rows)
    database.close()
    return path


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], amplitude_emulator: Emulator
) -> Command:
    """Return a function that runs the command on a plan, and returns its exit code, output and error output."""
    monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT", amplitude_emulator.connection_json)
    monkeypatch.chdir(tmp_path)
    Path("checkout.yaml").write_text(PLAN)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["backtest", "checkout.yaml", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def load(emulator: Emulator, versions: list[dict[str, Any]]) -> None:
    emulator.load({"flags": [{"key": "checkout", "history": versions}]})


def rows(said: str) -> list[list[str]]:
    """Return the cells of the table."""
    return [re.split(r"  +", line.strip()) for line in said.splitlines()[2:-1]]


def test_it_shows_which_releases_would_have_stopped_and_how_early(
    command: Command, amplitude_emulator: Emulator, warehouse: Path
) -> None:
    load(amplitude_emulator, history(RELEASES))
    amplitude_emulator.clear_requests()
    code, said, wrong = command(*PERIOD)
    assert (code, wrong) == (0, "")
    assert [request["method"] for request in amplitude_emulator.request_log()] == ["GET", "GET"]
    assert said.splitlines()[0] == "checkout.yaml: flag 'checkout'"
    assert rows(said) == [
        ["2025-01-05 09:00Z", "100 %", "8", "no", "no"],
        ["2025-02-04 09:00Z", "100 %", "5", "2025-02-05 00:00Z at 25 %", "2025-02-05 20:00Z to 0 %", "20 hours"],
        ["errors (fail 1 of 1, value 0.5): 0.5 is more than 0.1, measured on 60"],
        ["2025-03-06 09:00Z", "25 %", "1", "2025-03-06 12:00Z at 1 %", "2025-03-06 23:00Z to 0 %", "11 hours"],
        ["errors (fail 1 of 1, value 0.5): 0.5 is more than 0.1, measured on 60"],
        ["2025-04-05 09:00Z", "25 %", "6", "no", "2025-04-06 05:00Z to 0 %"],
        ["2025-05-05 09:00Z", "100 %", "8", "no", "no"],
        ["2025-06-04 09:00Z", "100 %", "5", "2025-06-05 00:00Z at 25 %", "no"],
        ["errors (fail 1 of 1, value 0.5): 0.5 is more than 0.1, measured on 60"],
    ]
    assert said.splitlines()[-1] == (
        "6 releases: 3 would have been stopped, 0 held. Hits: 2 of 3 lowered releases. False stops: 1 of 3 releases "
        "that were not lowered. Median of the hits: 11 hours earlier."
    )


def test_json_has_each_look_and_the_totals(command: Command, amplitude_emulator: Emulator, warehouse: Path) -> None:
    load(amplitude_emulator, history(RELEASES))
    code, said, _ = command(*PERIOD, "--json")
    found = json.loads(said)
    assert code == 0
    totals = {"releases": 6, "stopped": 3, "hits": 2, "false_stops": 1, "lowered": 3, "held": 0}
    assert found["totals"] == {**totals, "earlier_by": 11 * 3600}
    releases = found["files"][0]["releases"]
    for release, made in zip(releases, RELEASES, strict=True):
        for look in release["looks"]:
            at = datetime.fromisoformat(look["at"])
            (result,) = look["results"]
            assert result["verdict"] == ("fail" if made.fails_at(at) else "pass"), look
    assert [release["earlier_by"] for release in releases] == [None, 20 * 3600, 11 * 3600, None, None, None]
    assert releases[2]["lowered"] == {"at": "2025-03-06T23:00:00+00:00", "to": 0, "by": "Ana"}
    assert [stage["percentage"] for stage in releases[1]["stages"]] == [1, 25, 100]


def test_a_period_chooses_the_releases_by_their_first_raise(
    command: Command, amplitude_emulator: Emulator, warehouse: Path
) -> None:
    load(amplitude_emulator, history(RELEASES))
    _, said, _ = command("--since", "2025-02-04T09:00Z", "--until", "2025-03-06T13:00Z", "--json")
    first, second = json.loads(said)["files"][0]["releases"]
    assert first["stages"][0]["began_at"] == "2025-02-04T09:00:00+00:00"
    assert (second["stages"][0]["left_at"], second["lowered"]) == ("2025-03-06T13:00:00+00:00", None)


def test_a_dry_run_is_tested_as_if_it_acted(command: Command, amplitude_emulator: Emulator, warehouse: Path) -> None:
    load(amplitude_emulator, history(RELEASES))
    Path("checkout.yaml").write_text(PLAN + "    dry_run: true\n")
    assert "6 releases: 3 would have been stopped" in command(*PERIOD)[1]


def test_limits_and_holds_count_as_in_a_rollout(
    command: Command, amplitude_emulator: Emulator, warehouse: Path
) -> None:
    load(amplitude_emulator, history(RELEASES))
    Path("checkout.yaml").write_text(PLAN + "    failure_limit: 3\n")
    stops = [row[3] for row in rows(command(*PERIOD)[1]) if "at 25 %" in str(row) or "at 1 %" in str(row)]
    assert stops == ["2025-02-05 06:00Z at 25 %", "2025-03-06 18:00Z at 1 %", "2025-06-05 06:00Z at 25 %"]
    Path("checkout.yaml").write_text(PLAN + "    effect: hold\n")
    _, said, _ = command(*PERIOD)
    assert "6 releases: 0 would have been stopped, 3 held." in said
    assert "held 2025-02-05 00:00Z at 25 %: errors (fail 1 of 1, value 0.5)" in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {" and at <= {{ now }}": ""},
            "checkout.yaml:10: guardrails[0].sql: 'errors': expected {{ now }} in",
        ),
        (
            {"at_most: 0.1": 'baseline_sql: "select 0.1, 100"\n    at_most_of_baseline: 1'},
            "guardrails[0].baseline_sql: 'errors': expected {{ now }} in the query",
        ),
        (
            {"at_most: 0.1": 'at_most: 0.1\n    loaded_at_sql: "select max(at) from checkouts"'},
            "guardrails[0].loaded_at_sql: 'errors': expected {{ now }} in the query",
        ),
        ({PLAN[PLAN.index("guardrails:") :]: ""}, "expected an SQL guardrail: only a query can answer about the past"),
        ({"soak: 12h": "soka: 12h"}, "soka: is an unknown field"),
    ],
    ids=["query", "baseline", "load", "no guardrail", "mistake"],
)
def test_a_file_that_cannot_answer_about_the_past_is_refused_by_name(
    command: Command, amplitude_emulator: Emulator, warehouse: Path, changed: dict[str, str], said: str
) -> None:
    load(amplitude_emulator, history(RELEASES))
    text = PLAN
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    Path("checkout.yaml").write_text(text)
    code, _, wrong = command(*PERIOD)
    assert code == 1
    assert said in wrong
    assert amplitude_emulator.requests()["total"] == 0


def test_a_flag_that_cannot_be_read_is_an_error(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, wrong = command(*PERIOD)
    assert (code, wrong.startswith("checkout.yaml: failed: The flag 'checkout'")) == (1, True)
    monkeypatch.delenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT")
    assert "connection 'amplitude_experiment_default' not found" in command(*PERIOD)[2]
    assert command("--since", "yesterday")[0] == 2


def test_a_guardrail_with_an_error_is_one_line(command: Command, amplitude_emulator: Emulator, warehouse: Path) -> None:
    load(amplitude_emulator, history(RELEASES[:1]))
    Path("checkout.yaml").write_text(PLAN.replace("from checkouts", "from nowhere"))
    code, said, wrong = command(*PERIOD)
    assert (code, wrong) == (0, "")
    assert "8 of 8 looks without a pass: errors (error 4 of 5): OperationalError: no such table: nowhere" in said
    assert "Traceback" not in said


def test_functions_are_named_and_not_asked(command: Command, amplitude_emulator: Emulator, warehouse: Path) -> None:
    load(amplitude_emulator, history(RELEASES[:1]))
    Path("checkout.yaml").write_text(PLAN + "  - {kind: callable, function: 'os.path:exists', name: files}\n")
    assert "  not asked: files. A function cannot answer about the past." in command(*PERIOD)[1]


RATIO = """
flag: checkout
stages: [50, 100]
soak: 12h
guardrails:
  - kind: sample_ratio
    conn_id: warehouse
    sql: >-
      select variant, sum(users) from exposures where at > {{ stage_started_at }} and at <= {{ now }} group by variant
    no_data: hold
"""


@pytest.mark.parametrize(
    ("soak", "verdicts"),
    [("12h", ["pass", "pass", "fail"]), ("0s", ["fail", "fail", "fail"])],
    ids=["at the end of the soak", "at the raise, without data"],
)
def test_a_guardrail_sees_the_flag_as_it_was_at_the_look(
    command: Command, amplitude_emulator: Emulator, warehouse: Path, soak: str, verdicts: list[str]
) -> None:
    """The weights change at each release, and between releases. The last release does not fit its weights.

    They also change 12 hours after the first raise, at the time of the look. The look comes first.
    """
    weights = [{"on": 1, "off": 1}, {"on": 3, "off": 1}, {"on": 1, "off": 1}]
    users = [(500, 500), (750, 250), (750, 250)]
    releases = [Release(number, lowered_after=36) for number in range(3)]
    versions = history(releases)
    with closing(sqlite3.connect(warehouse)) as database, database:
        database.execute("create table exposures (at text, variant text, users integer)")
        for release, (on, off) in zip(releases, users, strict=True):
            at = (release.began + timedelta(hours=1)).isoformat(" ", "seconds")
            database.executemany("insert into exposures values (?, ?, ?)", [(at, "on", on), (at, "off", off)])
    database.close()
    for version in versions:
        config, made = version["flagConfig"], datetime.fromisoformat(version["createdAt"].replace("Z", "+00:00"))
        config["rolloutWeights"] = {"on": 1}  # no ratio: the guardrail would have an error
        for release, of_release in zip(releases, weights, strict=True):
            if made == release.began:
                config["rolloutWeights"] = of_release
        if config["rolloutPercentage"] in (1, 25):
            config["rolloutPercentage"] = 50
    load(amplitude_emulator, versions)
    Path("checkout.yaml").write_text(RATIO.replace("12h", soak))
    found = json.loads(command(*PERIOD, "--json")[1])["files"][0]["releases"]
    assert [release["looks"][0]["results"][0]["verdict"] for release in found] == verdicts
