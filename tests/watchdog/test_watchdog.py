"""The watchdog command, with the heartbeat of a rollout whose Airflow died at 25 %, after 1 % was confirmed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.watchdog import _cli as cli
from tests.watchdog.rollouts import Deferred, Ended, Rollout, actors, exposures, new_flag, passes, write_to

MINUTE, HOUR = 60, 3600
PLAN = RolloutPlan([1, 25, 100], soak="1h", guardrails=[passes])


class Death:
    """A rollout that died at 25 %. Its next step was due an hour after its raise."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.flag_id = new_flag(emulator)
        self.rollout = Rollout(emulator.base_url, self.flag_id, [PLAN], write_to(folder))
        for _ in range(2):
            with pytest.raises(Deferred):
                self.rollout.step()
            emulator.advance(HOUR + 5)
        (self.file,) = folder.glob("*.json")

    def look(self, *arguments: str) -> int:
        return cli.main([str(self.folder), "--base-url", self.emulator.base_url, *arguments])

    def edit(self, **fields: Any) -> None:
        """Edit the flag as a person."""
        self.emulator.edit("flags", self.flag_id, **fields)

    def write(self, **fields: Any) -> None:
        """Replace fields of the heartbeat."""
        self.file.write_text(json.dumps({**json.loads(self.file.read_text()), **fields}))

    @property
    def exposures(self) -> list[int]:
        return exposures(self.emulator, self.flag_id)


@pytest.fixture
def death(emulator: Emulator, tmp_path: Path) -> Death:
    return Death(emulator, tmp_path / "heartbeats")


def test_a_flag_is_lowered_once_when_the_step_is_an_hour_late(death: Death, capsys: pytest.CaptureFixture[str]) -> None:
    codes = []
    for minutes in (20, 20, 15, 10, 5):
        death.emulator.advance(minutes * MINUTE)
        codes.append(death.look())
    assert codes == [0, 3, 3, 1, 0]
    assert death.exposures == [0, 1, 25, 1]
    assert "Watchdog" in actors(death.emulator, death.flag_id)
    said = capsys.readouterr().out.splitlines()
    assert "in time at 25 %" in said[0]
    assert "Left at 25 %, and lowered to 1 % after" in said[1]
    assert "Lowered flag 'search' (id " in said[3]
    assert "from 25 % to 1 %, and confirmed it by reading" in said[3]
    with pytest.raises(Ended, match="stopped"):  # Airflow is back
        death.rollout.step()
    assert death.look() == 0


def test_a_first_stage_is_lowered_to_the_exposure_before_the_rollout(emulator: Emulator, tmp_path: Path) -> None:
    flag_id = new_flag(emulator)
    with pytest.raises(Deferred):
        Rollout(emulator.base_url, flag_id, [PLAN], write_to(tmp_path)).step()
    emulator.advance(3 * HOUR)
    assert cli.main([str(tmp_path), "--base-url", emulator.base_url]) == 1
    now = emulator.flag(flag_id)
    assert (now["rolloutPercentage"], now["enabled"]) == (0, False)


def put_back(death: Death) -> None:
    death.edit(rolloutPercentage=50)
    death.edit(rolloutPercentage=25)


def other_rollout_alive(death: Death) -> None:
    """Add a running rollout of another DAG with the same flag. Its step is not yet due."""
    beat = json.loads(death.file.read_text())
    other = death.folder / "other" / death.file.name
    other.parent.mkdir()
    other.write_text(json.dumps({**beat, "due": "2999-01-01T00:00:00+00:00"}))


def other_rollout_confirmed_it(death: Death) -> None:
    """Add another rollout of this flag, which ended later at the same stage."""
    beat = json.loads(death.file.read_text())
    other = death.folder / "other" / death.file.name
    other.parent.mkdir()
    later = (datetime.fromisoformat(beat["at"]) + timedelta(minutes=5)).isoformat()
    other.write_text(json.dumps({**beat, "at": later, "lower_to": beat["exposure"], "ended": "finished"}))


def other_rollout_unreadable(death: Death) -> None:
    other = death.folder / "other" / death.file.name
    other.parent.mkdir()
    other.write_text("{")


SEGMENT = {"name": "Pro", "percentage": 50, "conditions": [], "rolloutWeights": {"on": 1}}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda death: death.edit(rolloutPercentage=26), 0),
        (lambda death: death.edit(rolloutPercentage=100), 0),
        (put_back, 0),
        (lambda death: death.edit(enabled=False), 0),
        (lambda death: death.edit(deleted=True), 0),
        (lambda death: death.edit(tags=["Rollout-Hold"]), 3),
        (lambda death: death.edit(targetSegments=[SEGMENT]), 3),
        (lambda death: death.edit(bucketingSalt="other"), 3),
        (lambda death: death.write(ended="stopped"), 0),
        (lambda death: death.write(version=None), 0),
        (lambda death: death.write(version=1), 0),
        (lambda death: death.write(exposure={"percentage": 26, "enabled": True}), 0),
        (lambda death: death.write(lower_to={"percentage": 25, "enabled": True}), 0),
        (lambda death: death.write(format=2), 4),
        (lambda death: death.write(due="2026-01-01T00:00:00"), 4),
        (lambda death: death.write(exposure=None), 4),
        (lambda death: death.file.write_text(""), 4),
        (lambda death: death.file.write_bytes(b"\xff\xfe"), 4),
        (lambda death: death.file.unlink(), 4),  # a folder that is not mounted has no file either
        (lambda death: death.file.write_text("[" * 200_000), 4),
        (lambda death: death.write(next_stage=float("inf")), 4),
        (lambda death: death.write(due="9999-12-31T23:59:59+00:00"), 4),
        (lambda death: death.write(lower_to={"percentage": -5, "enabled": True}), 4),
        (lambda death: death.write(ended=False), 4),
        (lambda death: death.write(ended=""), 4),
        (lambda death: death.write(audience={}), 3),
        (other_rollout_alive, 0),
        (other_rollout_confirmed_it, 0),
        (other_rollout_unreadable, 4),
    ],
)
def test_each_doubt_leaves_the_flag_as_it_is(death: Death, change: Callable[[Death], object], code: int) -> None:
    change(death)
    before = death.emulator.versions("flags", death.flag_id)
    death.emulator.advance(100 * HOUR)
    assert death.look() == code
    assert death.emulator.versions("flags", death.flag_id) == before


@pytest.mark.parametrize("fields", [{"description": "Search"}, {"tags": ["release"]}])
def test_an_edit_that_changes_no_exposure_does_not_hide_a_dead_rollout(death: Death, fields: dict[str, Any]) -> None:
    death.edit(**fields)
    death.emulator.advance(2 * HOUR)
    assert death.look() == 1


@pytest.mark.parametrize(("above", "code"), [("25", 0), ("24", 1)])
def test_a_flag_that_is_not_above_the_limit_is_left(death: Death, above: str, code: int) -> None:
    death.emulator.advance(2 * HOUR)
    assert death.look("--above", above) == code


def test_a_dry_run_reports_and_writes_nothing(death: Death, capsys: pytest.CaptureFixture[str]) -> None:
    death.emulator.advance(2 * HOUR)
    assert death.look("--dry-run") == 3
    assert "Without --dry-run it is lowered to 1 % now" in capsys.readouterr().out
    assert death.exposures == [0, 1, 25]


def test_a_lowering_that_amplitude_holds_for_approval_is_not_confirmed(
    death: Death, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_ampexp.ensure._confirmation._PAUSES", (0.0,), raising=False)
    death.emulator.hold("all")
    death.emulator.advance(2 * HOUR)
    assert death.look() == 5
    assert "ROLLBACK NOT CONFIRMED for flag 'search'" in capsys.readouterr().out


def test_a_service_that_cannot_be_read_is_unknown(death: Death, capsys: pytest.CaptureFixture[str]) -> None:
    death.emulator.advance(2 * HOUR)
    death.emulator.fault("status", status=404, route="GET /api/1/flags/{id}", times=None)
    assert death.look() == 4
    assert "Nothing was changed." in capsys.readouterr().out


def test_a_heartbeat_does_not_choose_the_service_that_gets_the_key(
    death: Death, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = json.loads(death.file.read_text())["subject"]
    death.write(subject={**subject, "base_url": "http://127.0.0.1:9"})
    death.emulator.clear_requests()
    death.emulator.advance(2 * HOUR)
    assert death.look() == 4
    assert death.emulator.request_log() == []
    assert "It is not watched" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read_is_unknown(emulator: Emulator, tmp_path: Path) -> None:
    assert cli.main([str(tmp_path / "none"), "--base-url", emulator.base_url]) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--after", "10m"], "expected at least 20m"),
        (["--after", "60"], "has no unit"),
        (["--above", "101"], "outside 0 to 100"),
        (["--base-url", "http://example.com"], "base_url"),
    ],
)
def test_a_wrong_argument_is_named(
    death: Death, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert death.look(*arguments) == 2
    assert said in capsys.readouterr().err


def test_the_key_comes_from_the_environment_and_appears_nowhere(
    death: Death, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    death.emulator.advance(2 * HOUR)
    monkeypatch.delenv(cli.KEY)
    assert death.look() == 2
    monkeypatch.setenv(cli.KEY, "ampex_revoked_secret")
    assert death.look() == 4
    said = capsys.readouterr()
    assert "AMPLITUDE_EXPERIMENT_KEY" in said.err
    assert "secret" not in said.out + said.err


def test_the_command_needs_no_airflow(death: Death) -> None:
    """The command runs without Airflow and the packages that Airflow installs."""
    death.emulator.advance(2 * HOUR)
    code = (
        "import sys, runpy\n"
        "for name in ('airflow', 'pydantic', 'fastapi', 'fsspec', 'sqlalchemy'): sys.modules[name] = None\n"
        "runpy.run_module('airflow_provider_ampexp.watchdog', run_name='__main__')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(death.folder), "--base-url", death.emulator.base_url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    assert death.exposures == [0, 1, 25, 1]


def test_heartbeats_are_read_from_another_store(death: Death) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe_file("/beats/dag/flags-1.json", death.file.read_bytes())
    death.emulator.advance(2 * HOUR)
    assert cli.main(["memory://beats", "--base-url", death.emulator.base_url]) == 1
    assert cli.main(["memory://none", "--base-url", death.emulator.base_url]) == 4
