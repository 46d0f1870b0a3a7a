"""Tell whom a removal by place hit, from the lists before and after it. Pure.

The API removes an inclusion by its place. Another removal between our read and our removal shifts the places, so that
ours hits another person. The lists tell who that can have been.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations


def vanished_places(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """The places of ``before`` whose users are gone. New users stand at the end of ``after``."""
    gone = []
    matched = 0
    for place, user in enumerate(before):
        if matched < len(after) and after[matched] == user:
            matched += 1
        else:
            gone.append(place)
    return gone


def possibly_removed(before: Sequence[str], after: Sequence[str], place: int) -> list[str]:
    """The users whom one removal at ``place`` can have hit, while others removed the rest of those who are gone.

    A removal at 3 hits the user who stood at 5 when two users before that one were gone already.
    """
    gone = vanished_places(before, after)
    found = [
        before[one] for number, one in enumerate(gone) if one >= place and number >= one - place
    ]  # `number` users before that place are gone
    return list(dict.fromkeys(found))


def removed_by_us_alone(before: Sequence[str], after: Sequence[str], places: Sequence[int]) -> dict[int, str] | None:
    """Whom our removals at these places hit, if they explain alone who is gone; some may not have been applied.

    :param places: at most a few; removals whose response was lost among them
    :returns: the user for each index in ``places`` that was applied; ``None`` when others removed users, too
    """
    gone = vanished_places(before, after)
    if len(gone) > len(places):
        return None
    for order in permutations(range(len(places)), len(gone)):
        left = list(enumerate(before))
        hit: dict[int, tuple[int, str]] = {}
        for index in order:
            if places[index] < len(left):
                hit[index] = left.pop(places[index])
        if sorted(place for place, _ in hit.values()) == gone:
            return {index: user for index, (_, user) in hit.items()}
    return None
