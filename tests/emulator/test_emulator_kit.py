"""The testing kit: its parts of the control object, and the fixture."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_ampexp.emulator._state.clock import Clock
from airflow_provider_ampexp.emulator.control import Emulator


def test_a_connection_to_it_is_in_the_environment(emulator: Emulator) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT"])
    assert connection == json.loads(emulator.connection_json)
    assert connection["extra"]["base_url"] == emulator.base_url


def test_a_clock_that_runs_fast_stays_where_it_came_to(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = [1000.0]
    monkeypatch.setattr(time, "time", lambda: machine[0])
    clock = Clock()
    clock.run(60)
    machine[0] += 10
    assert clock.now() == 1600
    clock.advance(5)
    machine[0] += 1
    assert clock.now() == 1665
    clock.run(1)
    machine[0] += 1
    assert clock.now() == 1666
    clock.run(0)
    machine[0] += 100
    assert clock.now() == 1666
    clock.offset = 7
    assert clock.now() == 1119


def test_versions_and_the_date_follow_it(emulator: Emulator, api: Any) -> None:
    flag = emulator.create_flag("search")
    emulator.run_clock(1_000_000)
    before = api("GET", "/flags").headers["Date"]
    time.sleep(0.1)
    emulator.edit("flags", flag["id"], enabled=True)
    newest, oldest = (
        datetime.fromisoformat(version["createdAt"][:19]) for version in emulator.versions("flags", flag["id"])
    )
    assert (newest - oldest).total_seconds() >= 100_000
    assert api("GET", "/flags").headers["Date"] != before
    emulator.reset()
    assert (
        abs(datetime.fromisoformat(emulator.create_flag("now")["createdAt"][:19] + "+00:00").timestamp() - time.time())
        < 60
    )


def test_what_users_got(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", rolloutPercentage=5)
    for fields in ({"enabled": True}, {"description": "a"}, {"rolloutPercentage": 25}, {"archive": True}):
        emulator.edit("flags", flag["id"], **fields)
    assert emulator.percentages("flags", flag["id"]) == [0, 5, 25, 0]


def test_the_clock_does_not_run_backwards(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="speed"):
        emulator.run_clock(-1)
