"""The hash that decides who gets a variant: murmur3_x86_32 of ``<salt>/<bucketing value>``, seed 0, UTF-8.

``mmh3`` computes the hash if it is installed, and the standard library otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from struct import Struct

try:
    import mmh3
except ImportError:  # an extra: pip install 'airflow-provider-ampexp[fast]'
    _mmh3_hash: Callable[..., int] | None = None
else:
    _mmh3_hash = mmh3.hash

_MASK = 0xFFFFFFFF
_C1, _C2, _C3 = 0xCC9E2D51, 0x1B873593, 0xE6546B64


def bucket(salt: str, value: object) -> int:
    """Return the hash of a bucketing value, from 0 to 2**32 - 1. A value that is not a string is hashed as its text."""
    return Bucketer(salt).bucket(value)


def buckets(salt: str, values: Iterable[object]) -> Iterator[int | None]:
    """Yield the hash of each value, in order; ``None`` for a null or an empty value."""
    return Bucketer(salt).buckets(values)


class Bucketer:
    """The hash for one salt. The standard library's way hashes the salt once."""

    def __init__(self, salt: str) -> None:
        self._prefix = f"{salt}/"
        self._hash: Callable[[str], int] = _with_mmh3(self._prefix) if _mmh3_hash else _with_stdlib(self._prefix)

    def bucket(self, value: object) -> int:
        """Return the hash of a value."""
        return self._hash(_text(value))

    def buckets(self, values: Iterable[object]) -> Iterator[int | None]:
        """Yield the hash of each value, in order; ``None`` for a null or an empty value."""
        hashed = self._hash
        for value in values:
            text = value if type(value) is str else _text(value)
            yield hashed(text) if text else None


def _text(value: object) -> str:
    """Return the text that the vendor's evaluator hashes: ``True`` for true, ``1.0`` for 1.0; empty for null."""
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _with_mmh3(prefix: str) -> Callable[[str], int]:
    hashed = _mmh3_hash
    assert hashed is not None
    return lambda text: hashed(prefix + text, 0, False)


def _with_stdlib(prefix: str) -> Callable[[str], int]:
    data = prefix.encode()
    whole = len(data) & ~3
    state, rest = _mix(0, data[:whole]), data[whole:]

    def hashed(text: str) -> int:
        data = rest + text.encode()
        size = len(data)
        h = _mix(state, data)
        if tail := size & 3:
            k = int.from_bytes(data[-tail:], "little") * _C1 & _MASK
            h ^= (k << 15 | k >> 17) * _C2 & _MASK
        h ^= size + whole
        h = (h ^ h >> 16) * 0x85EBCA6B & _MASK
        h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK
        return h ^ h >> 16

    return hashed


def _mix(h: int, data: bytes) -> int:
    """Mix all whole blocks of four bytes into the hash."""
    for k in _blocks(len(data) >> 2).unpack_from(data):
        k = k * _C1 & _MASK
        h ^= (k << 15 | k >> 17) * _C2 & _MASK
        h = (h << 13 & _MASK | h >> 19) * 5 + _C3 & _MASK
    return h


@cache
def _blocks(number: int) -> Struct:
    return Struct(f"<{number}I")
