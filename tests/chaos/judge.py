"""Judge each rollout: its end, and the invariants during its whole time.

The judge uses the emulator's version history, and the records of the witness in each task's process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._duration import parse_duration
from airflow_provider_ampexp.rollout._stages import parse_stages
from tests.chaos.kinds import Kind
from tests.chaos.witness import Line
from tests.invariants import violations
from tests.invariants.observed import Attempt, Observed, Verdict, Write

if TYPE_CHECKING:
    from tests.chaos.controller import Rollout
    from tests.chaos.database import Try

# A client repeats a call for 20 s, and the service may need 5 s for the last one.
_IN_FLIGHT = timedelta(seconds=26)
_LATE = 6.0  # seconds from the sending of a request to its version, at most
# A task or the triggerer polls the flag every second. During a longer break, Airflow has not yet noticed a death, or
# has no free worker, and a raise is late for that reason.
_NOBODY = timedelta(seconds=2.5)
# A hold by the tag lasts 10 s, and a call is repeated for 20 s. The restart of a soak of 60 s takes longer in most
# cases.
_PROMPT = timedelta(seconds=25)


def judge(
    rollout: Rollout, emulator: Emulator, tries: Sequence[Try], lines: Sequence[Line], requests: Sequence[datetime]
) -> list[str]:
    """Return the violations of a rollout.

    :param tries: the tries, as Airflow stores them
    :param lines: the lines of the witness
    :param requests: the times of Airflow's requests for the flag
    """
    versions = list(reversed(emulator.versions("flags", rollout.flag_id)))
    ours = [version for version in versions if int(version["version"]) not in rollout.foreign_versions]
    writes, unknown = _writes(ours, lines)
    attempts = _attempts(tries, lines)
    found = [*unknown, *_late(rollout, versions, lines)]
    if not (rollout.kind.check and rollout.ended == "failed" and _was_overtaken(versions, lines, writes)):
        found += _ending(rollout, emulator.flag(rollout.flag_id), attempts)
    if attempts:
        observed = Observed(
            plan=plan_of(rollout.kind),
            versions=versions,
            ours=(),  # rollouts share the key, so only the versions that a witness recorded are the rollout's own
            attempts=attempts,
            verdicts=_verdicts(lines),
            writes=writes,
            in_flight=_IN_FLIGHT,
            prompt_within=_PROMPT,
            excused=_nobody_cared(requests),
        )
        found += violations(observed)
    return found


def seconds_to_roll_back(versions: Sequence[dict[str, Any]], lines: Sequence[Line]) -> float | None:
    """Return the seconds from the first failed check to the rollback; ``None`` without a failed check or a rollback."""
    fails = [line.at for line in lines if line.what == "verdict" and line.more["acts"] == "roll back"]
    for before, after in pairwise(versions):
        at = made_at(after)
        if fails and at >= fails[0] and exposure_of(after) < exposure_of(before):
            return at - fails[0]
    return None


def _late(rollout: Rollout, versions: Sequence[dict[str, Any]], lines: Sequence[Line]) -> list[str]:
    limit = rollout.kind.rolls_back_within
    if limit is None:
        return []
    took = seconds_to_roll_back(versions, lines)
    if took is None:
        return ["no check failed, or the flag was not lowered after it"]
    return [] if took <= limit else [f"the flag was lowered {took:.1f} s after the failed check, at most {limit:g} s"]


def exposure_of(version: dict[str, Any]) -> float:
    config = version["flagConfig"]
    return float(config["rolloutPercentage"]) if config["enabled"] else 0.0


def made_at(version: dict[str, Any]) -> float:
    return datetime.fromisoformat(version["createdAt"].replace("Z", "+00:00")).timestamp() + 0.001


def plan_of(kind: Kind) -> RolloutPlan:
    """Return the plan of the operator."""
    more = dict(kind.arguments)
    if "check_every" in more:
        more["check_every"] = parse_duration("check_every", more["check_every"])
    return RolloutPlan(parse_stages(kind.stages), checked=kind.check is not None, **more)


def _was_overtaken(versions: Sequence[dict[str, Any]], lines: Sequence[Line], writes: Mapping[int, Write]) -> bool:
    """Return true if an older attempt that was still alive made the next step before the newest attempt's check passed.

    The newest attempt cannot know that the check of the older attempt passed. So it stops.
    """
    ended = [line for line in lines if line.what == "failed"]
    if not ended or not writes or "this connection's own key" not in str(ended[-1].more.get("said")):
        return False
    newest = ended[-1].try_number
    own = [line for line in lines if line.try_number == newest]
    (made,) = [made_at(version) for version in versions if int(version["version"]) == max(writes)]
    acts = [line.more["acts"] for line in own if line.what == "verdict" and line.at <= made]
    is_by_an_older_one = writes[max(writes)].attempt < _places(lines)[newest]
    return is_by_an_older_one and own[0].at < made and acts[-1:] != ["go"]


def _ending(rollout: Rollout, flag: dict[str, Any], attempts: Sequence[Attempt]) -> list[str]:
    kind = rollout.kind
    # A rollout that overwrote a person's change restores it and stops, also with on_drift="adopt".
    was_a_race = kind.person is not None and any("Conflict on " in attempt.said for attempt in attempts)
    percentage = flag["targetSegments"][0]["percentage"] if kind.segment else flag["rolloutPercentage"]
    stands = (percentage, flag["enabled"])
    wanted = "success" if kind.ends == "complete" and not was_a_race else "failed"
    if rollout.ended != wanted:
        return [f"the run has ended as {rollout.ended}, and was to end as {wanted}; the flag stands at {stands}"]
    hers = (kind.person or {}).get("rolloutPercentage", 0)
    if percentage < hers and any("was NOT restored" in attempt.said for attempt in attempts):
        return []  # a higher percentage is not restored if the history does not show which change was last
    if kind.final is not None and not was_a_race:
        is_right = stands == kind.final
    else:
        left = {"deleted" if name == "archive" else name: value for name, value in (kind.person or {}).items()}
        is_right = all(flag.get(name, False) == value for name, value in left.items())
    return [] if is_right else [f"the flag stands at {stands}, and was to stand at {kind.final or kind.person}"]


def _attempts(tries: Sequence[Try], lines: Sequence[Line]) -> list[Attempt]:
    """Return the tries that have run, in the order of their start."""
    states = {attempt.number: attempt for attempt in tries}
    last = max(states, default=0)
    attempts = []
    for number in sorted({line.try_number for line in lines}):
        own = [line for line in lines if line.try_number == number]
        ends = [line for line in own if line.what in ("success", "failed")]
        told = states.get(number)
        state = told.state if told else None
        outcome: Any = "killed"
        if ends and ends[-1].what == "success":
            outcome = "success" if state == "success" else "lost"
        elif number == last and state in ("success", "failed"):
            outcome = state
        elif ends:
            outcome = "up_for_retry"
        ended = _moment(own[-1].at)
        if outcome in ("success", "failed") and told and told.ended:
            ended = max(ended, told.ended)
        said = str(ends[-1].more.get("said", "")) if ends else ""
        attempts.append(Attempt(_moment(own[0].at), ended, outcome, said, by_person=number == 1))
    return attempts


def _places(lines: Sequence[Line]) -> dict[int, int]:
    return {number: place for place, number in enumerate(sorted({line.try_number for line in lines}))}


def _verdicts(lines: Sequence[Line]) -> list[Verdict]:
    places = _places(lines)
    return [
        Verdict(
            datetime.fromisoformat(line.more["now"]),
            line.more["percentage"],
            line.more["acts"],
            places[line.try_number],
        )
        for line in lines
        if line.what == "verdict"
    ]


def _writes(versions: Sequence[dict[str, Any]], lines: Sequence[Line]) -> tuple[dict[int, Write], list[str]]:
    """Find the try of each version of the rollout, and the newest version that its process had read.

    :returns: the writes by version, and a problem for each version without a known writer
    """
    places, found, unknown = _places(lines), {}, []
    patches = [line for line in lines if line.what == "sent" and line.more["method"] == "PATCH"]
    for version in versions:
        if version["createdBy"] != "Airflow":
            continue
        made = made_at(version)
        makers = [
            line
            for line in patches
            if line.at <= made <= line.at + _LATE and _matches(line.more["body"], version["flagConfig"])
        ]
        if not makers:
            unknown.append(f"nobody is known who wrote version {version['version']}")
            continue
        maker = makers[-1]
        seen = [
            int(line.more["newest"])
            for line in lines
            if line.pid == maker.pid and line.at <= maker.at and line.more.get("newest")
        ]
        found[int(version["version"])] = Write(places[maker.try_number], max(seen, default=1))
    return found, unknown


def _matches(body: dict[str, Any], config: dict[str, Any]) -> bool:
    names = [name for name in ("enabled", "rolloutPercentage") if name in body]
    segments = body.get("targetSegments")
    if segments is not None:
        here = [segment["percentage"] for segment in config["targetSegments"]]
        if [segment["percentage"] for segment in segments] != here:
            return False
    return all(body[name] == config[name] for name in names)


def _nobody_cared(requests: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    return [(moment, other) for moment, other in pairwise(requests) if other - moment > _NOBODY]


def asked(emulator: Emulator) -> dict[str, list[datetime]]:
    """Return the times of Airflow's requests for each flag, by its id."""
    found: dict[str, list[datetime]] = {}
    for request in emulator.request_log():
        parts = request["path"].split("/")
        if request["person"] == "Airflow" and len(parts) > 4:
            found.setdefault(parts[4], []).append(datetime.fromisoformat(request["at"].replace("Z", "+00:00")))
    return found


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, timezone.utc)
