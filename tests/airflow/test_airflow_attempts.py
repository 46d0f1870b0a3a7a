"""The number of an attempt since the last clear, from Airflow's numbers of tries and retries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_ampexp.operators import _airflow_call as airflow_call
from airflow_provider_ampexp.operators._attempts import Attempt, is_automatic_retry, this_attempt, was_cleared

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Store:
    """Airflow's task state store, which may have an outage."""

    def __init__(self, away: Callable[[], object] = lambda: None) -> None:
        self.kept: dict[str, Any] = {}
        self._away = away

    def get(self, key: str) -> Any:
        self._away()
        return self.kept.get(key)

    def set(self, key: str, value: Any) -> None:
        self._away()
        self.kept[key] = value


def attempt(try_number: int, max_tries: int, store: Store | None = None) -> Any:
    return {"ti": SimpleNamespace(try_number=try_number, max_tries=max_tries), "task_state_store": store}


@pytest.mark.parametrize(
    ("try_number", "max_tries", "is_retry", "is_cleared"),
    [
        (1, 3, False, False),
        (2, 3, True, False),
        (4, 3, True, False),
        (3, 5, False, True),  # cleared after its second try
        (4, 5, True, True),
    ],
)
def test_a_clear_is_told_from_a_retry(try_number: int, max_tries: int, is_retry: bool, is_cleared: bool) -> None:
    context = attempt(try_number, max_tries)
    assert is_automatic_retry(context, 3) is is_retry
    assert was_cleared(context, 3) is is_cleared


def test_lowered_retries_make_no_clear_of_a_retry() -> None:
    """The task began with 5 retries. The DAG file now has 1 or none, and Airflow retries the task."""
    for retries in (0, 1, 2, None):
        assert is_automatic_retry(attempt(2, 5), retries)
        assert not was_cleared(attempt(2, 5), retries)


def test_raised_retries_make_no_first_attempt_of_a_retry() -> None:
    assert is_automatic_retry(attempt(2, 1), 5)


def test_retries_lowered_by_as_many_as_there_were_tries_make_no_clear_of_a_retry() -> None:
    """By the numbers alone it would be a clear. The note of the first attempt shows that no person cleared the task."""
    store = Store()
    assert this_attempt(attempt(1, 3, store), 3, NOW) == Attempt(is_retry=False, was_cleared=False)
    for retries in (2, 3):
        found = this_attempt(attempt(2, 3, store), retries, NOW.replace(hour=13))
        assert found == Attempt(is_retry=True, was_cleared=False, first_began=NOW)
        assert found.cleared_at is None


def test_a_retry_after_a_clear_knows_when_that_was() -> None:
    store = Store()
    this_attempt(attempt(1, 3, store), 3, NOW.replace(hour=1))
    assert this_attempt(attempt(2, 4, store), 3, NOW) == Attempt(is_retry=False, was_cleared=True)
    later = NOW.replace(hour=13)
    assert this_attempt(attempt(3, 4, store), 3, later) == Attempt(is_retry=True, was_cleared=True, first_began=NOW)
    # Some ways of clearing a task keep the store, and some empty it.
    assert this_attempt(attempt(4, 6, store), 3, later) == Attempt(is_retry=False, was_cleared=True)
    store.kept.clear()
    assert this_attempt(attempt(5, 6, store), 3, later) == Attempt(is_retry=True, was_cleared=True)


def test_an_airflow_that_is_away_neither_fails_nor_delays_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_call, "LIMIT", 0.2)

    def broken() -> None:
        raise RuntimeError("the API server is away")

    assert this_attempt(attempt(2, 3, Store(broken)), 3, NOW).is_retry
    ends = threading.Event()
    began = time.monotonic()
    assert not this_attempt(attempt(1, 3, Store(ends.wait)), 3, NOW).is_retry
    assert time.monotonic() - began < 4
    ends.set()
