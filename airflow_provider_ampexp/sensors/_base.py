"""What all sensors of this provider share: look, judge, and wait by poking, by rescheduling or in the triggerer."""

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

from airflow_provider_ampexp.client._request_stats import RequestStats
from airflow_provider_ampexp.exceptions import AmplitudeTaskError, StillRefusedError, patiently
from airflow_provider_ampexp.links.amplitude import push_link
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeTargetOperator
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.polling._check_once import look
from airflow_provider_ampexp.polling._conditions import ConditionResult, WaitCondition, as_plain

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client.types import Json
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

FAILURES = 10
"""How many polls in a row may fail, for reasons that may pass, before the wait is given up."""

_TRIGGER_GRACE = 600.0  # seconds after which Airflow itself ends a wait whose trigger nobody runs
_TRIGGER = "airflow_provider_ampexp.triggers.flag_state.AmplitudeFlagStateTrigger"


@dataclass(frozen=True)
class _StartTriggerArgs:
    """Airflow's class of this name, field by field: importing that one costs each DAG file 150 ms."""

    trigger_cls: str
    next_method: str
    trigger_kwargs: dict[str, Any] | None
    timeout: timedelta | None
    next_kwargs: dict[str, Any] | None = None


class AmplitudeSensor(AmplitudeTargetOperator, BaseSensorOperator):
    """Waits until a flag or experiment is as it should be, and returns what was seen.

    All modes behave alike. What can never come true any more (it is archived) fails the task at once, without a retry,
    and so does the timeout; with ``soft_fail`` or ``never_fail`` the task is skipped instead. A poll that fails for a
    reason that may pass (no answer, an error of the service, the request limit) is repeated, also the first one; after
    10 in a row the task fails and Airflow's ``retries`` apply (when rescheduling nobody counts, and the timeout ends
    the wait). A refusal (401, 403) fails the task when every poll of 5 minutes was refused. The same holds for a flag
    that is gone and an unknown connection, where a poll saw the flag before; at the first poll they fail the task at
    once.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator` and of Airflow's
    ``BaseSensorOperator``, and:

    :param poll_interval: time between two looks, default 60 s: seconds, a ``timedelta`` or a text such as ``"1m"``. It
        is Airflow's ``poke_interval`` under a name that fits all modes. Given both, this one counts.
    :param deferrable: wait in the triggerer, without a worker; default as ``[operators] default_deferrable`` says.
        ``mode`` is of no matter then. Since Airflow 3.3 the wait begins in the triggerer, too, and ends there when it
        is met, so that it needs no worker. That is so where all arguments are written in the DAG (no templates, nothing
        that another task gives, no mapping) and nothing else is to be done on the worker: no ``outlets``,
        ``execution_timeout``, ``pre_execute``, ``post_execute``, ``on_execute_callback``,
        ``on_success_callback`` or ``do_xcom_push=False``.
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
        self._failures = 0
        self._last: ConditionResult | None = None
        self._was_rescheduled = False
        self._until: float | None = None
        self._requests = RequestStats()

    def _begin_in_the_triggerer(self) -> None:
        """Let the wait begin there, without a worker, and end there when what is waited for is met.

        It does nothing in Airflow 3.2. On this instance only: what is set on a class counts for mapped tasks too, whose
        own arguments Airflow would ignore then, so that all of them would wait for the wrong flag.
        """
        if not (self.deferrable and all(arguments.is_literal(getattr(self, one)) for one in self.template_fields)):
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
        """Whether Airflow does something on the worker, at the beginning or the end, that it would not do otherwise."""
        return bool(
            not type(self).__module__.startswith("airflow_provider_ampexp.")
            or self.outlets
            or self.on_execute_callback
            or self.on_success_callback  # Airflow runs no other than those of a failure for what ends in the triggerer
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
        """Seconds between two looks."""
        return self.poke_interval

    @abstractmethod
    def condition(self) -> WaitCondition:
        """What is waited for, once the arguments are rendered."""

    def execute(self, context: Context) -> Any:
        """Look, and wait.

        :raises AirflowFailException: when it can never come true, or a retry cannot fix the error
        :raises AirflowSensorTimeout: when ``timeout`` is over
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            if self.never_fail:  # Airflow skips here when it resumes, but not when it pokes
                raise AirflowSkipException(str(error)) from error
            raise AirflowSensorTimeout(f"{error} {self._last_seen()}") from None
        finally:
            self.log.info("%s.", self._requests)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once. When deferrable, the first look is the only one here."""
        until = self._ends_at(context)
        try:
            with error_context(f"read {self.described()}"), self._quiet_hook() as hook:
                verdict = self._look(hook, until)
        except StillRefusedError as error:
            self.log.warning("Poll was refused, which may be for a moment: %s", error)
            return self._go_on()
        except AmplitudeTaskError as error:
            self._failures += 1
            if not self.deferrable and not self.reschedule and self._failures >= FAILURES:
                raise
            self.log.warning("Poll failed, which may pass (%d in a row): %s", self._failures, error)
            return self._go_on()
        self._failures = 0
        self._tell(context, verdict)
        if verdict.status == "never":
            raise AirflowFailException(self._never(verdict.why))
        if verdict.status == "waiting" and self.deferrable:
            self._defer({"kind": self.target(None).kind, "id": str(verdict.seen["id"]), "was_seen": True})
        return PokeReturnValue(verdict.status == "met", dict(verdict.seen))

    def _go_on(self) -> PokeReturnValue:
        """Wait, although nothing was seen: for the next poll, or in the triggerer, which looks by the key."""
        if self.deferrable:
            self._defer(self._named())
        return PokeReturnValue(False)

    def _named(self) -> dict[str, Any]:
        """What the arguments name, for a trigger; in the project of the connection where they name none."""
        return asdict(self.target(arguments.optional(arguments.text)("project_id", self.project_id)))

    def _look(self, hook: AmplitudeExperimentHook, until: float) -> ConditionResult:
        """Look until there is an answer, or a refusal that is final.

        :raises StillRefusedError: when time is over first; when deferrable, at once, and the trigger goes on looking
        """
        was_seen = self._last is not None or self._was_rescheduled
        if was_seen:
            patiently(lambda: hook.fields, until)
        target, condition, client = self.target(self.project_of(hook)), self.condition(), hook.client
        return look(client, target, condition, was_seen=was_seen, until=until)

    def _ends_at(self, context: Context) -> float:
        """Until when this task may look, in seconds of ``time.monotonic()``."""
        if self._until is None:
            rescheduled_at = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
            self._was_rescheduled = rescheduled_at is not None
            has_waited = timedelta(0) if rescheduled_at is None else datetime.now(timezone.utc) - rescheduled_at
            left = 0.0 if self.deferrable else self.timeout - has_waited.total_seconds()
            self._until = time.monotonic() + left
        return self._until

    @contextmanager
    def _quiet_hook(self) -> Iterator[AmplitudeExperimentHook]:
        """One for each look, whose requests are told of when all looks are over."""
        with self.hook() as hook:
            hook.summary_level = logging.DEBUG
            try:
                yield hook
            finally:
                self._requests.add(hook.requests)

    def resume(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Json]:
        """Go on with what the trigger says; what it says is described there."""
        said: Mapping[str, Any] = event or {}
        status, why = said.get("status"), said.get("why", "")
        push_link(context, str((said.get("seen") or {}).get("url") or ""))
        if status == "met":
            self.log.info("Met: %s: %s.", self.described(), why)
            return dict(said["seen"])
        if status == "never":
            raise AirflowFailException(self._never(why))
        if status == "timeout":
            raise AirflowSensorTimeout(f"Timed out after {self.timeout:g} s. Last seen: {why}.")
        if status == "error" and not said.get("is_retryable"):
            raise AirflowFailException(f"Failed to read {self.described()}: {why}")
        if status != "error":
            why = f"The trigger ended with an event that this version does not know: {event!r}."
        if self.never_fail:  # as Airflow does it when poking
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
            self.log.warning("%r is not a state that this provider knows; waiting on.", verdict.unknown)

        if verdict.warning and (last is None or last.warning != verdict.warning):
            self.log.warning("%s", verdict.warning)

    def _never(self, why: str) -> str:
        return f"What is waited for can never come true: {self.described()}: {why}."

    def _last_seen(self) -> str:
        return f"Last seen of {self.described()}: {self._last.why}." if self._last else "Nothing was seen."
