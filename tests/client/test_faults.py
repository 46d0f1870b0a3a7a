"""All calls with all faults: the error, the number of requests, and the state of the service afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_ampexp.client import (
    AccessDeniedError,
    AuthenticationError,
    InvalidRequestError,
    ManagementApiError,
    ManagementClient,
    NoAnswerError,
    NotFoundError,
    RateLimitError,
    ServerError,
    UncertainWriteError,
    UnexpectedResponseError,
    UnsupportedError,
)
from airflow_provider_ampexp.emulator.control import Emulator

from .calls import (
    ALL_READS,
    ALL_WRITES,
    CREATES,
    GONE_IS_DONE_WRITES,
    REPEATED_WRITES,
    SENT_ONCE_WRITES,
    Call,
    World,
)

Worlds = Callable[[str], World]


@dataclass(frozen=True)
class Fault:
    """A fault of the emulator, and the knowledge about the call after it."""

    name: str
    kind: str
    more: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    done: bool = False
    in_flight: bool = True

    def strike(self, emulator: Emulator, times: int | None = 1) -> None:
        emulator.fault(self.kind, times=times, **self.more)


def _status(status: int, name: str = "", **more: Any) -> Fault:
    return Fault(name or f"{status}", "status", {"status": status, **more}, status)


REFUSALS = [
    (_status(400), InvalidRequestError),
    (_status(401), AuthenticationError),
    (_status(403), AccessDeniedError),
    (_status(404), NotFoundError),
    (_status(405), UnsupportedError),
    (_status(409), UnexpectedResponseError),
    (_status(418, "418 with no body", body=""), UnexpectedResponseError),
    (Fault("redirect", "redirect", status=307), UnexpectedResponseError),
]
LIMITED = [
    (_status(429, "429 with seconds", headers={"Retry-After": "7"}), (7, 8)),
    (_status(429, "429 with half a second", headers={"Retry-After": "0.5"}), (0.5, 1)),
    (_status(429, "429 with a date in the past", headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), (0, 0.5)),
    (_status(429, "429 with no wait", headers={"Retry-After": "0"}), (0, 0.5)),
    (_status(429, "429 with nonsense", headers={"Retry-After": "later"}), (0, 0.5)),
    (_status(429, "429 without"), (0, 0.5)),
]
UNCLEAR = [
    Fault("500", "status", {"status": 500}, 500, in_flight=False),
    Fault("500 after the work", "status", {"status": 500, "after_work": True}, 500, done=True, in_flight=False),
    Fault("502 with HTML", "html", {}, 502),
    Fault("502 with HTML after the work", "html", {"after_work": True}, 502, done=True),
    Fault("503", "status", {"status": 503, "headers": {"Retry-After": "1"}}, 503),
    Fault("cut before the work", "cut_before"),
    Fault("cut after the work", "cut_after", done=True),
    Fault("cut body", "cut_body", done=True),
]
TOO_SLOW = Fault("slow beyond the timeout", "slow_after", {"seconds": 0.6}, done=True)


def _name(thing: Any) -> str:
    return str((thing[0] if isinstance(thing, tuple) else thing).name)


def _named(things: list[Any]) -> Any:
    return [pytest.param(call, id=_name(call)) for call in things]


def _pairs(faults: list[Any], some: list[Call]) -> Any:
    """Return all faults with some calls, and the first fault with all calls."""
    pairs = [(fault, call) for fault in faults for call in some]
    pairs += [(faults[0], call) for call in [*ALL_READS, *ALL_WRITES] if call not in some]
    return [pytest.param(fault, call, id=f"{_name(fault)}-{_name(call)}") for fault, call in pairs]


ONE_OF_EACH = [ALL_READS[1], REPEATED_WRITES[0], GONE_IS_DONE_WRITES[0], SENT_ONCE_WRITES[0]]


def _sent(here: World) -> int:
    return int(here.emulator.requests()["total"])


each_fault = pytest.mark.parametrize("fault", _named(UNCLEAR))


# -- not carried out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("refusal", "call"), _pairs(REFUSALS, [*ALL_READS[:2], *ALL_WRITES]))
def test_a_refusal_is_told_at_once_and_changes_nothing(
    refusal: tuple[Fault, type[ManagementApiError]], call: Call, client: ManagementClient, world: Worlds
):
    here, (fault, wanted) = world("flags"), refusal
    fault.strike(here.emulator)
    with pytest.raises(wanted) as caught:
        call.on(client, here)
    error = caught.value
    assert type(error) is wanted
    assert (error.method, error.path, error.status) == (*call.request(here), fault.status)
    assert f"{error.method} {error.path}" in str(error)
    assert f"({fault.status})" in str(error)
    assert _sent(here) == 1
    assert not call.times or call.times(here.now(), here) == 0


@pytest.mark.parametrize(("limit", "call"), _pairs(LIMITED, ONE_OF_EACH))
def test_a_429_is_always_repeated_when_the_service_says_so(
    limit: tuple[Fault, tuple[float, float]], call: Call, client: ManagementClient, world: Worlds, waits: list[float]
):
    here, (fault, (least, most)) = world("flags"), limit
    fault.strike(here.emulator)
    answer = call.on(client, here)
    assert not call.answers or call.answers(answer, here)
    assert not call.times or call.times(here.now(), here) == 1
    assert _sent(here) == 2
    (waited,) = waits
    assert least <= waited <= most


# -- uncertain --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", _named(ALL_READS))
@each_fault
def test_a_read_is_repeated(fault: Fault, call: Call, client: ManagementClient, world: Worlds, waits: list[float]):
    here = world("flags")
    fault.strike(here.emulator)
    assert call.answers
    assert call.answers(call.on(client, here), here)
    assert (_sent(here), len(waits)) == (2, 1)


@pytest.mark.parametrize("call", _named(REPEATED_WRITES))
@each_fault
def test_a_write_of_what_should_be_is_repeated_until_it_holds(
    fault: Fault, call: Call, client: ManagementClient, world: Worlds, waits: list[float]
):
    here = world("flags")
    fault.strike(here.emulator, times=2)
    call.on(client, here)
    assert call.times
    assert call.times(here.now(), here) == 1
    # If the first request was applied, the second gets a 404. This 404, or that of the fault, shows that it is done.
    assert _sent(here) == len(waits) + 1 == 3


@pytest.mark.parametrize("call", _named(SENT_ONCE_WRITES))
@each_fault
def test_what_twice_is_not_once_is_sent_once(
    fault: Fault, call: Call, client: ManagementClient, world: Worlds, waits: list[float]
):
    here = world("flags")
    fault.strike(here.emulator)
    with pytest.raises(UncertainWriteError, match="unknown whether it was applied") as caught:
        call.on(client, here)
    error = caught.value
    assert (error.method, error.path, error.status) == (*call.request(here), fault.status)
    assert error.maybe_in_flight is fault.in_flight
    assert (_sent(here), waits) == (1, [])
    assert call.times
    assert call.times(here.now(), here) == fault.done


@pytest.mark.parametrize("call", _named([ALL_READS[1], REPEATED_WRITES[0], GONE_IS_DONE_WRITES[0]]))
def test_no_answer_in_time_is_repeated(call: Call, client: ManagementClient, world: Worlds):
    here = world("flags")
    TOO_SLOW.strike(here.emulator)
    answer = call.on(client, here)
    assert not call.answers or call.answers(answer, here)
    assert not call.times or call.times(here.now(), here) == 1
    assert _sent(here) == 2


@pytest.mark.parametrize(
    "call", _named([write for write in SENT_ONCE_WRITES if write.name in ("create", "remove_inclusion")])
)
def test_no_answer_in_time_is_not_repeated_where_twice_is_not_once(call: Call, client: ManagementClient, world: Worlds):
    here = world("flags")
    TOO_SLOW.strike(here.emulator)
    with pytest.raises(UncertainWriteError, match=r"No response within 0\.4 s") as caught:
        call.on(client, here)
    assert caught.value.status is None
    assert caught.value.maybe_in_flight
    assert _sent(here) == 1
    assert call.times
    assert call.times(here.now(), here) == 1


def test_maybe_in_flight_means_that_it_may_yet_be_carried_out(client: ManagementClient, world: Worlds):
    here = world("flags")
    here.emulator.fault("slow", seconds=0.6)
    with pytest.raises(UncertainWriteError) as caught:
        client.flags.create_variant(here.id, {"key": "late"})
    assert caught.value.maybe_in_flight
    assert "late" not in here.now().variant_keys
    until = time.monotonic() + 5
    while "late" not in here.now().variant_keys:
        assert time.monotonic() < until
        time.sleep(0.02)


# -- without end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", _named([*ALL_READS[:2], *REPEATED_WRITES]))
@pytest.mark.parametrize("fault", _named([UNCLEAR[0], UNCLEAR[2], UNCLEAR[5]]))
def test_repeats_end_with_the_budget(
    fault: Fault, call: Call, client: ManagementClient, world: Worlds, waits: list[float]
):
    here = world("flags")
    fault.strike(here.emulator, times=None)
    wanted = UncertainWriteError if call.times else ServerError if fault.status else NoAnswerError
    with pytest.raises(wanted) as caught:
        call.on(client, here)
    assert type(caught.value) is wanted
    assert caught.value.status == fault.status
    assert _sent(here) == len(waits) + 1 > 4
    assert sum(waits) < 60
    assert not call.times or call.times(here.now(), here) == 0


@pytest.mark.parametrize("call", _named([ALL_READS[1], REPEATED_WRITES[0], SENT_ONCE_WRITES[0]]))
def test_a_429_for_ever_ends_with_the_budget_and_is_told_as_what_it_is(
    call: Call, client: ManagementClient, world: Worlds, waits: list[float]
):
    here = world("flags")
    here.emulator.fault("status", status=429, times=None, headers={"Retry-After": "10"})
    with pytest.raises(RateLimitError) as caught:
        call.on(client, here)
    assert caught.value.retry_after == 10
    assert 50 - 5 < sum(waits) < 60
    assert _sent(here) == len(waits) + 1


# -- a 404 after a removal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", _named(GONE_IS_DONE_WRITES))
def test_removing_what_is_not_there_is_an_error(call: Call, client: ManagementClient, world: Worlds):
    here = world("flags")
    call.on(client, here)
    with pytest.raises(NotFoundError):
        call.on(client, here)
    assert _sent(here) == 2


@pytest.mark.parametrize("call", _named(GONE_IS_DONE_WRITES))
def test_a_429_before_a_404_does_not_make_it_done(call: Call, client: ManagementClient, world: Worlds):
    here = world("flags")
    call.on(client, here)
    here.emulator.clear_requests()
    here.emulator.fault("status", status=429)
    with pytest.raises(NotFoundError) as caught:
        call.on(client, here)
    assert _sent(here) == 2
    assert "may have been applied" not in str(caught.value)


@pytest.mark.parametrize("call", _named(GONE_IS_DONE_WRITES))
def test_a_404_after_an_unclear_answer_and_a_429_is_done(call: Call, client: ManagementClient, world: Worlds):
    here = world("flags")
    here.emulator.fault("cut_after")
    here.emulator.fault("status", status=429)
    call.on(client, here)
    assert _sent(here) == 3


@pytest.mark.parametrize("call", _named([write for write in REPEATED_WRITES if write not in GONE_IS_DONE_WRITES]))
def test_for_other_writes_a_404_on_the_repeat_leaves_the_first_attempt_open(
    call: Call, client: ManagementClient, world: Worlds
):
    here = world("flags")
    here.emulator.fault("cut_before")
    here.emulator.fault("status", status=404)
    with pytest.raises(UncertainWriteError, match="has no such object") as caught:
        call.on(client, here)
    assert caught.value.status == 404
    assert _sent(here) == 2


# -- responses that differ from the contract --------------------------------------------------------------------


@pytest.mark.parametrize("call", _named([*ALL_READS, *ALL_WRITES]))
def test_a_garbage_body(call: Call, client: ManagementClient, world: Worlds, waits: list[float]):
    here = world("flags")
    here.emulator.fault("garbage")
    if call.name in CREATES:
        # The service accepted the request, so the object may exist, but its id is not known.
        with pytest.raises(UncertainWriteError, match="not JSON") as caught:
            call.on(client, here)
        assert (caught.value.status, caught.value.maybe_in_flight) == (200, False)
    elif call.times:
        call.on(client, here)  # the body of a write does not count: the caller reads the object back
    else:
        with pytest.raises(UnexpectedResponseError, match="not JSON") as caught:
            call.on(client, here)
        assert caught.value.status == 200
    assert (_sent(here), waits) == (1, [])


def test_a_refusal_does_not_tell_of_an_earlier_attempt_that_was_left_open(client: ManagementClient, world: Worlds):
    here = world("flags")
    here.emulator.fault("cut_after")
    here.emulator.fault("status", status=401)
    with pytest.raises(UncertainWriteError, match="does not accept the management API key"):
        client.flags.edit(here.id, {"name": "x"})
