"""``AmplitudeRampRolloutOperator``: raise a flag stage by stage, with a soak after each stage."""

from __future__ import annotations

from airflow_provider_ampexp.operators._rollout.base import ReconcilingOperator


class AmplitudeRampRolloutOperator(ReconcilingOperator):
    """Raise the rollout percentage stage by stage, and roll back when a guardrail fails.

    The task uses a worker only while it writes or checks. It soaks in the triggerer. It reads the present stage and its
    beginning from the flag and its version history, on the clock of the service. So a killed worker, a cleared task or
    a restarted scheduler continues at the right place, and no soak gets shorter or starts again. Only a rollback lowers
    the percentage of an enabled flag. A change by another person stops the rollout.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param plan: a :class:`~airflow_provider_ampexp.rollout.RolloutPlan`, in place of the arguments from ``stages`` to
        ``deferrable``. Do not give any of these together with a plan.
    :param stages: percentages such as ``[1, 5, 25, 100]``, :class:`~airflow_provider_ampexp.rollout.Stage` objects with
        their own soaks, or a text of either (templated)
    :param soak: the time at each stage except the last: a ``timedelta``, or a text such as ``"2h"``. Without it, each
        stage except the last needs its own soak. ``0`` is no soak. A number without a unit is an error. The last stage
        has no soak and no check unless its ``Stage`` has a soak. (templated)
    :param segment: the target segment to ramp; if not given, all users outside of the target segments (templated)
    :param guardrails: functions, or objects of ``airflow_provider_ampexp.guardrails``. They run when a soak ends, each
        ``check_every`` during a soak, and while a raise waits for something else.
    :param check_every: the time between two checks during a soak; if not given, one check at its end. A raise needs
        a check that is not older than this (default for this limit: 5 minutes). (templated)
    :param preflight: before the first raise, run each guardrail once to see whether it works. A guardrail that does
        not work (no such connection, an error in its SQL) fails the task before any user gets the feature. The verdict
        does not count. (default: True)
    :param window: a :class:`~airflow_provider_ampexp.rollout.ChangeWindow`; the task raises the percentage only inside
        it. A rollback does not wait for the window.
    :param preview: a :class:`~airflow_provider_ampexp.rollout.RolloutPreview`: before each raise, the log and the
        record show who enters. A raise that lets in users of its ``refuse_if`` stops the rollout. In ``staged_rollout``
        the approvals show it. It is not templated.
    :param rollback: the target of a rollback: ``"start"`` (the exposure before this rollout, default), ``"previous"``
        (one stage down), a percentage, ``"off"`` (0 % and disabled) or ``"hold"`` (no change) (templated)
    :param on_drift: when another person changes the flag: ``"stop"`` (default) fails the task and changes nothing;
        ``"adopt"`` continues from there (templated)
    :param hold_tag: while the flag has this tag, the task raises nothing and the guardrails continue. So a person can
        hold a rollout in Amplitude. Remove the tag to continue. (templated, default: ``"rollout-hold"``)
    :param sticky: sticky bucketing keeps users in after a rollback. ``"refuse"`` (default) fails the task at its start;
        ``"switch_off"`` disables sticky bucketing before the first stage. With ``rollback="off"`` or ``"hold"`` sticky
        bucketing stays on. (templated)
    :param decided: for an experiment whose decision is ``rollback``: ``"refuse"`` (default) or ``"ignore"`` (templated)
    :param catch_all: the target segment that has no conditions on purpose. The API does not show a cohort condition, so
        with ``segment`` any other segment without conditions is an error at the start. (templated)
    :param if_changed_since: when another person changed the flag after the run was due and before it began, as in a
        backfill or after a clear: ``"fail"`` (default), ``"skip"`` or ``"write"`` (templated)
    :param hold_timeout: how long guardrails with ``effect="hold"`` or ``no_data="hold"`` may hold a stage: a
        ``timedelta`` or a text such as ``"12h"``; ``None`` for no limit. It counts from the first of these results in
        a row. ``hold_tag`` has no limit. (templated)
    :param on_hold_timeout: ``"stop"`` (default) leaves the flag and fails the task; ``"rollback"`` rolls back
        (templated)
    :param record_path: a folder such as ``"s3://conn_id@bucket/rollouts"`` or ``"file:///var/rollouts"``. Each task
        also writes its record there, as a file of JSON lines. (templated, default: only XCom)
    :param heartbeat_path: a folder of the same kind. Each task writes there when its next step is due. The watchdog
        (``python -m airflow_provider_ampexp.watchdog``) reads it on another machine, and lowers the flag to the last
        confirmed stage if that step never comes. Needs ``guardrails``. (templated, default: no heartbeat)
    :param on_rollback: a notifier such as ``SlackNotifier(...)``, a function of the context, or a list of these. It is
        called once, after a rollback, or when a rollback is not confirmed. The context has the event as ``rollout``.
    :param on_abort: the same, when the rollout stops and leaves the flag as it is, or an error ends it
    :param on_hold: the same, when guardrails or ``hold_tag`` start to hold the rollout
    :param on_approval_needed: the same, when a task of a group asks for an approval
    :param enable: enable a disabled flag together with the first stage (default: True). If this gives the feature to
        users outside of the rollout (other segments, all other users), the task fails at its start.
    :param poll_interval: the time between two polls during a soak: seconds, a ``timedelta`` or a text such as ``"1m"``
    :param deferrable: soak in the triggerer (default); ``False`` keeps a worker for the whole rollout

    If neither the task nor ``default_args`` has ``retries``, there are 5, after 30 seconds, 1, 2, 4 and 8 minutes (more
    if ``[core] default_task_retries`` is higher). ``retries=0`` means no retries.

    :raises AirflowFailException: after a rollback or a stop. No retry follows. Clear the task to start again.

    The task returns ``{"id", "key", "changed", "before", "after", "url"}``, with percentages as ``before`` and
    ``after``. The XCom ``amplitude_experiment_record`` has the record: each raise, check and rollback, with its time
    and values. It is there during a soak and after a failure. Above 200 lines, checks that repeat others are
    removed; the log has all lines.
    """

    ui_color = "#cfe8d5"
