"""Run the examples of the first rollout and of the pages about operators, unchanged, and check their effects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_ampexp.emulator.control import Emulator

DOCS = Path(__file__).parents[2] / "docs"
BETA = [{"type": "property", "prop": "gp:beta", "op": "is", "values": ["true"]}]
PAGES = {page.stem: page for page in [*(DOCS / "operators").glob("*.md"), DOCS / "first-rollout.md"]}


def example(page: str) -> DAG:
    """Return the DAG that the page shows."""
    [source] = re.findall(r"^```python\n(.*?)^```$", PAGES[page].read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(source, f"{page}.md", "exec"), names)
    return next(value.dag for value in names.values() if isinstance(value, BaseOperator))


def flag(emulator: Emulator, key: str) -> dict[str, Any]:
    return next(stored for stored in emulator.dump()["flags"] if stored["key"] == key)


def test_lifecycle(emulator: Emulator, run: Any) -> None:
    ran = run(example("lifecycle"))
    assert ran.succeeded
    ended = flag(emulator, "new-search")
    assert (ended["enabled"], ended["deleted"], ended["name"]) == (False, True, "New search")
    assert ended["tags"] == ["search"]
    returned = json.loads(re.findall(r"```json\n(.*?)```", PAGES["lifecycle"].read_text(), re.DOTALL)[0])
    returned["url"] = returned["url"].replace("http://experiment.amplitude.com", emulator.base_url)
    assert ran.xcom("enable") == returned


def test_rollout(emulator: Emulator, run: Any) -> None:
    assert run(example("rollout"), {"soak": "1s"}).succeeded
    ended = flag(emulator, "new-search")
    percentages = [version["flagConfig"]["rolloutPercentage"] for version in emulator.versions("flags", ended["id"])]
    assert list(dict.fromkeys(reversed(percentages))) == [0, 1, 5, 25, 100]
    assert ended["rolloutWeights"] == {"blue": 1, "green": 3}
    assert [(segment["name"], segment["percentage"]) for segment in ended["targetSegments"]] == [("Beta", 50)]


def test_inclusions(emulator: Emulator, run: Any) -> None:
    assert run(example("inclusions")).succeeded
    assert sorted(flag(emulator, "new-search")["inclusions"]["on"]) == ["ana@example.com", "eve@example.com"]


def test_decision(emulator: Emulator, run: Any) -> None:
    beta = {"name": "Beta", "conditions": BETA, "percentage": 50, "rolloutWeights": {"control": 1, "treatment": 1}}
    emulator.create_experiment("checkout-button", enabled=True, rolloutPercentage=20, targetSegments=[beta])
    emulator.create_experiment("search-box", enabled=True, rolloutPercentage=20)
    assert run(example("decision")).succeeded
    button, box = (stored for stored in emulator.dump()["experiments"])
    assert (button["rolloutPercentage"], button["rolloutWeights"]) == (100, {"control": 0, "treatment": 1})
    segment = button["targetSegments"][0]
    assert (segment["percentage"], segment["rolloutWeights"]) == (100, {"control": 0, "treatment": 1})
    assert (box["enabled"], box["rolloutPercentage"], box["decisionReason"]) == (False, 0, "It did not help.")


def test_version(emulator: Emulator, run: Any) -> None:
    assert run(example("version")).succeeded
    restored = flag(emulator, "new-search")
    assert (restored["description"], restored["rolloutPercentage"]) == ("The first words.", 0)


def test_dependencies(emulator: Emulator, run: Any) -> None:
    assert run(example("dependencies")).succeeded
    api, web = flag(emulator, "checkout-api"), flag(emulator, "checkout-web")
    assert web["parentDependencies"] == {"flags": {api["id"]: ["on"]}, "operator": "all"}


def test_stale(emulator: Emulator, run: Any) -> None:
    emulator.create_flag("old-search", enabled=False)
    emulator.advance(61 * 86_400)
    ran = run(example("stale"))
    assert ran.succeeded
    assert [row["key"] for row in ran.xcom("stale")] == ["old-search"]
    assert flag(emulator, "old-search")["deleted"] is True


def test_groups(emulator: Emulator, run: Any) -> None:
    emulator.settings(extra_endpoints=True)
    ran = run(example("groups"))
    assert ran.succeeded
    (mutex,), (holdout,) = emulator.dump()["mutexes"], emulator.dump()["holdouts"]
    assert ran.xcom("into_slot")["after"] == [1]
    assert mutex["slots"][0]["experiments"] == [ran.xcom("create")["id"]]
    assert mutex["slots"][0]["individuals"] == ["qa@example.com"]
    assert (ran.xcom("into_holdout")["after"], holdout["experiments"]) == (True, [])


def test_variants(emulator: Emulator, run: Any) -> None:
    assert run(example("variants")).succeeded
    variants = {variant["key"]: variant["payload"] for variant in flag(emulator, "banner")["variants"]}
    assert variants == {"red": {"color": "#7a0016"}}


def test_deployments(emulator: Emulator, run: Any) -> None:
    assert run(example("deployments")).succeeded
    labels = {stored["id"]: stored["label"] for stored in emulator.dump()["deployments"]}
    assert {"old-shop-web", "shop-server"} <= set(labels.values())
    assert [labels[deployment] for deployment in flag(emulator, "new-search")["deployments"]] == ["shop-server"]


def test_inventory(emulator: Emulator, run: Any, tmp_path: Path) -> None:
    emulator.create_flag("new-search", enabled=True, rolloutPercentage=100, inclusions={"on": ["ana"]})
    emulator.create_flag("half", enabled=True, rolloutPercentage=50)
    dag = example("inventory")
    dag.get_task("saved").path = f"file://{tmp_path}/flags.jsonl"
    ran = run(dag)
    assert ran.succeeded
    included = {"inclusions": {"on": ["ana"]}}
    assert ran.xcom("one") == {"key": "new-search", "enabled": True, "rolloutPercentage": 100, "included": included}
    assert ran.xcom("finished") == ["new-search"]
    assert len((tmp_path / "flags.jsonl").read_text().splitlines()) == 2


def test_drill(emulator: Emulator, run: Any) -> None:
    ran = run(example("drill"))
    assert ran.succeeded
    returned = json.loads(re.findall(r"```json\n(.*?)```", PAGES["drill"].read_text(), re.DOTALL)[0])
    assert ran.xcom("drill").keys() == returned.keys()
    assert ran.xcom("drill")["rolled_back"]["requests"] == returned["rolled_back"]["requests"]


def test_sensors(emulator: Emulator, run: Any) -> None:
    beta = {"name": "Beta", "percentage": 50}
    emulator.create_flag("backend", enabled=True, rolloutPercentage=100, targetSegments=[beta])
    emulator.create_flag("old-backend", enabled=False)
    emulator.create_experiment("button", state="decision-made", decision="rollout")
    ran = run(example("sensors"))
    assert ran.succeeded
    told = [set(re.findall(r'"(\w+)"', match)) for match in re.findall(r"`(\{.*?\})`", PAGES["sensors"].read_text())]
    assert [set(ran.xcom(task)) for task in ("backend_at_100", "old_one_is_off", "decided")] == told


def test_first_rollout(emulator: Emulator, run: Any) -> None:
    dag = example("first-rollout")
    dag.get_task("ramp").soak = "1s"
    assert run(dag).succeeded
    assert flag(emulator, "new-search")["rolloutPercentage"] == 100


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_a_test(page: str) -> None:
    test: Callable[..., None] | None = globals().get(f"test_{page.replace('-', '_')}")
    assert test is not None
