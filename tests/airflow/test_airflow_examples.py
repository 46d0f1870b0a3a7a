"""Each example parses without any set-up, and does what its text says."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.bucketing import Audience
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer
from airflow_provider_ampexp.rollout import RolloutPlan

EXAMPLES = Path(__file__).parents[2] / "example_dags"

PARSE = """
import json, os, sys, warnings
warnings.simplefilter("ignore")  # Airflow's own, while it loads
from airflow.dag_processing.dagbag import DagBag
before = set(sys.modules)
warnings.simplefilter("always")
bag = DagBag(sys.argv[1])
print(json.dumps({
    "files": sorted({os.path.basename(dag.fileloc) for dag in bag.dags.values()}),
    "errors": bag.import_errors,
    "warnings": bag.captured_warnings,
    "loaded": sorted(set(sys.modules) - before),
}))
"""


@pytest.fixture(scope="module")
def parsed() -> dict[str, Any]:
    """Parse the folder in a separate process without connections, and return the result."""
    done = subprocess.run([sys.executable, "-c", PARSE, str(EXAMPLES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def two_regions(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Emulator, Emulator]]:
    """Run the emulators of the US and the EU, and define the connections to them."""
    with EmulatorServer() as server:
        europe = Emulator(server.base_url)
        monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_US", emulator.connection_json)
        monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_EU", europe.connection_json)
        yield emulator, europe


def example(name: str) -> DAG:
    """Return a new DAG of an example, because a test may change it."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dag: DAG = module.dag
    return dag


def stands(emulator: Emulator, key: str) -> tuple[bool, int]:
    """Return whether a flag is enabled, and its percentage."""
    flag = one(emulator, "flags", key)
    return flag["enabled"], flag["rolloutPercentage"]


def one(emulator: Emulator, kind: str, key: str) -> dict[str, Any]:
    found = [stored for stored in emulator.dump()[kind] if stored["key"] == key]
    assert len(found) == 1
    return found[0]


def exposures(emulator: Emulator, key: str) -> list[int]:
    """Return the percentages that users got, in order."""
    told: list[int] = []
    for version in reversed(emulator.versions("flags", one(emulator, "flags", key)["id"])):
        config = version["flagConfig"]
        now = config["rolloutPercentage"] if config["enabled"] else 0
        if not told or told[-1] != now:
            told.append(now)
    return told


def test_each_file_parses_without_a_connection(parsed: dict[str, Any]) -> None:
    assert parsed["files"] == sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert parsed["errors"] == {}


def test_parsing_warns_of_nothing(parsed: dict[str, Any]) -> None:
    assert parsed["warnings"] == {}


def test_parsing_loads_nothing_heavy(parsed: dict[str, Any]) -> None:
    assert "airflow_provider_ampexp.operators._rollout.ramp" in parsed["loaded"]
    # An `AssetWatcher` needs `airflow.triggers.base`. Another test checks that no operator loads it.
    heavy = {"requests", "airflow_provider_ampexp.client._client", "sqlite3", "pyarrow"}
    assert heavy & set(parsed["loaded"]) == set()


def test_staged_rollout(emulator: Emulator, run: Any) -> None:
    ran = run(example("staged_rollout"), {"flag_key": "search", "soak": "1s", "qa_users": ["ann", "bob"]})
    assert ran.succeeded
    assert stands(emulator, "search") == (True, 100)
    assert exposures(emulator, "search") == [0, 1, 5, 25, 100]
    assert one(emulator, "flags", "search")["inclusions"] == {"on": ["ann", "bob"]}


class Decision:
    """A person who decides an experiment as soon as a task waits for the decision."""

    def __init__(self, emulator: Emulator, key: str, **fields: Any) -> None:
        self._emulator, self._key, self._fields = emulator, key, fields
        self._thread = threading.Thread(target=self._decide, daemon=True)
        self.waited_for = False

    def __enter__(self) -> Decision:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(timeout=10)

    def _decide(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not self.waited_for:
            running = [stored for stored in self._emulator.dump()["experiments"] if stored["state"] == "running"]
            log = [entry["method"] for entry in self._emulator.request_log()]
            # three polls without a write between them: the trigger waits
            self.waited_for = bool(running) and len(log) > 5 and log[-5:] == ["GET"] * 5
            time.sleep(0.02)
        for stored in self._emulator.dump()["experiments"]:
            self._emulator.edit("experiments", stored["id"], **self._fields)


@pytest.mark.parametrize(
    ("fields", "ends_at", "weights", "skipped"),
    [
        (
            {"decision": "rollout", "rolledOutVariant": "treatment"},
            (True, 100),
            {"control": 0, "treatment": 1},
            {"roll_back"},
        ),
        ({"decision": "rollback"}, (False, 0), {"control": 1, "treatment": 1}, {"roll_out"}),
    ],
    ids=["rolled out", "rolled back"],
)
def test_experiment_lifecycle(
    emulator: Emulator,
    run: Any,
    fields: dict[str, Any],
    ends_at: tuple[bool, int],
    weights: dict[str, int],
    skipped: set[str],
) -> None:
    dag = example("experiment_lifecycle")
    dag.get_task("decided").poke_interval = 0.1
    with Decision(emulator, "button", **fields) as decision:
        ran = run(dag, {"experiment_key": "button"})
    assert decision.waited_for
    assert ran.succeeded
    ended = one(emulator, "experiments", "button")
    assert (ended["state"], (ended["enabled"], ended["rolloutPercentage"])) == ("decision-made", ends_at)
    assert ended["rolloutWeights"] == weights
    assert len(ended["deployments"]) == 2
    assert {task_id for task_id, state in ran.states.items() if state == "skipped"} == skipped


def test_early_access(emulator: Emulator, run: Any) -> None:
    emulator.settings(extra_endpoints=True)
    ran = run(example("early_access"), {"flag_key": "search", "cohort": "c1", "stages": [50, 100], "soak": "0s"})
    assert ran.succeeded
    assert ran.xcom("include")["after"] == ["c1"]
    assert exposures(emulator, "search") == [0, 50, 100]
    assert one(emulator, "flags", "search")["cohorts"] == {"on": []}


def test_grouped_experiments(emulator: Emulator, run: Any) -> None:
    emulator.settings(extra_endpoints=True)
    ran = run(example("grouped_experiments"), {"stages": [50, 100], "soak": "0s"})
    assert ran.succeeded
    ids = [one(emulator, "experiments", key)["id"] for key in ("checkout-button", "checkout-address")]
    assert [slot["experiments"] for slot in one(emulator, "mutexes", "checkout-tests")["slots"]] == [[id] for id in ids]
    assert sorted(one(emulator, "holdouts", "no-checkout-tests")["experiments"]) == sorted(ids)
    assert [emulator.experiment(id)["rolloutPercentage"] for id in ids] == [100, 100]


def test_stale_flags(emulator: Emulator, run: Any) -> None:
    old = emulator.create_flag("old", enabled=False)
    emulator.create_flag("parent", enabled=False)
    parent = one(emulator, "flags", "parent")["id"]
    emulator.create_flag("child", enabled=True, rolloutPercentage=5, deployments=["1"])
    child = one(emulator, "flags", "child")["id"]
    emulator.edit("flags", child, parentDependencies={"flags": {parent: ["on"]}, "operator": "all"})
    emulator.advance(61 * 86_400)
    ran = run(example("stale_flags"), {"archive": ["old", "parent", "child"]})
    assert [row["key"] for row in ran.xcom("stale")] == ["parent", "old"]
    assert (ran.states["archive[0]"], ran.states["archive[1]"]) == ("failed", "success")
    assert emulator.flag(old["id"])["deleted"] is True
    assert emulator.flag(parent)["deleted"] is False


def test_restore_version(emulator: Emulator, run: Any) -> None:
    flag = emulator.create_flag("search", enabled=True, rolloutPercentage=5)
    emulator.edit("flags", flag["id"], rolloutPercentage=80)
    assert not run(example("restore_version"), {"flag_key": "search", "version": 1}).succeeded
    assert stands(emulator, "search") == (True, 80)
    assert run(example("restore_version"), {"flag_key": "search", "version": 1, "overwrite": ["Maria"]}).succeeded
    assert stands(emulator, "search") == (True, 5)


def test_inclusions_sync(emulator: Emulator, run: Any) -> None:
    emulator.create_flag("new-checkout", inclusions={"on": ["qa@example.com", "gone@example.com"]})
    assert run(example("inclusions_sync")).succeeded
    included = one(emulator, "flags", "new-checkout")["inclusions"]["on"]
    assert sorted(included) == ["ana@example.com", "bob@example.com", "qa@example.com"]


def test_inclusions_sync_refuses_an_empty_list(emulator: Emulator, run: Any, tmp_path: Path) -> None:
    (tmp_path / "testers.txt").write_text("# nobody\n\n")
    emulator.create_flag("new-checkout", inclusions={"on": ["ann"]})
    ran = run(example("inclusions_sync"), {"testers": f"file://{tmp_path}/testers.txt"})
    assert ran.states == {"testers": "failed", "sync": "upstream_failed"}
    assert one(emulator, "flags", "new-checkout")["inclusions"] == {"on": ["ann"]}


@pytest.mark.parametrize(("tier", "percentage"), [("free", 50), ("enterprise", 0)])
def test_preview_rollout(
    emulator: Emulator, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str, percentage: int
) -> None:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table users (amplitude_id text, user_id text, tier text, revenue real)")
        rows = [(str(number), f"user-{number}", tier, 1.0) for number in range(100)]
        rows.append(("100", "has-it", "enterprise", 1.0))
        database.executemany("insert into users values (?, ?, ?, ?)", rows)
    database.close()
    emulator.create_flag(
        "new-checkout",
        enabled=True,
        bucketingKey="amplitude_id",
        rolloutWeights={"on": 1},
        inclusions={"on": ["has-it"]},
    )
    ran = run(example("preview_rollout"))
    assert ran.succeeded is (tier == "free")
    assert stands(emulator, "new-checkout") == (True, percentage)


@pytest.mark.parametrize(("tier", "reached"), [("free", [0, 1, 25, 50, 100]), ("enterprise", [0])])
def test_approved_rollout(
    emulator: Emulator, run: Any, users: list[dict[str, Any]], people: Any, tier: str, reached: list[int]
) -> None:
    emulator.create_flag(
        "new-checkout",
        enabled=True,
        bucketingKey="amplitude_id",
        rolloutWeights={"on": 1},
        inclusions={"on": ["has-it"]},
    )
    with closing(sqlite3.connect(json.loads(os.environ["AIRFLOW_CONN_WAREHOUSE"])["host"])) as database, database:
        database.execute("update users set tier = ?", (tier,))
        database.execute("insert into users values ('500', 'has-it', 'enterprise', 'Acme', 1)")
    asked = people("Approve")
    ran = run(example("approved_rollout"), {"soak": "0s"})
    assert ran.succeeded is (tier == "free")
    assert exposures(emulator, "new-checkout") == reached
    if tier == "free":
        assert "25 % -\\> 50 %: " in asked[0]["body"]


def test_rollback_drill(emulator: Emulator, run: Any) -> None:
    assert run(example("rollback_drill")).succeeded
    assert stands(emulator, "airflow-rollback-drill") == (False, 0)
    assert exposures(emulator, "airflow-rollback-drill") == [0, 1, 0]


def test_kill_switch(emulator: Emulator, run: Any) -> None:
    for key in ("a", "b", "c", "left"):
        emulator.create_flag(key, enabled=key != "b", rolloutPercentage=50)
    ran = run(example("kill_switch"), {"flag_keys": ["a", "b", "c", "a"]})
    assert ran.succeeded
    assert ran.states == {"flags": "success", "disable[0]": "success", "disable[1]": "success", "disable[2]": "success"}
    assert [stands(emulator, key)[0] for key in ("a", "b", "c", "left")] == [False, False, False, True]


@pytest.mark.parametrize(
    ("failing", "told"), [(62, [0, 1, 0]), (20, [0, 1, 100])], ids=["worse than the control", "as good"]
)
def test_guarded_rollout(
    emulator: Emulator, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, told: list[int]
) -> None:
    warehouse = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(warehouse)}))
    with closing(sqlite3.connect(warehouse)) as db, db:
        db.execute("create table checkouts (flag text, variant text, at text, failed integer)")
        for variant, at, bad in (("treatment", "2099-01-01", failing), ("control", "2026-01-01", 20)):
            rows = [("search", variant, at, int(number < bad)) for number in range(1000)]
            db.executemany("insert into checkouts values (?, ?, ?, ?)", rows)
    ran = run(example("guarded_rollout"), {"flag_key": "search", "stages": [1, 100], "soak": "1s"})
    assert ran.succeeded == (told[-1] == 100)
    assert exposures(emulator, "search") == told
    verdicts = [(entry["stage"], entry["verdict"]) for entry in ran.xcom("ramp", RECORD_XCOM) if "verdict" in entry]
    assert verdicts == ([(1, "fail")] if told[-1] == 0 else [(1, "pass")])


@pytest.mark.parametrize(
    ("orders", "reached"), [(1, [0, 10, 0]), (2, [0, 10, 100])], ids=["half the orders", "as good"]
)
def test_holdback_release(
    emulator: Emulator, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orders: int, reached: list[int]
) -> None:
    """The usual alert fails both times, and only reports."""
    warehouse = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(warehouse)}))
    emulator.create_flag("search", variants=[{"key": "on"}], rolloutPercentage=0, enabled=False)
    allocation = Audience.of(one(emulator, "flags", "search")).at(10).allocation_of()
    with closing(sqlite3.connect(warehouse)) as db, db:
        db.execute("create table activity (amplitude_id text, at text, orders integer, exposed integer)")
        for user in range(6000):
            has_it = allocation.variant(user) is not None
            row = (user, "2099-01-01", (orders if has_it else 2) * (user % 2), 0)  # no user is exposed before the start
            db.execute("insert into activity values (?, ?, ?, ?)", row)
    ran = run(example("holdback_release"), {"flag_key": "search", "stages": [10, 100], "soak": "1s"})
    assert exposures(emulator, "search") == reached
    verdicts = [(entry["name"], entry["verdict"]) for entry in ran.xcom("ramp", RECORD_XCOM) if "verdict" in entry]
    verdict = "fail" if orders == 1 else "pass"
    assert verdicts == [("orders per user", verdict), ("orders of all users", "fail")]


KEYS = ("checkout-backend", "checkout-api", "checkout-web")


def changes(regions: tuple[Emulator, Emulator]) -> list[tuple[str, str, int]]:
    """Return each change of exposure in both regions, in the order of time: region, flag, percentage."""
    found = []
    for name, emulator in zip(("us", "eu"), regions, strict=True):
        for flag in emulator.dump()["flags"]:
            last = 0
            for version in reversed(emulator.versions("flags", flag["id"])):
                config = version["flagConfig"]
                now = config["rolloutPercentage"] if config["enabled"] else 0
                if now != last:
                    found.append((version["createdAt"], name, flag["key"], now))
                last = now
    return [(region, key, now) for _, region, key, now in sorted(found)]


def test_one_plan(emulator: Emulator, run: Any) -> None:
    for key in ("search-ranking", "search-suggestions"):
        emulator.create_flag(key, enabled=False, rolloutPercentage=0)
    dag = example("one_plan")
    ramp: Any = dag.get_task("ramp")
    assert [stage.percentage for stage in ramp.partial_kwargs["plan"].stages] == [1, 5, 25, 100]
    ramp.partial_kwargs["plan"] = RolloutPlan(stages=[50, 100], soak="0s")
    assert run(dag).succeeded
    assert exposures(emulator, "search-ranking") == exposures(emulator, "search-suggestions") == [0, 50, 100]


RELEASED = [(region, key, at) for region in ("us", "eu") for key in KEYS for at in (5, 25, 100)]


def test_coordinated_release(two_regions: tuple[Emulator, Emulator], run: Any) -> None:
    ran = run(example("coordinated_release"), {"soak": "0s"})
    assert ran.succeeded
    assert changes(two_regions) == RELEASED
    assert {state for task_id, state in ran.states.items() if task_id.endswith("rollback")} == {"skipped"}
    assert ran.xcom("release.eu.check_order") == [*KEYS]


def test_coordinated_release_goes_back_in_reverse_order(two_regions: tuple[Emulator, Emulator], run: Any) -> None:
    # In the EU the backend is raised three times and the API once; then Amplitude refuses a write.
    two_regions[1].fault("status", status=400, route="PATCH /api/1/flags/{id}", skip=4)
    ran = run(example("coordinated_release"), {"soak": "0s"})
    assert not ran.succeeded
    assert ran.states["release.eu.checkout-api.stage_25"] == "failed"
    assert ran.states["release.eu.checkout-web.stage_5"] == "upstream_failed"
    assert ran.states["release.eu.checkout-web.rollback"] == "skipped"
    found = changes(two_regions)
    assert found[:13] == RELEASED[:13]
    # Both regions at the same time.
    assert [(key, at) for region, key, at in found[13:] if region == "us"] == [(key, 0) for key in KEYS[::-1]]
    assert [(key, at) for region, key, at in found[13:] if region == "eu"] == [(key, 0) for key in KEYS[1::-1]]
    assert len(found) == 18


def test_coordinated_release_that_did_not_begin_leaves_what_was_on(
    two_regions: tuple[Emulator, Emulator], run: Any
) -> None:
    for region in two_regions:
        region.create_flag("checkout-web", enabled=True, rolloutPercentage=100, variants=[{"key": "on"}])
    two_regions[1].fault("status", status=403, route="GET /api/1/flags")
    ran = run(example("coordinated_release"), {"soak": "0s"})
    assert not ran.succeeded
    assert changes(two_regions) == [("us", "checkout-web", 100), ("eu", "checkout-web", 100)]
