"""What a watcher has told already: the number of the newest version, kept by Airflow over a restart.

An event and its being told have to be one thing: written one after the other, a triggerer that is killed in between
either tells a change twice or never. So the number is written by a listener (:mod:`.told_listener`), in the
transaction in which Airflow stores the event itself. Here it is read, and written where there is no event: at the
first look, and where the listener is not loaded.
"""

from __future__ import annotations

from typing import Any

from airflow.triggers.base import BaseEventTrigger


async def load_watermark(trigger: BaseEventTrigger, key: str) -> int | None:
    """The newest version that was told under this key; ``None`` when nothing ever was."""
    store = getattr(trigger, "asset_state_store", None)
    if store is not None:
        found = [_number(await place.aget(key)) for place in _places(store)]
        return max((one for one in found if one is not None), default=None)
    if _has_asset_state_store():
        return None  # run outside of a triggerer
    from airflow.sdk import Variable
    from asgiref.sync import sync_to_async

    return _number(await sync_to_async(Variable.get)(key, default=None))


async def save_watermark(trigger: BaseEventTrigger, key: str, version: int) -> None:
    """Keep that everything up to this version was told."""
    store = getattr(trigger, "asset_state_store", None)
    if store is not None:
        for place in _places(store):
            await place.aset(key, version)
    elif not _has_asset_state_store():
        from airflow.sdk import Variable
        from asgiref.sync import sync_to_async

        await sync_to_async(Variable.set)(key, str(version), description="What an AmplitudeFlagChangedTrigger has told")


def _places(store: Any) -> list[Any]:
    """One for each asset. Airflow makes one trigger of equal ones, and its store then refuses to choose."""
    return [*getattr(store, "_by_name", {}).values(), *getattr(store, "_by_uri", {}).values()] or [store]


def _has_asset_state_store() -> bool:
    """Since Airflow 3.3; before it, a variable is the only thing that a trigger can keep."""
    import importlib.util

    return importlib.util.find_spec("airflow.triggers.shared_stream") is not None


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
