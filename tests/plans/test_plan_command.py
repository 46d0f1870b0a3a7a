"""``python -m airflow_provider_ampexp.plans``: its output, its exit codes, and its requests to Amplitude."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.plans._cli import main

GOOD = "flag: new-checkout\nstages: [1, 25, 100]\nsoak: 12h\n"
BETA = {
    "name": "Beta",
    "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
    "percentage": 0,
    "rolloutWeights": {"on": 1},
    "bucketingKey": "user_id",
}
DEFAULT = "AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command beside a folder of plans, and returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "checkout.yaml").write_text(GOOD)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def write(name: str, text: str) -> None:
    Path("rollouts", name).write_text(text)


def conn_uri(emulator: Emulator, key: str = "ampex_demo") -> str:
    address = quote(emulator.base_url, safe="")
    return f"amplitude-experiment://:{key}@/?base_url={address}&project_id={emulator.project_id}&retry_for=0"


def test_check_says_that_all_is_well(command: Command) -> None:
    assert command("check", "rollouts") == (0, "1 file checked, no mistakes.\n", "")


ASKS = """
guardrails:
  - {kind: sql, name: errors, conn_id: warehouse, sql: "select 0.01", at_most: 0.02, no_data: hold}
  - {kind: sql, name: typo, conn_id: warehouse, sql: "selct 1", at_most: 0.02, no_data: hold}
  - {kind: sample_ratio, conn_id: wh, sql: "select 'on', 1", no_data: hold}
  - {kind: sample_ratio, name: split, conn_id: warehouse, sql: "select 'on', 1", no_data: hold}
  - {kind: holdback, name: orders, conn_id: warehouse, sql: "select 'a', 1", worse: lower, no_data: hold}
  - {kind: holdback, name: short, conn_id: warehouse, sql: "select 'a'", worse: lower, no_data: hold}
"""


def test_check_asks_sql_guardrails_when_told(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(database))
    monkeypatch.setenv("AIRFLOW_CONN_WH", json.dumps({"conn_type": "generic"}))
    write("checkout.yaml", GOOD + ASKS)
    assert command("check", "rollouts")[0] == 0

    code, said, _ = command("check", "rollouts", "--preflight")
    typo, no_hook, short, total = said.splitlines()
    assert code == 1
    assert typo.startswith("rollouts/checkout.yaml:7: guardrails[1]: 'typo' cannot answer: ")
    assert 'near "selct": syntax error' in typo
    assert no_hook.startswith("rollouts/checkout.yaml:8: guardrails[2]: 'sample ratio' cannot answer: ")
    assert "connection 'wh' has type 'generic', which has no SQL hook: install its provider" in no_hook
    assert short.startswith("rollouts/checkout.yaml:11: guardrails[5]: 'short' cannot answer: ")
    assert short.endswith("expected a bucketing value, a metric and optionally exposed, got a row of 1")
    assert total == "3 mistakes in 1 of 1 file."


def test_check_runs_the_query_of_a_preview_when_told(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(database))
    preview = "preview: {conn_id: warehouse, sql: \"select 'a' as ID, 'pro' as TIER\", group_by: [tier], names: "
    write("good.yaml", f"{GOOD}{preview}id}}\n")
    assert command("check", "rollouts/good.yaml", "--preflight")[0] == 0
    write("wrong.yaml", f"{GOOD}{preview}account}}\n")
    assert command("check", "rollouts/wrong.yaml")[0] == 0
    code, said, _ = command("check", "rollouts/wrong.yaml", "--preflight")
    assert code == 1
    assert said.startswith(
        "rollouts/wrong.yaml:4: preview: cannot answer: expected the columns ['account'] in the query, got ['ID', "
    )


def test_check_tells_every_mistake_of_every_file(command: Command) -> None:
    write("a.yaml", "flag: a\nstages: [1, 100]\nsoak: 12\n")
    write("b.yaml", f"{GOOD}schedule: soon\n")
    write("c.yaml", f"{GOOD}soak: 1h\n")
    assert command("check", "rollouts") == (
        1,
        "rollouts/a.yaml:3: soak: 12 has no unit; write '12s', '12m', '12h' or '12d'\n"
        "rollouts/b.yaml:4: schedule: expected cron or a preset such as '@once', got 'soon': "
        "Exactly 5, 6 or 7 columns has to be specified for iterator expression.\n"
        "rollouts/c.yaml:4: soak: is a duplicate: also in line 3\n"
        "3 mistakes in 3 of 4 files.\n",
        "",
    )
    assert command("check", "rollouts/checkout.yaml", "rollouts/checkout.yaml")[:2] == (
        0,
        "1 file checked, no mistakes.\n",
    )


def test_check_takes_the_defaults_of_the_dag_file(command: Command) -> None:
    write("checkout.yaml", "flag: a\nstages: [1, 100]\n")
    assert command("check", "rollouts")[0] == 1
    assert command("check", "rollouts", "--default", "soak=12h", "--default", "tags=[a, b]")[0] == 0
    assert command("check", "rollouts", "--default", "sok=12h") == (
        2,
        "",
        "--default sok: is an unknown field; is 'soak' meant?\n",
    )
    assert command("check", "rollouts", "--default", "soak") == (
        2,
        "",
        "--default: expected a field such as soak=12h, got 'soak'\n",
    )


def test_nothing_to_look_at_is_no_success(command: Command) -> None:
    Path("empty").mkdir()
    assert command("check", "empty") == (2, "", "no *.yaml or *.yml files in empty\n")
    assert command("plan", "rolouts") == (2, "", "expected a folder or a plan file, but 'rolouts' does not exist\n")


def test_plan_shows_where_it_stands_and_what_comes_next(command: Command, amplitude_emulator: Emulator) -> None:
    emulator = amplitude_emulator
    uri = conn_uri(emulator)
    flag = emulator.create_flag("new-checkout", variants=[{"key": "on"}], enabled=False, rolloutPercentage=0)
    plans = {
        "checkout.yaml": GOOD,
        "guarded.yaml": f"{GOOD}guardrails: [{{kind: callable, function: 'operator:truth', name: errors}}]\n",
        "approved.yaml": f"{GOOD}approve_before: [25]\napprovers: [ana, bob]\n",
        "disabled.yaml": f"{GOOD}enable: false\n",
    }
    for name, text in plans.items():
        write(name, text)

    def said() -> dict[str, str]:
        code, out, err = command("plan", "rollouts", "--conn-uri", uri)
        assert (code, err) == (0, "")
        *lines, last = out.splitlines()
        assert last.startswith("4 files read, nothing was written; ")
        found = {lines[place]: "\n".join(lines[place + 1 : place + 3]) for place in range(0, len(lines), 3)}
        return {**found, "last": last.partition("; ")[2]}

    def since() -> str:
        return str(emulator.versions("flags", flag["id"])[0]["createdAt"]).replace("T", " ")[:19] + "Z"

    stands = f"  now:  flag 'new-checkout' is at 0 % (disabled) since {since()} (less than a minute)\n"
    next_1 = "  next: set from 0 % (disabled) to 1 % and enabled now"
    assert said() == {
        "rollouts/checkout.yaml": stands + next_1,
        "rollouts/guarded.yaml": stands + next_1,
        "rollouts/approved.yaml": stands + next_1,
        "rollouts/disabled.yaml": stands + "  next: stop without a write: the flag is disabled, and enable=False",
        "last": "3 would change a flag now.",
    }

    emulator.edit("flags", flag["id"], enabled=True, rolloutPercentage=1)
    began = since()
    emulator.advance(2 * 3600 + 5 * 60 + 20)
    found = said()
    stands = f"  now:  flag 'new-checkout' is at 1 % since {began} (2 h 5 min)\n"
    assert found.pop("last") == "0 would change a flag now."
    for text in found.values():
        assert text.startswith(f"{stands}  next: wait: soaking until ")
        assert text.endswith("; next stage 25 %")

    emulator.advance(24 * 3600)
    stands = f"  now:  flag 'new-checkout' is at 1 % since {began} (1 d 2 h)\n"
    raised = "  next: set from 1 % to 25 % now"
    assert said() == {
        "rollouts/checkout.yaml": stands + raised,
        "rollouts/guarded.yaml": stands + "  next: run the guardrails now (errors): the soak is complete; "
        "if they pass, the next stage is 25 %",
        "rollouts/approved.yaml": stands + "  next: request an approval now (ana, bob): next stage 25 % "
        "needs an approval",
        "rollouts/disabled.yaml": stands + raised,
        "last": "2 would change a flag now.",
    }

    emulator.edit("flags", flag["id"], rolloutPercentage=100)
    done = said()
    assert done["rollouts/approved.yaml"].endswith(
        "\n  next: nothing, the rollout is complete: the last stage is complete"
    )
    methods = {request["method"] for request in emulator.request_log()}
    assert methods == {"GET"}
    assert emulator.requests()["total"] == 4 * 4 * 2  # two requests for each file


def test_plan_of_a_segment_of_an_experiment(command: Command, amplitude_emulator: Emulator) -> None:
    segment = {**BETA, "percentage": 1, "rolloutWeights": {}}
    amplitude_emulator.create_experiment("search", enabled=True, rolloutPercentage=50, targetSegments=[segment])
    write("checkout.yaml", "experiment: search\nsegment: Beta\nstages: [1, 25]\nsoak: 1d\n")
    code, out, _ = command("plan", "rollouts", "--conn-uri", conn_uri(amplitude_emulator))
    assert code == 0
    assert "  now:  segment 'Beta' of experiment 'search' is at 1 % since " in out
    assert "\n  next: wait: soaking until " in out


def test_plan_waits_for_the_window(command: Command, amplitude_emulator: Emulator) -> None:
    amplitude_emulator.create_flag("new-checkout", enabled=True, rolloutPercentage=0)
    closed = f"{GOOD}window: {{days: Mon-Sun, start: 09:00, end: 09:01, timezone: UTC}}\n"
    write("checkout.yaml", closed)
    now = amplitude_emulator.versions("flags", amplitude_emulator.dump()["flags"][0]["id"])[0]["createdAt"]
    amplitude_emulator.advance(((9 - int(now[11:13])) % 24 + 2) * 3600)  # 11 o'clock, and some minutes
    _, out, _ = command("plan", "rollouts", "--conn-uri", conn_uri(amplitude_emulator))
    assert "  next: wait: the window opens " in out
    assert out.endswith(
        "09:00 UTC (09:00 UTC); next stage 1 %\n1 file read, nothing was written; 0 would change a flag now.\n"
    )


def test_a_file_that_cannot_be_told_hides_no_other(command: Command, amplitude_emulator: Emulator) -> None:
    amplitude_emulator.create_flag("new-checkout", enabled=True, rolloutPercentage=100)
    write("a.yaml", "flag: a\n")
    write("b.yaml", "flag: nowhere\nstages: [1]\n")
    assert command("plan", "rollouts/a.yaml") == (
        1,
        "rollouts/a.yaml:1: stages: is missing\n1 file read, nothing was written; 0 would change a flag now.\n",
        "",
    )
    code, out, _ = command("plan", "rollouts", "--conn-uri", conn_uri(amplitude_emulator))
    assert code == 1
    lines = out.splitlines()
    assert lines[:2] == ["rollouts/a.yaml:1: stages: is missing", "rollouts/b.yaml"]
    assert lines[2].startswith("  failed: The flag 'nowhere' of project 100001 does not exist.")
    assert lines[-2] == "  next: nothing, the rollout is complete: the last stage is complete"


def test_connections_come_from_airflow_when_no_uri_is_given(
    command: Command, amplitude_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    amplitude_emulator.create_flag("new-checkout", enabled=True, rolloutPercentage=0)
    write("eu.yaml", f"{GOOD}connection: amplitude_eu\n")
    monkeypatch.setenv(DEFAULT, amplitude_emulator.connection_json)
    code, out, _ = command("plan", "rollouts")
    assert code == 1
    assert (
        "rollouts/eu.yaml\n  connection 'amplitude_eu' not found: set --conn-uri or AIRFLOW_CONN_AMPLITUDE_EU\n" in out
    )
    assert out.count("is at 0 %") == 1
    monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_EU", amplitude_emulator.connection_json)
    assert command("plan", "rollouts")[0] == 0
    assert command("plan", "rollouts", "--conn-uri", conn_uri(amplitude_emulator)) == (
        2,
        "",
        "--conn-uri is one connection, but the files name amplitude_eu, amplitude_experiment_default; "
        "set AIRFLOW_CONN_<ID> for each, or pass only the files of one\n",
    )


@pytest.mark.parametrize(
    "uri",
    [
        "ampex_s3cret",
        "http://:ampex_s3cret@/",
        "a://b://c://ampex_s3cret",
        "amplitude-experiment://:ampex_s3cret@h:port/",
    ],
)
def test_a_wrong_uri_is_not_shown(command: Command, uri: str) -> None:
    code, out, err = command("plan", "rollouts", "--conn-uri", uri)
    assert (code, out) == (2, "")
    assert err == "--conn-uri: expected amplitude-experiment://:ampex_...@/?region=eu&project_id=217854\n"


def test_the_key_is_not_shown(command: Command, amplitude_emulator: Emulator) -> None:
    code, out, err = command("plan", "rollouts", "--conn-uri", conn_uri(amplitude_emulator, key="ampex_s3cret"))
    assert code == 1
    assert "(401)" in out
    assert "s3cret" not in out + err
    code, out, err = command("plan", "rollouts", "--conn-uri", "amplitude-experiment://:client-s3cret@/")
    assert code == 1
    assert "  failed: password: this is a deployment key" in out
    assert "s3cret" not in out + err


def test_from_outside(tmp_path: Path, amplitude_emulator: Emulator) -> None:
    """A person or a CI job runs the command: it prints nothing else, and returns its exit code."""
    amplitude_emulator.create_flag("new-checkout", enabled=True, rolloutPercentage=0)
    (tmp_path / "a.yaml").write_text(GOOD)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow_provider_ampexp.plans", *arguments],
            cwd=tmp_path,
            env={**os.environ, DEFAULT: amplitude_emulator.connection_json},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("plan", ".")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a.yaml\n  now:  flag 'new-checkout' is at 0 % since ")
    (tmp_path / "a.yaml").write_text("flag: a\n")
    done = run("check", ".")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "a.yaml:1: stages: is missing\n1 mistake in 1 of 1 file.\n"


def test_the_room_of_rules_does_not_load_the_files() -> None:
    code = (
        "import sys, airflow_provider_ampexp.rollout; "
        "print([name for name in sys.modules if name in ('yaml', 'pydantic') or '.plans' in name])"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_two_files_that_ramp_one_flag_are_a_mistake(command: Command) -> None:
    write("zebra.yaml", GOOD)
    code, out, _ = command("check", "rollouts")
    assert code == 1
    assert "rollouts/zebra.yaml:1: flag: rollouts/checkout.yaml ramps the same" in out


def test_a_connection_of_airflows_database_is_found(
    command: Command, amplitude_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models import Connection
    from airflow.utils import db
    from airflow.utils.session import create_session

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        db.initdb()
    monkeypatch.delenv(DEFAULT, raising=False)
    told = json.loads(amplitude_emulator.connection_json)
    write("checkout.yaml", "flag: checkout\nstages: [1]\nconnection: stored\n")
    amplitude_emulator.create_flag("checkout")
    stored = Connection(
        conn_id="stored", conn_type=told["conn_type"], password=told["password"], extra=json.dumps(told["extra"])
    )
    with create_session() as session:
        session.add(stored)
    try:
        code, out, _ = command("plan", "rollouts")
    finally:
        with create_session() as session:
            session.query(Connection).where(Connection.conn_id == "stored").delete()
    assert (code, "is at 0 %" in out) == (0, True), out


def test_plan_says_that_others_would_get_it_with_the_first_stage(
    command: Command, amplitude_emulator: Emulator
) -> None:
    amplitude_emulator.create_flag(
        "new-checkout", variants=[{"key": "on"}], rolloutPercentage=100, targetSegments=[BETA]
    )
    write("checkout.yaml", f"{GOOD}segment: Beta\n")
    code, out, _ = command("plan", "rollouts", "--conn-uri", conn_uri(amplitude_emulator))
    assert code == 0
    assert "next: stop without a write: the flag is disabled, and enabling it" in out
    assert "the percentage of all other users, 100 %" in out


def test_plan_says_that_a_segment_may_be_for_a_cohort(command: Command, amplitude_emulator: Emulator) -> None:
    everybody = {**BETA, "conditions": []}
    amplitude_emulator.create_flag(
        "new-checkout", variants=[{"key": "on"}], rolloutPercentage=0, targetSegments=[everybody]
    )
    write("checkout.yaml", f"{GOOD}segment: Beta\n")
    said = command("plan", "rollouts", "--conn-uri", conn_uri(amplitude_emulator))[1]
    assert "stop without a write: segment 'Beta' may be for a cohort" in said
    write("checkout.yaml", f"{GOOD}segment: Beta\ncatch_all: Beta\n")
    said = command("plan", "rollouts", "--conn-uri", conn_uri(amplitude_emulator))[1]
    assert "next: set from 0 % (disabled) to 1 % and enabled now" in said


WINDOW = 'window: {days: Mon-Thu, start: "09:00", end: "16:00", timezone: Europe/Berlin, except_dates: [2026-12-24]}\n'


def test_forecast_shows_the_earliest_time_of_each_stage(command: Command) -> None:
    write("checkout.yaml", GOOD + WINDOW + "approve_before: [25]\n")
    code, out, _ = command("forecast", "rollouts", "--start", "2026-12-22T15:00:00Z")
    assert code == 0
    assert out.splitlines()[:5] == [
        "rollouts/checkout.yaml",
        "     1 %  Wed 2026-12-23 09:00 Europe/Berlin (08:00 UTC)",
        "    25 %  Mon 2026-12-28 09:00 Europe/Berlin (08:00 UTC), after an approval",
        "   100 %  Tue 2026-12-29 09:00 Europe/Berlin (08:00 UTC)",
        "  finish  Tue 2026-12-29 09:00 Europe/Berlin (08:00 UTC)",
    ]


def test_forecast_fails_when_a_rollout_cannot_finish_in_time(command: Command) -> None:
    arguments = ("forecast", "rollouts", "--start", "2026-12-01T00:00:00Z", "--finish-by")
    assert command(*arguments, "2026-12-02T00:00:00Z")[0] == 0
    code, out, _ = command(*arguments, "2026-12-01T23:59:59Z")
    assert code == 1
    assert "  too late: expected the end of the rollout by Tue 2026-12-01 23:59 UTC" in out


def test_forecast_without_a_start_begins_now(command: Command) -> None:
    assert command("forecast", "rollouts", "--finish-by", "2026-01-01T00:00:00Z")[0] == 1


def test_forecast_finds_files_that_conflict_and_files_with_mistakes(command: Command) -> None:
    write("zebra.yaml", GOOD)
    write("bad.yaml", "flag: x\nstages: [5, 1]\nsoak: 1h\n")
    code, out, _ = command("forecast", "rollouts")
    assert code == 1
    assert "rollouts/zebra.yaml:1: flag: rollouts/checkout.yaml ramps the same" in out
    assert "rollouts/bad.yaml:2: stages: expected rising percentages" in out


def test_forecast_refuses_a_time_that_it_cannot_read(command: Command) -> None:
    code, _, err = command("forecast", "rollouts", "--start", "tomorrow")
    assert (code, err) == (2, "--start: expected a time such as 2026-12-01T09:00:00Z, got 'tomorrow'\n")


def test_forecast_shows_the_smallest_harm_that_a_holdback_guardrail_finds(command: Command) -> None:
    holdback = "guardrails: [{kind: holdback, name: orders, conn_id: w, sql: select 1, worse: lower, no_data: hold}]\n"
    write("guarded.yaml", GOOD.replace("new-checkout", "guarded") + holdback)
    code, out, _ = command("forecast", "rollouts", "--users", "200000", "--variation", "1.5")
    assert code == 0
    assert out.count("a holdback guardrail finds 15.2 % worse") == 1  # checkout.yaml has none
    assert out.count("orders finds 15.2 % worse") == 1
    assert out.count("orders finds 3.3 % worse") == 1
    assert out.count("orders has no control left") == 1


@pytest.mark.parametrize("users", ["0", "-1", "many", "inf"])
def test_forecast_refuses_users_that_are_no_number(
    command: Command, users: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command("forecast", "rollouts", "--users", users)
    assert f"argument --users: expected a number above 0, got '{users}'" in capsys.readouterr().err


def test_forecast_asks_the_warehouse_for_the_users_and_the_variation(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(database))
    asked = ("forecast", "rollouts", "--traffic-conn-id", "warehouse", "--traffic-sql")
    told = command("forecast", "rollouts", "--users", "200000", "--variation", "1.5")
    assert command(*asked, "select 200000, 1.5") == told
    assert command(*asked, "select 200000", "--variation", "1.5") == told
    code, out, err = command(*asked, "select 200000, 1.5", "--variation", "3")
    assert (code, out) == (2, "")
    assert err == "--variation: the query of --traffic-sql returns the variation too; expected one of them\n"


@pytest.mark.parametrize("returned", ["0", "null", "'many'", "1, 2, 3", "1, -1", "1 union select 2", "1 where false"])
def test_forecast_refuses_traffic_that_is_no_number_of_users(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returned: str
) -> None:
    database = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(database))
    asked = ("forecast", "rollouts", "--traffic-conn-id", "warehouse", "--traffic-sql", f"select {returned}")
    code, out, err = command(*asked)
    assert (code, out) == (2, "")
    assert err.startswith("--traffic-sql: expected one row with the number of users")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--traffic-sql", "select 1"), "--traffic-sql and --traffic-conn-id: expected both or neither"),
        (("--traffic-conn-id", "wh"), "--traffic-sql and --traffic-conn-id: expected both or neither"),
        (
            ("--traffic-conn-id", "wh", "--traffic-sql", "select 1", "--users", "1"),
            "--traffic-sql and --users: expected one of them",
        ),
        (("--traffic-conn-id", "wh", "--traffic-sql", "select 1"), "--traffic-sql failed on connection 'wh': "),
        (("--variation", "3"), "--variation: expected --users or --traffic-sql with it"),
    ],
)
def test_forecast_names_traffic_arguments_that_do_not_work(
    command: Command, arguments: tuple[str, ...], problem: str
) -> None:
    code, _, err = command("forecast", "rollouts", *arguments)
    assert code == 2
    assert err.startswith(problem)


START = ("--start", "2026-12-01T00:00:00Z")


def depend(emulator: Emulator, child: str, *parents: str, operator: str = "all", kind: str = "flags") -> None:
    """Create the parents, and a flag that depends on them."""
    ids = [emulator.create_flag(parent, variants=[{"key": "on"}], enabled=True)["id"] for parent in parents]
    config = emulator.create_flag(child, variants=[{"key": "on"}], enabled=True)
    dependencies = {"flags": {id: ["on"] for id in ids}, "operator": operator}
    emulator.edit(kind, config["id"], parentDependencies=dependencies)


def test_forecast_names_a_rollout_that_is_ahead_of_the_flag_it_depends_on(
    command: Command, amplitude_emulator: Emulator
) -> None:
    depend(amplitude_emulator, "new-checkout", "base")
    write("base.yaml", "flag: base\nstages: [1, 25, 100]\nsoak: 36h\n")
    reading = ("forecast", "rollouts", *START, "--dependencies", "--conn-uri", conn_uri(amplitude_emulator))
    code, out, _ = command(*reading)
    assert code == 1
    assert (
        "rollouts/checkout.yaml:1: flag: depends on flag 'base' of rollouts/base.yaml: at stage 25 %, "
        "Tue 2026-12-01 12:00 UTC, that flag is at 1 % and reaches 25 % Wed 2026-12-02 12:00 UTC"
    ) in out
    assert command("forecast", "rollouts", *START)[0] == 0  # the forecast sends no request

    write("base.yaml", "flag: base\nstages: [1, 25, 100]\nsoak: 12h\n")
    assert command(*reading)[0] == 0
    write("base.yaml", "flag: base\nstages: [50]\nsoak: 12h\n")
    assert "that flag is at 50 % and does not reach it" in command(*reading)[1]


def test_forecast_adds_the_users_of_flags_of_which_any_is_enough(
    command: Command, amplitude_emulator: Emulator
) -> None:
    depend(amplitude_emulator, "new-checkout", "base", "other", operator="any")
    write("checkout.yaml", "flag: new-checkout\nstages: [80]\nsoak: 1h\n")
    write("base.yaml", "flag: base\nstages: [40]\nsoak: 1h\n")
    reading = ("forecast", "rollouts", *START, "--dependencies", "--conn-uri", conn_uri(amplitude_emulator))
    assert command(*reading)[0] == 0  # the users of the other flag are not known
    write("other.yaml", "flag: other\nstages: [30]\nsoak: 1h\n")
    assert command(*reading)[0] == 1
    write("other.yaml", "flag: other\nstages: [40]\nsoak: 1h\n")
    assert command(*reading)[0] == 0


def test_forecast_names_the_parent_that_a_release_ramps_last(command: Command, amplitude_emulator: Emulator) -> None:
    depend(amplitude_emulator, "new-checkout", "api", "web")
    write("release.yaml", "stages: [25, 100]\nsoak: 1h\nrelease:\n  - flag: api\n  - flag: web\n")
    reading = ("forecast", "rollouts", *START, "--dependencies", "--conn-uri", conn_uri(amplitude_emulator))
    code, out, _ = command(*reading)
    assert code == 1
    assert "depends on flag 'web' of rollouts/release.yaml: at stage 1 %" in out


def test_forecast_says_that_the_dependencies_could_not_be_read(command: Command) -> None:
    code, out, _ = command("forecast", "rollouts", "--dependencies")
    assert code == 1
    assert "The dependencies were not compared: connection 'amplitude_experiment_default' not found" in out


@pytest.mark.parametrize("what", ["check", "forecast", "plan"])
def test_an_empty_path_is_not_the_present_folder(
    command: Command, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        command(what, "")
    assert left.value.code == 2
    assert "argument PATH: expected a folder or a file, got ''" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("check", "--default", "soak=1h", "--default", "soak=2h"), "--default soak: expected it once"),
        (("check", "--default", "=1h"), "--default: expected a field such as soak=12h, got '=1h'"),
        (
            ("forecast", "--conn-uri", "amplitude-experiment://:ampex_demo@/"),
            "--conn-uri: expected --dependencies with it, because nothing else reads Amplitude",
        ),
        (
            ("backtest", "--since", "2026-12-02T00:00Z", "--until", "2026-12-01T00:00Z"),
            "--until: expected a time after --since '2026-12-02T00:00Z', got '2026-12-01T00:00Z'",
        ),
    ],
)
def test_an_argument_without_an_effect_is_refused(command: Command, arguments: tuple[str, ...], problem: str) -> None:
    assert command(arguments[0], "rollouts", *arguments[1:]) == (2, "", f"{problem}\n")


def test_forecast_refuses_a_rollout_that_never_finishes(command: Command) -> None:
    code, out, _ = command("forecast", "rollouts", "--start", "9999-12-31T00:00:00Z")
    assert code == 1
    assert "rollouts/checkout.yaml:2: stages: the rollout does not finish before the year 10000" in out


def test_a_flag_that_the_rollout_creates_may_be_missing(command: Command, amplitude_emulator: Emulator) -> None:
    depend(amplitude_emulator, "child", "base")
    uri = ("--conn-uri", conn_uri(amplitude_emulator))
    write("checkout.yaml", GOOD + "create: {variants: [{key: on}]}\n")
    code, out, _ = command("plan", "rollouts", *uri)
    assert code == 0
    assert "  now:  flag 'new-checkout' of project 100001 does not exist\n  next: create the flag, disabled" in out
    assert "; 1 would change a flag now." in out

    write("base.yaml", "flag: base\nstages: [1, 25, 100]\nsoak: 36h\n")
    write("child.yaml", "flag: child\nstages: [1, 25, 100]\nsoak: 12h\n")
    code, out, _ = command("forecast", "rollouts", *START, "--dependencies", *uri)
    assert code == 1
    assert "rollouts/child.yaml:1: flag: depends on flag 'base' of rollouts/base.yaml" in out

    amplitude_emulator.create_experiment("new-checkout")
    code, out, _ = command("plan", "rollouts/checkout.yaml", *uri)
    assert code == 1
    assert "The project has an experiment 'new-checkout': use experiment_key." in out
