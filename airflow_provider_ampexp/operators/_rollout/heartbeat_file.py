"""The heartbeat of a rollout as a file on an object store, for the watchdog.

All tasks of a group write the same file: the newest heartbeat replaces the one before.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._atomic_file import atomic_write
from airflow_provider_ampexp.operators._rollout.record_file import file_name
from airflow_provider_ampexp.rollout._actions import Complete, SetStage, Wait
from airflow_provider_ampexp.rollout._heartbeat import Heartbeat, RolloutSubject, heartbeat, last_heartbeat

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp._limited_call import LimitedCall
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutPlan
    from airflow_provider_ampexp.rollout._actions import Action
    from airflow_provider_ampexp.rollout._state import RolloutState
    from airflow_provider_ampexp.rollout._vocabulary import HeartbeatEnd

LIMIT = 5.0
"""The time limit in seconds of a write before a raise, before a wait and at the end of a task."""

_log = logging.getLogger(__name__)


class HeartbeatFile:
    """The file of one flag. Nothing here raises.

    A raise waits for the write, so that the watchdog knows the stage before a user gets it. A rollback does not wait.
    """

    def __init__(self, path: str, subject: RolloutSubject) -> None:
        self.path = path
        self._subject = subject
        self._lock = threading.Lock()
        self._next: Heartbeat | None = None
        self._is_writing = False
        self._is_stored = False
        self._call: LimitedCall[None] | None = None

    @classmethod
    def of(cls, context: Context, heartbeat_path: object, plan: RolloutPlan, flag: ManagedFlag) -> HeartbeatFile | None:
        """Return the file of this rollout; ``None`` without a valid folder, and outside of a task."""
        ti = context.get("ti")
        if ti is None or heartbeat_path is None:
            return None
        try:
            folder = arguments.folder("heartbeat_path", heartbeat_path)
        except InvalidInputError as error:
            _log.warning("Writing the heartbeat failed: %s. The watchdog does not watch this rollout.", error)
            return None
        subject = RolloutSubject(
            task=f"DAG {ti.dag_id!r}, run {ti.run_id!r}, task {ti.task_id!r}",
            base_url=flag.client.base_url,
            kind=flag.target.kind,
            object_id=flag.id,
            key=flag.config.get("key"),
            project_id=flag.config.get("projectId"),
            segment=flag.segment,
            catch_all=flag.catch_all,
            hold_tag=plan.hold_tag,
        )
        return cls(f"{folder.rstrip('/')}/{file_name(ti.dag_id)}/{subject.file_name}", subject)

    @property
    def is_stored(self) -> bool:
        """Whether the newest heartbeat was written."""
        return self._is_stored and not self._is_writing

    def before(self, action: Action, plan: RolloutPlan, flag: ManagedFlag, state: RolloutState) -> None:
        """Write the heartbeat before an action."""
        self._begin(heartbeat(self._subject, plan, flag.seen, state, action, flag.now))
        if isinstance(action, SetStage | Wait | Complete):
            self._finish()

    def end(self, flag: ManagedFlag, ended: HeartbeatEnd) -> None:
        """Write the last heartbeat.

        :param ended: how the rollout ended
        """
        self._begin(last_heartbeat(self._subject, flag.seen, ended, flag.now))
        self._finish()

    def _begin(self, beat: Heartbeat) -> None:
        """Begin to write, without waiting. During an earlier write, the newest heartbeat waits for its end."""
        with self._lock:
            self._next, self._is_stored = beat, False
            if self._is_writing:
                return
            self._is_writing = True
        self._call = limited_call.begin(self._write, "write the heartbeat of the rollout")

    def _finish(self) -> None:
        """Wait at most 5 seconds for the write."""
        if self._call is None:
            return
        try:
            self._call.result(LIMIT)
        except Exception as error:
            _log.warning(
                "Writing the heartbeat to %s failed: %s: %s. The rollout continues, and writes it again in 5 minutes. "
                "Without heartbeats the watchdog lowers the flag: correct the store, or delete the file.",
                self.path,
                type(error).__name__,
                error,
            )

    def _write(self) -> None:
        """Write the newest heartbeat, until no newer one came."""
        try:
            while (beat := self._taken()) is not None:
                with atomic_write(self.path) as file:
                    file.write(beat.as_json().encode())
                with self._lock:
                    self._is_stored = self._next is None
        except BaseException:
            with self._lock:
                self._is_writing = False
            raise

    def _taken(self) -> Heartbeat | None:
        """Take the newest heartbeat; ``None`` ends the write."""
        with self._lock:
            beat, self._next = self._next, None
            self._is_writing = beat is not None
            return beat
