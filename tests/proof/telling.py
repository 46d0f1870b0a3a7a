"""Run a story with the provider's own code, and return the observations."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import requests

from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
from airflow_provider_ampexp.operators._rollout.base import RolloutOperator
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger
from tests.invariants.observed import Observed, Verdict
from tests.proof.airflow import Airflow
from tests.proof.story import Story
from tests.proof.virtual import BEGIN, Timeline, TooLong, told_by
from tests.proof.world import US, World

_SILENCE = logging.getLogger("tests.proof")
_SILENCE.setLevel(logging.CRITICAL)
_IN_FLIGHT = timedelta(seconds=400)
_RACE = timedelta(seconds=1)  # the last response, and the report to Airflow
_CONNECTION = {
    "conn_type": "amplitude_experiment",
    "password": "ampex_demo",
    "extra": {"base_url": "http://127.0.0.1:9", "timeout": 30, "retry_for": 120},
}


def tell(story: Story) -> Observed:
    """Run a story, and return the observations."""
    timeline = Timeline()
    with told_by(timeline):
        airflow = Airflow(story, timeline)

        world = World(story, timeline, airflow)
        with _the_only_way(world), suppress(TooLong):
            timeline.run()
    plan = story.operator(lambda moment: True).plan()
    attempts = airflow.attempts(world.first_seen)
    return Observed(
        plan=plan,
        versions=world.versions,
        ours=(),  # another task may share the key, so only the recorded writes are the rollout's own
        shared={US},
        attempts=attempts,
        verdicts=[replace(verdict, kept=airflow.is_kept(verdict)) for verdict in airflow.verdicts],
        writes=world.writes,
        last_read=world.last_read,
        agreed=world.agreed,
        hidden=[version["version"] for version in world.versions if story.hides(version["version"])],
        granularity=timedelta(milliseconds=1),
        race=_RACE,
        in_flight=_IN_FLIGHT,
        prompt_within=None if story.is_thin else timedelta(seconds=90 + 3 * story.check_takes),
        excused=[
            *world.trouble,
            *airflow.quiet(world.first_seen),
            *_held(plan, world.versions, timeline.now, story.poll_interval),
            *_closed(plan, timeline.now),
            *_not_passed(plan, airflow.verdicts),
            *_noticing(story, [version for version in world.versions if version["version"] not in world.writes]),
        ],
    )


def _not_passed(plan: RolloutPlan, verdicts: list[Verdict]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the times in which the guardrails did not pass, each until the next check."""
    for place, verdict in enumerate(verdicts):
        if verdict.acts != "go":
            later = (next_one.at for next_one in verdicts[place + 1 :])
            yield verdict.at, next(later, verdict.at) + plan.recheck


def _noticing(story: Story, versions: list[dict[str, Any]]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the time from each edit by another actor to the next poll."""
    for version in versions:
        yield _moment(version), _moment(version) + timedelta(seconds=story.poll_interval)


def _moment(version: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(version["createdAt"].replace("Z", "+00:00"))


def _held(
    plan: RolloutPlan, versions: list[dict[str, Any]], end: datetime, poll: float
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the times in which the flag had the hold tag."""
    moments = [_moment(version) for version in versions]
    for version, since, until in zip(versions, moments, [*moments[1:], end], strict=True):
        if plan.hold_tag in version["flagConfig"]["tags"]:
            yield since, until + timedelta(seconds=poll)


def _closed(plan: RolloutPlan, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the times in which the window was closed."""
    at = BEGIN
    while plan.window is not None and at < end:
        opens = plan.window.next_open(at)
        yield at, opens
        at = plan.window.closes(opens) or end


@contextmanager
def _the_only_way(world: World) -> Iterator[None]:
    """Send all requests to this service, and define the connection."""

    def send(
        adapter: object, request: requests.PreparedRequest, *, timeout: float, **more: object
    ) -> requests.Response:
        return world.send(request, timeout)

    with (
        mock.patch.object(RolloutOperator, "log", _SILENCE),
        mock.patch.object(AmplitudeSoakTrigger, "log", _SILENCE),
        mock.patch.object(AmplitudeExperimentHook, "log", _SILENCE),
        mock.patch.object(requests.adapters.HTTPAdapter, "send", send),
        mock.patch.object(logging.getLogger("airflow_provider_ampexp"), "disabled", new=True),
        mock.patch.dict(os.environ, {"AIRFLOW_CONN_PROOF": json.dumps(_CONNECTION)}),
    ):
        yield
