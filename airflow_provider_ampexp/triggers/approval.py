"""The wait for somebody's approval, in the triggerer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from airflow_provider_ampexp.triggers.rollout import AmplitudeSoakTrigger
from airflow_provider_ampexp.triggers.soak import SoakEvent, SoakWatch


class AmplitudeApprovalTrigger(AmplitudeSoakTrigger):
    """Watches a flag, and whether somebody answered.

    Airflow 3.3 resumes the task itself when the answer comes; before that, and when it came while the task was on a
    worker, this finds it. It only reads.

    :param ti_id: the id of the task instance that asked
    """

    def __init__(self, *, ti_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ti_id = ti_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again: plain JSON values."""
        _, arguments = super().serialize()
        arguments["ti_id"] = self.ti_id
        return ("airflow_provider_ampexp.triggers.approval.AmplitudeApprovalTrigger", arguments)

    async def poll(self, watch: SoakWatch) -> SoakEvent | None:
        """Look for the answer, then at the flag."""
        from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail
        from asgiref.sync import sync_to_async

        # Not `asyncio.to_thread`: Airflow's own way to its API wants the thread of its event loop.
        answer = await sync_to_async(get_hitl_detail_content_detail)(ti_id=UUID(self.ti_id))
        if answer.response_received and answer.chosen_options:
            user = answer.responded_by_user
            return {
                "status": "changed",
                "archived": False,
                "why": "somebody answered",
                "chosen_options": list(answer.chosen_options),
                "responded_by_user": {"id": user.id, "name": user.name} if user else None,
            }
        return await super().poll(watch)
