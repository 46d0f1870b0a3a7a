"""The cache of the page: limited in bytes, with an expiry, and with one read for all concurrent requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.ui import _ttl_cache as ttl_cache
from airflow_provider_ampexp.ui._ttl_cache import STALE_FOR, SlowResponseError, TtlCache


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def run(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


def test_what_is_kept_is_bounded_by_bytes() -> None:
    async def story() -> None:
        cache: TtlCache[str] = TtlCache(30, run, most_bytes=1_000, clock=Clock())
        for number in range(20):
            await cache.get(number, lambda: "x" * 300)
            assert cache.bytes_kept <= 1_000
        assert cache.bytes_kept > 300

    asyncio.run(story())


def test_a_value_larger_than_the_cache_is_served_and_not_kept() -> None:
    async def story() -> None:
        cache: TtlCache[str] = TtlCache(30, run, most_bytes=1_000, clock=Clock())
        assert await cache.get("large", lambda: "x" * 2_000) == "x" * 2_000
        assert cache.bytes_kept == 0

    asyncio.run(story())


def test_what_is_old_is_dropped() -> None:
    async def story() -> None:
        clock = Clock()
        cache: TtlCache[str] = TtlCache(30, run, clock=clock)
        await cache.get("one", lambda: "value")
        assert cache.bytes_kept > 0
        clock.now += 30 + STALE_FOR + 1
        assert cache.bytes_kept == 0

    asyncio.run(story())


def test_all_who_ask_at_once_cost_one_read() -> None:
    async def story() -> None:
        reads: list[int] = []

        def read() -> str:
            reads.append(1)
            return "value"

        cache: TtlCache[str] = TtlCache(30, run, clock=Clock())
        assert await asyncio.gather(*(cache.get("one", read) for _ in range(50))) == ["value"] * 50
        assert len(reads) == 1

    asyncio.run(story())


def test_an_old_error_is_not_served_in_place_of_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        clock = Clock()
        cache: TtlCache[str] = TtlCache(30, run, clock=clock)

        def fail() -> str:
            raise ValueError("away")

        with pytest.raises(ValueError, match="away"):
            await cache.get("one", fail)
        clock.now += 31
        assert await cache.get("one", lambda: "value") == "value"

    asyncio.run(story())


def test_a_first_read_that_takes_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ttl_cache, "PATIENCE", 0.05)

    async def story() -> None:
        import time

        cache: TtlCache[str] = TtlCache(30, run, clock=Clock())
        with pytest.raises(SlowResponseError, match=r"no response within 0\.05 s"):
            await cache.get("one", lambda: time.sleep(0.3) or "value")
        assert await asyncio.sleep(0.5, cache.bytes_kept) is not None
        assert await cache.get("one", lambda: "another") == "value"

    asyncio.run(story())
