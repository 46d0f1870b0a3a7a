"""Handle writes whose response was lost: read first, then repeat the write if necessary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_ampexp.client._errors import ManagementApiError, UncertainWriteError
from airflow_provider_ampexp.ensure._errors import TargetNotFoundError, UnconfirmedWriteError, WrongStateError

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_ATTEMPTS = 4
_Read = TypeVar("_Read")


def write_and_confirm(
    client: ManagementClient,
    doing: str,
    write: Callable[[], object],
    applied: Callable[[], bool],
    *,
    repeat_duplicates: bool = False,
) -> None:
    """Send a change, and read the object after a lost response.

    :param doing: the action and its object, for the error
    :param write: sends the change
    :param applied: reads the object, and returns true if it shows the change
    :param repeat_duplicates: true if a second request would create a duplicate (labels are not unique). The function
        then sends no second request while the first may still be applied.

    :raises UnconfirmedWriteError: when all responses were lost and the change is not visible
    """
    lost: UncertainWriteError | None = None
    for _ in range(_ATTEMPTS):
        refused: ManagementApiError | None = None
        try:
            write()
            return
        except UncertainWriteError as error:
            lost = error
        except ManagementApiError as error:
            # The service refuses a repeat ("exists already") if it applied the first request after the read.
            refused = error
        if lost is None and refused is not None:
            raise refused
        in_flight = lost is not None and lost.maybe_in_flight
        if wait_until_visible(client, applied, patient=in_flight):
            return
        if repeat_duplicates and in_flight:
            raise UnconfirmedWriteError(
                f"{doing} failed: no response, and the change is not visible yet. It may still be applied, so it was "
                f"not resent (a second request would create a duplicate). Run this again later. Cause: {lost}"
            )
        if refused is not None:
            raise UnconfirmedWriteError(
                f"{doing} failed: the first request got no response and may still be applied. Amplitude refused the "
                f"second request. Check the object in Amplitude. Cause: {refused}"
            )
    raise UnconfirmedWriteError(
        f"{doing} failed: {_ATTEMPTS} requests got no response, and the change is not visible. It may still be "
        f"applied. Check the object in Amplitude before you run this again. Cause: {lost}"
    )


def wait_until_visible(client: ManagementClient, applied: Callable[[], bool], *, patient: bool = True) -> bool:
    """Read until the change is visible, for as long as the service may still work on it.

    The wait is as long as the client's timeout, and 30 s at most.

    :param patient: false to read only once

    :raises UnconfirmedWriteError: when the object cannot be read
    """
    with mention_sent_change("The change was sent and may have been applied, but reading it back failed"):
        return _comes_to_show(client, applied, patient)


def read_until(
    client: ManagementClient, read: Callable[[], _Read], shows: Callable[[_Read], bool], *, patient: bool = True
) -> tuple[_Read, bool]:
    """Read as :func:`wait_until_visible` does, and return what was read last, and whether it shows the change."""
    found: list[_Read] = []

    def applied() -> bool:
        found[:] = [read()]
        return shows(found[0])

    is_shown = wait_until_visible(client, applied, patient=patient)
    return found[0], is_shown


@contextmanager
def mention_sent_change(what: str, *, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Add to an error that a change was sent before it. The error itself may say that nothing was changed.

    :param what: the change
    :param when: returns true if the change was sent
    :raises UnconfirmedWriteError: instead of the error
    """
    try:
        yield
        return
    except ManagementApiError as error:
        if not when():
            raise
        # The error's own text says that nothing was changed, which applies to the last call only.
        problem = f"{error.method} {error.path} failed ({error.status or 'no response'}): {error.detail}"
    except (TargetNotFoundError, WrongStateError) as error:
        if not when():
            raise
        problem = str(error).replace("Nothing was changed.", "").strip()
    raise UnconfirmedWriteError(f"{what}. Run this again: completed changes are skipped. Cause: {problem}")


def _comes_to_show(client: ManagementClient, applied: Callable[[], bool], patient: bool) -> bool:
    import tenacity

    from airflow_provider_ampexp.client._transport import MAX_CONFIRM_SECONDS

    if applied():
        return True
    if not patient:
        return False
    patience = min(client.timeout, MAX_CONFIRM_SECONDS)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda shown: not shown),
        wait=tenacity.wait_exponential(multiplier=patience / 8, max=5),
        stop=tenacity.stop_after_delay(patience),
        retry_error_callback=lambda _: False,
    )
    return bool(retrying(applied))
