"""The wait for an approval, in the triggerer. Airflow loads the trigger by its class path; a rollout makes it."""

from __future__ import annotations

import asyncio
from uuid import UUID

from airflow_provider_ampexp.polling._shared_poller import Event
from airflow_provider_ampexp.polling._statuses import SoakStatus
from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger

__all__ = ["AmplitudeApprovalTrigger"]


class AmplitudeApprovalTrigger(AmplitudeSoakTrigger):
    """Poll a flag, and the answer to the task's request for approval. It only reads."""

    _looked = False

    async def until_over(self) -> Event:
        """Wait for the answer, or for an event that ends a soak."""
        answer = await self._answer()
        if answer is not None:
            return answer
        both = [asyncio.ensure_future(wait) for wait in (super().until_over(), self._until_answered())]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return next(wait for wait in both if wait in done).result()
        finally:
            for wait in both:
                wait.cancel()

    async def _until_answered(self) -> Event:
        while True:
            await asyncio.sleep(self.poll_interval)
            answer = await self._answer()
            if answer is not None:
                return answer

    async def _answer(self) -> Event | None:
        if self.ti_id is None or (self._looked and _airflow_resumes_the_task_itself()):
            return None
        from airflow.sdk.execution_time import hitl
        from asgiref.sync import sync_to_async

        try:
            # Not `asyncio.to_thread`: Airflow's API client needs the thread of its event loop.
            answer = await sync_to_async(hitl.get_hitl_detail_content_detail)(ti_id=UUID(self.ti_id))
        except Exception as error:
            # The poll of the flag continues. If Airflow resumes the task itself, the answer is not lost.
            self.log.warning("Reading the answer from Airflow failed: %s: %s", type(error).__name__, error)
            return None
        self._looked = True
        if not (answer.response_received and answer.chosen_options):
            return None
        user, at = answer.responded_by_user, answer.responded_at
        return {
            "status": SoakStatus.CHANGED.value,
            "archived": False,
            "why": "an approver answered",
            "chosen_options": list(answer.chosen_options),
            "responded_by_user": {"id": user.id, "name": user.name} if user else None,
            "responded_at": at.isoformat() if at else None,
        }


def _airflow_resumes_the_task_itself() -> bool:
    """Return true since Airflow 3.3. Airflow then misses only an answer that came while the task was on a worker."""
    from airflow.sdk import exceptions

    return hasattr(exceptions, "TaskAwaitingInput")
