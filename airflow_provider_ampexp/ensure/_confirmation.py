"""What to do when a change was sent and nobody knows whether it was applied: read, and only then repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_ampexp.client._errors import ManagementApiError, UncertainWriteError
from airflow_provider_ampexp.ensure._errors import TargetNotFoundError, UnconfirmedWriteError, WrongStateError

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_ATTEMPTS = 4


def write_and_confirm(
    client: ManagementClient,
    doing: str,
    write: Callable[[], object],
    applied: Callable[[], bool],
    *,
    a_second_counts: bool = False,
) -> None:
    """Carry out a change, reading what became of it wherever its answer is lost.

    :param doing: what is being done to which flag, for the error
    :param write: sends the change
    :param applied: reads whether the change is there
    :param a_second_counts: whether the service would take the same once more as another one (a label need not be
        unique): then nothing is sent again that may still be under way

    :raises UnconfirmedWriteError: when its answers were lost time and again and reading never showed it
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
            # A repeat is refused ("exists already") when the first one arrived after all, later than we looked.
            refused = error
        if lost is None and refused is not None:
            raise refused
        in_flight = lost is not None and lost.maybe_in_flight
        if wait_until_visible(client, applied, wait=in_flight):
            return
        if a_second_counts and in_flight:
            raise UnconfirmedWriteError(
                f"{doing}: no answer came, and reading does not show it. It may still be applied late, and is not sent "
                f"again, since it would then be there twice. Run this again in a while: it looks first. Last: {lost}"
            )
        if refused is not None:
            raise UnconfirmedWriteError(
                f"{doing}: a first call got no answer and may still be applied; its repeat was refused. {refused}"
            )
    raise UnconfirmedWriteError(
        f"{doing}: sent {_ATTEMPTS} times, each answer was lost, and reading does not show the change. "
        f"It may still be applied late: look at it in Amplitude before you run this again. Last: {lost}"
    )


def wait_until_visible(client: ManagementClient, applied: Callable[[], bool], *, wait: bool = True) -> bool:
    """Read until the change shows, for as long as the service may still be at work on it.

    That is the client's own timeout once more (30 s at most): a call that outlasted it once is given the same again.

    :raises UnconfirmedWriteError: when it cannot be read
    """
    with told_as_sent("A change was sent and may have been applied, but could not be read back"):
        return _comes_to_show(client, applied, wait)


@contextmanager
def told_as_sent(what: str, *, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Say of an error that something was sent before it: by itself it may well say that nothing was changed.

    :param what: what was done before
    :param when: whether anything was
    :raises UnconfirmedWriteError: in its place
    """
    try:
        yield
        return
    except ManagementApiError as error:
        if not when():
            raise
        # Its own words say that nothing was changed, which is true of that one call only.
        problem = f"{error.method} {error.path} failed ({error.status or 'no answer'}): {error.detail}"
    except (TargetNotFoundError, WrongStateError) as error:
        if not when():
            raise
        problem = str(error).replace("Nothing was changed.", "").strip()
    raise UnconfirmedWriteError(
        f"{what}. Run this again: what is so already is not changed a second time. Then: {problem}"
    )


def _comes_to_show(client: ManagementClient, applied: Callable[[], bool], wait: bool) -> bool:
    import tenacity

    from airflow_provider_ampexp.client._transport import MAX_CONFIRM_SECONDS

    if applied():
        return True
    if not wait:
        return False
    patience = min(client.timeout, MAX_CONFIRM_SECONDS)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda shown: not shown),
        wait=tenacity.wait_exponential(multiplier=patience / 8, max=5),
        stop=tenacity.stop_after_delay(patience),
        retry_error_callback=lambda _: False,
    )
    return bool(retrying(applied))
