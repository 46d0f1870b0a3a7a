"""The request bodies of the contract. An unknown field or a wrong type is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from airflow_provider_ampexp.emulator._api.json_io import parse_object
from airflow_provider_ampexp.emulator._state.clock import parse_iso
from airflow_provider_ampexp.emulator._state.errors import bad_request

MAX_INCLUSIONS = 2000

Op = Literal[
    "is",
    "is not",
    "contains",
    "does not contain",
    "less",
    "less or equal",
    "greater",
    "greater or equal",
    "glob match",
    "glob does not match",
    # not in the contract; the live service has them
    "set is",
    "set is not",
    "set contains",
    "set does not contain",
]
EvaluationMode = Literal["local", "remote"]
ExperimentType = Literal["hypothesis-testing", "no-harm", "a-b-test", "multi-arm-bandit"]


def _number(value: Any) -> int | float:
    # `bool` is an `int` in Python, but not a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    return value


def _percentage(value: Any) -> int | float:
    number = _number(value)
    if not 0 <= number <= 100:
        raise ValueError("must be between 0 and 100")
    return number


def _weight(value: Any) -> int | float:
    number = _number(value)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _whole_weight(value: Any) -> int:
    number = _weight(value)
    if not isinstance(number, int):
        raise ValueError("must be a whole number")
    return number


def _day(value: str) -> str:
    """Convert a date of an experiment to its day, because the contract's reads show only the day."""
    try:
        return parse_iso(value).astimezone(_UTC).date().isoformat()
    except (ValueError, OverflowError):
        raise ValueError("must be a date in ISO 8601") from None


def _truth(value: Any) -> bool:
    """Convert ``archive`` of a deployment, which is a string in the contract. Everywhere else it is a boolean."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError("must be true or false")


_UTC = parse_iso("2000-01-01").tzinfo
Text = Annotated[str, Field(min_length=1)]
Percentage = Annotated[Any, PlainValidator(_percentage)]
Weight = Annotated[Any, PlainValidator(_weight)]
WholeWeight = Annotated[Any, PlainValidator(_whole_weight)]
Day = Annotated[str, AfterValidator(_day)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Body(BaseModel):
    """A body, or an object in a body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Condition(Body):
    """Contract: Create, ``conditions``."""

    type: Literal["property"]
    prop: str
    op: Op
    values: list[str]


class CreateSegment(Body):
    """Contract: Create, ``targetSegments``. Its example also has ``bucketingKey``."""

    name: str = ""
    conditions: list[Condition]
    percentage: Percentage = 0
    bucketingKey: str = ""
    rolloutWeights: dict[str, Weight] = {}


class EditSegment(CreateSegment):
    """A segment of an edit, which has all fields."""

    name: str
    percentage: Percentage
    rolloutWeights: dict[str, Weight]


class VariantFields(Body):
    """Contract: Create, ``variants``. ``payload`` is any JSON element."""

    key: Text
    payload: Any = None
    name: str = ""
    description: str = ""


class CreateVariant(VariantFields):
    """Contract: Create variant."""

    rolloutWeight: Weight = 0


class EditVariant(CreateVariant):
    """Contract: Edit variant."""

    key: Text = ""


class CreateFlag(Body):
    """Contract: Create, the fields for flags and experiments."""

    projectId: Text
    key: Text
    name: str = ""
    description: str = ""
    variants: Annotated[list[VariantFields], Field(min_length=1)] = []
    bucketingKey: str = ""
    rolloutWeights: dict[str, WholeWeight] = {}
    targetSegments: list[CreateSegment] = []
    deployments: list[str] = []
    evaluationMode: EvaluationMode = "remote"


class CreateExperiment(CreateFlag):
    """Contract: Create, with the field for experiments only."""

    experimentType: ExperimentType = "hypothesis-testing"


class ExposureFilter(Body):
    """Contract: Edit, ``filters``. A ``subprop_type`` of its example is missing in its table; both are accepted."""

    group_type: str | None = None
    subprop_key: str | None
    subprop_op: Op
    subprop_type: Literal["event", "user", "group", "day_time_prop"]
    subprop_value: list[str]


class ExposureEvent(Body):
    """Contract: Edit, ``exposureEvent``."""

    event_type: str
    filters: list[ExposureFilter]


class Dependencies(Body):
    """Not in the contract: the variants of other flags and experiments that users need, by id."""

    flags: dict[str, Annotated[list[Text], Field(min_length=1)]]
    operator: Literal["all", "any"] = "all"


class EditFlag(Body):
    """Contract: Edit, the fields for flags and experiments, and three more."""

    name: str = ""
    description: str = ""
    bucketingKey: str = ""
    bucketingSalt: str = ""
    bucketingUnit: str = ""
    evaluationMode: EvaluationMode = "remote"
    rolloutPercentage: Percentage = 0
    enabled: bool = False
    archive: bool = False
    targetSegments: list[EditSegment] = []
    tags: list[str] = []
    parentDependencies: Dependencies | None = None


class EditExperiment(EditFlag):
    """Contract: Edit, with the fields for experiments only, and the three of a decision."""

    experimentType: ExperimentType = "hypothesis-testing"
    stickyBucketing: bool = False
    startDate: Day = ""
    endDate: Day | None = None
    exposureEvent: ExposureEvent | None = None
    decision: Literal["rollout", "rollback", "continue-running"] = "rollout"
    decisionReason: str = ""
    rolledOutVariant: str = ""


class AddInclusions(Body):
    """Contract: Add users to variant."""

    inclusions: Annotated[list[Text], Field(min_length=1)]


class AddDeployments(Body):
    """Contract: Create flag or experiment deployment."""

    deployments: Annotated[list[Text], Field(min_length=1)]


class CreateDeployment(Body):
    """Contract: Create deployment."""

    projectId: Text
    label: Label
    type: Literal["client", "server"]


class EditDeployment(Body):
    """Contract: Edit deployment."""

    label: Label = ""
    archive: Annotated[Any, PlainValidator(_truth)] = False


class RemoveUsers(Body):
    """Not in the contract: remove inclusions by value, 100 at most."""

    users: Annotated[list[Text], Field(min_length=1, max_length=100)]


_EXPERIMENTS_ONLY = set(EditExperiment.model_fields) - set(EditFlag.model_fields)

BodyType = TypeVar("BodyType", bound=Body)


def check(model: type[Body], value: dict[str, Any]) -> dict[str, Any]:
    """Return the validated fields, or raise a 400 that names the field and its problem."""
    try:
        return model.model_validate(value).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise bad_request("; ".join(_sentence(item, model) for item in error.errors(include_url=False))) from None


def read(model: type[Body], raw: bytes) -> dict[str, Any]:
    """Return the validated fields of a request's body."""
    return check(model, parse_object(raw))


def _sentence(item: Any, model: type[Body]) -> str:
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        for_experiments = model in (CreateFlag, EditFlag) and place in _EXPERIMENTS_ONLY
        return f"{place}: only experiments have this field" if for_experiments else f"{place}: unknown field"
    if item["type"] == "missing":
        return f"{place}: required field is missing"
    return f"{place}: {item['msg'].removeprefix('Value error, ')}"
