"""Errors can be pickled, and their messages have the meaning."""

from __future__ import annotations

import copy
import pickle

import pytest

from airflow_provider_ampexp import client as room
from airflow_provider_ampexp.client import InvalidInputError, ManagementApiError, RateLimitError, UncertainWriteError

API_ERRORS = [
    member
    for member in (getattr(room, name) for name in room.__all__)
    if isinstance(member, type) and issubclass(member, ManagementApiError)
]


def _error(kind: type[ManagementApiError]) -> ManagementApiError:
    error = kind("PATCH", "/api/1/flags/1", "größer\nals 100 %", 400)
    if isinstance(error, UncertainWriteError):
        error.maybe_in_flight = False
    if isinstance(error, RateLimitError):
        error.retry_after = 7.5
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note("a note")
    return error


def test_there_is_a_typed_error_for_each_case():
    assert len(API_ERRORS) == 14
    assert len({kind.meaning for kind in API_ERRORS}) == 14


@pytest.mark.parametrize("kind", API_ERRORS)
@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_is_the_same_after_a_pickle(kind, again):
    error = _error(kind)
    back = again(error)
    assert type(back) is kind
    assert (str(back), back.__dict__, back.args) == (str(error), error.__dict__, error.args)
    assert (back.method, back.path, back.detail, back.status) == ("PATCH", "/api/1/flags/1", "größer\nals 100 %", 400)
    assert vars(back) == vars(error)


def test_an_input_error_is_the_same_after_a_pickle():
    error = InvalidInputError("rolloutPercentage", "101 is outside 0 to 100")
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.field, back.problem) == (str(error), error.field, error.problem)
    assert str(error) == "rolloutPercentage: 101 is outside 0 to 100"
    assert isinstance(back, ValueError)


@pytest.mark.parametrize("kind", API_ERRORS)
def test_a_message_says_what_was_called_what_it_means_and_what_the_service_said(kind):
    assert str(kind("GET", "/api/1/flags", "why", 500)) == f"GET /api/1/flags: {kind.meaning} (500) why"
    assert str(kind("GET", "/api/1/flags")) == f"GET /api/1/flags: {kind.meaning}"
