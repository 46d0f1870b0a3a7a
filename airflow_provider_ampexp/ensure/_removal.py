"""Find the users whom a removal by place hit, from the lists before and after it. Pure.

The API removes an inclusion by its place. Another removal between our read and our removal shifts the places, so our
removal hits another user.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations


def vanished_places(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """Return the places of ``before`` whose users are gone. New users are at the end of ``after``."""
    gone = []
    matched = 0
    for place, user in enumerate(before):
        if matched < len(after) and after[matched] == user:
            matched += 1
        else:
            gone.append(place)
    return gone


def possibly_removed(before: Sequence[str], after: Sequence[str], place: int) -> list[str]:
    """Return the users whom one removal at ``place`` can have hit, while others removed the rest.

    Example: a removal at 3 hits the user at 5 if two users before it were already gone.
    """
    gone = vanished_places(before, after)
    found = [
        before[index] for number, index in enumerate(gone) if index >= place and number >= index - place
    ]  # `number` users before that place are gone
    return list(dict.fromkeys(found))


def removed_by_us_alone(before: Sequence[str], after: Sequence[str], places: Sequence[int]) -> dict[int, str] | None:
    """Return the users whom our removals at these places hit, if no other removals are needed to explain the lists.

    :param places: a few places, also of removals whose response was lost and which may not have been applied
    :returns: the user for each applied index in ``places``; ``None`` if others also removed users
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
