"""Bring the inclusions of a variant (who gets it whatever the rollout) to a state.

The API removes a person by their place in the list, so that a removal sent twice, or after somebody else changed the
list, hits the next person. Hence the rule of this module: highest place first; after a lost answer read again and begin
anew from what stands there; at the end read once more, and put back whoever vanished without having been named.

The live service also removes by value, 100 people a request, which the contract does not know. It is tried where it
would save many requests, since asking in vain costs one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from airflow_provider_ampexp.client import checks
from airflow_provider_ampexp.client.errors import (
    InvalidInputError,
    InvalidRequestError,
    NotFoundError,
    UncertainWriteError,
    UnsupportedError,
)
from airflow_provider_ampexp.ensure.errors import NotAppliedError, UnsettledError, WrongStateError
from airflow_provider_ampexp.ensure.outcome import Outcome
from airflow_provider_ampexp.ensure.settle import comes_to_show, told_as_sent, write_once
from airflow_provider_ampexp.ensure.target import Target

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_ROUNDS = 6
_BY_VALUE_AT_ONCE = 100
_WORTH_ASKING = 10


def ensure_included(client: ManagementClient, target: Target, variant: str, users: Iterable[str]) -> Outcome:
    """Make sure that these users or devices get the variant; others stay as they are.

    2 requests when it is already so, 4 when not; by id one fewer.
    """
    return _Inclusions(client, target, variant, wanted=checks.names("users", users)).reconcile()


def ensure_not_included(client: ManagementClient, target: Target, variant: str, users: Iterable[str]) -> Outcome:
    """Make sure that none of these users or devices is included; nobody else is touched.

    By id, 2 requests and one for each who is removed; for 10 and more, one for each 100 where the service removes by
    value, and one more where it does not.
    """
    unwanted = set(checks.names("users", users))
    return _Inclusions(client, target, variant, goes=unwanted.__contains__).reconcile()


def ensure_exactly_included(client: ManagementClient, target: Target, variant: str, users: Iterable[str]) -> Outcome:
    """Make sure that these users or devices are included and nobody else is."""
    wanted = checks.names("users", users)
    if not wanted:
        return ensure_nobody_included(client, target, variant)
    if len(wanted) > checks.MAX_INCLUSIONS:
        raise InvalidInputError("users", f"{len(wanted)} are named; a variant has {checks.MAX_INCLUSIONS} at most")
    stays = set(wanted)
    return _Inclusions(client, target, variant, wanted=wanted, goes=lambda user: user not in stays).reconcile()


def ensure_nobody_included(client: ManagementClient, target: Target, variant: str) -> Outcome:
    """Make sure that nobody is included (contract: *Remove all users from variant*)."""
    return _Inclusions(client, target, variant).clear()


class _Inclusions:
    """The inclusions of one variant, on their way to who is ``wanted`` without those who are to go."""

    def __init__(
        self,
        client: ManagementClient,
        target: Target,
        variant: str,
        *,
        wanted: Iterable[str] = (),
        goes: Callable[[str], bool] = lambda user: False,
    ) -> None:
        self._client = client
        self._target = target
        self._variant = checks.name("variant", variant)
        self._wanted = tuple(wanted)
        self._goes = goes
        self._bystanders: Counter[str] = Counter()
        self._put_back: list[str] = []
        self._loose_end = False
        self._removed = False
        self._sent = False
        self._by_value = True
        self._endpoints = target.endpoints(client)
        self._identity = target.identify(client)
        self._before = self._read()

    def reconcile(self) -> Outcome:
        """Change what is not so, read, and again where answers were lost or somebody else changed the list."""
        self._refuse_too_many(self._before)
        with told_as_sent(f"{self._what()}: some were changed, or may have been", when=lambda: self._sent):
            return self._reconcile(self._before)

    def _reconcile(self, now: list[str]) -> Outcome:
        for _ in range(_ROUNDS):
            if self._is_so(now) and not self._stirs_late():
                return self._outcome(now)
            answered = self._remove(now) and self._add(now)
            now = self._read_after(now) if answered else self._read()
        raise UnsettledError(
            f"{self._what()}: after {_ROUNDS} rounds it is still not as it should be. {self._state(now)} "
            "Either answers are being lost or somebody else is changing the list: run this again when it is calm."
        )

    def clear(self) -> Outcome:
        if self._before:
            write_once(
                self._client,
                f"{self._what()}: removing them all",
                lambda: self._endpoints.remove_all_inclusions(self._identity.id, self._variant),
                lambda: not self._read(),
            )
            if not comes_to_show(self._client, lambda: not self._read()):
                raise self._not_applied(self._before)
        return self._outcome([])

    # what stands there, and what is wrong with it

    def _read(self) -> list[str]:
        try:
            now = self._endpoints.inclusions(self._identity.id, self._variant)
        except NotFoundError:
            now = None
        if now is None:
            raise WrongStateError(f"There is no {self._target}, or it has no variant {self._variant!r}.")
        # Whoever was seen there since our first removal, and is not to go, must be there at the end. Who vanished
        # before it was removed by a person.
        if not self._removed:
            self._bystanders.clear()
        self._bystanders |= Counter(user for user in now if not self._goes(user) and user not in self._wanted)
        return now

    def _is_so(self, now: list[str]) -> bool:
        return not self._places_to_clear(now) and not self._missing(now)

    def _places_to_clear(self, now: list[str]) -> list[int]:
        """Where those stand who are to go, highest place first, and those whom a lost answer let us add twice."""
        allowed = {user: max(1, self._before.count(user)) for user in self._wanted}
        met: Counter[str] = Counter()
        places = []
        for place, user in enumerate(now):
            met[user] += 1
            if self._goes(user) or met[user] > allowed.get(user, len(now)):
                places.append(place)
        return places[::-1]

    def _missing(self, now: list[str]) -> list[str]:
        present = Counter(now)
        vanished = list((self._bystanders - present).elements()) if self._removed else []
        return [user for user in self._wanted if user not in present] + vanished

    # the changes; each answers whether it knows what became of it

    def _remove(self, now: list[str]) -> bool:
        left = list(now)
        going = [user for user in dict.fromkeys(now) if self._goes(user)]
        if self._by_value and len(going) >= _WORTH_ASKING:
            if not self._remove_by_value(going):
                return False
            if self._by_value:
                left = [user for user in now if not self._goes(user)]
        for place in self._places_to_clear(left):
            user = left[place]
            try:
                self._endpoints.remove_inclusion(self._identity.id, self._variant, place)
            except NotFoundError:
                return False  # the list became shorter: somebody else removed people
            except UncertainWriteError as error:
                self._sent = self._removed = True
                count = left.count(user)
                if not comes_to_show(
                    self._client,
                    lambda user=user, count=count: self._read().count(user) < count,  # type: ignore[misc]
                    wait=error.maybe_in_flight,
                ):
                    self._loose_end = error.maybe_in_flight
                return False
            self._sent = self._removed = True
            del left[place]
        return True

    def _remove_by_value(self, users: list[str]) -> bool:
        """It does nothing, and says so in ``_by_value``, where the service cannot."""
        for first in range(0, len(users), _BY_VALUE_AT_ONCE):
            some = users[first : first + _BY_VALUE_AT_ONCE]
            try:
                self._endpoints.remove_inclusions(self._identity.id, self._variant, some)
            except (NotFoundError, UnsupportedError, InvalidRequestError):
                self._by_value = False
                return first == 0
            except UncertainWriteError as error:
                self._sent = self._removed = True
                if not comes_to_show(
                    self._client,
                    lambda some=some: not set(some) & set(self._read()),  # type: ignore[misc]
                    wait=error.maybe_in_flight,
                ):
                    self._loose_end = error.maybe_in_flight
                return False
            self._sent = self._removed = True
        return True

    def _add(self, now: list[str]) -> bool:
        missing = self._missing(now)
        self._put_back += [user for user in missing if user not in self._wanted]
        try:
            self._endpoints.add_inclusions(self._identity.id, self._variant, missing)
        except UncertainWriteError as error:
            self._sent = True
            if not comes_to_show(self._client, lambda: not self._missing(self._read()), wait=error.maybe_in_flight):
                self._loose_end = error.maybe_in_flight
            return False
        self._sent = self._sent or bool(missing)
        return True

    def _read_after(self, before: list[str]) -> list[str]:
        """Read back after a change that was answered: if nothing at all changed, it is being held back."""
        now = before

        def changed() -> bool:
            nonlocal now
            now = self._read()
            return now != before

        if not comes_to_show(self._client, changed):
            raise self._not_applied(now)
        return now

    def _stirs_late(self) -> bool:
        """Whether a change that was given up and sent anew arrives after all, within the time that it is given."""
        if not self._loose_end:
            return False
        self._loose_end = False
        return comes_to_show(self._client, lambda: not self._is_so(self._read()))

    def _refuse_too_many(self, now: list[str]) -> None:
        then = len(now) - len(self._places_to_clear(now)) + len(self._missing(now))
        if then > checks.MAX_INCLUSIONS and self._missing(now):
            raise WrongStateError(
                f"{self._what()}: there would be {then} inclusions; a variant has {checks.MAX_INCLUSIONS} at most. "
                "Nothing was changed."
            )

    # what is said of it

    def _outcome(self, now: list[str]) -> Outcome:
        notes = (f"Put back after they had vanished: {', '.join(self._put_back)}.",) if self._put_back else ()
        changed = Counter(now) != Counter(self._before) or bool(self._put_back)
        before, after = {"count": len(self._before)}, self._counts(now)
        url = self._identity.url(self._client)
        return Outcome(self._identity.id, self._identity.key, changed, before, after, url, notes)

    def _counts(self, now: list[str]) -> dict[str, int]:
        was, is_now = Counter(self._before), Counter(now)
        return {"count": len(now), "added": (is_now - was).total(), "removed": (was - is_now).total()}

    def _what(self) -> str:
        return f"The inclusions of variant {self._variant!r} of {self._target}"

    def _state(self, now: list[str]) -> str:
        counts = self._counts(now)
        return f"It has {counts['count']} inclusions now ({counts['added']} added, {counts['removed']} removed)."

    def _not_applied(self, now: list[str]) -> NotAppliedError:
        return NotAppliedError(
            f"{self._what()} were to change. Amplitude accepted that and does not show it. {self._state(now)} "
            "Most likely it waits for an approval: approve it in Amplitude, then run this again."
        )
