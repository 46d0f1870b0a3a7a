"""The consecutive results of a guardrail, and their effect."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy, GuardrailStatus, aggregate
from airflow_provider_ampexp.rollout._vocabulary import GuardrailDecision, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

limits = st.integers(1, 4)
consequences = st.builds(
    GuardrailPolicy,
    effect=st.sampled_from(["rollback", "hold"]),
    dry_run=st.booleans(),
    failure_limit=limits,
    inconclusive_limit=limits,
    error_limit=limits,
)
verdicts = st.sampled_from(Verdict)


@st.composite
def streaks(draw: st.DrawFn, name: str = "errors") -> GuardrailStatus:
    streak = GuardrailStatus(name, draw(consequences))
    for number, verdict in enumerate(draw(st.lists(verdicts, max_size=6))):
        effect = draw(st.sampled_from([None, None, "rollback", "hold", "wait"]))
        value = draw(st.none() | st.floats(allow_nan=False, allow_infinity=False))
        streak = streak.with_result(
            verdict,
            draw(st.sampled_from(["", "so it is", 'it\'s; "so"'])),
            value,
            NOW + timedelta(minutes=number),
            effect,
        )
    return streak


def after(*answers: Any, **consequence: Any) -> GuardrailStatus:
    """Return the status after verdicts, or after pairs of a verdict and its effect."""
    streak = GuardrailStatus("errors", GuardrailPolicy(**consequence))
    for answer in answers:
        verdict, effect = answer if isinstance(answer, tuple) else (answer, None)
        streak = streak.with_result(verdict, "so it is", 0.034, NOW, effect)
    return streak


@given(consequences, st.lists(verdicts, min_size=1, max_size=12))
def test_only_the_last_unbroken_row_counts(consequence: GuardrailPolicy, answers: list[Verdict]):
    streak = GuardrailStatus("errors", consequence)
    for verdict in answers:
        streak = streak.with_result(verdict, "", None, NOW)
    last, row = [(verdict, len(list(same))) for verdict, same in groupby(answers)][-1]
    assert {"fail": streak.fails, "inconclusive": streak.inconclusives, "error": streak.errors} == {
        kind: row if kind == last else 0 for kind in ("fail", "inconclusive", "error")
    }
    limit = {
        "fail": consequence.failure_limit,
        "inconclusive": consequence.inconclusive_limit,
        "error": consequence.error_limit,
        "pass": 99,
    }[last]
    if consequence.dry_run or last == "pass":
        assert streak.decision == "go"
    elif row < limit:
        assert streak.decision == "wait"
    else:
        assert streak.decision == ("hold" if consequence.effect == "hold" else "roll back")


@given(streaks())
def test_plain_values_give_the_same_streak_again(streak: GuardrailStatus):
    assert GuardrailStatus.from_json(json.loads(json.dumps(streak.as_json(), allow_nan=False))) == streak


@given(st.lists(streaks(), max_size=4))
def test_the_gravest_wins(listed: list[GuardrailStatus]):
    acts, why = aggregate(listed)
    wanted = [status.decision for status in listed]
    gravest = GuardrailDecision.GO
    for decision in GuardrailDecision:
        gravest = decision if decision in wanted else gravest
    assert acts == gravest
    assert all(str(status) in why for status in listed if status.decision == acts)


def test_without_guardrails_it_goes():
    assert aggregate([]) == ("go", "")


def test_a_guardrail_that_was_not_asked_yet_is_no_leave_to_go_on():
    assert GuardrailStatus("errors", GuardrailPolicy()).decision == "wait"


@pytest.mark.parametrize(
    ("streak", "acts"),
    [
        (after("fail"), "roll back"),
        (after("fail", effect="hold"), "hold"),
        (after("fail", "pass", effect="hold"), "go"),
        (after("fail", "fail", failure_limit=3), "wait"),
        (after("fail", "fail", "fail", failure_limit=3), "roll back"),
        (after("fail", "error", "fail", failure_limit=2), "wait"),
        (after(*["inconclusive"] * 4), "wait"),
        (after(*["inconclusive"] * 5), "roll back"),
        (after(*["error"] * 4), "wait"),
        (after(*["error"] * 5, effect="hold"), "hold"),
        (after("fail", dry_run=True), "go"),
        (after(("fail", "hold")), "hold"),
        (after(("fail", "rollback"), effect="hold"), "roll back"),
        (after(("fail", "hold"), "fail"), "roll back"),
        (after(*[("inconclusive", "wait")] * 9), "wait"),
        (after(*[("inconclusive", "wait")] * 9, "inconclusive"), "wait"),
    ],
)
def test_what_follows(streak: GuardrailStatus, acts: GuardrailDecision):
    assert streak.decision == acts


def test_the_line_of_a_log_tells_name_verdict_count_value_and_sentence():
    assert str(after("fail", failure_limit=3)) == "errors (fail 1 of 3, value 0.034): so it is"
    assert str(after("pass")) == "errors (pass, value 0.034): so it is"
    assert str(after(("inconclusive", "wait"))) == "errors (inconclusive, value 0.034): so it is"
    assert str(after("fail", dry_run=True)) == "errors (fail 1 of 1, value 0.034, dry run of 'roll back'): so it is"
    assert str(GuardrailStatus("errors", GuardrailPolicy())) == "errors (no check yet)"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failure_limit", 0),
        ("inconclusive_limit", -1),
        ("error_limit", 1.5),
        ("error_limit", True),
        ("effect", "stop"),
        ("dry_run", "no"),
    ],
)
def test_a_wrong_consequence_is_refused_by_name(field: str, value: object):
    with pytest.raises(InvalidInputError, match=field):
        GuardrailPolicy(**{field: value})  # type: ignore[arg-type]
