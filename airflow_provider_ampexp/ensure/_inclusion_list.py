"""Change the inclusions of one variant to the wanted list.

The API removes a user by place. So a removal that is sent twice, or after another change of the list, removes another
user. The live service also removes by value, which the contract does not have. The code tries this first. If the
service does not support it, the code removes one user at a time, and reads the list after each removal:

* A user whom our own removal hit by mistake is added again. If the other task also adds that user, the second entry
  is removed.
* A user whom either our removal or another actor removed is not added again, because a removal by others stays. The
  result names that user.
* Tasks on one machine take turns.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from weakref import WeakSet

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client._errors import (
    InvalidRequestError,
    NotFoundError,
    UncertainWriteError,
    UnexpectedResponseError,
    UnsupportedError,
)
from airflow_provider_ampexp.ensure._confirmation import mention_sent_change, read_until, write_and_confirm
from airflow_provider_ampexp.ensure._errors import (
    NOT_SHOWN_NEXT_STEP,
    ChangeNotVisibleError,
    UnconfirmedWriteError,
    WrongStateError,
    no_such_variant,
)
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._mistaken_removals import MistakenRemovals
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._turns import in_turn
from airflow_provider_ampexp.ensure._variants import read_variants

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_CONFLICTS = 10
_BY_VALUE_AT_ONCE = 100
_OTHERS_REACT_WITHIN = 0.5
# Clients whose service does not remove by value. Each client tries it once.
_BY_PLACE_ONLY: WeakSet[ManagementClient] = WeakSet()


class InclusionList:
    """Change the inclusions of one variant: add the wanted users and remove others."""

    def __init__(
        self,
        client: ManagementClient,
        target: FlagRef,
        variant: str,
        *,
        wanted: Iterable[str] = (),
        goes: Callable[[str], bool] = lambda user: False,
    ) -> None:
        self._client = client
        self._target = target
        self._variant = validate.name("variant", variant)
        self._wanted = tuple(wanted)
        self._goes = goes
        self._endpoints = target.endpoints(client)
        self._identity = target.identify(client)
        self._before: list[str] = []
        self._mistakes = MistakenRemovals(goes, self._wanted)
        self._unanswered_addition = False
        self._may_have_doubled = False
        self._sent = False

    def reconcile(self) -> ChangeResult:
        """Change what differs and read. Repeat after lost responses or concurrent changes."""
        with self._in_turn():
            self._before = self._read()
            self._refuse_too_many(self._before)
            with mention_sent_change(f"{self._what()} were changed, or may have been", when=lambda: self._sent):
                return self._reconcile(self._before)

    def clear(self) -> ChangeResult:
        """Remove all present inclusions. An inclusion that another actor adds at the same time stays."""
        with self._in_turn():
            self._before = now = self._read()

            def is_cleared(now: list[str]) -> bool:
                return not set(now) & set(self._before)

            if self._before:
                write_and_confirm(
                    self._client,
                    f"Removing all {self._inclusions()}",
                    lambda: self._endpoints.remove_all_inclusions(self._identity.id, self._variant),
                    lambda: is_cleared(self._read()),
                )
                now, is_applied = read_until(self._client, self._read, is_cleared)
                if not is_applied:
                    raise self._not_applied(now)
            return self._outcome(now)

    def _reconcile(self, now: list[str]) -> ChangeResult:
        for _ in range(_CONFLICTS + len(self._places_to_clear(now))):
            if self._is_so(now):
                then = self._settled(self._after_late_work(now))
                if then == now:
                    return self._outcome(now)
                now = then
            elif self._mistakes.has_due:
                now = self._add(now)
            elif places := self._places_to_clear(now):
                now = self._remove(now, places[0])
            else:
                now = self._add(now)
        raise UnconfirmedWriteError(
            f"Updating {self._inclusions()} failed: responses are lost, or another actor changes the list. "
            f"{self._state(now)} Retry later.{self._warning()}"
        )

    # read the list, and compare it

    def _read(self) -> list[str]:
        try:
            return self._endpoints.inclusions(self._identity.id, self._variant)
        except NotFoundError:
            pass
        variants = read_variants(self._client, self._target, self._identity)
        raise no_such_variant(self._target, self._variant, variants)

    def _is_so(self, now: list[str]) -> bool:
        return not self._places_to_clear(now) and not self._missing(now)

    def _places_to_clear(self, now: list[str]) -> list[int]:
        """Return the places to remove, highest first: unwanted users, and duplicates of a repeated addition."""
        allowed: dict[str, int] = {}
        if self._may_have_doubled:
            allowed = {user: max(1, self._before.count(user)) for user in (*self._wanted, *self._mistakes.put_back)}
        met: Counter[str] = Counter()
        places = []
        for place, user in enumerate(now):
            met[user] += 1
            if self._goes(user) or met[user] > allowed.get(user, len(now)):
                places.append(place)
        return places[::-1]

    def _missing(self, now: list[str]) -> list[str]:
        present = set(now)
        return [user for user in self._wanted if user not in present] + self._mistakes.missing(now)

    # change the list: each method sends one request, and returns the list after it

    def _remove(self, now: list[str], place: int) -> list[str]:
        going = [user for user in dict.fromkeys(now) if self._goes(user)]
        if going and self._client not in _BY_PLACE_ONLY:
            return self._remove_by_value(now, going)
        return self._remove_by_place(now, place)

    def _remove_by_value(self, now: list[str], users: list[str]) -> list[str]:
        for first in range(0, len(users), _BY_VALUE_AT_ONCE):
            some = users[first : first + _BY_VALUE_AT_ONCE]
            try:
                self._endpoints.remove_inclusions(self._identity.id, self._variant, some)
            except (NotFoundError, UnsupportedError, InvalidRequestError):
                _BY_PLACE_ONLY.add(self._client)
                return self._read() if first else now
            except UnexpectedResponseError:  # it may have been carried out: read the list
                self._sent = True
                then = self._read_until(lambda then, some=some: not set(some) & set(then))  # type: ignore[misc]
                if then == now:
                    _BY_PLACE_ONLY.add(self._client)
                return then
            except UncertainWriteError as error:
                self._sent = True
                return self._read_until(lambda then, some=some: not set(some) & set(then), wait=error.maybe_in_flight)  # type: ignore[misc]
            self._sent = True
        return self._read_back(now)

    def _remove_by_place(self, now: list[str], place: int) -> list[str]:
        user = now[place]
        try:
            self._endpoints.remove_inclusion(self._identity.id, self._variant, place)
        except NotFoundError:
            self._mistakes.is_contended = True  # the list is shorter: others removed users
            return self._read()
        except UncertainWriteError as error:
            self._sent = True
            fewer = now.count(user)
            then = self._read_until(lambda then: then.count(user) < fewer, wait=error.maybe_in_flight)
            self._mistakes.unanswered_places.append(place)
            self._mistakes.attribute(now, then)
            if not error.maybe_in_flight:
                self._mistakes.unanswered_places.clear()
            return then
        self._sent = True
        then = self._read_back(now)
        self._mistakes.attribute(now, then, place)
        return then

    def _add(self, now: list[str]) -> list[str]:
        missing = self._missing(now)
        self._mistakes.are_sent()
        try:
            self._endpoints.add_inclusions(self._identity.id, self._variant, missing)
        except UncertainWriteError as error:
            self._sent = self._may_have_doubled = True
            then = self._read_until(lambda then: not self._missing(then), wait=error.maybe_in_flight)
            if self._missing(then):
                self._unanswered_addition = error.maybe_in_flight
        else:
            self._sent = True
            # Another task may at once remove a user whom this task adds again. The list is then as before.
            then = self._read_until(lambda then: then != now) if self._mistakes.has_due else self._read_back(now)
        if self._mistakes.has_due and not self._missing(then):
            self._mistakes.are_back()
            self._may_have_doubled = True  # the other task may have added the same user again
        return then

    def _read_back(self, before: list[str]) -> list[str]:
        """Read back after a successful change. If nothing changed, the change waits for approval."""
        now = self._read_until(lambda now: now != before)
        if now == before:
            raise self._not_applied(now)
        return now

    def _read_until(self, shows: Callable[[list[str]], bool], *, wait: bool = True) -> list[str]:
        return read_until(self._client, self._read, shows, patient=wait)[0]

    def _settled(self, now: list[str]) -> list[str]:
        """Return the list some moments later if others also remove users by place, because they may restore users."""
        if not self._mistakes.is_contended:
            return now
        time.sleep(_OTHERS_REACT_WITHIN)
        then = self._read()
        self._mistakes.is_contended = then != now
        self._mistakes.reconsider(then)
        return then

    def _after_late_work(self, now: list[str]) -> list[str]:
        """Return the list after the time in which a change without a response may be applied."""
        if not self._mistakes.unanswered_places and not self._unanswered_addition:
            return now
        then = self._read_until(lambda then: then != now)
        self._mistakes.attribute(now, then)
        self._mistakes.unanswered_places.clear()
        self._unanswered_addition = False
        return then

    def _refuse_too_many(self, now: list[str]) -> None:
        then = len(now) - len(self._places_to_clear(now)) + len(self._missing(now))
        if then > validate.MAX_INCLUSIONS and self._missing(now):
            raise WrongStateError(
                f"{self._what()} would be {then}; a variant has at most {validate.MAX_INCLUSIONS}. Nothing was "
                "changed. "
                "Include a cohort instead."
            )

    def _in_turn(self) -> AbstractContextManager[None]:
        return in_turn(self._client.base_url, self._target.kind, self._identity.id, self._variant)

    # report the result

    def _outcome(self, now: list[str]) -> ChangeResult:
        changed = Counter(now) != Counter(self._before) or bool(self._mistakes.put_back)
        before, after = {"count": len(self._before)}, self._counts(now)
        url = self._identity.url(self._client)
        return ChangeResult(
            self._identity.id, self._identity.key, changed, before, after, url, self._mistakes.notes(now)
        )

    def _warning(self) -> str:
        return "".join(f" {note}" for note in self._mistakes.notes([]))

    def _counts(self, now: list[str]) -> dict[str, int]:
        was, is_now = Counter(self._before), Counter(now)
        return {"count": len(now), "added": (is_now - was).total(), "removed": (was - is_now).total()}

    def _what(self) -> str:
        return f"The {self._inclusions()}"

    def _inclusions(self) -> str:
        return f"inclusions of variant {self._variant!r} of {self._target}"

    def _state(self, now: list[str]) -> str:
        counts = self._counts(now)
        return f"It now has {counts['count']} inclusions ({counts['added']} added, {counts['removed']} removed)."

    def _not_applied(self, now: list[str]) -> ChangeNotVisibleError:
        return ChangeNotVisibleError(
            f"Updating {self._inclusions()} failed: Amplitude accepted the change, but does not show it. "
            f"{self._state(now)} {NOT_SHOWN_NEXT_STEP}{self._warning()}"
        )
