"""Bring the included cohorts of a variant to a state. Users of these cohorts get the variant at any percentage.

The contract does not have cohorts as inclusions. The live service adds and removes them by their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client._errors import NotFoundError, UncertainWriteError, UnsupportedError
from airflow_provider_ampexp.ensure._confirmation import mention_sent_change, read_until
from airflow_provider_ampexp.ensure._errors import (
    ChangeNotVisibleError,
    UnconfirmedWriteError,
    WrongStateError,
    no_such_variant,
)
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._variants import read_variants

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import FlagEndpoints

_ROUNDS = 10
_REMOVED_AT_ONCE = 100
_MOST_NAMED = 5


def ensure_cohorts_included(
    client: ManagementClient, target: FlagRef, variant: str, cohorts: Iterable[str]
) -> ChangeResult:
    """Make sure that these cohorts get the variant, and leave others.

    2 requests without a change, 4 with a change; one fewer by id.

    :raises WrongStateError: when the variant does not exist, or the service has no cohorts as inclusions
    """
    return _CohortList(client, target, variant, wanted=validate.names("cohorts", cohorts)).reconcile()


def ensure_cohorts_not_included(
    client: ManagementClient, target: FlagRef, variant: str, cohorts: Iterable[str]
) -> ChangeResult:
    """Make sure that none of these cohorts is included, and leave others.

    2 requests without a change, 4 with a change of up to 100 cohorts; one fewer by id.
    """
    unwanted = set(validate.names("cohorts", cohorts))
    return _CohortList(client, target, variant, goes=unwanted.__contains__).reconcile()


def ensure_exactly_cohorts(
    client: ManagementClient, target: FlagRef, variant: str, cohorts: Iterable[str]
) -> ChangeResult:
    """Make sure that exactly these cohorts are included; none if the list is empty."""
    wanted = validate.names("cohorts", cohorts)
    stays = set(wanted)
    return _CohortList(client, target, variant, wanted=wanted, goes=lambda cohort: cohort not in stays).reconcile()


def included_cohorts(endpoints: FlagEndpoints, id: str, variants: Iterable[str]) -> list[str]:
    """Read the ids of the cohorts that get one of these variants at any percentage.

    1 request for each variant. 1 request in all, and no cohort, where the service has no cohorts as inclusions.
    """
    found: list[str] = []
    for variant in variants:
        try:
            found += endpoints.cohorts(id, variant)
        except (NotFoundError, UnsupportedError):
            break
    return list(dict.fromkeys(found))


def named_cohorts(cohorts: Sequence[str]) -> str:
    """Return the cohorts as a text such as ``the cohorts 'a' and 'b'``. At most 5 are named."""
    shown = [repr(cohort) for cohort in cohorts[:_MOST_NAMED]]
    if more := len(cohorts) - len(shown):
        shown.append(f"{more} others")
    listed = " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
    return f"the cohort{'s' if len(cohorts) > 1 else ''} {listed}"


class _CohortList:
    def __init__(
        self,
        client: ManagementClient,
        target: FlagRef,
        variant: str,
        *,
        wanted: Iterable[str] = (),
        goes: Callable[[str], bool] = lambda cohort: False,
    ) -> None:
        self._client = client
        self._target = target
        self._variant = validate.name("variant", variant)
        self._wanted = tuple(dict.fromkeys(wanted))
        self._goes = goes
        self._endpoints = target.endpoints(client)
        self._identity = target.identify(client)
        self._sent = False
        self._in_flight = False

    def reconcile(self) -> ChangeResult:
        """Remove and add cohorts until the list is as wanted, and no lost write can still change the list."""
        before = self._read()
        with mention_sent_change(f"The {self} were changed, or may have been", when=lambda: self._sent):
            now = self._reconcile(before)
        url = self._identity.url(self._client)
        return ChangeResult(self._identity.id, self._identity.key, now != before, before, now, url)

    def _reconcile(self, before: list[str]) -> list[str]:
        now, may_be_doubled = before, False
        for _ in range(_ROUNDS + len(before) // _REMOVED_AT_ONCE):
            # A cohort may be in the list twice after a repeated addition. A removal removes both entries, and the next
            # round adds one.
            doubled = [cohort for cohort in self._wanted if may_be_doubled and now.count(cohort) > 1]
            going = [cohort for cohort in dict.fromkeys(now) if self._goes(cohort)] + doubled
            missing = [cohort for cohort in self._wanted if cohort not in now]
            if going:
                some = going[:_REMOVED_AT_ONCE]
                now = self._change(
                    now, self._endpoints.remove_cohorts, some, lambda now, some: not set(some) & set(now)
                )
            elif missing:
                now = self._change(now, self._endpoints.add_cohorts, missing, lambda now, some: set(some) <= set(now))
                may_be_doubled = may_be_doubled or self._in_flight
            elif self._in_flight:
                self._in_flight = False
                now = self._read_until(lambda then, now=now: then != now)  # type: ignore[misc]
            else:
                return now
        raise UnconfirmedWriteError(
            f"Updating the {self} failed: responses are lost, or another actor changes the list. It may have been "
            f"applied in part. The variant now has the cohorts {now}. Run this again later."
        )

    def _change(
        self,
        now: list[str],
        send: Callable[[str, str, list[str]], None],
        cohorts: list[str],
        shows: Callable[[list[str], list[str]], bool],
    ) -> list[str]:
        """Send one request, and return the list after it."""
        try:
            send(self._identity.id, self._variant, cohorts)
        except UncertainWriteError as error:
            self._sent = True
            self._in_flight = self._in_flight or error.maybe_in_flight
            return self._read_until(lambda now: shows(now, cohorts), wait=error.maybe_in_flight)
        self._sent = True
        then = self._read_until(lambda now: shows(now, cohorts))
        if then == now:
            raise ChangeNotVisibleError(
                f"Updating the {self} failed: Amplitude accepted the change, but shows {now}. The change probably "
                "waits for approval. Approve it in Amplitude, then run this again."
            )
        return then

    def _read(self) -> list[str]:
        try:
            return self._endpoints.cohorts(self._identity.id, self._variant)
        except NotFoundError:
            pass
        variants = read_variants(self._client, self._target, self._identity)
        if self._variant not in variants:
            raise no_such_variant(self._target, self._variant, variants)
        raise WrongStateError(
            f"Reading the {self} failed: the service does not have cohorts as inclusions. Nothing was changed. "
            "Include users instead, or add the cohort in Amplitude."
        )

    def _read_until(self, shows: Callable[[list[str]], bool], *, wait: bool = True) -> list[str]:
        return read_until(self._client, self._read, shows, patient=wait)[0]

    def __str__(self) -> str:
        return f"cohorts of variant {self._variant!r} of {self._target}"
