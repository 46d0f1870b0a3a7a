"""Whether each rollout ended as it must, and whether the invariants held at every moment before."""

from __future__ import annotations

from airflow_provider_ampexp.emulator.control import Emulator
from tools.chaos.controller import Controller, Rollout


def judge(controller: Controller, emulator: Emulator) -> list[str]:
    """What was violated, by which rollout; empty when all is well."""
    return [f"{one}: {found}" for one in controller.rollouts for found in _ending(one, emulator)]


def _ending(one: Rollout, emulator: Emulator) -> list[str]:
    flag = emulator.flag(one.flag_id)
    percentage = flag["rolloutPercentage"]
    if one.kind.segment:
        percentage = flag["targetSegments"][0]["percentage"]
    stands = (percentage, flag["enabled"])
    wanted = "success" if one.kind.ends == "complete" else "failed"
    if one.ended != wanted:
        return [f"the run has ended as {one.ended}, and was to end as {wanted}; the flag stands at {stands}"]
    if one.kind.final is not None and stands != one.kind.final:
        return [f"the flag stands at {stands}, and was to stand at {one.kind.final}"]
    return []
