"""The base of all sensors: poll, judge the condition, and wait on a worker, by rescheduling or in the triggerer."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client._request_stats import RequestStats
from airflow_provider_ampexp.ensure._refusals import StillRefusedError, describe_failed_poll
from airflow_provider_ampexp.exceptions import AmplitudeTaskError, retry_while_unavailable
from airflow_provider_ampexp.links.amplitude import push_link
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeTargetOperator
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.polling._conditions import ConditionResult, WaitCondition, as_plain
from airflow_provider_ampexp.polling._statuses import WaitStatus

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client.types import Json
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

FAILURES = 10
"""The number of consecutive polls that may fail for temporary reasons before the wait ends."""

_TRIGGER_GRACE = 600.0  # seconds after which Airflow itself ends a wait whose trigger does not run
_TRIGGER = "airflow_provider_ampexp.triggers.flag_state.AmplitudeFlagStateTrigger"


@dataclass(frozen=True)
class _StartTriggerArgs:
    """A copy of Airflow's ``StartTriggerArgs``, whose import would cost each DAG file 150 ms."""

    trigger_cls: str
    next_method: str
    trigger_kwargs: dict[str, Any] | None
    timeout: timedelta | None
    next_kwargs: dict[str, Any] | None = None


class AmplitudeSensor(AmplitudeTargetOperator, BaseSensorOperator):
    """Wait until a flag or experiment meets a condition, and return its values.

    All modes give the same result:

    * If the condition can no longer be met (the flag is archived), or at the timeout, the task fails without a retry.
      With ``soft_fail`` or ``never_fail`` the task is skipped.
    * If a poll fails for a temporary reason (no response, a server error, the request limit), the sensor polls again.
      After 10 such polls in a row the task fails, and Airflow's ``retries`` apply. With ``mode="reschedule"`` these
      polls are not counted, and the timeout ends the wait.
    * If Amplitude refuses the key (401, 403) for 5 minutes, the task fails. The same applies to a missing flag or an
      unknown connection, if a poll saw the flag before. At the first poll, a missing flag or an unknown connection
      fails the task at once. If the wait starts in the triggerer, an unknown connection fails the task after 5 minutes.

    The sensor takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator` and of
    Airflow's ``BaseSensorOperator``, and:

    :param poll_interval: the time between two polls: seconds, a ``timedelta`` or a text such as ``"1m"`` (default:
        60 s). It replaces Airflow's ``poke_interval`` in all modes.
    :param deferrable: wait in the triggerer, without a worker; default: ``[operators] default_deferrable``. ``mode``
        then has no effect. On Airflow 3.3 the wait also starts and ends in the triggerer, if all arguments are literals
        (no templates, no arguments from other tasks, no mapping) and the task needs no worker: no subclass of the
        provider's sensors, no ``outlets``, ``execution_timeout``, ``pre_execute``, ``post_execute``,
        ``on_execute_callback``, ``on_success_callback`` or ``do_xcom_push=False``.
    """

    def __init__(
        self, *, poll_interval: float | timedelta | str | None = None, deferrable: bool | None = None, **kwargs: Any
    ) -> None:
        if poll_interval is not None:
            kwargs["poke_interval"] = arguments.interval("poll_interval", poll_interval)
        super().__init__(**kwargs)
        self.deferrable = (
            conf.getboolean("operators", "default_deferrable", fallback=False) if deferrable is None else deferrable
        )
        validate.switch("deferrable", self.deferrable)
        self._failures = 0
        self._last: ConditionResult | None = None
        self._was_rescheduled = False
        self._until: float | None = None
        self._requests = RequestStats()

    def _begin_in_the_triggerer(self) -> None:
        """Start and end the wait in the triggerer, without a worker.

        This does nothing on Airflow 3.2. The attributes are set on the instance, because attributes of the class would
        also apply to mapped tasks: Airflow would ignore their arguments, and all of them would wait for the wrong flag.
        """
        if not (self.deferrable and all(arguments.is_literal(getattr(self, name)) for name in self.template_fields)):
            return
        if self._needs_a_worker():
            return
        self.start_from_trigger = True
        self.start_trigger_args = cast(
            "Any",
            _StartTriggerArgs(
                trigger_cls=_TRIGGER,
                trigger_kwargs={
                    **self._trigger_arguments(self.condition()),
                    **self._named(),
                    "ends_task": True,
                },
                next_method="resume",
                timeout=timedelta(seconds=self.timeout + _TRIGGER_GRACE),
            ),
        )

    def _needs_a_worker(self) -> bool:
        """Return true if the task has an argument that needs a worker at its start or end, or is of a subclass."""
        return bool(
            not type(self).__module__.startswith("airflow_provider_ampexp.")
            or self.outlets
            or self.on_execute_callback
            or self.on_success_callback  # Airflow runs only failure callbacks for a task that ends in the triggerer
            or self._pre_execute_hook
            or self._post_execute_hook
            or self.execution_timeout
            or not self.do_xcom_push
        )

    def _trigger_arguments(self, condition: WaitCondition) -> dict[str, Any]:
        return {
            "amplitude_conn_id": str(self.amplitude_conn_id),
            "condition": as_plain(condition),
            "poll_interval": self.poll_interval,
            "failures": None if self.silent_fail else FAILURES,
        }

    @property
    def poll_interval(self) -> float:
        """The seconds between two polls."""
        return self.poke_interval

    @abstractmethod
    def condition(self) -> WaitCondition:
        """Return the condition, from the rendered arguments."""

    def execute(self, context: Context) -> Any:
        """Poll until the condition is met.

        :raises AirflowFailException: when the condition can no longer be met, or a retry cannot fix the error
        :raises AirflowSensorTimeout: when ``timeout`` is over before that
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            if self.never_fail:  # Airflow itself skips a resumed task here, but not a task that polls
                raise AirflowSkipException(str(error)) from error
            raise AirflowSensorTimeout(f"{error} {self._last_seen()}") from None
        finally:
            self.log.info("%s.", self._requests)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once. A deferrable sensor polls only once on the worker."""
        until = self._ends_at(context)
        try:
            with error_context(f"read {self.described()}"), self._quiet_hook() as hook:
                verdict = self._look(hook, until)
        except StillRefusedError as error:
            self.log.warning("%s", describe_failed_poll(self.described(), error, is_refusal=True))
            return self._go_on()
        except AmplitudeTaskError as error:
            self._failures += 1
            if not self.deferrable and not self.reschedule and self._failures >= FAILURES:
                raise
            self.log.warning("%s", describe_failed_poll(self.described(), error, is_refusal=False))
            return self._go_on()
        self._failures = 0
        self._tell(context, verdict)
        if verdict.status == WaitStatus.NEVER:
            raise AirflowFailException(self._never(verdict.why))
        if verdict.status == WaitStatus.WAITING and self.deferrable:
            self._defer({"kind": self.target(None).kind, "id": str(verdict.seen["id"]), "was_seen": True})
        return PokeReturnValue(verdict.status == WaitStatus.MET, dict(verdict.seen))

    def _go_on(self) -> PokeReturnValue:
        """Continue the wait after a failed poll. A deferrable sensor waits in the triggerer, for the named flag."""
        if self.deferrable:
            self._defer(self._named())
        return PokeReturnValue(False)

    def _named(self) -> dict[str, Any]:
        """Return the target's arguments for a trigger. Without a project, the trigger uses the connection's."""
        return asdict(self.target(self.named_project()))

    def _look(self, hook: AmplitudeExperimentHook, until: float) -> ConditionResult:
        """Poll until there is a response or a final refusal.

        :raises StillRefusedError: when the time is over before that. For a deferrable sensor, this is at once, and the
            trigger continues to poll.
        """
        was_seen = self._last is not None or self._was_rescheduled
        if was_seen:
            retry_while_unavailable(lambda: hook.fields, until)
        target, condition, client = self.target(self.project_of(hook)), self.condition(), hook.client
        from airflow_provider_ampexp.polling._check_once import look  # not needed while a DAG file is parsed

        return look(client, target, condition, was_seen=was_seen, until=until)

    def _ends_at(self, context: Context) -> float:
        """Return the time to stop polling, in seconds of ``time.monotonic()``. For a deferrable sensor, this is now."""
        if self._until is None:
            rescheduled_at = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
            self._was_rescheduled = rescheduled_at is not None
            has_waited = timedelta(0) if rescheduled_at is None else datetime.now(timezone.utc) - rescheduled_at
            left = 0.0 if self.deferrable else self.timeout - has_waited.total_seconds()
            self._until = time.monotonic() + left
        return self._until

    @contextmanager
    def _quiet_hook(self) -> Iterator[AmplitudeExperimentHook]:
        """Provide a hook for one poll. The task logs the number of requests of all polls at its end."""
        with self.hook() as hook:
            hook.summary_level = logging.DEBUG
            try:
                yield hook
            finally:
                self._requests.add(hook.requests)

    def resume(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Json]:
        """Resume with the trigger's event. The trigger documents its events."""
        said: Mapping[str, Any] = event or {}
        status, why = said.get("status"), said.get("why", "")
        push_link(context, str((said.get("seen") or {}).get("url") or ""))
        if status == WaitStatus.MET:
            self.log.info("The condition is met for %s: %s.", self.described(), why)
            return dict(said["seen"])
        if status == WaitStatus.NEVER:
            raise AirflowFailException(self._never(why))
        if status == WaitStatus.TIMEOUT:
            raise AirflowSensorTimeout(
                f"Waiting for {self.described()} timed out after {self.timeout:g} s. Last seen: {why}. Clear the "
                "task to wait again, or raise timeout."
            )
        if status == WaitStatus.ERROR and not said.get("is_retryable"):
            raise AirflowFailException(f"Failed to read {self.described()}: {why}")
        if status != WaitStatus.ERROR:
            why = f"The trigger ended with an unknown event: {event!r}."
        if self.never_fail:  # as Airflow does after a poll on a worker
            raise AirflowSkipException(why)
        raise AmplitudeTaskError(f"Failed to read {self.described()}: {why}")

    def _defer(self, watched: Mapping[str, Any]) -> NoReturn:
        from airflow_provider_ampexp.triggers.flag_state import AmplitudeFlagStateTrigger

        trigger = AmplitudeFlagStateTrigger(
            **self._trigger_arguments(self.condition()),
            **watched,
            deadline=time.time() + self.timeout,
        )
        self.defer(
            trigger=trigger,
            method_name="resume",
            timeout=timedelta(seconds=self.timeout + self.poll_interval + _TRIGGER_GRACE),
        )

    def _tell(self, context: Context, verdict: ConditionResult) -> None:
        last, self._last = self._last, verdict
        if last is None:
            push_link(context, str(verdict.seen.get("url", "")))
        if last is None or last.why != verdict.why:
            self.log.info("%s: %s.", self.described(), verdict.why)
        if verdict.unknown and (last is None or last.unknown != verdict.unknown):
            self.log.warning("%r is an undocumented state; the wait continues.", verdict.unknown)

        if verdict.warning and (last is None or last.warning != verdict.warning):
            self.log.warning("%s", verdict.warning)

    def _never(self, why: str) -> str:
        return (
            f"Waiting for {self.described()} failed: the condition can no longer be met: {why}. Correct the flag or "
            "the sensor, then clear the task."
        )

    def _last_seen(self) -> str:
        return f"Last seen of {self.described()}: {self._last.why}." if self._last else "No poll was successful."
