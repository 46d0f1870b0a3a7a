"""The service carries out a call long after the caller's timeout, its second wait and its repeat of the call."""

from __future__ import annotations

import time

import pytest

from airflow_provider_ampexp.emulator.control import Emulator

from .trial import WRITE_METHODS, BeforeEachWrite, attempt, tells_what_is_so
from .world import a_client, by_id, state, wait_for_late_work
from .writes import (
    CREATE,
    CREATE_DEPLOYMENT,
    CREATE_VARIANT,
    EXACTLY,
    EXCLUDE,
    INCLUDE,
    RENAME_VARIANT,
    Write,
)

TIMEOUT = 0.2
LATE = 0.9  # a timeout and the wait after it end before 0.6 s


def test_a_deployment_is_not_created_twice(emulator: Emulator) -> None:
    wanted = CREATE_DEPLOYMENT.wanted(state(emulator), "flags")
    emulator.fault("slow", seconds=LATE, methods=["POST"])
    with a_client(emulator, timeout=TIMEOUT) as client:
        _, error = attempt(CREATE_DEPLOYMENT, client, by_id("flags"))
    wait_for_late_work(emulator)
    assert state(emulator) == wanted
    assert error is None or tells_what_is_so(error, {}, wanted)


@pytest.mark.parametrize(
    ("write", "status"), [(CREATE, 400), (CREATE_VARIANT, 401), (RENAME_VARIANT, 400), (INCLUDE, 401)], ids=str
)
def test_a_repeat_that_is_refused_does_not_hide_the_first_call(emulator: Emulator, write: Write, status: int) -> None:
    before = state(emulator)
    emulator.fault("slow", seconds=LATE, methods=WRITE_METHODS)
    emulator.fault("status", status=status, methods=WRITE_METHODS)
    with a_client(emulator, timeout=TIMEOUT) as client:
        _, error = attempt(write, client, by_id("flags"))
    wait_for_late_work(emulator)
    after = state(emulator)
    assert after == write.wanted(before, "flags")
    assert error is None or tells_what_is_so(error, before, after), str(error)


@pytest.mark.parametrize("write", [CREATE, CREATE_VARIANT, RENAME_VARIANT], ids=str)
def test_a_repeat_that_finds_it_done_already_is_a_success(emulator: Emulator, write: Write) -> None:
    before = state(emulator)
    emulator.fault("slow", seconds=3 * LATE, methods=WRITE_METHODS)  # after the repeat, also on a busy machine

    def happens(number: int) -> None:
        if number == 1:
            wait_for_late_work(emulator)

    with BeforeEachWrite(happens) as session, a_client(emulator, timeout=TIMEOUT, session=session) as client:
        outcome = write.run(client, by_id("flags"))
    assert outcome.changed
    assert 400 <= emulator.request_log()[-3]["status"] < 500  # the repeat; after it the search, and the read-back
    assert state(emulator) == write.wanted(before, "flags")


@pytest.mark.parametrize("write", [INCLUDE, EXCLUDE, EXACTLY], ids=str)
def test_what_comes_after_the_repeat_is_mended(emulator: Emulator, write: Write) -> None:
    before = state(emulator)
    emulator.fault("slow", seconds=LATE, methods=WRITE_METHODS)
    begun = time.monotonic()

    def happens(number: int) -> None:
        nonlocal begun
        if number == 0:
            begun = time.monotonic()
        elif number == 1:
            time.sleep(max(0.0, begun + LATE - 0.1 - time.monotonic()))

    with BeforeEachWrite(happens) as session, a_client(emulator, timeout=TIMEOUT, session=session) as client:
        outcome = write.run(client, by_id("flags"))
    wait_for_late_work(emulator)
    assert state(emulator) == write.wanted(before, "flags")
    assert outcome.changed
