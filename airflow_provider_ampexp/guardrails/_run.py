"""Run guardrails, each within its time limit. A check that hangs or raises has the verdict ``error``."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp._limited_call import CallExitedError, LimitedCall, NoAnswerInTimeError
from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult, Guardrail, timeout_of
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._duration import format_duration
from airflow_provider_ampexp.rollout._vocabulary import Verdict

_log = logging.getLogger(__name__)
_LONGEST = 300
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*):\S+@")
_NAMED_SECRET = re.compile(
    r"((?:password|passwd|pwd|secret|token|api_?key)\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;&]+)", re.I
)
_left_behind: dict[int, tuple[Guardrail, LimitedCall[object]]] = {}
"""The checks that exceeded their time limit, by the identity of their guardrail."""


def run_checks(guardrails: Iterable[Guardrail], moment: CheckContext) -> list[tuple[Guardrail, CheckResult]]:
    """Run all guardrails in parallel. A guardrail that raises or exceeds its time limit has the verdict ``error``."""
    return _ask([(guardrail, guardrail.check) for guardrail in guardrails], moment)


def add_results(
    statuses: Iterable[GuardrailStatus], results: Iterable[tuple[Guardrail, CheckResult]], now: datetime
) -> tuple[GuardrailStatus, ...]:
    """Count the results of a check after those of the earlier ones."""
    known = {status.name: status for status in statuses}
    return tuple(
        (known.get(guardrail.name) or GuardrailStatus(guardrail.name, guardrail.consequence)).with_result(
            result.verdict, result.why, result.value, now, result.effect, result.interval
        )
        for guardrail, result in results
    )


def preflight(guardrails: Iterable[Guardrail], moment: CheckContext) -> list[tuple[Guardrail, str]]:
    """Run each guardrail once to see if it works. The verdict does not count.

    :returns: the guardrails that do not work, each with the reason
    """
    before = replace(moment, is_preflight=True)
    answers = _ask([(guardrail, _preflight_of(guardrail)) for guardrail in guardrails], before)
    return [(guardrail, answer.why) for guardrail, answer in answers if answer.verdict == Verdict.ERROR]


def _preflight_of(guardrail: Guardrail) -> Callable[[CheckContext], object]:
    """Return the guardrail's ``preflight``, or its ``check``."""
    own: Callable[[CheckContext], object] | None = getattr(guardrail, "preflight", None)
    if own is None:
        return guardrail.check

    def can_answer(moment: CheckContext) -> CheckResult:
        said = own(moment)
        return said if isinstance(said, CheckResult) else CheckResult(Verdict.PASS)

    return can_answer


def _ask(
    questions: Iterable[tuple[Guardrail, Callable[[CheckContext], object]]], moment: CheckContext
) -> list[tuple[Guardrail, CheckResult]]:
    """Start all checks, then wait for each, so the total time is the longest time limit, not the sum."""
    begun = [(guardrail, _begin(guardrail, question, moment)) for guardrail, question in questions]
    return [(guardrail, _result_of(guardrail, call)) for guardrail, call in begun]


def _begin(
    guardrail: Guardrail, question: Callable[[CheckContext], object], moment: CheckContext
) -> LimitedCall[object] | None:
    """Start a check; ``None`` if an earlier check of the same guardrail still runs."""
    _, earlier = _left_behind.get(id(guardrail), (guardrail, None))
    if earlier is not None and earlier.is_running:
        return None
    return limited_call.begin(lambda: question(moment), f"guardrail {guardrail.name}")


def _result_of(guardrail: Guardrail, call: LimitedCall[object] | None) -> CheckResult:
    if call is None:
        return CheckResult(
            Verdict.ERROR, "an earlier check of this guardrail is still running, so no new check was started"
        )
    limit = timeout_of(guardrail)
    try:
        answer = call.result(limit.total_seconds())
    except NoAnswerInTimeError:
        _left_behind[id(guardrail)] = guardrail, call
        answer = CheckResult(Verdict.ERROR, f"timed out after {format_duration(limit)}")
        _log.warning("Guardrail %s %s. Its check continues in the background.", guardrail.name, answer.why)
    except Exception as error:
        raised = str(error) if isinstance(error, CallExitedError) else f"{type(error).__name__}: {error}"
        answer = CheckResult(Verdict.ERROR, _in_one_line(raised))
        trace = "".join(traceback.format_exception(error)).rstrip()
        _log.warning("Guardrail %s raised an error.\n%s", guardrail.name, _without_secrets(trace))
    if not isinstance(answer, CheckResult):
        return CheckResult(Verdict.ERROR, _in_one_line(f"expected a CheckResult, got {answer!r}"))
    return answer


def _in_one_line(text: str) -> str:
    line = " ".join(_without_secrets(text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _without_secrets(text: str) -> str:
    """Remove secrets from a text. Drivers often repeat the connection's address in an error."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]  # where Airflow 3.2 and 3.3 have it

    return _NAMED_SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", str(redact(text))))
