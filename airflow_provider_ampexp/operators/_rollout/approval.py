"""``AmplitudeApprovalOperator``: somebody has to approve before a stage, while the guardrails go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.ensure import ChangeResultXCom, flag_url
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._rollout.alerts import approve_url, send_alert
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout import RolloutPlan, RolloutState
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy, ApprovalResponse, OnReject
from airflow_provider_ampexp.rollout._duration import DurationLike, parse_duration
from airflow_provider_ampexp.rollout._record import RecordLine

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger

APPROVE, REJECT = "Approve", "Reject"


class AmplitudeApprovalOperator(AmplitudeRampRolloutOperator):
    """Wait until somebody approves a stage under *Required Actions*; the guardrails are asked on meanwhile.

    It is what the standard provider's ``ApprovalOperator`` is, on the same interface of Airflow, but for one thing:
    that one parks its task until the answer comes, so that no guardrail could act while a person sleeps. Here a failed
    guardrail rolls the flag back and ends the waiting.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators.rollout.AmplitudeRampRolloutOperator` (of which it
    raises nothing), and:

    :param before: the stage, as a percentage, that is not set without approval
    :param approvers: ids of the Airflow users who may answer; if not given, everybody who may edit the DAG run
        (templated). With ``[core] simple_auth_manager_all_admins`` everybody is the same user, and anybody may answer.
    :param approval_timeout: how long to wait for an answer: a ``timedelta`` or a text such as ``"12h"``; for
        as long as it takes if not given (templated)
    :param on_reject: ``"rollback"`` to where the plan says, and fail; or ``"hold"``: leave the flag where it is, and
        skip what comes next
    :param on_no_answer: the same when the time is over

    ``execution_timeout`` does not end the waiting: it counts only while the task is on a worker.
    """

    template_fields: Sequence[str] = (*AmplitudeRampRolloutOperator.template_fields, "approvers", "approval_timeout")
    ui_color = "#fdf0c4"
    _OPTIONS: ClassVar[list[str]] = [APPROVE, REJECT]

    def __init__(
        self,
        *,
        before: int,
        approvers: Sequence[str] | str = (),
        approval_timeout: DurationLike | None = None,
        on_reject: OnReject | str = "rollback",
        on_no_answer: OnReject | str = "hold",
        **kwargs: Any,
    ) -> None:
        self.before = before
        self.approvers = approvers
        self.approval_timeout = approval_timeout
        self.on_reject = on_reject
        self.on_no_answer = on_no_answer
        # A worker is never told the answer; the triggerer and the task that is resumed are.
        super().__init__(**{**kwargs, "deferrable": True})
        arguments.check_literal("approvers", approvers, _names)
        self.approval()

    def plan(self) -> RolloutPlan:
        """The plan of the whole rollout, of which nothing is carried out here."""
        return replace(super().plan(), approval=self.approval())

    def approval(self) -> ApprovalPolicy:
        """What is asked, once the arguments are rendered."""
        given = self.approval_timeout
        is_known = given is not None and arguments.is_literal(given)
        timeout = parse_duration("approval_timeout", given) if is_known else None
        return ApprovalPolicy(self.before, timeout, self.on_reject, self.on_no_answer)

    @property
    def is_continuation(self) -> bool:
        """Whether an earlier stage's task began the rollout."""
        return self.before != super().plan().all_stages[0].percentage

    def resume(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        watch: dict[str, Any] | None = None,
        memory: dict[str, Any] | None = None,
    ) -> ChangeResultXCom:
        """Go on after a wait; or with the answer, which Airflow 3.3 gives to the waiting task itself."""
        said = event or {}
        if "chosen_options" in said:
            said = {"status": "changed", **said}
        return super().resume(context, said, watch, memory)

    def remembered(self, memory: dict[str, Any], said: Mapping[str, Any], now: datetime) -> RolloutState:
        """What is remembered, and what was answered."""
        chosen = said.get("chosen_options")
        if chosen is None:
            return RolloutState.from_json(memory)
        user = said.get("responded_by_user") or {}
        response = ApprovalResponse(list(chosen) == [APPROVE], str(user.get("name") or "somebody"))
        line: RecordLine = {"stage": self.before, "approved": response.approved, "by": response.by}
        if at := said.get("responded_at"):  # on Airflow's clock
            line["answered_at"] = str(at)
        return replace(RolloutState.from_json(memory), response=response).recorded("approval", now, line)

    def soak_trigger_class(self) -> type[AmplitudeSoakTrigger]:
        """The trigger that waits, and looks for the answer too."""
        from airflow_provider_ampexp.triggers.approval import AmplitudeApprovalTrigger

        return AmplitudeApprovalTrigger

    def ask_for_approval(self, context: Context, flag: ManagedFlag, memory: RolloutState) -> RolloutState:
        """Put the question under *Required Actions*."""
        from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

        if context.get("ti") is None:
            raise AirflowFailException("An approval can be asked for by a task that runs in Airflow only.")
        users = [HITLUser(id=one, name=one) for one in _names("approvers", self.approvers)]
        if users and _all_admins_enabled():
            self.log.warning("Everybody is the same user here, so anybody may answer, not only %s.", self.approvers)
            users = []
        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=self._OPTIONS,
            subject=f"Go to {self.before} % with {self.described()}?",
            body=self._body(flag, memory),
            params={},
            assigned_users=users,
        )
        self.log.info("Asked %s to approve %s %%.", ", ".join(one["name"] for one in users) or "everybody", self.before)
        needed = f"{self.before} % of the rollout of {self.described()} needs an approval"
        text = f"{needed}. It stands at {flag.seen.position} since {flag.since(memory):%Y-%m-%d %H:%M} UTC."
        named = [one["id"] for one in users]
        url = approve_url(context)
        send_alert(flag, "approval_needed", text, needed, stage=self.before, approvers=named, approve_url=url)
        line: RecordLine = {"stage": self.before, "approvers": [one["id"] for one in users]}
        return replace(memory, asked_at=flag.now).recorded("approval_asked", flag.now, line)

    def _body(self, flag: ManagedFlag, memory: RolloutState) -> str:
        url = flag_url(flag.client, flag.config)
        checks = "".join(f"\n* {streak}" for streak in memory.streaks)
        where = f"It stands at **{flag.seen.position}** since {flag.since(memory):%Y-%m-%d %H:%M} UTC."
        refusal = {"hold": "leaves it there", "rollback": f"rolls it back ({self.rollback})"}
        then = f"*{REJECT}* {refusal[self.on_reject]}."
        late = f" So does no answer, after {self.approval().timeout}" if self.approval().timeout else ""
        if late and self.on_no_answer != self.on_reject:
            late = f" No answer within {self.approval().timeout} {refusal[self.on_no_answer]}"
        look = f" [Look at it in Amplitude]({url})." if url else ""
        return f"{where}{look}\n{checks}\n\n*{APPROVE}* takes it to {self.before} %. {then}{late + '.' if late else ''}"


def _names(field: str, value: object) -> list[str]:
    return arguments.texts(field, value) if value else []


def _all_admins_enabled() -> bool:
    from airflow.sdk import conf

    return bool(conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False))
