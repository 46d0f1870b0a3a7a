"""Generate stories: any plan, and any events during its rollout."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from hypothesis import strategies as st

from tests.proof.story import NIGHTS, OFFICE_HOURS, Crash, Edit, Fault, Story
from tests.proof.world import US

_SOAKS = (0.0, 1.0, 45.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
_MINUTES = 60.0


@st.composite
def stories(draw: st.DrawFn, always: tuple[str, ...] = ()) -> Story:
    """Draw a story. A simple story has no events, and each story has events of at most three drawn kinds.

    :param always: kinds of events of each story, in addition to the drawn ones
    """
    plan = draw(_plans())
    things = _things(plan["stages"], plan["segment"], _times(plan["stages"]))
    # Most stories have a crash. Only some of the experiments are sticky.
    kinds = st.sampled_from([*sorted(things), "crashes", "crashes", "experiment"])
    happen = draw(st.lists(kinds, min_size=draw(st.integers(0, 3)), max_size=3, unique=True))
    happen = [*always, *(name for name in happen if name not in always)]
    return Story(
        **plan,
        **{field: value for name in happen for field, value in draw(things[name]).items()},
        verdicts=draw(_verdicts(_times(plan["stages"])) if draw(st.sampled_from([True, True, False])) else st.none()),
        **draw(_beginnings([percentage for percentage, _ in plan["stages"]])),
        clear_keeps_state=draw(st.booleans()),
        run_goes_on=draw(st.booleans()),
        state=draw(st.sampled_from(["kept", "kept", "none", "down"])),
        keeps_kwargs=draw(st.booleans()),
        version_gaps=draw(st.booleans()),
        skews=draw(st.lists(_skews(), min_size=1, max_size=3).map(tuple)),
        scheduler_skew=draw(_skews()),
    )


def _things(
    stages: tuple[tuple[int, float], ...], segment: str | None, times: st.SearchStrategy[float]
) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    """Return the kinds of events, each as fields of the story."""
    steps = st.tuples(st.just("step"), st.integers(1, 15) | st.integers(1, 50))
    writes = st.tuples(st.just("write"), st.integers(1, 4))
    ends = st.tuples(st.just("end"), st.integers(1, 4))
    outages = st.tuples(times, st.sampled_from([5.0, 90.0, 1000.0]), _faults())
    clears = times.map(lambda seconds: 1.5 * seconds)
    return {
        "approvals": st.fixed_dictionaries({"approvals": _approvals(times)}),
        "clears": st.fixed_dictionaries({"clears": _some(clears)}),
        "crashes": st.fixed_dictionaries({"crashes": _at(steps | writes | ends, _crashes())}),
        "edits": st.fixed_dictionaries({"edits": _some(st.tuples(times, _edits(segment)))}),
        "foreign": st.fixed_dictionaries({"edits": _some(_by_another_task(stages, segment, times))}),
        "faults": st.fixed_dictionaries({"faults": _at(steps | writes, _faults())}),
        "experiment": st.fixed_dictionaries(
            {"is_experiment": st.just(True), "starts_sticky": st.booleans(), "sticky": _STICKY}
        ),
        "omitted": st.fixed_dictionaries({"omit": _omitted(), "omit_one_of": st.integers(1, 3)}),
        "outages": st.fixed_dictionaries({"outages": _some(outages)}),
        "racing": st.fixed_dictionaries({"racing": _at(st.integers(1, 6), _edits(segment))}),
    }


_STICKY = st.sampled_from(["refuse", "switch_off", "switch_off"])


@st.composite
def _plans(draw: st.DrawFn) -> dict[str, Any]:
    at_least = draw(st.sampled_from([1, 2, 3]))
    percentages = draw(st.lists(st.integers(0, 100), min_size=at_least, max_size=4, unique=True).map(sorted))
    stages = tuple((percentage, draw(st.sampled_from(_SOAKS))) for percentage in percentages)
    longest = max(soak for _, soak in stages)
    window = draw(st.sampled_from([None, None, None, OFFICE_HOURS, NIGHTS]))
    least = 30.0 if window is None else 600.0  # a window is closed for many hours
    polls = draw(st.sampled_from([0.2, 0.5, 1.5])) * longest
    every = draw(st.sampled_from([None, 0.1, 0.4, 2.0]))
    return {
        "stages": stages,
        "segment": draw(st.sampled_from([None, None, "Beta"])),
        "rollback": draw(st.sampled_from(_rollbacks(percentages[-1]))),
        "on_drift": draw(st.sampled_from(["stop", "stop", "adopt"])),
        "window": window,
        "check_every": None if every is None else max(least, every * longest),
        "check_takes": draw(st.sampled_from([0.0, 1.0, 20.0])),
        "effect": draw(st.sampled_from(["rollback", "rollback", "hold"])),
        "failure_limit": draw(st.integers(1, 2)),
        "inconclusive_limit": draw(st.integers(1, 3)),
        "poll_interval": max(least, polls),
        "deferrable": draw(st.sampled_from([True, True, False])),
        "retries": draw(st.sampled_from([0, 1, 2, 3, 4, 1, 2, 3, 4])),
    }


def _rollbacks(last: int) -> list[str | int]:
    """Return the valid targets of a rollback. A plan with a percentage at or above its last stage is refused."""
    return ["start", "previous", "off", "hold", *(percentage for percentage in (0, 3) if percentage < last)]


def _beginnings(percentages: list[int]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw the first exposure of the flag, the percentage of other segments, and ``enable``.

    Most rollouts can raise the flag. One in twenty is refused, because its first stage would let others in.
    """
    below = [percentage for percentage in (0, 0, 0, *percentages, 2) if percentage < percentages[-1]]
    at_any = st.sampled_from([0, 0, 0, *percentages, 2, 50, 100])
    no_others, some_others, any_others = st.just(0), st.just(30), st.sampled_from([0, 30, 30])
    disabled = st.tuples(at_any, st.just(False))
    enabled = st.tuples(st.sampled_from(below) if below else at_any, st.just(True))
    beginnings = [
        *[(disabled, no_others, st.just(True))] * 9,
        *[(enabled, any_others, st.booleans())] * 8,
        (st.tuples(at_any, st.just(True)), any_others, st.booleans()),
        (disabled, any_others, st.just(False)),
        (disabled, some_others, st.just(True)),
    ]
    return st.sampled_from(beginnings).flatmap(
        lambda fields: st.fixed_dictionaries(dict(zip(("start", "others", "enable"), fields, strict=True)))
    )


def _times(stages: tuple[tuple[int, float], ...]) -> st.SearchStrategy[float]:
    """Draw a time, often near the begin or the end of a stage."""
    ends = [0.0, *accumulate(soak for _, soak in stages)]
    later = st.integers(-50, 250).map(lambda tenths: tenths / 10)
    about = st.builds(lambda end, more: max(0.0, end + more), st.sampled_from(ends), later)
    length = ends[-1] + 30 * _MINUTES
    return about | st.integers(0, 1200).map(lambda share: length * share / 1000)


def _verdicts(times: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[tuple[float, str], ...]]:
    said = st.sampled_from(["pass", "fail", "fail", "fail", "inconclusive", "error"])
    return st.lists(st.tuples(times, said), min_size=1, max_size=4).map(lambda found: tuple(sorted(found)))


def _faults() -> st.SearchStrategy[Fault]:
    plain = st.sampled_from(["refused", "cut before", "cut after", "cut body", "garbage"]).map(Fault)
    slow = st.builds(
        Fault, st.sampled_from(["slow", "timeout", "late"]), seconds=st.sampled_from([0.5, 3.0, 12.0, 25.0])
    )
    refusals = st.builds(
        Fault,
        st.just("status"),
        st.sampled_from([400, 401, 403, 404, 429, 429, 500, 502, 503]),
        retry_after=st.sampled_from([None, 1, 30]),
    )
    return plain | slow | refusals | st.builds(Fault, st.just("spoilt"), st.sampled_from([500, 502, 504]))


def _edits(segment: str | None) -> st.SearchStrategy[Edit]:
    percentages = st.sampled_from([0, 1, 5, 25, 50, 100, 2.5])
    ramped = (
        percentages.map(lambda percentage: Edit({"rolloutPercentage": percentage}))
        if segment is None
        else percentages.map(lambda percentage: Edit({"percentage": percentage}, segment))
    )
    others = (
        percentages.map(lambda percentage: Edit({"percentage": percentage}, "Staff"))
        if segment is not None
        else percentages.map(lambda percentage: Edit({"percentage": percentage}, "Beta"))
    )
    switches = st.sampled_from(
        [Edit({"enabled": False}), Edit({"enabled": True}), Edit({"archive": True}), Edit({"archive": False})]
    )
    words = st.sampled_from(
        [
            Edit({"description": "by Maria"}),
            Edit({"tags": ["rollout-hold"]}),
            Edit({"tags": ["mine"]}),
            Edit({"tags": []}),
        ]
    )
    return ramped | ramped | switches | others | words | _audiences(segment)


def _audiences(segment: str | None) -> st.SearchStrategy[Edit]:
    """Draw a change of the audience or of the variants."""
    everybody = {"name": "All", "conditions": [], "percentage": 100, "rolloutWeights": {"on": 1}}
    return st.sampled_from(
        [
            Edit({"conditions": []}, segment or "Beta"),
            Edit(everybody, adds=True),
            Edit({"rolloutWeights": {"on": 1, "other": 1}}),
            Edit({"bucketingSalt": "pepper"}),
            Edit({"stickyBucketing": True}),
        ]
    )


def _by_another_task(
    stages: tuple[tuple[int, float], ...], segment: str | None, times: st.SearchStrategy[float]
) -> st.SearchStrategy[tuple[float, Edit]]:
    """Draw an edit of another task with the same key. Most edits set a stage of this rollout, some when it is due."""
    field = "rolloutPercentage" if segment is None else "percentage"
    percentages = [percentage for percentage, _ in stages]
    due = accumulate(soak for _, soak in stages[:-1])
    steps = [*zip(due, percentages[1:], strict=True)][::-1] or [(0.0, percentages[0])]
    later = st.integers(0, 300).map(lambda tenths: tenths / 10)
    in_time = st.builds(lambda step, more: (step[0] + more, step[1]), st.sampled_from(steps), later)
    moves = st.tuples(times, st.sampled_from([*percentages, 0, 100])) | in_time | in_time
    return moves.map(lambda move: (move[0], Edit({field: move[1]}, segment, by=US)))


def _crashes() -> st.SearchStrategy[Crash]:
    return st.builds(
        Crash,
        answered=st.booleans(),
        noticed_after=st.sampled_from([1.0, 10.0, 300.0]),
        lives_on=st.sampled_from([0.0, 0.0, 0.0, 8.0, 200.0]),
    )


def _approvals(times: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    one = st.tuples(times, times, st.sampled_from(["all", "percentages", "segments"]), st.booleans())
    return one.map(lambda found: ((min(found[:2]), max(found[:2]), *found[2:]),))


def _omitted() -> st.SearchStrategy[tuple[str, ...]]:
    names = ["rolloutPercentage", "enabled", "targetSegments", "tags", "deleted", "createdAt"]
    return st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True).map(tuple)


def _skews() -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, 300.0, -300.0, 17.0])


def _at(points: st.SearchStrategy[Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(points, values, min_size=1, max_size=4)


def _some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, min_size=1, max_size=3).map(tuple)
