"""The alerts of a rollout: notifiers that are called once for each event, after the flag was changed.

Nothing here raises, and a notifier has 10 seconds: an alert decides nothing about the rollout.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp._keys import ALERTS_XCOM
from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.ensure import flag_url
from airflow_provider_ampexp.operators import _airflow_call as airflow_call
from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._rollout.pending_rollback import pending_rollback_reason
from airflow_provider_ampexp.operators._rollout.record import mask_secrets
from airflow_provider_ampexp.rollout import RolloutAlert
from airflow_provider_ampexp.rollout._actions import Wait
from airflow_provider_ampexp.rollout._alert import AlertEvent, Notifier, new_alert
from airflow_provider_ampexp.rollout._analysis import aggregate
from airflow_provider_ampexp.rollout._history import Exposure
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, AlertCause

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol
    from pydantic import JsonValue

    from airflow_provider_ampexp.operators._rollout.base import RolloutOperator
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.rollout._actions import Action


EVENTS: tuple[AlertEvent, ...] = get_args(AlertEvent)
LIMIT = 10.0
"""The time limit in seconds of all notifiers of an event together."""

_log = logging.getLogger(__name__)


class Alerts:
    """The notifiers of one task, and the events that were already sent.

    Each event is sent once. A deferral stores :attr:`sent` with the rollout's state. For a retry, Airflow 3.3 stores it
    after each notifier has returned. So a kill loses no alert, and an alert may be sent twice after a kill.

    :param operator: has the notifiers, and the names of the flag for an alert without Amplitude
    :param reason_to_roll_back: returns why the task must roll back before it reads the flag
    :param sent: the alerts of this attempt; ``None`` at its start, to read the alerts of earlier attempts from Airflow
    """

    def __init__(
        self,
        operator: RolloutOperator,
        context: Context,
        reason_to_roll_back: Callable[[], str | None] = lambda: None,
        sent: Iterable[str] | None = None,
    ) -> None:
        self.sent = set(sent or ())
        self._delivered = set(self.sent)
        self._is_loaded = sent is not None
        self._context = context
        self._notifiers: dict[str, tuple[Notifier, ...]] = {event: getattr(operator, f"on_{event}") for event in EVENTS}
        self._operator = operator
        self._reason_to_roll_back = reason_to_roll_back

    def set_sent(self, sent: Iterable[str]) -> None:
        """Set the alerts that this attempt sent before a wait."""
        self.sent = set(sent)
        self._delivered = set(self.sent)
        self._is_loaded = True

    def _load_sent(self) -> None:
        """Read the alerts of earlier attempts. This waits until the first alert, because a rollback comes first."""
        store, ti = self._context.get("task_state_store"), self._context.get("ti")
        if self._is_loaded or store is None or ti is None or ti.try_number < 2:
            return
        self._is_loaded = True
        kept = airflow_call.call_airflow("read which alerts were sent", lambda: store.get(ALERTS_XCOM), None)
        if isinstance(kept, dict) and kept.get("since_try") == attempts.first_try(ti, ti.task.retries):
            self.learn(kept.get("sent"))
            if self.sent:
                self._note()  # Airflow drops the XComs of an earlier attempt

    def learn(self, sent: object) -> None:
        """Add the alerts that another attempt or task has sent."""
        if isinstance(sent, list):
            known = {once for once in sent if isinstance(once, str)}
            self.sent |= known
            self._delivered |= known

    def learn_from(self, task_ids: Iterable[str]) -> None:
        """Add the alerts of other tasks of the run. Airflow has 2 seconds to respond."""
        if (ti := self._context.get("ti")) is None or not any(self._notifiers.values()):
            return
        for sent in pull_xcoms(ti, "read which alerts were sent", task_ids, ALERTS_XCOM):
            self.learn(sent)

    def send(self, alert: RolloutAlert, once: str) -> None:
        """Call the notifiers of an event once. It waits at most 10 seconds, and raises nothing.

        :param once: the identity of the event
        """
        event = alert["event"]
        if not self._notifiers[event]:
            return
        self._load_sent()
        if once in self.sent:
            return
        self.sent.add(once)
        rollout = mask_secrets(alert)
        # Each call has its own context and object, because a notifier writes its rendered fields into both.
        calls = [
            (notifier, limited_call.begin(_calling(notifier, {**self._context, "rollout": {**rollout}}), f"on_{event}"))
            for notifier in self._notifiers[event]
        ]
        failed = False
        for notifier, call in calls:
            try:
                call.result(LIMIT)
            except Exception as error:
                failed = True
                _log.warning(
                    "Alert on_%s failed: %s: %s: %s. The rollout continues. The alert: %s",
                    event,
                    _name(notifier),
                    type(error).__name__,
                    error,
                    rollout["text"],
                )
        if not failed:
            _log.info("Alert on_%s was sent by %s.", event, ", ".join(_name(notifier) for notifier, _ in calls))
            self._delivered.add(once)
            self._note()

    def end(self, once: str) -> None:
        """End an event: its next occurrence is sent again."""
        self.sent.discard(once)
        if once in self._delivered:
            self._delivered.remove(once)
            self._note()

    @contextmanager
    def alert_of_errors(self) -> Iterator[None]:
        """Alert when an error ends the task, unless the rollout has already sent an alert of its end.

        The error leaves a rollback of an earlier attempt incomplete, or it is an error without a retry.
        """
        try:
            yield
        except AirflowSkipException:
            raise
        except Exception as error:
            if not {"rollback", "abort"} & self.sent:
                self._alert_of(error)
            raise

    def _alert_of(self, error: Exception) -> None:
        why = None
        if self._notifiers["rollback"]:
            why = pending_rollback_reason(self._context) or self._reason_to_roll_back()
        if why is not None:
            self.send(self._about_the_task("rollback", str(error), why, confirmed=False), "rollback")
        elif self._notifiers["abort"] and (isinstance(error, AirflowFailException) or self._is_last_try()):
            # A group's rollback task sends an alert of its own end after this.
            self.send(self._about_the_task("abort", str(error), str(error), confirmed=None), AlertCause.ERROR.value)

    def _is_last_try(self) -> bool:
        ti = self._context.get("ti")
        return ti is not None and ti.try_number > (ti.max_tries or 0)

    def _about_the_task(self, event: AlertEvent, text: str, why: str, *, confirmed: bool | None) -> RolloutAlert:
        """Return an alert without Amplitude, from the arguments of the task."""
        operator = self._operator
        alert = new_alert(event, text, why, confirmed=confirmed)
        is_flag = operator.experiment_key is None and operator.experiment_id is None
        alert["kind"] = "flag" if is_flag else "experiment"
        alert["key"] = operator.flag_key or operator.experiment_key
        alert["id"] = operator.flag_id or operator.experiment_id
        alert["segment"] = operator.segment
        if event == "abort":
            alert["cause"] = AlertCause.ERROR.value
        return alert

    def _note(self) -> None:
        """Store the sent alerts, for a retry and for the rollback task of a group. Airflow has 2 seconds for that."""
        ti, store = self._context.get("ti"), self._context.get("task_state_store")
        if ti is None:
            return
        sent: list[JsonValue] = [*sorted(self._delivered)]
        note: dict[str, JsonValue] = {"since_try": attempts.first_try(ti, ti.task.retries), "sent": sent}

        def keep() -> None:
            if store is not None:
                store.set(ALERTS_XCOM, note)
            ti.xcom_push(key=ALERTS_XCOM, value=sent)

        airflow_call.call_airflow("store that the alert was sent", keep, None)


def send_alert(
    task: RolloutTask,
    event: AlertEvent,
    text: str,
    why: str,
    *,
    once: str | None = None,
    cause: AbortCause | AlertCause | None = None,
    before: Exposure | None = None,
    to: Exposure | None = None,
    confirmed: bool | None = None,
    stage: int | None = None,
    approvers: Iterable[str] = (),
    approve_url: str | None = None,
) -> None:
    """Send an alert of a flag.

    :param text: the whole message
    :param once: the identity of the event; the event, if not given
    :param before: the exposure before
    :param to: the target
    """
    flag = task.flag
    try:
        alert = new_alert(event, text, why, confirmed=confirmed)
        alert["cause"] = None if cause is None else cause.value
        alert["kind"] = "flag" if flag.target.kind == "flags" else "experiment"
        alert["key"], alert["id"], alert["segment"] = flag.config.get("key"), flag.id, flag.segment
        alert["url"] = flag_url(flag.client, flag.config)
        alert["percentage"], alert["enabled"] = flag.seen.exposure.percentage, flag.seen.exposure.enabled
        alert["from_percentage"] = None if before is None else before.percentage
        alert["to_percentage"] = None if to is None else to.percentage
        alert["stage"], alert["approvers"], alert["approve_url"] = stage, list(approvers), approve_url
        task.alerts.send(alert, once or event)
    except Exception as error:  # an alert does not decide the end of a rollback
        _log.warning("Alert on_%s failed: %s: %s. The alert: %s", event, type(error).__name__, error, text)


def alert_of_holds(task: RolloutTask, act: Action, state: RolloutState) -> None:
    """Send one alert for each hold by guardrails, or by a person with the tag."""
    flag, plan, alerts = task.flag, task.plan, task.alerts
    if state.held_since is None:
        alerts.end(_hold_id(AlertCause.GUARDRAILS))
    if not has_tag(flag.seen.tags, plan.hold_tag):
        alerts.end(_hold_id(AlertCause.TAG))
    if not isinstance(act, Wait):
        return
    held = f"The rollout of {task.described} is held at {flag.seen.exposure}"
    if state.held_since is not None:
        _, why = aggregate(state.statuses)
        text = f"{held} by its guardrails: {why}. Nothing is raised until they pass."
        send_alert(task, "hold", text, why, once=_hold_id(AlertCause.GUARDRAILS), cause=AlertCause.GUARDRAILS)
    if act.is_held:
        why = f"the flag has the tag {plan.hold_tag!r}"
        text = f"{held}: {why}. Nothing is raised until a person removes the tag."
        send_alert(task, "hold", text, why, once=_hold_id(AlertCause.TAG), cause=AlertCause.TAG)


def pull_xcoms(ti: RuntimeTaskInstanceProtocol, what: str, task_ids: Iterable[str], key: str) -> Sequence[Any]:
    """Return the XComs of other tasks of this run, of the same mapped task group. Airflow has 2 seconds to respond.

    :param what: the purpose of the call
    """
    tasks, where = sorted(task_ids), of_same_index(ti)
    found = airflow_call.call_airflow(what, lambda: ti.xcom_pull(task_ids=tasks, key=key, **where), None)
    return found or ()


def of_same_index(ti: RuntimeTaskInstanceProtocol) -> dict[str, Any]:
    """Return the argument of ``xcom_pull`` for tasks of the same mapped task group; empty outside of one."""
    return {} if ti.map_index is None or ti.map_index < 0 else {"map_indexes": ti.map_index}


def _hold_id(cause: AlertCause) -> str:
    """Return the identity of a hold."""
    return f"hold:{cause.value}"


def approve_url(context: Context) -> str | None:
    """Return the page of Airflow with the approval request of this task; ``None`` outside of a task."""
    page = getattr(context.get("ti"), "log_url", None)
    return None if page is None else f"{str(page).partition('?')[0]}/required_actions"


def _calling(notifier: Notifier, context: object) -> Callable[[], object]:
    """Return the call of a notifier on a copy, which keeps its templates."""
    return lambda: (notifier if inspect.isroutine(notifier) else copy.copy(notifier))(context)


def _name(notifier: Notifier) -> str:
    return getattr(notifier, "__qualname__", type(notifier).__qualname__)
