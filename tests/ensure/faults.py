"""All faults of the service, and of the network and the proxies before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TIMEOUT = 0.25


@dataclass(frozen=True)
class Fault:
    """One fault of the emulator.

    :param settles: whether the change must succeed in spite of the fault
    :param in_a_row: the number of consecutive calls with the fault
    """

    name: str
    kind: str
    more: dict[str, Any] = field(default_factory=dict, hash=False)
    settles: bool = True
    in_a_row: int = 1

    def __str__(self) -> str:
        return self.name + ("-twice" if self.in_a_row == 2 else "")

    def twice(self) -> Fault:
        return Fault(self.name, self.kind, self.more, self.settles, in_a_row=2)


def _refused(status: int) -> Fault:
    return Fault(str(status), "status", {"status": status}, settles=False)


LIMIT = Fault("429", "status", {"status": 429})
LIMIT_WITH_WAIT = Fault("429-retry-after", "status", {"status": 429, "headers": {"Retry-After": "0.05"}})
ERROR = Fault("500", "status", {"status": 500})
ERROR_AFTER_WORK = Fault("500-after-work", "status", {"status": 500, "after_work": True})
GATEWAY = Fault("502-html", "html")
GATEWAY_AFTER_WORK = Fault("502-html-after-work", "html", {"after_work": True})
CUT_BEFORE = Fault("cut-before", "cut_before")
CUT_AFTER = Fault("cut-after", "cut_after")
CUT_BODY = Fault("cut-body", "cut_body")
# The service carries out the call half a timeout after the caller's timeout.
SLOW = Fault("slow", "slow", {"seconds": 1.5 * TIMEOUT})
# The service carries out the call after a caller that waited one more timeout may have repeated it.
VERY_SLOW = Fault("very-slow", "slow", {"seconds": 2.3 * TIMEOUT})
SLOW_AFTER = Fault("slow-after", "slow_after", {"seconds": 1.5 * TIMEOUT})
GARBAGE = Fault("garbage", "garbage", settles=False)
GARBAGE_AFTER_WORK = Fault("garbage-after-work", "garbage", {"after_work": True})
REDIRECT = Fault("redirect", "redirect", settles=False)

# Without retries of the client, only ``ensure`` can confirm the change, by a read.
LOST_BEFORE = Fault("lost-before-work", "cut_before", settles=False)
LOST_AFTER = Fault("lost-after-work", "cut_after")

REFUSALS = (*(_refused(status) for status in (400, 401, 403, 404)), GARBAGE, REDIRECT)
SETTLED_TWICE = (LIMIT, ERROR, GATEWAY, CUT_BEFORE, CUT_AFTER, SLOW)
SETTLED_ONCE = (
    LIMIT_WITH_WAIT,
    ERROR_AFTER_WORK,
    GATEWAY_AFTER_WORK,
    CUT_BODY,
    VERY_SLOW,
    SLOW_AFTER,
    GARBAGE_AFTER_WORK,
)

ON_A_WRITE = (*REFUSALS, *SETTLED_ONCE, *SETTLED_TWICE, *(fault.twice() for fault in SETTLED_TWICE))
# Faults of the second of several writes. The error must also report the earlier writes.
ON_A_LATER_WRITE = (_refused(400), _refused(401), GARBAGE, ERROR_AFTER_WORK, GATEWAY, CUT_AFTER, CUT_BEFORE, SLOW)
ON_THE_FIRST_READ = (GARBAGE, CUT_BODY.twice())
ON_THE_READ_BACK = (_refused(401), _refused(404), GARBAGE, GATEWAY, CUT_BODY.twice(), SLOW)
ON_THE_ONLY_CALL = (LOST_BEFORE, LOST_AFTER)
