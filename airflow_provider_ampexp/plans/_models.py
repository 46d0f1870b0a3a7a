"""The fields of a plan file: the operators' arguments, and some of a DAG."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator
from typing_extensions import Self

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.ensure._errors import TargetNotFoundError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.guardrails import as_guardrails
from airflow_provider_ampexp.plans._alert_models import AnyAlert
from airflow_provider_ampexp.plans._guardrail_models import AnyGuardrail, imported
from airflow_provider_ampexp.plans._preview_model import PreviewFields
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
from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPlan, Stage
from airflow_provider_ampexp.rollout._plan import ALERTS, APPROVALS, PARAMETERS
from airflow_provider_ampexp.rollout._stages import check_soaks, parse_stages

# Fields that are valid only together with others, so that they cannot be checked alone.
_WITH_OTHERS = ("stages", "soak", "heartbeat_path", *APPROVALS)
ARGUMENTS = {
    "flag": "flag_key",
    "flag_id": "flag_id",
    "experiment": "experiment_key",
    "experiment_id": "experiment_id",
    "project_id": "project_id",
    "connection": "amplitude_conn_id",
    **{name: name for name in PARAMETERS},
}
"""The argument of ``staged_rollout`` for each field of a file."""

CALLBACKS = ("on_failure_callback", "on_success_callback")
TARGETS = ("flag", "flag_id", "experiment", "experiment_id")
OF_THE_DAG = (
    *("release", "regions", "dag_id", "description", "schedule", "start_date", "owner", "tags"),
    *("retries", "retry_delay", "pool", "queue", "params", *CALLBACKS),
)
"""The fields of a coordinated release that its flags do not have."""


class StageFields(StrictModel):
    """A stage with its own soak."""

    percentage: Percentage = Field(description="The percentage of users, a whole number.")
    soak: Duration | None = Field(None, description="The soak of this stage; default: the file's soak.")


_ANY_WINDOW: dict[str, Any] = {"days": "Mon", "start": "00:00", "end": "24:00", "timezone": "UTC"}


class WindowFields(StrictModel):
    """The times at which the rollout may raise. A rollback does not wait for the window."""

    _made: ChangeWindow = PrivateAttr()

    days: Annotated[str | list[str], or_else("a day or days such as 'Mon-Thu'")] = Field(
        description="The days on which the window opens: Mon-Thu, or a list of these."
    )
    start: str = Field(description="The local time at which the window opens: 09:00.")
    end: str = Field(description="The local time at which the window closes: 16:00. Before start: on the next day.")
    timezone: str = Field(description="An IANA name: Europe/Berlin.")
    except_dates: list[str] = Field([], description="Dates on which the window is closed: 2026-12-24.")

    @model_validator(mode="after")
    def _make(self) -> Self:
        def make() -> None:
            self._made = ChangeWindow(self.days, self.start, self.end, self.timezone, self.except_dates)

        # Check each field with valid others, so that no mistake hides another one.
        obey(*(partial(ChangeWindow, **{**_ANY_WINDOW, name: value}) for name, value in self))
        obey(make)
        return self

    @property
    def made(self) -> ChangeWindow:
        """Return the window of these fields."""
        return self._made


def _form_of_stage(value: object) -> str:
    return "stage" if isinstance(value, dict | StageFields) else "percentage"


class CreateFields(StrictModel):
    """The flag or experiment to create. An existing one is left as it is."""

    name: Text | None = Field(None, description="The name; default: the key.")
    description: str | None = Field(None, description="The description.")
    variants: list[Text | dict[str, Any]] = Field([], description="Variant keys, or fields as the API spells them.")
    rollout_weights: dict[str, int] | None = Field(None, description="The weight of each variant: {on: 1}.")
    deployments: list[Id] = Field([], description="The ids of the deployments that serve it.")
    bucketing_key: Text | None = Field(None, description="The user property by which users are bucketed.")
    evaluation_mode: Literal["local", "remote"] | None = Field(None, description="The place of evaluation.")

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the create operator that the file has."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "variants" in given:
            given["variants"] = [{"key": variant} if isinstance(variant, str) else variant for variant in self.variants]
        return {name: value for name, value in given.items() if value is not None}


Regions = Annotated[list[Text], Field(min_length=1)] | Annotated[dict[str, Text], Field(min_length=1)]
Callback = Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]

AnyStage = Annotated[
    Annotated[Percentage, Tag("percentage")] | Annotated[StageFields, Tag("stage")], Discriminator(_form_of_stage)
]


class PlanFile(StrictModel):
    """A rollout of a flag or experiment, which becomes one DAG."""

    flag: Id | None = Field(None, description="The key of the flag.")
    flag_id: Id | None = Field(None, description="The id of the flag, instead of its key.")
    experiment: Id | None = Field(None, description="The key of the experiment.")
    experiment_id: Id | None = Field(None, description="The id of the experiment, instead of its key.")
    project_id: Id | None = Field(None, description="The project of the key; default: the connection's project.")
    connection: Text = Field("amplitude_experiment_default", description="The Airflow connection to Amplitude.")

    release: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = Field(
        None,
        description="A coordinated release: the flags in their order, each with flag and its own fields.",
    )
    regions: Annotated[Regions | None, or_else("connections such as [us, eu], or these by the names of regions")] = (
        Field(None, description="With release: the connections of the regions in their order, or these by name.")
    )

    stages: Annotated[list[AnyStage], Field(min_length=1)] = Field(
        description="Rising whole percentages; or percentage and soak for each."
    )
    soak: Duration | None = Field(None, description="The soak of each stage except the last: 30m, 2h, 1d 12h.")
    segment: Text | None = Field(None, description="The target segment to ramp; default: the users in no segment.")

    guardrails: list[AnyGuardrail] = Field([], description="Checks that decide whether the rollout continues.")
    check_every: Duration | None = Field(
        None, description="The time between two checks in a soak; default: one check at its end."
    )
    preflight: bool = Field(True, description="Run each guardrail once before the first raise to see if it works.")
    window: WindowFields | None = Field(
        None, description="The times at which the rollout may raise; default: at any time."
    )

    preview: PreviewFields | None = Field(
        None, description="The users who enter, read from the warehouse, before each raise and in each approval."
    )

    approve_before: list[Percentage] = Field([], description="Stages that need an approval.")
    approvers: list[Text] = Field([], description="Airflow users who may approve; default: all who can edit the run.")
    approval_timeout: Duration | None = Field(None, description="How long to wait for an answer; default: no limit.")
    on_reject: Literal["hold", "rollback"] = Field("rollback", description="The effect of a rejection.")
    on_no_answer: Literal["hold", "rollback"] = Field("hold", description="The effect of no answer in time.")

    rollback: Annotated[
        Literal["start", "previous", "off", "hold"] | Percentage,
        or_else("'start', 'previous', 'off', 'hold' or a percentage"),
    ] = Field("start", description="The target of a rollback: start, previous, off, hold or a percentage.")
    on_drift: Literal["stop", "adopt"] = Field("stop", description="The effect of a change by another actor.")
    hold_tag: Text = Field("rollout-hold", description="The tag in Amplitude that holds the rollout.")
    sticky: Literal["refuse", "switch_off"] = Field(
        "refuse", description="For sticky bucketing: refuse the rollout, or disable sticky bucketing first."
    )
    catch_all: Text | None = Field(
        None, description="With segment: the target segment that has no conditions on purpose."
    )
    decided: Literal["refuse", "ignore"] = Field("refuse", description="For an experiment whose decision is rollback.")
    if_changed_since: Literal["fail", "skip", "write"] = Field(
        "fail", description="The effect of a change between the run's due time and its start."
    )
    record_path: Text | None = Field(
        None, description="A folder for the records as JSON lines, such as s3://conn_id@bucket/rollouts."
    )
    heartbeat_path: Text | None = Field(
        None,
        description="A folder for the heartbeats, which the watchdog reads, such as s3://conn_id@bucket/heartbeats.",
    )
    hold_timeout: Duration | None = Field(
        None, description="How long guardrails may hold the rollout at a stage; default: 1d."
    )
    on_hold_timeout: Literal["stop", "rollback"] = Field(
        "stop", description="The effect after that time: stop leaves the flag and fails."
    )
    on_rollback: list[AnyAlert] = Field(
        [], description="Alerts after a rollback, and for a rollback that is not confirmed."
    )
    on_abort: list[AnyAlert] = Field([], description="Alerts when the rollout stops and leaves the flag as it is.")
    on_hold: list[AnyAlert] = Field([], description="Alerts when guardrails or a person begin to hold the rollout.")
    on_approval_needed: list[AnyAlert] = Field([], description="Alerts when a stage needs an approval.")
    enable: bool = Field(True, description="Enable a disabled flag together with the first stage.")
    poll_interval: Interval | None = Field(
        None, description="The time between two polls in a soak: 1m, or a number of seconds; default: 1m."
    )
    deferrable: bool = Field(True, description="Soak in the triggerer; false keeps a worker for the whole rollout.")

    dag_id: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=250)] | None = Field(
        None, description="The DAG's id; default: the file's name without its ending."
    )
    description: str | None = Field(None, description="One line for the list of DAGs.")
    schedule: Text | None = Field(None, description="cron or @once; default: a person starts the DAG.")
    start_date: DateTime | None = Field(
        None, description="The start of the schedule, in UTC unless it has a time zone."
    )
    owner: Text | None = Field(None, description="The owner of the tasks.")
    tags: list[Annotated[Text, Field(max_length=100)]] = Field([], description="The DAG's tags in Airflow.")
    retries: Annotated[int, Field(ge=0)] | None = Field(
        None, description="The number of retries of a failed task; default: 5 for the tasks of the rollout."
    )
    retry_delay: Duration | None = Field(None, description="The delay before a retry.")
    pool: Text | None = Field(None, description="The pool of the tasks.")
    queue: Text | None = Field(None, description="The queue of the tasks.")
    params: dict[str, Any] = Field({}, description="The DAG's params, for callbacks and functions.")
    on_failure_callback: Callback | None = Field(None, description="module:function that Airflow calls on a failure.")
    on_success_callback: Callback | None = Field(None, description="module:function that Airflow calls on success.")

    create: CreateFields | None = Field(None, description="Create the flag or experiment first if it does not exist.")
    inclusions: dict[str, Annotated[list[Id], Field(min_length=1)]] = Field(
        {}, description="Users or devices, by variant, who get the feature before the first stage."
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
        """Return the flag or experiment.

        :param project_id: the project of a key, if the file names none
        """
        named = {ARGUMENTS[name]: getattr(self, name) for name in TARGETS}
        return FlagRef.of(**named, project_id=self.project_id or project_id)

    def target_arguments(self) -> dict[str, Any]:
        """Return an operator's arguments for the flag or experiment and the connection."""
        named = {ARGUMENTS[name]: getattr(self, name) for name in (*TARGETS, "project_id", "connection")}
        return {name: value for name, value in named.items() if value is not None}

    def rollout_plan(self) -> RolloutPlan:
        """Return the plan for ``decide``."""
        return RolloutPlan(**{name: value for name, value in self._given().items() if name in PARAMETERS})

    def group_arguments(self) -> dict[str, Any]:
        """Return the arguments of ``staged_rollout`` that the file has; the others keep their defaults."""
        return {ARGUMENTS[name]: value for name, value in self._given().items()}

    def _given(self) -> dict[str, Any]:
        """Return the values of the file for the operators."""
        made = {
            "stages": _staged(self.stages),
            "guardrails": [guardrail.made for guardrail in self.guardrails],
            **{name: [alert.made for alert in getattr(self, name)] for name in ALERTS},
            "window": self.window.made if self.window else None,
            "preview": self.preview.made if self.preview else None,
            "poll_interval": self.poll_interval.total_seconds() if self.poll_interval is not None else None,
        }
        given = {name: made.get(name, getattr(self, name)) for name in ARGUMENTS if name in self.model_fields_set}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def what_it_ramps(self) -> tuple[str, ...]:
        """Return connection, project, flag or experiment, and segment. Two rollouts of one target stop each other."""
        (target,) = ((name, str(value)) for name in TARGETS if (value := getattr(self, name)) is not None)
        return (self.connection, self.project_id or "", *target, self.segment or "")

    def dag_arguments(self) -> dict[str, Any]:
        """Return the arguments of the ``DAG``, which runs once at a time because two runs would stop each other."""
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
        if self.release is not None:
            return self._is_release()
        if self.regions is not None:
            raise InvalidInputError("regions", "needs release")
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            field, found = (given[1], " and ".join(given)) if given else ("", "none")
            raise InvalidInputError(field, f"expected exactly one of {', '.join(TARGETS)}, got {found}")

    def _is_release(self) -> None:
        """Refuse fields that belong to one flag of the release."""
        for name in (*TARGETS, "create", "inclusions"):
            if name in self.model_fields_set:
                raise InvalidInputError(name, "belongs to a flag of release")
        if self.regions is not None and "connection" in self.model_fields_set:
            raise InvalidInputError("connection", "is given, and regions, too: give one of them")

    def _soaks(self) -> None:
        check_soaks(_staged(self.stages), self.soak)

    def _parameters(self) -> list[Callable[[], object]]:
        """Return a rule for each parameter, so that no mistake hides another one."""
        stages = parse_stages(_staged(self.stages))
        given = {name: value for name, value in self._given().items() if name in PARAMETERS}
        approve = given.pop("approve_before", [])
        alone = [{name: value} for name, value in given.items() if name not in _WITH_OTHERS]
        about_approvals = [{"approve_before": approve, name: given[name]} for name in APPROVALS if name in given]
        rules: list[Callable[[], object]] = [
            partial(RolloutPlan, stages, **given) for given in (*alone, *about_approvals)
        ]
        return [*rules, *(partial(self._approve, *stage) for stage in enumerate(approve))]

    def _approve(self, place: int, percentage: int) -> None:
        try:
            RolloutPlan(parse_stages(_staged(self.stages)), approve_before=[percentage])
        except InvalidInputError as error:
            raise InvalidInputError(f"approve_before[{place}]", error.problem) from None

    def creates(self, missing: TargetNotFoundError) -> bool:
        """Return true if the rollout would create the flag that was not found."""
        return self.create is not None and type(missing) is TargetNotFoundError

    def _create_by_key(self) -> None:
        if self.create is not None and self.flag is None and self.experiment is None:
            raise InvalidInputError("create", "needs flag or experiment (a key); an object with an id already exists")

    def _callback(self, name: str) -> Any:
        named = getattr(self, name)
        return None if named is None else imported(name, named)

    def _guardrails(self) -> None:
        as_guardrails(guardrail.made for guardrail in self.guardrails)


def _staged(stages: list[int | StageFields]) -> list[int | Stage]:
    return [stage if isinstance(stage, int) else Stage(stage.percentage, stage.soak) for stage in stages]
