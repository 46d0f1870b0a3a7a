"""A rollout as a file says it: the operators' arguments in YAML, and the few of a DAG that a release needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator
from typing_extensions import Self

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.guardrails import as_guardrails
from airflow_provider_ampexp.plans._alert_models import AnyAlert
from airflow_provider_ampexp.plans._guardrail_models import AnyGuardrail, imported
from airflow_provider_ampexp.plans._types import (
    DateTime,
    Duration,
    Id,
    Interval,
    Percentage,
    StrictModel,
    Text,
    obey,
    or_else,
)
from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPlan, Stage, parse_stages
from airflow_provider_ampexp.rollout._plan import ALERTS, APPROVALS, PARAMETERS
from airflow_provider_ampexp.rollout._stages import check_soaks

ARGUMENTS = {
    "flag": "flag_key",
    "flag_id": "flag_id",
    "experiment": "experiment_key",
    "experiment_id": "experiment_id",
    "project_id": "project_id",
    "connection": "amplitude_conn_id",
    **{name: name for name in PARAMETERS},
}
"""Which field of a file is which argument of ``staged_rollout``."""

CALLBACKS = ("on_failure_callback", "on_success_callback")
TARGETS = ("flag", "flag_id", "experiment", "experiment_id")


class StageFields(StrictModel):
    """A stage with a soak of its own."""

    percentage: Percentage = Field(description="Who gets the feature, in whole percent.")
    soak: Duration | None = Field(None, description="How long to stay here; if left out, the file's soak.")


_ANY_WINDOW: dict[str, Any] = {"days": "Mon", "start": "00:00", "end": "24:00", "timezone": "UTC"}


class WindowFields(StrictModel):
    """When the percentage may be raised. Rollbacks happen at any time."""

    _made: ChangeWindow = PrivateAttr()

    days: Annotated[str | list[str], or_else("a day or days such as 'Mon-Thu'")] = Field(
        description="On which it opens: Mon-Thu, or a list of such."
    )
    start: str = Field(description="The wall time at which it opens: 09:00.")
    end: str = Field(description="The wall time at which it closes: 16:00. Before start it is that of the next day.")
    timezone: str = Field(description="An IANA name: Europe/Berlin.")
    except_dates: list[str] = Field([], description="Dates left out: 2026-12-24.")

    @model_validator(mode="after")
    def _make(self) -> Self:
        def make() -> None:
            self._made = ChangeWindow(self.days, self.start, self.end, self.timezone, self.except_dates)

        # Each field beside others that are right, so that no mistake hides another one.
        obey(*(partial(ChangeWindow, **{**_ANY_WINDOW, name: value}) for name, value in self))
        obey(make)
        return self

    @property
    def made(self) -> ChangeWindow:
        """The window that the fields describe."""
        return self._made


def _form_of_stage(value: object) -> str:
    return "stage" if isinstance(value, dict | StageFields) else "percentage"


class CreateFields(StrictModel):
    """The flag or experiment, where the project has none of this key yet. One that exists is left as it is."""

    name: str | None = Field(None, description="The name; if left out, the key.")
    description: str | None = Field(None, description="The description.")
    variants: list[Text | dict[str, Any]] = Field([], description="Variant keys, or fields as the API spells them.")
    rollout_weights: dict[str, int] | None = Field(None, description="The weight of each variant: {on: 1}.")
    deployments: list[Id] = Field([], description="The ids of the deployments that serve it.")
    bucketing_key: Text | None = Field(None, description="The user property by which users are bucketed.")
    evaluation_mode: Literal["local", "remote"] | None = Field(None, description="Where it is evaluated.")

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the operator that creates it, as far as the file gives them."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "variants" in given:
            given["variants"] = [{"key": each} if isinstance(each, str) else each for each in self.variants]
        return {name: value for name, value in given.items() if value is not None}


Callback = Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]

AnyStage = Annotated[
    Annotated[Percentage, Tag("percentage")] | Annotated[StageFields, Tag("stage")], Discriminator(_form_of_stage)
]


class PlanFile(StrictModel):
    """One rollout of one flag or experiment, which becomes one DAG."""

    flag: Id | None = Field(None, description="The key of the flag.")
    flag_id: Id | None = Field(None, description="In place of its key, the id of the flag.")
    experiment: Id | None = Field(None, description="The key of the experiment.")
    experiment_id: Id | None = Field(None, description="In place of its key, the experiment's id.")
    project_id: Id | None = Field(None, description="Where a key is looked up; if left out, the connection's project.")
    connection: Text = Field("amplitude_experiment_default", description="The Airflow connection to Amplitude.")

    stages: Annotated[list[AnyStage], Field(min_length=1)] = Field(
        description="Whole percentages, rising; or percentage and soak for each."
    )
    soak: Duration | None = Field(None, description="How long to stay at each stage but the last: 30m, 2h, 1d 12h.")
    segment: Text | None = Field(None, description="The target segment to ramp; if left out, whom no segment captures.")

    guardrails: list[AnyGuardrail] = Field([], description="Checks that decide whether the rollout goes on.")
    check_every: Duration | None = Field(
        None, description="How often they are asked in a soak; if left out, at its end."
    )
    preflight: bool = Field(True, description="Ask them once, before the first raise, whether they can answer at all.")
    window: WindowFields | None = Field(None, description="When it may be raised; if left out, at any time.")

    approve_before: list[Percentage] = Field([], description="Stages that somebody has to approve first.")
    approvers: list[Text] = Field([], description="Airflow users who may; if left out, everybody who may edit the run.")
    approval_timeout: Duration | None = Field(
        None, description="How long to wait for an answer; if left out, for ever."
    )
    on_reject: Literal["hold", "rollback"] = Field("rollback", description="What follows when somebody says no.")
    on_no_answer: Literal["hold", "rollback"] = Field("hold", description="What follows when the time is over.")

    rollback: Annotated[
        Literal["start", "previous", "off", "hold"] | Percentage,
        or_else("'start', 'previous', 'off', 'hold' or a percentage"),
    ] = Field("start", description="Where a failed check takes it: start, previous, off, hold or a percentage.")
    on_drift: Literal["stop", "adopt"] = Field("stop", description="When somebody else changes the flag meanwhile.")
    hold_tag: Text = Field("rollout-hold", description="While the flag carries this tag nothing is raised.")
    sticky: Literal["refuse", "switch_off"] = Field(
        "refuse", description="What to do with sticky bucketing: refuse the rollout, or switch it off before."
    )
    catch_all: Text | None = Field(
        None, description="The target segment that has no conditions on purpose, when another one is ramped."
    )
    decided: Literal["refuse", "ignore"] = Field(
        "refuse", description="What to do with an experiment whose decision is rollback."
    )
    if_changed_since: Literal["fail", "skip", "write"] = Field(
        "fail", description="When somebody changed the flag after the run was due and before it began."
    )
    record_path: Text | None = Field(
        None, description="A folder for the records as JSON lines, such as s3://conn_id@bucket/rollouts."
    )
    hold_timeout: Duration | None = Field(
        None, description="How long guardrails may hold it at a stage; 1d if left out."
    )
    on_hold_timeout: Literal["stop", "rollback"] = Field(
        "stop", description="What follows then: stop leaves the flag and fails."
    )
    on_rollback: list[AnyAlert] = Field(
        [], description="Alerts when the flag was rolled back, or that is not confirmed."
    )
    on_abort: list[AnyAlert] = Field([], description="Alerts when the rollout stops and leaves the flag as it is.")
    on_hold: list[AnyAlert] = Field([], description="Alerts when guardrails or a person begin to hold it.")
    on_approval_needed: list[AnyAlert] = Field([], description="Alerts when somebody has to approve a stage.")
    enable: bool = Field(True, description="Enable a disabled flag together with the first stage.")
    poll_interval: Interval | None = Field(
        None, description="How long between two looks in a soak: 1m, or a number of seconds; 1m if left out."
    )
    deferrable: bool = Field(True, description="Soak in the triggerer; false keeps a worker for the whole rollout.")

    dag_id: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=250)] | None = Field(
        None, description="The DAG; if left out, the file's name without its ending."
    )
    description: str | None = Field(None, description="One line for the list of DAGs.")
    schedule: Text | None = Field(None, description="cron or @once; if left out, somebody starts it by hand.")
    start_date: DateTime | None = Field(None, description="The schedule begins here. Without a time zone it is UTC.")
    owner: Text | None = Field(None, description="Whose tasks these are.")
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field([], description="The DAG's, in Airflow.")
    retries: Annotated[int, Field(ge=0)] | None = Field(
        None, description="How often Airflow repeats a failed task; 5 for the tasks of the rollout if left out."
    )
    retry_delay: Duration | None = Field(None, description="How long it waits before that.")
    pool: Text | None = Field(None, description="The pool of its tasks.")
    queue: Text | None = Field(None, description="The queue of its tasks.")
    params: dict[str, Any] = Field({}, description="The DAG's params, for callbacks and functions to read.")
    on_failure_callback: Callback | None = Field(None, description="module:function that Airflow calls on a failure.")
    on_success_callback: Callback | None = Field(None, description="module:function that Airflow calls on success.")

    create: CreateFields | None = Field(None, description="Create the flag or experiment first, where there is none.")
    inclusions: dict[str, Annotated[list[Id], Field(min_length=1)]] = Field(
        {}, description="Users or devices by variant who get it before the first stage, such as QA."
    )

    @field_validator("stages")
    @classmethod
    def _rise(cls, stages: list[int | StageFields]) -> list[int | StageFields]:
        obey(lambda: RolloutPlan(parse_stages(_staged(stages))))
        return stages

    @model_validator(mode="after")
    def _obey(self) -> Self:
        obey(self._has_one_target, self._soaks, *self._parameters(), self.rollout_plan, self._guardrails)
        obey(self._create_by_key, *(partial(self._callback, name) for name in CALLBACKS))
        return self

    def target(self, project_id: str | None) -> FlagRef:
        """Which flag or experiment it is about.

        :param project_id: where a key is looked up when the file does not say
        """
        named = {ARGUMENTS[name]: getattr(self, name) for name in TARGETS}
        return FlagRef.of(**named, project_id=self.project_id or project_id)

    def target_arguments(self) -> dict[str, Any]:
        """The arguments of an operator that say which flag or experiment it is about, and the connection."""
        named = {ARGUMENTS[name]: getattr(self, name) for name in (*TARGETS, "project_id", "connection")}
        return {name: value for name, value in named.items() if value is not None}

    def rollout_plan(self) -> RolloutPlan:
        """The plan, as ``decide`` takes it."""
        return RolloutPlan(**{name: value for name, value in self._given().items() if name in PARAMETERS})

    def group_arguments(self) -> dict[str, Any]:
        """The arguments of ``staged_rollout`` that the file gives; the others keep their defaults."""
        return {ARGUMENTS[name]: value for name, value in self._given().items()}

    def _given(self) -> dict[str, Any]:
        """The values of the file, as the operators take them."""
        made = {
            "stages": _staged(self.stages),
            "guardrails": [guardrail.made for guardrail in self.guardrails],
            **{name: [alert.made for alert in getattr(self, name)] for name in ALERTS},
            "window": self.window.made if self.window else None,
            "poll_interval": self.poll_interval.total_seconds() if self.poll_interval is not None else None,
        }
        given = {name: made.get(name, getattr(self, name)) for name in ARGUMENTS if name in self.model_fields_set}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def what_it_ramps(self) -> tuple[str, ...]:
        """The connection, project, flag or experiment, and segment. Two rollouts of the same stop each other."""
        (target,) = ((name, str(value)) for name in TARGETS if (value := getattr(self, name)) is not None)
        return (self.connection, self.project_id or "", *target, self.segment or "")

    def dag_arguments(self) -> dict[str, Any]:
        """The arguments of the ``DAG``. Two runs of one rollout at a time would be in each other's way."""
        tasks = {name: getattr(self, name) for name in ("owner", "retries", "retry_delay", "pool", "queue")}
        callbacks = {name: self._callback(name) for name in CALLBACKS}
        return {
            "dag_id": self.dag_id,
            "description": self.description,
            "schedule": self.schedule,
            "start_date": self.start_date,
            "tags": self.tags,
            "default_args": {name: value for name, value in tasks.items() if value is not None},
            **({"params": self.params} if self.params else {}),
            **{name: function for name, function in callbacks.items() if function is not None},
            "catchup": False,
            "max_active_runs": 1,
        }

    def _has_one_target(self) -> None:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            field, found = (given[1], " and ".join(given)) if given else ("", "none of them")
            raise InvalidInputError(field, f"name exactly one of {', '.join(TARGETS)}; it names {found}")

    def _soaks(self) -> None:
        check_soaks(_staged(self.stages), self.soak)

    def _parameters(self) -> list[Callable[[], object]]:
        """A rule for each parameter by itself, so that no mistake hides another one."""
        stages = parse_stages(_staged(self.stages))
        given = {name: value for name, value in self._given().items() if name in PARAMETERS}
        approve = given.pop("approve_before", [])
        alone = [{name: value} for name, value in given.items() if name not in ("stages", "soak", *APPROVALS)]
        about_approvals = [{"approve_before": approve, name: given[name]} for name in APPROVALS if name in given]
        rules: list[Callable[[], object]] = [partial(RolloutPlan, stages, **one) for one in (*alone, *about_approvals)]
        return [*rules, *(partial(self._approve, *stage) for stage in enumerate(approve))]

    def _approve(self, place: int, percentage: int) -> None:
        try:
            RolloutPlan(parse_stages(_staged(self.stages)), approve_before=[percentage])
        except InvalidInputError as error:
            raise InvalidInputError(f"approve_before[{place}]", error.problem) from None

    def _create_by_key(self) -> None:
        if self.create is not None and self.flag is None and self.experiment is None:
            raise InvalidInputError("create", "needs the key, flag or experiment; an id exists already")

    def _callback(self, name: str) -> Any:
        named = getattr(self, name)
        return None if named is None else imported(name, named)

    def _guardrails(self) -> None:
        as_guardrails(one.made for one in self.guardrails)


def _staged(stages: list[int | StageFields]) -> list[int | Stage]:
    return [one if isinstance(one, int) else Stage(one.percentage, one.soak) for one in stages]
