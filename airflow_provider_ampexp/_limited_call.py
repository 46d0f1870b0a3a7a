"""Run calls that may hang, each in its own thread and with a time limit."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NoAnswerInTimeError(Exception):
    """The call still runs at its time limit."""


class CallExitedError(Exception):
    """The call raised an exception that would end the process, such as ``SystemExit``."""


class LimitedCall(Generic[T]):
    """A function that runs in a daemon thread, with the context variables of the caller.

    Python cannot stop a thread, so a call that hangs ends with its process.

    :param function: the function to call
    :param name: the name of the thread
    """

    def __init__(self, function: Callable[[], T], name: str) -> None:
        self._function = function
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._result: T
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Return true until the function has returned."""
        return not self._ended.is_set()

    def result(self, seconds: float) -> T:
        """Return the function's result, or raise its exception.

        :param seconds: the time limit, counted from the start of the call
        :raises NoAnswerInTimeError: when the function still runs at the time limit
        :raises CallExitedError: when the function raised a ``BaseException`` that is not an ``Exception``
        """
        if not self._ended.wait(max(0.0, self._began + seconds - time.monotonic())):
            raise NoAnswerInTimeError(f"no answer within {seconds:g} s")
        if self._error is None:
            return self._result
        if isinstance(self._error, Exception):
            raise self._error
        raise CallExitedError(f"{type(self._error).__name__}: {self._error}") from self._error

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()


def begin(function: Callable[[], T], name: str) -> LimitedCall[T]:
    """Start a call in its own thread."""
    return LimitedCall(function, name)
