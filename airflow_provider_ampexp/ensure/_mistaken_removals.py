"""Keep account of the users whom removals by place hit by mistake, from the lists before and after each removal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from airflow_provider_ampexp.ensure._removal import possibly_removed, removed_by_us_alone, vanished_places


class MistakenRemovals:
    """The users who are gone because of our removals, or perhaps because of them.

    :param goes: returns true for a user who is to be removed
    :param wanted: the users who are to be in the list
    """

    def __init__(self, goes: Callable[[str], bool], wanted: Sequence[str]) -> None:
        self._goes = goes
        self._wanted = wanted
        self._due: dict[str, int] = {}
        self._doubtful: list[str] = []
        self._instead: dict[str, list[str]] = {}
        self.put_back: list[str] = []
        """The users whom we removed by mistake and have added again."""
        self.unanswered_places: list[int] = []
        """The places of our removals without a response, which the service may still carry out."""
        self.is_contended = False
        """True if others also remove users at this moment."""

    def missing(self, now: Sequence[str]) -> list[str]:
        """Return the users to add again."""
        present = Counter(now)
        return [user for user, count in self._due.items() for _ in range(count - present[user])]

    @property
    def has_due(self) -> bool:
        """True if users have to be added again."""
        return bool(self._due)

    def are_sent(self) -> None:
        """Note that the users are about to be added again."""
        self.put_back += [user for user in self._due if user not in self.put_back]

    def are_back(self) -> None:
        """Note that the users are in the list again."""
        self._due.clear()

    def attribute(self, now: list[str], then: list[str], place: int | None = None) -> None:
        """Find the users whom our removals hit, and the users to add again.

        :param now: the list before our last removal
        :param then: the list after it
        :param place: the place of our last removal, if it got a response
        """
        places = [*self.unanswered_places, *([place] if place is not None else [])]
        ours = removed_by_us_alone(now, then, places)
        if ours is not None:
            meant = now[places[-1]] if place is not None or len(ours) == 1 else None
            self.unanswered_places = [
                unanswered for index, unanswered in enumerate(self.unanswered_places) if index not in ours
            ]
            for user in ours.values():
                self._owe(user, now, meant)
            return
        self.is_contended = True
        if place is not None:
            self._attribute_contended(now, then, place)
        for unanswered in self.unanswered_places:
            self._doubt(possibly_removed(now, then, unanswered))

    def reconsider(self, then: Sequence[str]) -> None:
        """Read the list some moments later, when other tasks have restored the users whom they removed by mistake.

        If a user whom we removed is back, another task removed that user, and our removal hit a different user.
        """
        for user, others in self._instead.items():
            if user in then and len(others) == 1 and others[0] not in then:
                self._owe(others[0], others)
                self._doubtful = [doubtful for doubtful in self._doubtful if doubtful != others[0]]

    def notes(self, now: Sequence[str]) -> tuple[str, ...]:
        """Return the sentences for a person.

        :param now: the list, or an empty one to name every user who may be gone
        """
        put_back = f"This task removed other users by mistake, and added them again: {', '.join(self.put_back)}."
        doubtful = [user for user in dict.fromkeys([*self._doubtful, *self._due]) if user not in now]
        gone = (
            f"These users disappeared while this task removed others: {', '.join(doubtful)}. Another actor or this "
            "task removed them, so they were not added again. Check in Amplitude if they must be included."
        )
        return (*([put_back] if self.put_back else []), *([gone] if doubtful else []))

    def _attribute_contended(self, now: list[str], then: list[str], place: int) -> None:
        possible = possibly_removed(now, then, place)
        if now[place] not in possible and len(possible) == 1:
            self._owe(possible[0], now)
            return
        others = [user for user in possible if user != now[place]]
        self._doubt(others)
        if others and now[place] in possible:
            self._instead[now[place]] = others
        if not possible:  # another task added users again between our read and our removal
            missing = [now[index] for index in vanished_places(now, then) if index >= place]
            self._doubt([*missing, "a user who was added at the same moment"])

    def _owe(self, user: str, now: list[str], meant: str | None = None) -> None:
        if user != meant and not self._goes(user) and user not in self._wanted:
            self._due[user] = now.count(user)

    def _doubt(self, users: Iterable[str]) -> None:
        self._doubtful += [user for user in users if not self._goes(user) and user not in self._due]
