"""The backtest of a plan file: the stages at which its guardrails would have stopped past releases. Read only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from statistics import median_low
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._optional_fields import config_of, segments_of, version_number
from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.guardrails._base import CheckContext
from airflow_provider_ampexp.guardrails._run import add_results, run_checks
from airflow_provider_ampexp.guardrails._sql_template import names_in
from airflow_provider_ampexp.guardrails._warehouse import QueryGuardrail
from airflow_provider_ampexp.plans._loader import LoadedPlan
from airflow_provider_ampexp.plans._models import PlanFile
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._backtest import CheckedLook, Look, ReleaseBacktest, backtest, past_releases
from airflow_provider_ampexp.rollout._duration import format_duration
from airflow_provider_ampexp.rollout._history import VersionEntry, read_history
from airflow_provider_ampexp.rollout._vocabulary import GuardrailDecision

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

Period: TypeAlias = tuple[datetime | None, datetime | None]
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)
_QUERIES = ("sql", "baseline_sql", "loaded_at_sql")


@dataclass(frozen=True)
class FileBacktest:
    """The backtest of one file.

    :param skipped: the guardrails that are functions, which cannot answer about the past
    """

    file: str
    flag: str
    releases: tuple[ReleaseBacktest, ...]
    skipped: tuple[str, ...] = ()


def backtest_file(
    loaded: LoadedPlan,
    period: Period,
    client: ManagementClient,
    project_id: str | None,
) -> FileBacktest:
    """Read the history of the flag with 2 requests, and ask the guardrails at each look of its releases.

    :param period: the first raise of a release is in this period, which ends now at the latest
    :raises ManagementApiError: when a call to Amplitude fails
    :raises EnsureError: when the flag does not exist
    """
    plan = loaded.plan
    guardrails = [
        _acting(guardrail.made) for guardrail in plan.guardrails if isinstance(guardrail.made, QueryGuardrail)
    ]
    target = plan.target(project_id)
    config = target.read(client)
    past = _Past(plan, guardrails, config, target.endpoints(client).versions(config["id"]))
    now = client.date or datetime.now(timezone.utc)
    since, until = period
    since, until = since or _LONG_AGO, min(until or now, now)
    rollout = replace(plan.rollout_plan(), guardrails=guardrails, soak=None)
    return FileBacktest(
        loaded.file,
        past.flag_key,
        tuple(backtest(rollout, release, past.ask) for release in past_releases(past.history, since, until)),
        tuple(guardrail.made.name for guardrail in plan.guardrails if not isinstance(guardrail.made, QueryGuardrail)),
    )


class _Past:
    """The history of a flag, and the guardrails to run at a past time."""

    def __init__(
        self, plan: PlanFile, guardrails: list[QueryGuardrail], config: FlagConfig, versions: Iterable[Version]
    ) -> None:
        versions = list(versions)
        self.flag_key = str(config.get("key"))
        self.history = read_history(versions, plan.segment)
        self._segment = plan.segment
        self._guardrails = guardrails
        self._configs = {version_number(version): config_of(version) for version in versions}

    def ask(self, look: Look) -> tuple[GuardrailStatus, ...]:
        """Run the guardrails as at the time of the look, and count their results."""
        history = tuple(entry for entry in self.history if self._was_there(entry, look))
        config = self._configs[history[0].version]
        moment = CheckContext(
            flag_key=self.flag_key,
            percentage=look.stage.percentage,
            stage_started_at=look.stage.began_at,
            now=look.at,
            soak_ends_at=look.soak_ends_at,
            segment=self._segment,
            weights=self._weights(config),
            config=config,
            history=history,
        )
        return add_results(look.statuses, run_checks(self._guardrails, moment), look.at)

    @staticmethod
    def _was_there(entry: VersionEntry, look: Look) -> bool:
        """Return true if a version was made before a look. A look at the end of a soak is before the raise."""
        if entry.version <= look.stage.entry.version:
            return True
        return entry.at is not None and entry.at < look.at

    def _weights(self, config: FlagConfig) -> dict[str, Any]:
        named = [segment for segment in segments_of(config) if segment.get("name") == self._segment]
        return dict((named[0] if named else config).get("rolloutWeights") or {})


def _acting(guardrail: QueryGuardrail) -> QueryGuardrail:
    """Return the guardrail without ``dry_run``, because the backtest shows the effect that it would have."""
    return replace(guardrail, dry_run=False)


def check_queries(loaded: LoadedPlan) -> None:
    """Refuse a file whose guardrails cannot answer about the past.

    :raises PlanFileError: when the file has no SQL guardrail, or a query without ``{{ now }}``
    """
    asked = 0
    for place, fields in enumerate(loaded.plan.guardrails):
        if not isinstance(fields.made, QueryGuardrail):
            continue
        asked += 1
        for name in _QUERIES:
            sql = getattr(fields.made, name, None)
            if sql is not None and "now" not in names_in(sql):
                problem = "expected {{ now }} in the query, such as at <= {{ now }}: it would count what came later"
                error = InvalidInputError(f"guardrails[{place}].{name}", f"{fields.made.name!r}: {problem}")
                raise loaded.refused(error)
    if not asked:
        problem = "expected an SQL guardrail: only a query can answer about the past"
        raise loaded.refused(InvalidInputError("guardrails", problem))


@dataclass(frozen=True)
class Totals:
    """The numbers of releases.

    The guardrails would have stopped a hit, and a person lowered it. They would also have stopped a false stop, which
    no person lowered.
    """

    releases: int
    stopped: int
    hits: int
    lowered: int
    held: int
    earlier_by: timedelta | None
    """The median time between the stop of a hit and its lowering."""

    @classmethod
    def of(cls, done: Iterable[FileBacktest]) -> Totals:
        """Count the releases of these files."""
        found = [release for file in done for release in file.releases]
        stopped = [release for release in found if release.stopped is not None]
        earlier = [release.earlier_by for release in stopped if release.earlier_by is not None]
        return cls(
            len(found),
            len(stopped),
            sum(release.release.lowered is not None for release in stopped),
            sum(release.release.lowered is not None for release in found),
            sum(release.held is not None and release.stopped is None for release in found),
            median_low(earlier) if earlier else None,
        )

    @property
    def false_stops(self) -> int:
        """The number of releases that would have been stopped, and that no person lowered."""
        return self.stopped - self.hits


def lines(done: FileBacktest) -> Iterator[str]:
    """Yield the table of one file."""
    yield f"{done.file}: flag {done.flag!r}"
    if done.skipped:
        yield f"  not asked: {', '.join(done.skipped)}. A function cannot answer about the past."
    if done.releases:
        yield _row("first raise", "reached", "looks", "would have stopped", "was lowered", "earlier by")
    for release in done.releases:
        stages, lowered = release.release.stages, release.release.lowered
        was_lowered = f"{_shown(lowered.entry.at)} to {lowered.after.effective_percentage:g} %" if lowered else "no"
        earlier = "" if release.earlier_by is None else _length(release.earlier_by)
        reached, looks = f"{stages[-1].percentage:g} %", str(len(release.looks))
        yield _row(_shown(stages[0].began_at), reached, looks, _place(release.stopped), was_lowered, earlier)
        if note := _note(release):
            yield f"      {note}"


def _note(each: ReleaseBacktest) -> str:
    """Return why a release would have been stopped or held, or that its looks had no result."""
    if each.stopped is not None:
        return each.stopped.why
    if each.held is not None:
        return f"held {_place(each.held)}: {each.held.why}"
    waits = [look for look in each.looks if look.decision != GuardrailDecision.GO]
    return f"{len(waits)} of {len(each.looks)} looks without a pass: {waits[-1].why}" if waits else ""


def total(done: Iterable[FileBacktest]) -> str:
    """Return the line with the numbers of all files."""
    found = Totals.of(done)
    text = (
        f"{found.releases} releases: {found.stopped} would have been stopped, {found.held} held. Hits: {found.hits} of "
        f"{found.lowered} lowered releases. False stops: {found.false_stops} of {found.releases - found.lowered} "
        "releases that were not lowered."
    )
    return text if found.earlier_by is None else f"{text} Median of the hits: {_length(found.earlier_by)} earlier."


def as_plain(done: list[FileBacktest]) -> dict[str, Any]:
    """Return JSON values. Times are in UTC, durations in seconds."""
    found = Totals.of(done)
    return {
        "files": [
            {
                "file": file.file,
                "flag": file.flag,
                "not_asked": list(file.skipped),
                "releases": [_plain_release(release) for release in file.releases],
            }
            for file in done
        ],
        "totals": {
            "releases": found.releases,
            "stopped": found.stopped,
            "hits": found.hits,
            "false_stops": found.false_stops,
            "lowered": found.lowered,
            "held": found.held,
            "earlier_by": None if found.earlier_by is None else found.earlier_by.total_seconds(),
        },
    }


def _plain_release(each: ReleaseBacktest) -> dict[str, Any]:
    lowered = each.release.lowered
    earlier = each.earlier_by
    return {
        "stages": [
            {"percentage": stage.percentage, "began_at": _iso(stage.began_at), "left_at": _iso(stage.left_at)}
            for stage in each.release.stages
        ],
        "looks": [_plain_look(look) for look in each.looks],
        "stopped": None if each.stopped is None else _plain_look(each.stopped),
        "held": None if each.held is None else _plain_look(each.held),
        "lowered": None
        if lowered is None
        else {"at": _iso(lowered.entry.at), "to": lowered.after.effective_percentage, "by": lowered.entry.by},
        "earlier_by": None if earlier is None else earlier.total_seconds(),
    }


def _plain_look(checked: CheckedLook) -> dict[str, Any]:
    return {
        "at": _iso(checked.look.at),
        "percentage": checked.look.stage.percentage,
        "decision": checked.decision.value,
        "results": [
            {"name": status.name, "verdict": str(status.verdict), "value": status.value, "why": status.why}
            for status in checked.statuses
        ],
    }


def _row(began: str, reached: str, looks: str, stopped: str, lowered: str, earlier: str) -> str:
    return f"  {began:17} {reached:>8} {looks:>6}  {stopped:27} {lowered:26} {earlier}".rstrip()


def _place(checked: CheckedLook | None) -> str:
    return "no" if checked is None else f"{_shown(checked.look.at)} at {checked.look.stage.percentage:g} %"


def _shown(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%MZ}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(timezone.utc).isoformat()


def _length(duration: timedelta) -> str:
    return format_duration(timedelta(minutes=round(duration.total_seconds() / 60)))
