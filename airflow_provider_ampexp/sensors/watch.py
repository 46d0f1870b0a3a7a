"""What all sensors of this provider share: look, judge, and wait by poking, by rescheduling or in the triggerer."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_provider_ampexp.operators.errors import AmplitudeTaskError, doing
from airflow_provider_ampexp.operators.link import show_link
from airflow_provider_ampexp.operators.target import AmplitudeTargetOperator
from airflow_provider_ampexp.sensors.conditions import Condition, Verdict, as_plain
from airflow_provider_ampexp.sensors.look import look

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client.fields import Json
    from airflow_provider_ampexp.client.flags import Kind

FAILURES = 10
"""How many polls in a row may fail, for reasons that may pass, before the wait is given up."""

_TRIGGER_GRACE = 600.0  # seconds after which Airflow itself ends a wait whose trigger nobody runs


class AmplitudeSensor(AmplitudeTargetOperator, BaseSensorOperator):
    """Waits until a flag or experiment is as it should be, and returns what was seen.

    All modes behave alike. What can never come true any more (it is archived, or gone) fails the task at once, without
    a retry, and so does the timeout; with ``soft_fail`` or ``never_fail`` the task is skipped instead. A poll that
    fails for a reason that may pass (no answer, an error of the service, the request limit) is repeated; after 10 in a
    row the task fails and Airflow's ``retries`` apply (when rescheduling nobody counts, and the timeout ends the wait).

    Takes the arguments of :class:`~airflow_provider_ampexp.operators.target.AmplitudeTargetOperator` and of Airflow's
    ``BaseSensorOperator``, and:

    :param poll_interval: seconds between two looks, default 60: Airflow's ``poke_interval`` under a name that fits all
        modes. Given both, this one counts.
    :param deferrable: wait in the triggerer, without a worker; default as ``[operators] default_deferrable`` says.
        ``mode`` is of no matter then.
    """

    def __init__(
        self, *, poll_interval: float | timedelta | None = None, deferrable: bool | None = None, **kwargs: Any
    ) -> None:
        if poll_interval is not None:
            kwargs["poke_interval"] = poll_interval
        super().__init__(**kwargs)
        self.deferrable = (
            conf.getboolean("operators", "default_deferrable", fallback=False) if deferrable is None else deferrable
        )
        self._failures = 0
        self._last: Verdict | None = None

    @property
    def poll_interval(self) -> float:
        """Seconds between two looks."""
        return self.poke_interval

    @abstractmethod
    def condition(self) -> Condition:
        """What is waited for, once the arguments are rendered."""

    def execute(self, context: Context) -> Any:
        """Look, and wait.

        :raises AirflowFailException: when it can never come true, or no retry can mend what went wrong
        :raises AirflowSensorTimeout: when ``timeout`` is over
        :raises AmplitudeTaskError: when a retry may mend what went wrong
        """
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            if self.never_fail:  # Airflow skips here when it resumes, but not when it pokes
                raise AirflowSkipException(str(error)) from error
            raise AirflowSensorTimeout(f"{error} {self._last_seen()}") from None

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once. When deferrable, the first look is the only one here."""
        try:
            with doing(f"look at {self.described()}"), self.hook() as hook:
                target = self.target(self.project_of(hook))
                condition = self.condition()
                verdict = look(hook.client, target, condition)
        except AmplitudeTaskError as error:
            self._failures += 1
            if self.deferrable or (self._failures >= FAILURES and not self.reschedule):
                raise
            self.log.warning("Poll failed, which may pass (%d in a row): %s", self._failures, error)
            return PokeReturnValue(False)
        self._failures = 0
        self._tell(context, verdict)
        if verdict.status == "never":
            raise AirflowFailException(self._never(verdict.why))
        if verdict.status == "waiting" and self.deferrable:
            self._defer(target.kind, str(verdict.seen["id"]), condition)
        return PokeReturnValue(verdict.status == "met", dict(verdict.seen))

    def resume(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Json]:
        """Go on with what the trigger says; what it says is described there."""
        said: Mapping[str, Any] = event or {}
        status, why = said.get("status"), said.get("why", "")
        if status == "met":
            self.log.info("Met: %s: %s.", self.described(), why)
            return dict(said["seen"])
        if status == "never":
            raise AirflowFailException(self._never(why))
        if status == "timeout":
            raise AirflowSensorTimeout(f"Timed out after {self.timeout:g} s. Last seen: {why}.")
        if status == "error" and not said.get("may_pass"):
            raise AirflowFailException(f"Could not look at {self.described()}. {why}")
        if status != "error":
            why = f"The trigger ended with an event that this version does not know: {event!r}."
        if self.never_fail:  # as Airflow does it when poking
            raise AirflowSkipException(why)
        raise AmplitudeTaskError(f"Could not look at {self.described()}. {why}")

    def _defer(self, kind: Kind, id: str, condition: Condition) -> NoReturn:
        from airflow_provider_ampexp.triggers.watch import AmplitudeWatchTrigger

        trigger = AmplitudeWatchTrigger(
            amplitude_conn_id=str(self.amplitude_conn_id),
            kind=kind,
            id=id,
            condition=as_plain(condition),
            poll_interval=self.poll_interval,
            deadline=time.time() + self.timeout,
            failures=None if self.silent_fail else FAILURES,
        )
        self.defer(
            trigger=trigger,
            method_name="resume",
            timeout=timedelta(seconds=self.timeout + self.poll_interval + _TRIGGER_GRACE),
        )

    def _tell(self, context: Context, verdict: Verdict) -> None:
        last, self._last = self._last, verdict
        if last is None:
            show_link(context, str(verdict.seen.get("url", "")))
        if last is None or last.why != verdict.why:
            self.log.info("%s: %s.", self.described(), verdict.why)
        if verdict.unknown and (last is None or last.unknown != verdict.unknown):
            self.log.warning("%r is not a state that this provider knows; waiting on.", verdict.unknown)

    def _never(self, why: str) -> str:
        return f"What is waited for can never come true: {self.described()}: {why}."

    def _last_seen(self) -> str:
        return f"Last seen of {self.described()}: {self._last.why}." if self._last else "Nothing was seen."
