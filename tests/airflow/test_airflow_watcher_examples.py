"""The examples that start when a flag changes: the events of their watchers, and the effects of their tasks."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import Asset
from test_airflow_flag_changed import Store, Watching, until

from airflow_provider_ampexp.emulator.control import Emulator

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def what_is_told(asset: Asset, *edits: Any) -> dict[Asset, list[Any]]:
    """Return the events of an asset's watcher after these edits."""
    (watcher,) = asset.watchers
    trigger: Any = watcher.trigger
    trigger.poll_interval = 0.05
    store = trigger.asset_state_store = Store()

    async def story() -> list[dict[str, Any]]:
        async with Watching(trigger) as watching:
            await until(lambda: store.kept)
            for edit in edits:
                edit()
            await until(lambda: watching.told[0])
            return watching.told[0]

    return {asset: [SimpleNamespace(extra={"payload": payload}) for payload in asyncio.run(story())]}


def test_experiment_decided(emulator: Emulator, run: Any) -> None:
    module = example("experiment_decided")
    inclusions = {"control": ["ann"], "treatment": ["bob"]}
    found = emulator.create_experiment("checkout-button", state="running", inclusions=inclusions)
    events = what_is_told(
        module.button,
        lambda: emulator.edit("experiments", found["id"], by="Ana", rolloutPercentage=50),
        lambda: emulator.edit("experiments", found["id"], by="Olga", decision="rollout"),
    )
    assert len(events[module.button]) == 1
    decision = module.dag.get_task("decision")
    text = decision.python_callable(events)
    assert text.startswith("Decided by Olga at 20")
    # Only a run that the scheduler created for an event has such an event.
    decision.python_callable = lambda: text
    ran = run(module.dag)
    assert ran.succeeded, ran.states
    now = emulator.experiment(found["id"])
    assert now["description"] == text
    assert [emulator.inclusions("experiments", found["id"], variant) for variant in inclusions] == [[], []]


def test_retrain_at_full_rollout(emulator: Emulator) -> None:
    module = example("retrain_at_full_rollout")
    found = emulator.create_flag("ranking-model-v2", enabled=True, rolloutPercentage=1)
    events = what_is_told(
        module.model,
        lambda: emulator.edit("flags", found["id"], rolloutPercentage=50),
        lambda: emulator.edit("flags", found["id"], by="Olga", rolloutPercentage=100),
    )
    said = module.dag.get_task("retrain").python_callable(events)
    assert said.startswith("Training on data since 20")
    assert said.endswith("when Olga gave ranking-model-v2 to everybody.")
