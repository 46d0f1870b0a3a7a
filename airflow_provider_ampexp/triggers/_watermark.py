"""The watermark of a watcher: the number of the last reported version, which Airflow stores.

The event and the watermark must be stored together. Otherwise a kill between both writes reports a change twice or
never. So a listener (:mod:`airflow_provider_ampexp.listeners.watermark`) writes the watermark in the transaction of the
event. This module reads the watermark. It writes the watermark only without an event: at the first poll, and if the
listener is not loaded.
"""

from __future__ import annotations

from typing import Any

from airflow.triggers.base import BaseEventTrigger


async def load_watermark(trigger: BaseEventTrigger, key: str) -> int | None:
    """Return the last reported version of this key; ``None`` before the first report."""
    store = getattr(trigger, "asset_state_store", None)
    if store is not None:
        found = [_number(await place.aget(key)) for place in _places(store)]
        return max((moment for moment in found if moment is not None), default=None)
    if _has_asset_state_store():
        return None  # not in a triggerer
    from airflow.sdk import Variable
    from asgiref.sync import sync_to_async

    return _number(await sync_to_async(Variable.get)(key, default=None))


async def save_watermark(trigger: BaseEventTrigger, key: str, version: int) -> None:
    """Store this version as the last reported one."""
    store = getattr(trigger, "asset_state_store", None)
    if store is not None:
        for place in _places(store):
            await place.aset(key, version)
    elif not _has_asset_state_store():
        from airflow.sdk import Variable
        from asgiref.sync import sync_to_async

        await sync_to_async(Variable.set)(key, str(version), description="Watermark of an AmplitudeFlagChangedTrigger")


def _places(store: Any) -> list[Any]:
    """Return the store of each asset. Airflow makes one trigger of equal ones, so a trigger can have several assets."""
    return [*getattr(store, "_by_name", {}).values(), *getattr(store, "_by_uri", {}).values()] or [store]


def _has_asset_state_store() -> bool:
    """Return true since Airflow 3.3. Before that, a trigger can only use a variable."""
    import importlib.util

    return importlib.util.find_spec("airflow.triggers.shared_stream") is not None


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
