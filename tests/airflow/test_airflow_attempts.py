"""Which attempt of a task this is, by the numbers that Airflow keeps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_ampexp.operators.attempts import is_automatic_retry, was_cleared


def attempt(try_number: int, max_tries: int) -> Any:
    return {"ti": SimpleNamespace(try_number=try_number, max_tries=max_tries)}


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
    """The task began with 5 retries. The DAG file says 1 or none by now, and Airflow tries it again."""
    for retries in (0, 1, 2, None):
        assert is_automatic_retry(attempt(2, 5), retries)
        assert not was_cleared(attempt(2, 5), retries)


def test_raised_retries_make_no_first_attempt_of_a_retry() -> None:
    assert is_automatic_retry(attempt(2, 1), 5)
