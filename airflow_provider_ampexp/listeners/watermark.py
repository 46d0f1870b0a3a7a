"""The plugin that stores a watcher's watermark together with the event.

Airflow loads this module by its entry point; do not import it.
Airflow calls the listener in the process and the transaction in which it stores an event of a trigger. The watermark is
written in the same session, so both are stored or neither is. The listener ignores other events.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from airflow.listeners.types import AssetEvent
    from sqlalchemy.orm import Session

__all__ = ["AmplitudeWatcherPlugin", "on_asset_event_emitted"]

TOLD = "told"
"""The field of an event's payload with the key of the watermark."""


@hookimpl
def on_asset_event_emitted(asset_event: AssetEvent) -> None:
    """Store the version of an event of this provider as the watermark."""
    extra: Any = asset_event.extra or {}
    payload = extra.get("payload")
    if not extra.get("from_trigger") or not isinstance(payload, dict) or TOLD not in payload:
        return
    from airflow import settings

    # This thread's session, in which the event was written and is not committed yet. `create_session` would commit it.
    scoped: Any = settings.Session
    session: Session = scoped()
    if session.in_transaction():
        _keep(session, asset_event, str(payload[TOLD]), int(payload["version"]))


def _keep(session: Session, asset_event: AssetEvent, key: str, version: int) -> None:
    try:
        from airflow._shared.state import AssetScope, AssetStateStoreWriterKind
        from airflow.state import get_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:  # Airflow 3.2
        from airflow.models.variable import Variable

        Variable.set(key, str(version), session=session)
        return
    from airflow.models.asset import AssetModel
    from sqlalchemy import select

    backend = get_state_backend()
    if isinstance(backend, MetastoreBackend):  # another backend is not part of the transaction
        asset = asset_event.asset
        found = select(AssetModel.id).where(AssetModel.name == asset.name, AssetModel.uri == asset.uri)
        scope = AssetScope(asset_id=session.scalar(found))
        kind = AssetStateStoreWriterKind.WATCHER
        backend.set_asset_state_store(scope, key, json.dumps(version), kind=kind, session=session)


class AmplitudeWatcherPlugin(AirflowPlugin):
    """The plugin of the entry point ``airflow.plugins``, loaded in each process of Airflow."""

    name = "amplitude_experiment_watcher"
    listeners = [sys.modules[__name__]]  # noqa: RUF012
