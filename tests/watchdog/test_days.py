"""A running rollout never counts as dead."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from tests.watchdog.days import Days

RUNS = int(os.environ.get("AMPEXP_WATCHDOG_RUNS", "2"))


def test_72_hours_of_late_steps_deaths_pauses_and_wrong_clocks_lower_nothing(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: Counter[int] = Counter()
    events: Counter[str] = Counter()
    for seed in range(RUNS):
        with pytest.MonkeyPatch.context() as patch:
            days = Days(seed, emulator, tmp_path / str(seed), patch)
            days.run()
        assert set(days.codes) <= {0, 3}, f"seed {seed}: {days.codes}, {days.events}"
        codes, events = codes + days.codes, events + days.events
    with capsys.disabled():
        print(f"\n{RUNS} x 72 hours, {codes.total()} passes of the watchdog: {dict(codes)}; {dict(events)}")
    assert codes[3] > 0, "no step was late: the simulation tests nothing"
