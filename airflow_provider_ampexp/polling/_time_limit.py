"""Await something for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_at_most(seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, or raise `asyncio.TimeoutError` and cancel it.

    Before Python 3.12, ``asyncio.wait_for`` returns the result, and forgets the cancellation, if its caller is
    cancelled in the moment in which ``work`` ends. A cancelled trigger would then run forever.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()
