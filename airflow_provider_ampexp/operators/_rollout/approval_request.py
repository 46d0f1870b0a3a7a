"""The request to approve a stage, under *Required Actions* in Airflow, and its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.ensure import flag_url
from airflow_provider_ampexp.operators._rollout.alerts import approve_url, send_alert
from airflow_provider_ampexp.rollout._approval import ApprovalResponse
from airflow_provider_ampexp.rollout._duration import format_duration
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.rollout import RolloutPlan
    from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
    from airflow_provider_ampexp.rollout._record import RecordLine
    from airflow_provider_ampexp.rollout._state import RolloutState

APPROVE, REJECT = "Approve", "Reject"
_OPTIONS = [APPROVE, REJECT]


def request_approval(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Put the request under *Required Actions*.

    :raises AirflowFailException: outside of Airflow
    """
    from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

    flag, policy = task.flag, task.plan.approval
    if policy is None or task.context.get("ti") is None:
        raise AirflowFailException("Request of an approval failed: expected a task that runs in Airflow.")
    approvers = task.operator.approver_ids()
    users = [HITLUser(id=name, name=name) for name in approvers]
    if users and _all_admins_enabled():
        task.logger.warning(
            "[core] simple_auth_manager_all_admins is on, so each user may answer, not only %s.", ", ".join(approvers)
        )
        users = []
    upsert_hitl_detail(
        ti_id=task.context["ti"].id,
        options=_OPTIONS,
        subject=f"Go to {policy.before} % with {task.described}?",
        body=_body(task, policy, state),
        params={},
        assigned_users=users,
    )
    named = [user["id"] for user in users]
    task.logger.info("Requested the approval of %s %% from %s.", policy.before, ", ".join(named) or "all users")
    needed = f"{policy.before} % of the rollout of {task.described} needs an approval"
    text = f"{needed}. The flag is at {flag.seen.exposure} since {flag.since(state):%Y-%m-%d %H:%M} UTC."
    if state.preview:
        text = f"{text} {state.preview.text}"
    url = approve_url(task.context)
    send_alert(task, "approval_needed", text, needed, stage=policy.before, approvers=named, approve_url=url)
    line: RecordLine = {"stage": policy.before, "approvers": named}
    return replace(state, asked_at=flag.now).with_line(RecordKind.APPROVAL_REQUEST, flag.now, line)


def with_response(state: RolloutState, plan: RolloutPlan, event: Mapping[str, Any], now: datetime) -> RolloutState:
    """Return the state with the answer, if the event that ended the wait has one."""
    chosen = event.get("chosen_options")
    if chosen is None or plan.approval is None:
        return state
    user = event.get("responded_by_user") or {}
    response = ApprovalResponse(list(chosen) == [APPROVE], str(user.get("name") or "a user"))
    line: RecordLine = {"stage": plan.approval.before, "approved": response.approved, "by": response.by}
    if at := event.get("responded_at"):  # on Airflow's clock
        line["answered_at"] = str(at)
    return replace(state, response=response).with_line(RecordKind.APPROVAL, now, line)


def _body(task: RolloutTask, policy: ApprovalPolicy, state: RolloutState) -> str:
    flag = task.flag
    url = flag_url(flag.client, flag.config)
    checks = "".join(f"\n* {status}" for status in state.statuses)
    where = f"The flag is at **{flag.seen.exposure}** since {flag.since(state):%Y-%m-%d %H:%M} UTC."
    preview = f"\n\n{_plain(state.preview.text)}" if state.preview else ""
    refusal = {"hold": "leaves the flag", "rollback": f"rolls the flag back (rollback={task.plan.rollback!r})"}
    then = f"*{REJECT}* {refusal[policy.on_reject]}."
    late = ""
    if policy.timeout:
        has_effect = "has the same effect" if policy.on_no_answer == policy.on_reject else refusal[policy.on_no_answer]
        late = f" No answer within {format_duration(policy.timeout)} {has_effect}"
    link = f" [Open the flag in Amplitude]({url})." if url else ""
    return f"{where}{link}{preview}\n{checks}\n\n*{APPROVE}* sets {policy.before} %. {then}{late + '.' if late else ''}"


def _plain(text: str) -> str:
    """Return a text with values of a warehouse as Markdown that shows the text, and no link or heading."""
    return re.sub(r"([\\`*_\[\]<>#|~!])", r"\\\1", text)


def _all_admins_enabled() -> bool:
    from airflow.sdk import conf

    return bool(conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False))
