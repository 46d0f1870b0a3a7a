"""Count requests by route and outcome. A project has a budget of 100,000 requests a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

CallOutcome = int | str
"""The status of the response, ``no answer`` without a response, or ``not sent`` without a connection."""


class RequestStats:
    """Count the requests of one client. Each attempt counts, as at the service."""

    def __init__(self) -> None:
        self.total = 0
        """All requests that reached the service. A request without a connection does not count."""
        self.by_route: Counter[tuple[str, str, CallOutcome]] = Counter()
        """By method, route (``/api/1/flags/{id}``) and outcome."""
        self.retried = 0
        """The number of retries among them."""
        self.waits = 0
        """The number of waits after a 429."""
        self.waited = 0.0
        """The total of these waits in seconds."""
        self.on_each: Callable[[str, str, CallOutcome], None] | None = None
        """A function that is called with method, route and outcome of each request."""

    def sent(self, method: str, route: str, outcome: CallOutcome, *, is_repeat: bool) -> None:
        """Count a request."""
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
        """Add the requests of another client."""
        self.total += others.total
        self.by_route += others.by_route
        self.retried += others.retried
        self.waits += others.waits
        self.waited += others.waited

    def __str__(self) -> str:
        text = f"{self.total} request{'' if self.total == 1 else 's'}, {self.retried} retried"
        return text + (f", {self.waits} waited {self.waited:.1f} s for a 429" if self.waits else "")
