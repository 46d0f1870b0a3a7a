"""No rollout is earlier than its forecast, and an undisturbed rollout is as forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, assume, example, given, settings

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._forecast import Forecast, forecast
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, read_history
from tests.invariants.observed import Observed
from tests.proof.histories import stories
from tests.proof.story import Fault, Story
from tests.proof.telling import tell
from tests.proof.test_proof import DEEP
from tests.proof.virtual import BEGIN

_MILLISECOND = timedelta(milliseconds=1)
_STORIES = settings(
    max_examples=int(DEEP or 100),
    derandomize=not DEEP,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def forecast_of(story: Story, observed: Observed) -> Forecast:
    """Return the forecast from the first version, at the beginning of the story."""
    first = Exposure(*story.start)
    history = read_history(observed.versions[:1], story.segment, first)
    try:
        return forecast(observed.plan, BEGIN, FlagSnapshot(first, history=history, audience=history[0].audience))
    except InvalidInputError:
        assume(False)
        raise


def without_people(story: Story) -> Story:
    return replace(story, edits=(), racing={}, clears=(), approvals=(), skews=(0.0,), is_experiment=False, others=0)


# A 404 that passes: the client asks whether the id is that of an experiment.
_GONE_FOR_A_MOMENT = Story(stages=((0, 0.0), (1, 45.0)), outages=((3.1, 90.0, Fault("status", 404)),))


@_STORIES
@example(_GONE_FOR_A_MOMENT)
@given(stories())
def test_no_rollout_is_earlier_than_its_forecast(story: Story) -> None:
    observed = tell(without_people(story))
    course = forecast_of(story, observed)
    stands = {version["version"]: version for version in observed.versions[1:]}
    for stage in course.stages:
        for entry in read_history(stands.values(), story.segment):
            if entry.at is not None and entry.exposure == Exposure(stage.percentage, True):
                assert entry.at >= stage.at - _MILLISECOND
    for attempt in observed.attempts:
        if attempt.outcome == "success":
            assert attempt.ended >= course.finish - _MILLISECOND


@_STORIES
@given(stories())
def test_a_rollout_that_nothing_disturbs_ends_as_forecast(story: Story) -> None:
    calm = replace(without_people(story), faults={}, outages=(), crashes={}, omit=(), verdicts=None, scheduler_skew=0.0)
    observed = tell(calm)
    course = forecast_of(calm, observed)
    (attempt,) = observed.attempts
    assert attempt.outcome == "success"
    assert abs(attempt.ended - course.finish) < timedelta(seconds=60)
