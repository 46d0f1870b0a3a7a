"""The hash that decides who gets a variant: murmur3_x86_32 of ``<salt>/<bucketing value>``, seed 0, UTF-8.

``mmh3`` computes the hash if it is installed, and the standard library otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, islice
from struct import Struct
from typing import Any

try:
    import mmh3
except ImportError:  # an extra: pip install 'airflow-provider-ampexp[fast]'
    _mmh3_hash: Callable[..., int] | None = None
else:
    _mmh3_hash = mmh3.hash

_PART = 10_000


def bucket(salt: str, value: object) -> int:
    """Return the hash of a bucketing value, from 0 to 2**32 - 1; ``ValueError`` for a null or an empty value."""
    return Bucketer(salt).bucket(value)


def buckets(salt: str, values: Iterable[object]) -> Iterator[int | None]:
    """Yield the hash of each value, in order; ``None`` for a null or an empty value."""
    return Bucketer(salt).buckets(values)


class Bucketer:
    """The hash for one salt. Without ``mmh3``, the salt is hashed only once."""

    def __init__(self, salt: str) -> None:
        self._hash_part = _with_mmh3(f"{salt}/") if _mmh3_hash else _with_stdlib(f"{salt}/")

    def bucket(self, value: object) -> int:
        """Return the hash of a value; ``ValueError`` for a null or an empty value."""
        hashed = self.bucket_or_none(value)
        if hashed is None:
            raise ValueError(f"expected a bucketing value, got {value!r}")
        return hashed

    def bucket_or_none(self, value: object) -> int | None:
        """Return the hash of a value; ``None`` for a null or an empty value."""
        return self._hash_part((value,))[0]

    def buckets(self, values: Iterable[object]) -> Iterator[int | None]:
        """Yield the hash of each value, in order; ``None`` for a null or an empty value.

        :param values: read in parts, so that memory use does not grow with their number. A column of Arrow, numpy or
            pandas is converted to Python values.
        """
        return chain.from_iterable(map(self._hash_part, _parts(values)))


def _text(value: object) -> str:
    """Return the text that the vendor's evaluator hashes: ``True`` for true, ``1.0`` for 1.0; empty for null."""
    if value is None or value != value:  # a column of floats has NaN for null
        return ""
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _parts(values: Any) -> Iterator[Sequence[object]]:
    convert = next((name for name in ("to_pylist", "tolist") if hasattr(values, name)), None)
    if convert is not None:  # the text of an Arrow null would be "None"
        for start in range(0, len(values), _PART):
            yield getattr(values[start : start + _PART], convert)()
    else:
        left = iter(values)
        yield from iter(lambda: list(islice(left, _PART)), [])


_HashPart = Callable[[Sequence[object]], list[int | None]]


def _with_mmh3(prefix: str) -> _HashPart:
    hashed = _mmh3_hash
    assert hashed is not None
    return lambda part: [
        hashed(prefix + text, 0, False) if (text := value if type(value) is str else _text(value)) else None
        for value in part
    ]


def _with_stdlib(prefix: str) -> _HashPart:
    data = prefix.encode()
    whole = len(data) & ~3
    state, rest = _mix(0, data[:whole]), data[whole:]

    def hashed(text: str) -> int:
        data = rest + text.encode()
        size = len(data)
        h = _mix(state, data)
        if tail := size & 3:
            k = int.from_bytes(data[-tail:], "little") * 0xCC9E2D51 & 0xFFFFFFFF
            h ^= (k << 15 | k >> 17) * 0x1B873593 & 0xFFFFFFFF
        h ^= size + whole
        h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
        h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
        return h ^ h >> 16

    return lambda part: [
        hashed(text) if (text := value if type(value) is str else _text(value)) else None for value in part
    ]


def _mix(h: int, data: bytes) -> int:
    """Mix all whole blocks of four bytes into the hash."""
    # Literals, because a look-up of constants would slow this loop, which takes most of the time.
    for k in _blocks(len(data) >> 2)(data):
        k = k * 0xCC9E2D51 & 0xFFFFFFFF
        h ^= (k << 15 | k >> 17) * 0x1B873593 & 0xFFFFFFFF
        h = (h << 13 | h >> 19) * 5 + 0xE6546B64 & 0xFFFFFFFF
    return h


@cache
def _blocks(number: int) -> Callable[[bytes], tuple[int, ...]]:
    return Struct(f"<{number}I").unpack_from
