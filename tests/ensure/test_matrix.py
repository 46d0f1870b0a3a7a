"""All kinds of changes with all faults, at each call of the change.

Afterwards the change is applied exactly once, without other changes, or an error reports the state correctly.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from airflow_provider_ampexp.emulator.server import EmulatorServer
from airflow_provider_ampexp.ensure import ChangeResult

from .faults import (
    ON_A_LATER_WRITE,
    ON_A_WRITE,
    ON_THE_FIRST_READ,
    ON_THE_ONLY_CALL,
    ON_THE_READ_BACK,
    VERY_SLOW,
)
from .trial import Case, Happened, InProcess, carry_out, tells_what_is_so
from .world import seed, state
from .writes import (
    CREATE_DEPLOYMENT,
    EXACTLY,
    EXACTLY_COHORTS,
    EXCLUDE,
    RESTORE_VERSION,
    ROLL_OUT,
    WEIGHTS,
    WRITES,
)

# test_late_work.py tests this case, because milliseconds decide whether a second deployment is created.
APART = {(CREATE_DEPLOYMENT, VERY_SLOW)}
CASES = [
    *(Case(write, fault, "the-write") for write in WRITES for fault in ON_A_WRITE if (write, fault) not in APART),
    *(
        Case(write, fault, "a-later-write")
        for write in (WEIGHTS, ROLL_OUT, RESTORE_VERSION, EXCLUDE, EXACTLY, EXACTLY_COHORTS)
        for fault in ON_A_LATER_WRITE
    ),
    *(Case(write, fault, "the-first-read") for write in WRITES for fault in ON_THE_FIRST_READ),
    *(Case(write, fault, "the-read-back") for write in WRITES for fault in ON_THE_READ_BACK),
    *(Case(write, fault, "the-only-call") for write in WRITES for fault in ON_THE_ONLY_CALL),
]


_AT_ONCE = 8  # cases mostly wait, so they run in parallel, each with its own emulator

Trials = dict[Case, "Future[Happened]"]


@pytest.fixture(scope="module")
def trials(request: pytest.FixtureRequest) -> Iterator[Trials]:
    """Start all selected cases, and yield their futures."""
    selected = [
        item.callspec.params["case"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "trials" in item.fixturenames
    ]
    own = threading.local()
    with ExitStack() as stack:
        servers = [stack.enter_context(EmulatorServer()) for _ in range(min(_AT_ONCE, len(selected)))]

        emulator = InProcess(servers[0])
        seed(emulator)
        before = state(emulator)

        def begin() -> None:
            own.emulator = InProcess(servers.pop())

        with ThreadPoolExecutor(len(servers), initializer=begin) as pool:
            yield {case: pool.submit(lambda case=case: carry_out(own.emulator, case, before)) for case in selected}
            pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", [pytest.param(case, id=str(case)) for case in CASES])
def test_it_is_so_exactly_once_or_an_error_says_what_is_so(case: Case, trials: Trials) -> None:
    happened = trials[case].result()
    assert happened.struck >= 1
    if happened.error is None:
        assert happened.after == happened.wanted
        assert happened.outcome is not None
        assert happened.outcome.changed
    else:
        # Labels are not unique, so a deployment is not created again while the first creation may still be applied.
        assert not case.fault.settles or case.write is CREATE_DEPLOYMENT
        assert tells_what_is_so(happened.error, happened.before, happened.after), str(happened.error)
        # The change is repeated without the fault.
        assert isinstance(happened.second, ChangeResult)
        assert happened.second.changed is (happened.after != happened.wanted)
        assert happened.at_last == happened.wanted
