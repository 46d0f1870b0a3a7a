"""The report of a run: kills, faults, rollouts, violations, and the seconds of detection and recovery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.controller import Controller, Rollout
    from tests.chaos.kills import Kill
    from tests.chaos.scenarios import Scenario


def report(controller: Controller, violations: Sequence[str], seconds: float) -> str:
    """Return the report as text."""
    rollouts, kills = controller.rollouts, controller.killer.kills
    sorts = Counter(kill.what for kill in kills)
    lines = [
        f"ended in    {seconds / 60:.1f} minutes",
        f"kills -9    {len(kills)}: {_counted(sorts)}",
        f"faults      {controller.faults()} requests of {controller.requests()} spoilt by the emulator",
        f"rollouts    {len(rollouts)}, up to {controller.most_at_a_time} at a time: {_counted(_endings(rollouts))}",
        f"tries       {controller.tries} of the rollouts' tasks, for {len(rollouts)} rollouts",
        f"violations  {len(violations)}",
        *(f"  {violation}" for violation in violations),
        "",
        f"{'seconds until':<28}{'detected: median':>18}{'worst':>8}{'recovered: median':>20}{'worst':>8}{'of':>6}",
        *(_row(sort, [kill for kill in kills if kill.what == sort]) for sort in sorted(sorts)),
        "(of those kills whose recovery no other kill held up)",
    ]
    return "\n".join(lines)


def scenarios_report(played: Sequence[Scenario], took: Callable[[Rollout], float | None]) -> str:
    """Return a line for each scenario: the number of rollouts and of hits, and the end.

    :param took: the seconds from the failed check to the rollback
    """
    lines = [f"{'scenario':<46}{'rollouts':>9}{'hits':>6}  ended"]
    for story in played:
        ended = _counted(Counter(rollout.ended or "not ended" for rollout in story.rollouts))
        seconds = [took(rollout) for rollout in story.rollouts if rollout.kind.rolls_back_within is not None]
        lowered = [f", lowered after {second:.1f} s" for second in seconds if second is not None]
        lines.append(f"  {story.name:<44}{len(story.rollouts):>9}{story.struck:>6}  {ended}{''.join(lowered)}")
    return "\n".join(lines)


def _endings(rollouts: Sequence[Rollout]) -> Counter[str]:
    return Counter(rollout.kind.ends if rollout.ended is not None else "not ended" for rollout in rollouts)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.most_common()) or "none"


def _row(sort: str, kills: Sequence[Kill]) -> str:
    clean = [kill for kill in kills if kill.is_clean and kill.recovered is not None]
    detected = [kill.detected for kill in clean if kill.detected is not None]
    recovered = [kill.recovered for kill in clean if kill.recovered is not None]
    cells = [f"{cell:.1f}" for values in (detected, recovered) if values for cell in (median(values), max(values))]
    first, second, third, fourth = cells if len(cells) == 4 else ["-"] * 4
    return f"  {sort:<26}{first:>18}{second:>8}{third:>20}{fourth:>8}{len(clean):>6}"
