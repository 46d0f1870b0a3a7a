"""Find a user who has several rows, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable

MOST_USERS = 250_000
"""The largest number of stored users, with some 100 bytes each."""


class UniqueUsers:
    """The users of the rows so far.

    Up to 250,000 users, every repeated user is found. With more users, a random half of them is stored, then a quarter,
    and so on. The hash of a user decides whether the user is stored.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._mask = 0

    def is_new(self, user: Hashable) -> bool:
        """Return false if an earlier row was of the same user."""
        key = hash(user)
        if key & self._mask:
            return True
        if key in self._seen:
            return False
        self._seen.add(key)
        while len(self._seen) > MOST_USERS:
            self._mask = 2 * self._mask + 1
            self._seen = {hashed for hashed in self._seen if not hashed & self._mask}
        return True
