"""The trigger of a watcher, alone in an event loop: its events, its requests, and its behaviour with errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.polling import _flag_watch as flag_watch
from airflow_provider_ampexp.polling import _shared_poller as shared_poller
from airflow_provider_ampexp.triggers import flag_changed
from airflow_provider_ampexp.triggers.flag_changed import AmplitudeFlagChangedTrigger

PATIENCE = 15


class Store:
    """A replacement for the asset state store that the triggerer gives to a trigger."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.kept.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = value


def watch(store: Store | None = None, **arguments: Any) -> AmplitudeFlagChangedTrigger:
    trigger = AmplitudeFlagChangedTrigger(**{"poll_interval": 0.05, **arguments})
    trigger.asset_state_store = store or Store()  # type: ignore[assignment]
    return trigger


class Watching:
    """Run triggers, and record their events."""

    def __init__(self, *triggers: AmplitudeFlagChangedTrigger) -> None:
        self._triggers = triggers
        self.told: list[list[dict[str, Any]]] = [[] for _ in triggers]

    async def __aenter__(self) -> Watching:
        async def keep(place: int) -> None:
            async for event in self._triggers[place].run():
                self.told[place].append(event.payload)

        self._tasks = [asyncio.create_task(keep(place)) for place in range(len(self._triggers))]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in done), done


async def until(condition: Callable[[], object]) -> None:
    for _ in range(PATIENCE * 50):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


def rounds_since(emulator: Emulator, count: int) -> Callable[[], bool]:
    """Return a function that returns true after a number of polls from now on."""
    before = emulator.requests()["total"]
    return lambda: emulator.requests()["total"] >= before + count


def test_it_tells_who_changed_what_and_nothing_of_what_was_before(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", rolloutPercentage=1)
    emulator.edit("flags", flag["id"], rolloutPercentage=2)
    store = Store()
    trigger = watch(store, flag_key="search")

    async def story() -> list[dict[str, Any]]:
        async with Watching(trigger) as watching:
            await until(lambda: store.kept)
            emulator.edit("flags", flag["id"], by="Bob", description="nobody watches this")
            emulator.edit("flags", flag["id"], by="Bob", rolloutPercentage=25, enabled=True)
            emulator.edit("flags", flag["id"], by="Ana", archive=True)
            await until(lambda: len(watching.told[0]) == 2)
            await until(rounds_since(emulator, 3))
            return watching.told[0]

    first, second = asyncio.run(story())
    assert first == {
        "kind": "flags",
        "id": flag["id"],
        "key": "search",
        "project_id": "100001",
        "version": 4,
        "at": emulator.versions("flags", flag["id"])[1]["createdAt"],
        "by": "Bob",
        "changes": {
            "enabled": {"from": False, "to": True},
            "rolloutPercentage": {"from": 2, "to": 25},
        },
        "told": trigger.key,
    }
    assert (second["version"], second["changes"]) == (5, {"deleted": {"from": False, "to": True}})
    assert store.kept == {trigger.key: 2}  # only the listener advances it, with the event


def test_only_changes_to_a_value(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", rolloutPercentage=1)
    store = Store()

    async def story() -> list[dict[str, Any]]:
        async with Watching(watch(store, flag_id=flag["id"], to={"rolloutPercentage": 100})) as watching:
            await until(lambda: store.kept)
            for percentage in (50, 100, 50, 100):
                emulator.edit("flags", flag["id"], rolloutPercentage=percentage)
            await until(lambda: len(watching.told[0]) == 2)
            return watching.told[0]

    assert [event["version"] for event in asyncio.run(story())] == [3, 5]


def test_a_part_of_a_field(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", targetSegments=[{"name": "Beta", "percentage": 5}])
    (segment,) = flag["targetSegments"]
    store = Store()

    async def story() -> list[dict[str, Any]]:
        trigger = watch(store, flag_key="search", fields=["targetSegments[Beta].percentage"])
        async with Watching(trigger) as watching:
            await until(lambda: store.kept)
            emulator.edit("flags", flag["id"], rolloutPercentage=50)
            emulator.edit("flags", flag["id"], targetSegments=[{**segment, "percentage": 25}])
            await until(lambda: watching.told[0])
            return watching.told[0]

    (event,) = asyncio.run(story())
    assert event["changes"] == {"targetSegments[Beta].percentage": {"from": 5, "to": 25}}


def test_it_goes_on_where_it_was_told(emulator: Emulator) -> None:
    """A change while no triggerer runs becomes an event when a triggerer runs again."""
    flag = emulator.create_flag("search", rolloutPercentage=1)
    for percentage in (2, 3, 4):
        emulator.edit("flags", flag["id"], rolloutPercentage=percentage)
    store = Store()
    trigger = watch(store, flag_key="search")
    store.kept[trigger.key] = 2

    async def story() -> list[dict[str, Any]]:
        async with Watching(trigger) as watching:
            await until(lambda: len(watching.told[0]) >= 2)
            # Another triggerer, believed to be dead, sends the next event before this one polls.
            store.kept[trigger.key] = 5
            emulator.edit("flags", flag["id"], rolloutPercentage=5)
            await until(rounds_since(emulator, 4))
            emulator.edit("flags", flag["id"], rolloutPercentage=6)
            await until(lambda: len(watching.told[0]) >= 3)
            return watching.told[0]

    assert [event["version"] for event in asyncio.run(story())] == [3, 4, 6]


def test_without_the_plugin_it_keeps_itself_what_it_told(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds also if the changes never stop."""
    monkeypatch.setattr(flag_changed, "_COMMIT_GRACE", 0.4)
    flag = emulator.create_flag("search", rolloutPercentage=1)
    store = Store()
    trigger = watch(store, flag_key="search")

    async def story() -> None:
        async with Watching(trigger):
            await until(lambda: store.kept)
            for percentage in range(2, 99):
                emulator.edit("flags", flag["id"], rolloutPercentage=percentage)
                await asyncio.sleep(0.1)
                if store.kept[trigger.key] > 1:
                    break
            assert 1 < store.kept[trigger.key] < percentage  # not yet the newest
            await until(lambda: store.kept[trigger.key] == percentage)

    asyncio.run(story())


def test_all_watchers_of_a_connection_share_one_poll(emulator: Emulator) -> None:
    flags = [emulator.create_flag(f"flag_{place}") for place in range(5)]
    triggers = [watch(Store(), flag_key=f"flag_{place}") for place in range(5)]

    async def story() -> list[int]:
        async with Watching(*triggers) as watching:
            await until(lambda: all(trigger.asset_state_store.kept for trigger in triggers))  # type: ignore[union-attr]
            await until(rounds_since(emulator, 3))
            emulator.clear_requests()
            await until(rounds_since(emulator, 10))
            quiet = emulator.requests()["by_route"]
            assert set(quiet) == {"GET /api/1/flags"}
            emulator.edit("flags", flags[3]["id"], enabled=True)
            await until(lambda: watching.told[3])
            await until(rounds_since(emulator, 3))
            return [len(told) for told in watching.told]

    assert asyncio.run(story()) == [0, 0, 0, 1, 0]
    assert emulator.requests()["by_route"]["GET /api/1/flags/{id}/versions"] <= 2
    assert {entry["method"] for entry in emulator.request_log()} == {"GET"}


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_it_never_ends_by_itself(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Airflow would restart the trigger again and again. It logs the error, and sends the change afterwards."""
    monkeypatch.setattr(flag_watch, "_PAUSE_AFTER_REFUSAL", 0.05)
    monkeypatch.setattr(shared_poller, "_LONGEST_BACKOFF", 0.05)
    flag = emulator.create_flag("search", rolloutPercentage=1)
    store = Store()

    async def story() -> list[dict[str, Any]]:
        async with Watching(watch(store, flag_key="search")) as watching:
            await until(lambda: store.kept)
            emulator.fault("status", status=status, times=4)
            emulator.edit("flags", flag["id"], rolloutPercentage=2)
            await until(lambda: watching.told[0])
            return watching.told[0]

    (event,) = asyncio.run(story())
    assert event["version"] == 2


def test_a_flag_that_is_not_there_yet(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()

    async def story() -> list[dict[str, Any]]:
        async with Watching(watch(store, flag_key="search")) as watching:
            await until(rounds_since(emulator, 3))
            flag = emulator.create_flag("search")
            await until(lambda: store.kept)
            emulator.edit("flags", flag["id"], enabled=True)
            await until(lambda: watching.told[0])
            return watching.told[0]

    assert len(asyncio.run(story())) == 1


def test_a_key_of_two_projects_is_looked_up_in_the_one_that_is_meant(emulator: Emulator) -> None:
    for project in ("100001", "100002"):
        emulator.create_flag("search", projectId=project)
    stores = [Store(), Store()]
    triggers = [watch(stores[0], flag_key="search"), watch(stores[1], flag_key="search", project_id="100002")]
    second = next(stored["id"] for stored in emulator.dump()["flags"] if stored["projectId"] == "100002")

    async def story() -> list[int]:
        async with Watching(*triggers) as watching:
            await until(lambda: all(store.kept for store in stores))
            emulator.edit("flags", second, enabled=True)
            await until(lambda: watching.told[1])
            return [len(told) for told in watching.told]

    assert asyncio.run(story()) == [0, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"flag_key": "search"},
        {"experiment_id": "7", "project_id": "1", "to": {"state": "decision-made"}, "poll_interval": 5.0},
        {"flag_id": "7", "fields": ["tags"], "amplitude_conn_id": "other"},
    ],
)
def test_its_arguments_are_plain_and_make_it_again(emulator: Emulator, arguments: dict[str, Any]) -> None:
    one = AmplitudeFlagChangedTrigger(**arguments)
    path, plain = one.serialize()
    assert path == f"{AmplitudeFlagChangedTrigger.__module__}.{AmplitudeFlagChangedTrigger.__name__}"
    assert json.loads(json.dumps(plain)) == plain
    again = AmplitudeFlagChangedTrigger(**plain)
    assert (again.serialize(), again.key) == ((path, plain), one.key)
    assert emulator.api_key not in repr(one) + json.dumps(plain)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "flag_key"),
        ({"flag_key": "a", "experiment_key": "b"}, "flag_key"),
        ({"flag_key": "a", "fields": "enabled"}, "fields"),
        ({"flag_key": "a", "fields": []}, "fields"),
        ({"flag_key": "a", "fields": ["enabled"], "to": {"enabled": True}}, "fields"),
        ({"flag_key": "a", "project_id": ""}, "^project_id: expected a non-empty string, got ''"),
        ({"flag_key": "a", "to": {}}, "^to: expected at least one field with its value, got none"),
        ({"flag_key": "a", "to": "{}"}, "^to: expected at least one field with its value, got none"),
        ({"flag_key": "a", "to": ""}, "^to: expected fields with their values, got ''"),
        ({"flag_key": "a", "to": "[]"}, r"^to: expected fields with their values, got '\[\]'"),
        ({"flag_key": "a", "poll_interval": 0}, "poll_interval"),
    ],
)
def test_wrong_arguments_are_refused_while_the_dag_is_parsed(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        AmplitudeFlagChangedTrigger(**arguments)


def test_an_edited_connection_counts_soon(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old key may still work, so that no refusal shows the edit."""
    monkeypatch.setattr(flag_watch, "REJOIN_AFTER", 0.2)
    name = "AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT"
    connection = json.loads(emulator.connection_json)
    ids = {project: emulator.create_flag("search", projectId=project)["id"] for project in ("100001", "100002")}

    async def story() -> None:
        polls = flag_watch.watch_flag("amplitude_experiment_default", FlagRef("flags", key="search"), 0.05)
        for project_id in ("100001", "100002"):
            connection["extra"]["project_id"] = project_id
            monkeypatch.setenv(name, json.dumps(connection))
            for _ in range(500):
                if (await anext(polls))["id"] == ids[project_id]:
                    break
            else:
                raise AssertionError(f"the flag of project {project_id} was never shown")
        await polls.aclose()  # type: ignore[attr-defined]

    asyncio.run(story())
