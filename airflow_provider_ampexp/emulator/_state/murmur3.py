"""The hash of the service: murmur3 for x86 with 32 bits, byte by byte as its specification has it."""

from __future__ import annotations

_LIMIT = 2**32


def murmur3(text: str, seed: int = 0) -> int:
    """Return the hash of a text in UTF-8."""
    data, state = text.encode("utf-8"), seed
    for start in range(0, len(data) - 3, 4):
        state ^= _scramble(int.from_bytes(data[start : start + 4], "little"))
        state = (_rotate(state, 13) * 5 + 0xE6546B64) % _LIMIT
    rest = data[len(data) - len(data) % 4 :]
    state ^= _scramble(int.from_bytes(rest, "little"))
    state ^= len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = (state ^ (state >> shift)) * factor % _LIMIT
    return state ^ (state >> 16)


def _scramble(block: int) -> int:
    return _rotate(block * 0xCC9E2D51 % _LIMIT, 15) * 0x1B873593 % _LIMIT


def _rotate(number: int, places: int) -> int:
    return (number << places | number >> (32 - places)) % _LIMIT
