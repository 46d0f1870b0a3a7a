"""``AmplitudeRampRolloutOperator``: take a flag from nothing to everybody, stage by stage, with a soak after each."""

from __future__ import annotations

from airflow_provider_ampexp.operators._rollout.base import ReconcilingOperator


class AmplitudeRampRolloutOperator(ReconcilingOperator):
    """Raise the rollout percentage stage by stage, soaking after each, and roll back when a check fails.

    It holds a worker only while it writes or checks; a soak is spent in the triggerer. Where the rollout stands and
    since when is read from the flag and its version history, on the service's own clock: a killed worker, a cleared
    task or a restarted scheduler finds its place again, and no soak is cut short or begun again. It never lowers the
    percentage but in a rollback, and stops when somebody changes the flag meanwhile.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param plan: a :class:`~airflow_provider_ampexp.rollout.RolloutPlan` in place of the arguments down to
        ``deferrable``; an argument that is given besides is refused
    :param stages: percentages such as ``[1, 5, 25, 100]``, or :class:`~airflow_provider_ampexp.rollout.Stage` objects
        with soaks of their own, or a text of either (templated)
    :param soak: how long to stay at each stage but the last, which is neither soaked nor checked unless it says so
        itself: a ``timedelta``, or a text such as ``"2h"``. Without it each stage but the last needs a soak of its own;
        ``0`` is no soak, on purpose. A bare number is refused: it has no unit. (templated)
    :param segment: the target segment to ramp; if not given, the users whom no segment captured (templated)
    :param guardrails: checks that are asked when a soak ends, every ``check_every`` during it, and on while a raise
        waits for something else: functions, or objects of ``airflow_provider_ampexp.guardrails``
    :param check_every: how often the guardrails are asked during a soak; if not given, only at its end. No raise rests
        on an answer older than this (5 minutes if not given). (templated)
    :param preflight: before the first raise, ask each guardrail once whether it can answer at all. One that cannot (no
        such connection, a mistake in its SQL) fails the task before any user gets the feature. Its verdict does not
        count.
    :param window: a :class:`~airflow_provider_ampexp.rollout.ChangeWindow` outside of which nothing is raised. A
        rollback waits for nothing.
    :param rollback: where a failed check takes the flag: ``"start"`` (what it was before this rollout),
        ``"previous"`` (one stage down), a percentage, ``"off"`` (0 and disabled) or ``"hold"`` (leave it) (templated)
    :param on_drift: when somebody else changes the flag meanwhile, ``"stop"`` and touch nothing, or ``"adopt"`` and go
        on from there (templated)
    :param hold_tag: while the flag carries this tag nothing is raised, and guardrails go on: so a person holds a
        rollout from Amplitude. Taking the tag away lets it go on. (templated)
    :param sticky: what to do with sticky bucketing, which keeps users in whom a rollback is to take out: ``"refuse"``
        the rollout, or ``"switch_off"`` before the first stage. With ``rollback="off"`` or ``"hold"`` it stays on.
        (templated)
    :param decided: what to do with an experiment whose decision is ``rollback``: ``"refuse"`` or ``"ignore"``
        (templated)
    :param catch_all: the target segment that has no conditions on purpose. The API shows no conditions of a segment for
        a cohort, so a ramp of a segment is refused if any other shows none, also if it is the ramped one. (templated)
    :param if_changed_since: what to do when somebody changed the flag after the run was due and before it began, as
        happens when an old run is cleared or filled in: ``"fail"``, ``"skip"`` or ``"write"`` all the same (templated)
    :param hold_timeout: how long guardrails with ``effect="hold"`` or ``no_data="hold"`` may hold the rollout at a
        stage, counted from the first such answer in a row: a ``timedelta`` or a text such as ``"12h"``; ``None`` for
        as long as they like. A person's ``hold_tag`` has no limit. (templated)
    :param on_hold_timeout: what follows then: ``"stop"`` leaves the flag as it is and fails the task, ``"rollback"``
        takes it to ``rollback`` (templated)
    :param record_path: a folder such as ``"s3://conn_id@bucket/rollouts"`` or ``"file:///var/rollouts"``. Each task
        writes its record there, too, as a file of JSON lines; ``None`` for XCom only (templated)
    :param on_rollback: alerts: a notifier such as ``SlackNotifier(...)``, a function of the context, or a list of
        these. Called once, after the flag was rolled back, or when that is not confirmed. They find what happened as
        ``rollout`` in their context.
    :param on_abort: the same, when the rollout stops and leaves the flag as it is
    :param on_hold: the same, when guardrails or a person's ``hold_tag`` begin to hold it
    :param on_approval_needed: the same, when an approval is asked for, which tasks of a group do
    :param enable: enable a disabled flag together with the first stage. If others would get it by that (other segments,
        all other users), the rollout is refused.
    :param poll_interval: time between two looks at the flag during a soak: seconds, a ``timedelta`` or a text such as
        ``"1m"``
    :param deferrable: soak in the triggerer; ``False`` keeps a worker for the whole rollout

    Where neither the task nor ``default_args`` names ``retries``, there are 5 (or ``[core] default_task_retries``,
    where that is more), after 30 seconds, 1, 2, 4 and 8 minutes. ``retries=0`` is no retries.

    :raises AirflowFailException: when it rolled back or stopped; no retry follows. Clearing the task begins again.

    It returns ``{"id", "key", "changed", "before", "after", "url"}``; before and after are percentages. The XCom
    ``amplitude_experiment_record`` holds its record (each raise, check and rollback, with when and what was measured),
    also during a soak and when it failed. Of more than 200 lines the oldest checks are given up; the log has every one.
    """

    ui_color = "#cfe8d5"
