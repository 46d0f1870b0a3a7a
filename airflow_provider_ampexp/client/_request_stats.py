"""How many requests were sent, where to, and what came of them: the budget that a project has 100,000 a day of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

CallOutcome = int | str
"""The status of the answer; ``no answer`` where none came, ``not sent`` where no connection did."""


class RequestStats:
    """Counts the requests of one client. Each attempt is one, as the service counts them."""

    def __init__(self) -> None:
        self.total = 0
        """All of them. What found no connection did not reach the service and is not one."""
        self.by_route: Counter[tuple[str, str, CallOutcome]] = Counter()
        """By method, route (``/api/1/flags/{id}``) and outcome."""
        self.retried = 0
        """How many of them repeated another one."""
        self.waits = 0
        """How often a 429 was waited for."""
        self.waited = 0.0
        """For how many seconds in all."""
        self.on_each: Callable[[str, str, CallOutcome], None] | None = None
        """Is told method, route and outcome of each."""

    def sent(self, method: str, route: str, outcome: CallOutcome, *, is_repeat: bool) -> None:
        """Count one."""
        self.by_route[method, route, outcome] += 1
        if outcome != "not sent":
            self.total += 1
            self.retried += is_repeat
        if self.on_each is not None:
            self.on_each(method, route, outcome)

    def waited_for_429(self, seconds: float) -> None:
        """Count a wait."""
        self.waits += 1
        self.waited += seconds

    def add(self, others: RequestStats) -> None:
        """Count those of another client as well."""
        self.total += others.total
        self.by_route += others.by_route
        self.retried += others.retried
        self.waits += others.waits
        self.waited += others.waited

    def __str__(self) -> str:
        text = f"{self.total} request{'' if self.total == 1 else 's'}, {self.retried} retried"
        return text + (f", {self.waits} waited {self.waited:.1f} s for a 429" if self.waits else "")
