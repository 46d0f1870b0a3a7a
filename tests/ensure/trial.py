"""Run one change with one fault, and record the state before, the state afterwards, and the result or the error."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.emulator._state import snapshots as emulated
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer
from airflow_provider_ampexp.ensure import ChangeResult, FlagRef

from .faults import TIMEOUT, Fault
from .world import State, a_client, by_id, by_key, seed, state, wait_for_late_work
from .writes import Write

WRITE_METHODS = ["POST", "PATCH", "DELETE"]

_NOTHING = re.compile(r"nothing was (changed|sent)", re.IGNORECASE)
_PERHAPS = re.compile(r"unknown whether|may have been applied|may still be applied", re.IGNORECASE)
_SOMETHING = re.compile(r"accepted|was created|was applied|were applied|was changed|were changed|removed|added")
_REFUSED = (301, 302, 307, 401, 403, 404, 405, 429)


class BeforeEachWrite(requests.Session):
    """Call ``happens`` with 0, 1, 2, ... right before the first, second, third write is sent."""

    def __init__(self, happens: Callable[[int], None]) -> None:
        super().__init__()
        self.trust_env = False
        self._happens = happens
        self._writes = 0

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> requests.Response:  # type: ignore[override]
        if method != "GET":
            self._happens(self._writes)
            self._writes += 1
        return super().request(method, url, *args, **more)


class _Observed(requests.Session):
    """A session that calls a function at certain requests."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self.trust_env = False
        self._happens = happens


class AfterFirstWrite(_Observed):
    """Call ``happens`` right after the first write, before its response is read."""

    _is_done = False

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> requests.Response:  # type: ignore[override]
        response = super().request(method, url, *args, **more)
        if method != "GET" and not self._is_done:
            self._is_done = True
            self._happens()
        return response


class BeforeVersions(_Observed):
    """Call ``happens`` before each read of the history is sent."""

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> requests.Response:  # type: ignore[override]
        if str(url).endswith("/versions"):
            self._happens()
        return super().request(method, url, *args, **more)


class InProcess(Emulator):
    """The control of an emulator in this process, without HTTP, because the tests use it thousands of times."""

    def __init__(self, server: EmulatorServer) -> None:
        super().__init__(server.base_url)
        self._service = server.service

    def reset(self) -> None:
        emulated.reset(self._service)

    def load(self, world: dict[str, Any]) -> dict[str, list[str]]:
        return emulated.load(self._service, emulated.Snapshot(**world))

    def dump(self) -> dict[str, Any]:
        return emulated.dump(self._service)

    def request_log(self) -> list[dict[str, Any]]:
        return list(self._service.log.entries)


@dataclass(frozen=True)
class Case:
    """A change, a fault, and the call that has the fault."""

    write: Write
    fault: Fault
    where: str

    def __str__(self) -> str:
        return f"{self.write}-{self.fault}-on-{self.where}"

    @property
    def kind(self) -> Kind:
        return self.write.kind

    @property
    def target(self) -> FlagRef:
        return (by_key if len(self.fault.name) % 2 else by_id)(self.kind)


@dataclass(frozen=True)
class Happened:
    """The results of a case.

    :param struck: the number of calls with the fault
    :param second: the result of the repeated change, if the first one raised; otherwise the first result
    :param at_last: the state after the repeated change
    """

    before: State
    wanted: State
    after: State
    outcome: ChangeResult | None
    error: Exception | None
    struck: int
    second: ChangeResult | Exception | None
    at_last: State


def carry_out(emulator: Emulator, case: Case, before: State) -> Happened:
    """Seed the emulator, run the change with the fault, and repeat the change after an error.

    :param before: the seeded state
    """
    emulator.reset()
    seed(emulator)
    case.write.prepared(emulator, case.kind)
    before = state(emulator) if case.write.prepare else before
    emulator.clear_requests()
    strikes = {"times": case.fault.in_a_row, **case.fault.more}

    def first_write(number: int) -> None:
        # The next read after this write is the read-back.
        if number == 0 and case.where == "the-read-back":
            emulator.fault(case.fault.kind, methods=["GET"], **strikes)

    if case.where == "the-first-read":
        emulator.fault(case.fault.kind, methods=["GET"], **strikes)
    elif case.where != "the-read-back":
        emulator.fault(case.fault.kind, methods=WRITE_METHODS, skip=int(case.where == "a-later-write"), **strikes)
    retry_for = 0 if case.where == "the-only-call" else 3
    with (
        BeforeEachWrite(first_write) as session,
        a_client(emulator, timeout=TIMEOUT, retry_for=retry_for, session=session) as client,
    ):
        outcome, error = attempt(case.write, client, case.target)
        wait_for_late_work(emulator)
        after = at_last = state(emulator)
        struck = sum(fault["struck"] for fault in emulator.faults())
        second: ChangeResult | Exception | None = outcome
        if error is not None:
            emulator.clear_faults()
            again, problem = attempt(case.write, client, case.target)
            second, at_last = again or problem, state(emulator)
    wanted = case.write.wanted(before, case.kind)
    return Happened(before, wanted, after, outcome, error, struck, second, at_last)


def attempt(write: Write, client: ManagementClient, target: FlagRef) -> tuple[ChangeResult | None, Exception | None]:
    try:
        return write.run(client, target), None
    except Exception as error:
        return None, error


def tells_what_is_so(error: Exception, before: State, after: State) -> bool:
    """Return true if the message is correct, and does not suggest that nothing was changed when something was."""
    text = str(error)
    nothing, perhaps, something = (bool(pattern.search(text)) for pattern in (_NOTHING, _PERHAPS, _SOMETHING))
    if after != before:
        return (perhaps or something) and not (nothing and not perhaps)
    refused = getattr(error, "status", None) in _REFUSED or getattr(error, "method", None) == "GET"
    return nothing or perhaps or refused or "accepted" in text
