"""The values of a plan file, and the mistakes of an invalid file: file, line, field and problem, as exact texts."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import (
    CallableGuardrail,
    Guardrail,
    HoldbackGuardrail,
    SampleRatioGuardrail,
    SqlGuardrail,
)
from airflow_provider_ampexp.plans._errors import PlanFileError
from airflow_provider_ampexp.plans._guardrail_models import CallableFields, HoldbackFields, SampleRatioFields, SqlFields
from airflow_provider_ampexp.plans._loader import LoadedPlan, read_plan, read_plans
from airflow_provider_ampexp.plans._models import ARGUMENTS, PlanFile
from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPreview, Stage

GOOD = "flag: checkout\nstages: [1, 100]\nsoak: 1h\n"
KINDS = "'sql', 'sample_ratio', 'holdback' or 'callable'"


def read(folder: Path, text: str | bytes, name: str = "plan.yaml", **defaults: Any) -> PlanFile:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_plan(path, defaults).plan


def mistakes(folder: Path, text: str | bytes, **defaults: Any) -> list[str]:
    with pytest.raises(PlanFileError) as refused:
        read(folder, text, **defaults)
    return [line.removeprefix(f"{folder}/") for line in str(refused.value).splitlines()]


def is_fine(moment: object) -> bool:
    """Pass. A plan file names this check."""
    return True


not_a_function = 1

SQL = """\
    conn_id: warehouse
    sql: select 1 where {{ percentage }} > 0
    no_data: hold
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(b"", ["plan.yaml:1: is empty"], id="empty"),
        pytest.param("# nothing\n", ["plan.yaml:1: is empty"], id="only a comment"),
        pytest.param("- a\n", ["plan.yaml:1: expected fields with their values, got a list"], id="a list"),
        pytest.param("checkout", ["plan.yaml:1: expected fields with their values, got 'checkout'"], id="a text"),
        pytest.param(
            "flag: a\nstages: [1, 2\nsoak: 1h\n",
            ["plan.yaml:3: not YAML: while parsing a flow sequence, expected ',' or ']', but got ':'"],
            id="not YAML",
        ),
        pytest.param(
            "flag: a\n\tsoak: 1h\n",
            [
                "plan.yaml:2: not YAML: while scanning for the next token, "
                "found character '\\t' that cannot start any token"
            ],
            id="tab",
        ),
        pytest.param(b"flag: a\nsegment: \xff\n", ["plan.yaml:2: not UTF-8"], id="not UTF-8"),
        pytest.param(
            "flag: a\nsoak: \x07\n", ["plan.yaml:2: not YAML: the character '\\x07' is not allowed"], id="bell"
        ),
        pytest.param(
            f"{GOOD}---\n{GOOD}",
            ["plan.yaml:4: not YAML: expected a single document in the stream, but found another document"],
            id="two documents",
        ),
        pytest.param(
            "flag: !!python/object/apply:os.system [ls]\n",
            [
                "plan.yaml:1: not YAML: could not determine a constructor for the tag "
                "'tag:yaml.org,2002:python/object/apply:os.system'"
            ],
            id="python",
        ),
        pytest.param("[" * 5000, ["plan.yaml:1: not readable YAML: too many levels"], id="deep"),
        pytest.param(
            f"{GOOD}window:\n  days: Mon\n  end: '12:00'\n  days: Tue\nflag: b\n",
            [
                "plan.yaml:7: window.days: is a duplicate: also in line 5",
                "plan.yaml:8: flag: is a duplicate: also in line 1",
            ],
            id="twice",
        ),
        pytest.param(f"{GOOD}404: x\n", ["plan.yaml:4: expected the name of a field, got '404'"], id="key"),
        pytest.param(
            "stages: [1, 100]\nsoak: 1h\n",
            ["plan.yaml:1: expected exactly one of flag, flag_id, experiment, experiment_id, got none"],
            id="no flag",
        ),
        pytest.param(
            f"{GOOD}experiment: b\n",
            [
                "plan.yaml:4: experiment: expected exactly one of flag, flag_id, experiment, experiment_id, "
                "got flag and experiment"
            ],
            id="two flags",
        ),
        pytest.param("flag: a\nsoak: 1h\n", ["plan.yaml:1: stages: is missing"], id="no stages"),
        pytest.param(
            "flag: a\nstages:\n",
            ["plan.yaml:2: stages: must not be empty; remove it, or give it a value"],
            id="null stages",
        ),
        pytest.param(
            "flag: a\nstages: []\n",
            ["plan.yaml:2: stages: must not be empty"],
            id="empty stages",
        ),
        pytest.param(
            "flag: a\nstages: 1, 5\n", ["plan.yaml:2: stages: expected a list, got '1, 5'"], id="stages as text"
        ),
        pytest.param(
            "flag: a\nsoak: 1h\nstages:\n  - 1\n  - 12.5\n  - five\n  - 101\n  - -1\n",
            [
                "plan.yaml:5: stages[1]: expected a whole number, got 12.5",
                "plan.yaml:6: stages[2]: expected a whole number, got 'five'",
                "plan.yaml:7: stages[3]: 101 should be less than or equal to 100",
                "plan.yaml:8: stages[4]: -1 should be greater than or equal to 0",
            ],
            id="percentages",
        ),
        pytest.param(
            "flag: a\nsoak: 1h\nstages: [5, 1]\n",
            ["plan.yaml:3: stages: expected rising percentages, got [5, 1]"],
            id="falling",
        ),
        pytest.param(
            "flag: a\nstages:\n  - percentage: 1\n    soak: 90\n  - soak: 1h\n  - percentage: 5\n    soka: 1h\n",
            [
                "plan.yaml:4: stages[0].soak: 90 has no unit; write '90s', '90m', '90h' or '90d'",
                "plan.yaml:5: stages[1].percentage: is missing",
                "plan.yaml:7: stages[2].soka: is an unknown field; is 'soak' meant?",
            ],
            id="stages of their own",
        ),
        pytest.param(
            "flag: a\nstages: [1, 100]\n",
            ["plan.yaml:1: soak: is missing, and stages[0] has none of its own; '0s' is no soak, on purpose"],
            id="no soak",
        ),
        pytest.param(
            "flag: a\nstages: [1, 100]\nsoak: 3 hours\n",
            ["plan.yaml:3: soak: expected a duration such as '30m', '2h' or '1d 12h', got '3 hours'"],
            id="soak",
        ),
        pytest.param(
            "flag: a\nstages: [1, 100]\nsoak: 99999999999d\n",
            ["plan.yaml:3: soak: expected at most 3650 days, got '99999999999d'"],
            id="endless",
        ),
        pytest.param(
            f"{GOOD}sgment: Beta\n", ["plan.yaml:4: sgment: is an unknown field; is 'segment' meant?"], id="misspelt"
        ),
        pytest.param(f"{GOOD}xyz: 1\n", ["plan.yaml:4: xyz: is an unknown field"], id="unknown"),
        pytest.param(
            f"{GOOD}segment: 5\n", ["plan.yaml:4: segment: expected a text, got 5; put it in quotes"], id="number"
        ),
        pytest.param(f"{GOOD}segment: ' '\n", ["plan.yaml:4: segment: must not be empty"], id="blank"),
        pytest.param(
            f"{GOOD}segment: '{{{{ var.value.x }}}}'\n",
            [
                "plan.yaml:4: segment: '{{ var.value.x }}' is a template; a plan file has no templates, "
                "so write this rollout in Python"
            ],
            id="template",
        ),
        pytest.param(f"{GOOD}enable: yes\n", ["plan.yaml:4: enable: expected true or false, got 'yes'"], id="yes"),
        pytest.param(
            f"{GOOD}rollback: 12.5\n",
            ["plan.yaml:4: rollback: expected 'start', 'previous', 'off', 'hold' or a percentage, got 12.5"],
            id="rollback",
        ),
        pytest.param(
            f"{GOOD}on_drift: go\n", ["plan.yaml:4: on_drift: 'go' should be 'stop' or 'adopt'"], id="literal"
        ),
        pytest.param(
            f"{GOOD}check_every: 0m\n", ["plan.yaml:4: check_every: must be greater than zero"], id="check_every"
        ),
        pytest.param(
            f"{GOOD}approve_before: [100, 50]\napproval_timeout: 0s\n",
            [
                "plan.yaml:4: approve_before[1]: 50 is none of the stages [1, 100]",
                "plan.yaml:5: approval_timeout: must be greater than zero",
            ],
            id="approvals",
        ),
        pytest.param(
            f"{GOOD}window:\n  days: [Mon, Tusday]\n  start: 09:00\n  end: 9am\n  timezone: Europe/Berlin\n",
            [
                "plan.yaml:5: window.days: 'Tusday' is not a day or days such as 'Mon' or 'Mon-Thu'",
                "plan.yaml:7: window.end: '9am' is not a wall time of hours and minutes such as '09:00'",
            ],
            id="window",
        ),
        pytest.param(
            f"{GOOD}window:\n  days: 5\n  start: 9\n  zone: UTC\n",
            [
                "plan.yaml:4: window.end: is missing",
                "plan.yaml:4: window.timezone: is missing",
                "plan.yaml:5: window.days: expected a day or days such as 'Mon-Thu', got 5",
                "plan.yaml:6: window.start: expected a text, got 9; put it in quotes",
                "plan.yaml:7: window.zone: is an unknown field; is 'timezone' meant?",
            ],
            id="window's fields",
        ),
        pytest.param(
            f"{GOOD}window:\n  days: Mon\n  start: 09:00\n  end: 16:00\n  timezone: UTC\n  except_dates:\n"
            "    - 2026-12-24\n    - 24.12.2026\n",
            ["plan.yaml:11: window.except_dates[1]: '24.12.2026' is not a date such as '2026-12-24'"],
            id="dates",
        ),
        pytest.param(
            f"{GOOD}window:\n  days: Mon\n  start: 09:00\n  end: 16:00\n  timezone: UTC\n  soak: 1h\n",
            ["plan.yaml:9: window.soak: is a top-level field; check the indentation"],
            id="indented",
        ),
        pytest.param(
            f"{GOOD}guardrails:\n  - kind: sql\n    name: a\n{SQL}  - kind: sqll\n  - name: b\n  - 5\n",
            [
                "plan.yaml:5: guardrails[0].at_most: no bound: set at_most, at_least or a bound of the baseline",
                f"plan.yaml:10: guardrails[1].kind: expected {KINDS}, got 'sqll'",
                f"plan.yaml:11: guardrails[2].kind: is missing; expected {KINDS}",
                "plan.yaml:12: guardrails[3]: expected a group of fields, got 5",
            ],
            id="kinds",
        ),
        pytest.param(
            f"{GOOD}guardrails:\n  - kind: sql\n    name: a\n    at_most: '1'\n    sql: select '{{{{ flag_key }}}}'\n",
            [
                "plan.yaml:5: guardrails[0].conn_id: is missing",
                "plan.yaml:5: guardrails[0].no_data: is missing",
                "plan.yaml:7: guardrails[0].at_most: expected a number, got '1'",
            ],
            id="sql's fields",
        ),
        pytest.param(
            f"{GOOD}guardrails:\n  - kind: sample_ratio\n{SQL}    alpha: 1.5\n    failure_limit: 0\n",
            ["plan.yaml:10: guardrails[0].failure_limit: 0 should be greater than or equal to 1"],
            id="limits",
        ),
        pytest.param(
            f"{GOOD}guardrails:\n  - kind: sample_ratio\n{SQL}    alpha: 1.5\n",
            ["plan.yaml:9: guardrails[0].alpha: expected a number between 0 and 1, got 1.5"],
            id="a guardrail's own rule",
        ),
        pytest.param(
            f"{GOOD}guardrails:\n" + f"  - kind: sql\n    name: a\n    at_most: 1\n{SQL}" * 2,
            ["plan.yaml:4: guardrails: 2 have the name 'a'; give each its own name"],
            id="names",
        ),
        pytest.param(
            f"{GOOD}guardrails:\n  - kind: callable\n    function: nix:check\n",
            [
                "plan.yaml:6: guardrails[0].function: cannot import 'nix' (is it on the PYTHONPATH?): "
                "ModuleNotFoundError: No module named 'nix'"
            ],
            id="no module",
        ),
        pytest.param(
            f"{GOOD}guardrails:\n  - kind: callable\n    function: {__name__}:is_nix\n",
            [f"plan.yaml:6: guardrails[0].function: the module '{__name__}' has no 'is_nix'"],
            id="no function",
        ),
        pytest.param(
            f"{GOOD}guardrails:\n  - kind: callable\n    function: {__name__}:not_a_function\n",
            [f"plan.yaml:6: guardrails[0].function: expected a function, got '{__name__}:not_a_function'"],
            id="not a function",
        ),
        pytest.param(
            f"{GOOD}start_date: tomorrow\n",
            [
                "plan.yaml:4: start_date: expected a date such as '2026-03-02' or a time such as "
                "'2026-03-02T09:00+01:00', got 'tomorrow'"
            ],
            id="start_date",
        ),
        pytest.param(
            f"{GOOD}start_date: 2026-02-30\n",
            [
                "plan.yaml:4: start_date: expected a date such as '2026-03-02' or a time such as "
                "'2026-03-02T09:00+01:00', got '2026-02-30'"
            ],
            id="no such day",
        ),
        pytest.param(
            f"{GOOD}preview:\n  conn_id: w\n  sql: select {{{{ ds }}}}\n  refuse_if: {{tier: pro}}\n  group: [a]\n",
            [
                "plan.yaml:6: preview.sql: 'select {{ ds }}' is a template; a plan file has no templates, so write "
                "this rollout in Python",
                "plan.yaml:7: preview.refuse_if.tier: expected a list such as [enterprise], got 'pro'",
                "plan.yaml:8: preview.group: is an unknown field; is 'group_by' meant?",
            ],
            id="preview's fields",
        ),
        pytest.param(
            f"{GOOD}preview:\n  conn_id: w\n  sql: select 1\n  refuse_below: 50\n",
            ["plan.yaml:7: preview.refuse_below: is about refuse_if, which is not given"],
            id="preview's own rule",
        ),
        pytest.param(
            f"{GOOD}dag_id: new checkout\n",
            [r"plan.yaml:4: dag_id: 'new checkout' should match pattern '^[\w.-]+$'"],
            id="dag_id",
        ),
    ],
)
def test_a_mistake_is_told_by_file_line_and_field(tmp_path: Path, text: str | bytes, said: list[str]) -> None:
    assert mistakes(tmp_path, text) == said


def test_an_alert_of_a_file_is_a_notifier_of_the_provider_it_names(tmp_path: Path) -> None:
    emails = "on_rollback:\n- {kind: email, to: a@example.com}\n- {kind: email, to: [b@example.com], text: x}\n"
    plan = read(tmp_path, f"{GOOD}{emails}")
    first, second = plan.group_arguments()["on_rollback"]
    assert type(first).__name__ == "SmtpNotifier"
    assert (first.to, first.smtp_conn_id) == ("a@example.com", "smtp_default")
    assert first.html_content == "{{ rollout.text | e }}"  # a guardrail's error may have < and & in it
    assert (second.to, second.html_content) == (["b@example.com"], "x")


@pytest.mark.parametrize(
    ("alert", "said"),
    [
        (
            "{kind: slack, channel: '#x'}",
            "[0].kind: needs the package apache-airflow-providers-slack, which is not installed",
        ),
        ("{kind: pagerduty}", "[0].kind: needs the package apache-airflow-providers-pagerduty, which is not installed"),
        ("{kind: fax}", "[0].kind: expected 'slack', 'email', 'pagerduty' or 'notifier', got 'fax'"),
        ("{to: me}", "[0].kind: is missing; expected 'slack', 'email', 'pagerduty' or 'notifier'"),
        ("{kind: email, too: me, to: me}", "[0].too: is an unknown field; is 'to' meant?"),
        (
            "{kind: notifier, notifier: 'os:nope'}",
            "[0].notifier: cannot make 'os:nope': AttributeError: module 'os' has no",
        ),
    ],
)
def test_an_alert_that_cannot_be_made_is_a_mistake(tmp_path: Path, alert: str, said: str) -> None:
    (mistake,) = mistakes(tmp_path, f"{GOOD}on_hold: [{alert}]\n")
    assert mistake.startswith(f"plan.yaml:4: on_hold{said}")


def test_a_notifier_whose_import_fails_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slack = tmp_path / "airflow_slack.py"
    slack.write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = "airflow.providers.slack.notifications.slack"
    broken = importlib.util.spec_from_file_location(module, slack)
    finders = SimpleNamespace(find_spec=lambda name, path=None, target=None: broken if name == module else None)
    parents = {name: ModuleType(name) for name in ("airflow.providers.slack", "airflow.providers.slack.notifications")}
    for name, parent in parents.items():
        parent.__path__ = []
        monkeypatch.setitem(sys.modules, name, parent)
    monkeypatch.setattr(sys, "meta_path", [finders, *sys.meta_path])
    (mistake,) = mistakes(tmp_path, f"{GOOD}on_hold: [{{kind: slack, channel: '#x'}}]\n")
    assert f"importing {module} failed: No module named 'a_module_that_is_not_there'" in mistake


@pytest.mark.parametrize(
    ("empty", "field"),
    [
        ("window:", "window"),
        ("segment:", "segment"),
        ("approve_before:", "approve_before"),
        ("guardrails:", "guardrails"),
        ("hold_timeout: null", "hold_timeout"),
        ("check_every: ~", "check_every"),
        ("project_id:", "project_id"),
        ("window: {days: Mon, start: '09:00', end: , timezone: UTC}", "window.end"),
        ("create: {name: }", "create.name"),
        ("preview: {conn_id: w, sql: select 1, names: }", "preview.names"),
    ],
)
def test_a_field_with_nothing_behind_it_is_refused(tmp_path: Path, empty: str, field: str) -> None:
    said = mistakes(tmp_path, f"{GOOD}{empty}\nsoka: 1\n")
    assert said == [
        f"plan.yaml:4: {field}: must not be empty; remove it, or give it a value",
        "plan.yaml:5: soka: is an unknown field; is 'soak' meant?",
    ]


@pytest.mark.parametrize("kind", ["fifo", "folder", "link to nothing", "huge"])
def test_what_is_no_plan_file_is_a_mistake_and_hangs_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd.yaml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to nothing":
        path.symlink_to(tmp_path / "nowhere")
    else:
        with path.open("wb") as file:
            file.truncate(2_000_000)
    (tmp_path / "good.yaml").write_text(GOOD)
    odd, good = sorted(read_plans([tmp_path]), key=lambda read: isinstance(read, LoadedPlan))
    assert isinstance(good, LoadedPlan)
    assert isinstance(odd, PlanFileError)
    assert "odd.yaml:1: cannot be read: " in str(odd)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    (read,) = read_plans([tmp_path])
    assert str(read) == f"{tmp_path}/gone.yaml:1: cannot be read: No such file or directory"


def test_it_is_read_as_editors_read_it(tmp_path: Path) -> None:
    """YAML 1.2 applies. In 1.1, off is false, 09:00 is refused or a number, and 1e-2 and 2026-12-24 are not texts."""
    plan = read(
        tmp_path,
        f"flag: off\nproject_id: 100\nstages: [10, 100]\nsoak: 1h\nrollback: off\n"
        f"window: {{days: Mon, start: 09:00, end: 22:00, timezone: UTC, except_dates: [2026-12-24]}}\n"
        f"guardrails:\n  - kind: sql\n    name: on\n    at_most: 1e-2\n    at_least: -.5\n{SQL}",
    )
    assert (plan.flag, plan.project_id, plan.stages, plan.rollback) == ("off", "100", [10, 100], "off")
    assert plan.group_arguments()["window"] == ChangeWindow("Mon", "09:00", "22:00", "UTC", ["2026-12-24"])
    (guardrail,) = plan.group_arguments()["guardrails"]
    assert (guardrail.name, guardrail.at_most, guardrail.at_least) == ("on", 0.01, -0.5)


AS_WRITTEN = (
    *("007", "+48123456789", "0042", "-0", "-007", "+1", "00", "0x1F", "0o17", "0b1", "1:30", "190:20:30", "1_000"),
    *("2026-01-01", "2026-01-01T09:00:00Z", "yes", "No", "on", "off", "y", "12", "-12", "0", "1" * 30, ".inf", ".NaN"),
)


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_a_key_or_an_id_is_what_the_file_has(tmp_path: Path, text: str) -> None:
    """A changed text would be another user."""
    more = f"project_id: {text}\ncreate: {{deployments: [{text}]}}\ninclusions: {{on: [{text}]}}\n"
    plan = read(tmp_path, f"{GOOD}{more}".replace("checkout", text))
    assert plan.create is not None
    assert (plan.flag, plan.project_id, plan.create.deployments, plan.inclusions) == (
        text,
        text,
        [text],
        {"on": [text]},
    )
    with_id = read(tmp_path, GOOD.replace("flag: checkout", f"experiment_id: {text}"))
    assert with_id.target_arguments()["experiment_id"] == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("1.50", "1.5"), ("1e5", "100000.0"), ("+1.0", "1.0"), ("7.", "7.0"), (".5", "0.5"), ("true", "true")],
)
def test_a_key_or_an_id_that_yaml_would_change_needs_quotes(tmp_path: Path, text: str, shown: str) -> None:
    problem = f"expected a text, got {shown}; put it in quotes"
    assert mistakes(tmp_path, GOOD.replace("checkout", text)) == [f"plan.yaml:1: flag: {problem}"]
    said = mistakes(tmp_path, f"{GOOD}inclusions: {{on: [{text}]}}\n")
    assert said == [f"plan.yaml:4: inclusions.on[0]: {problem}"]
    said = mistakes(tmp_path, f"{GOOD}inclusions: {{{text}: [ann]}}\n")
    assert said == [f"plan.yaml:4: inclusions: expected the name of a field, got {text!r}; put it in quotes"]


@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        ("stages: [01, 5]", "2: stages[0]: expected a whole number, got '01'"),
        ("stages: [+1, 5]", "2: stages[0]: expected a whole number, got '+1'"),
        ("stages: [1, 0x10]", "2: stages[1]: expected a whole number, got '0x10'"),
        ("stages: [1, 100]\nretries: 03", "3: retries: expected a whole number, got '03'"),
        (
            "stages: [1, 100]\nrollback: 05",
            "3: rollback: expected 'start', 'previous', 'off', 'hold' or a percentage, got '05'",
        ),
    ],
)
def test_a_number_has_one_way_to_be_written(tmp_path: Path, more: str, mistake: str) -> None:
    assert mistakes(tmp_path, f"flag: a\n{more}\nsoak: 1h\n") == [f"plan.yaml:{mistake}"]


def test_fields_can_be_merged_and_their_lines_are_told(tmp_path: Path) -> None:
    text = (
        f"{GOOD}guardrails:\n  - &errors\n    kind: sql\n    name: errors\n    at_most: 1\n{SQL}"
        "  - <<: *errors\n    name: more errors\n    at_most: {}\n"
    )
    one, two = read(tmp_path, text.replace("{}", "2")).group_arguments()["guardrails"]
    assert (one.name, one.at_most, two.name, two.at_most) == ("errors", 1, "more errors", 2)
    assert mistakes(tmp_path, text.replace("{}", "x")) == [
        "plan.yaml:14: guardrails[1].at_most: expected a number, got 'x'"
    ]
    assert mistakes(tmp_path, text.replace("at_most: 1", "at_most: y").replace("\n    at_most: {}", "")) == [
        "plan.yaml:8: guardrails[0].at_most: expected a number, got 'y'",
        "plan.yaml:8: guardrails[1].at_most: expected a number, got 'y'",
    ]


def test_an_alias_cannot_make_it_endless(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    said = mistakes(tmp_path, f"{bomb}{GOOD}segment: *i\n")
    assert said[-1] == "plan.yaml:13: segment: expected a text, got a list"
    assert max(map(len, said)) < 200
    assert mistakes(tmp_path, f"{GOOD}segment: &own [*own]\n") == ["plan.yaml:4: segment: expected a text, got a list"]
    (one,) = mistakes(tmp_path, f"{GOOD}segment: '{{{{{'x' * 1000}'\n")
    assert one.startswith("plan.yaml:4: segment: '{{xxxx")
    assert one.count("x") < 100


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "stages: [1, x]\nsoak: 5\nwindow: {days: Foo, start: 09:00, end: 16:00, timezone: UTC}\nrollback: up\n"
    assert [mistake.split(": ")[1] for mistake in mistakes(tmp_path, text)] == [
        "stages[1]",
        "soak",
        "window.days",
        "rollback",
    ]


def test_a_script_in_place_of_a_module_of_functions_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_script.py").write_text("import sys\n\nsys.exit(2)\n")
    (said,) = mistakes(tmp_path, f"{GOOD}guardrails:\n  - kind: callable\n    function: a_script:check\n")
    assert said.startswith("plan.yaml:6: guardrails[0].function: cannot import 'a_script' ")


# The field, its value in a file, and its value for the operators.
SAID: dict[str, tuple[str, object]] = {
    "flag": ("checkout", "checkout"),
    "flag_id": ("848345", "848345"),
    "experiment": ("'404'", "404"),
    "experiment_id": ("848345", "848345"),
    "project_id": ("217854", "217854"),
    "connection": ("amplitude_eu", "amplitude_eu"),
    "stages": ("[1, {percentage: 25, soak: 30m}, {percentage: 50}, 100]", [1, Stage(25, "30m"), Stage(50), 100]),
    "soak": ("1d 12h", timedelta(days=1, hours=12)),
    "segment": ("Beta", "Beta"),
    "guardrails": (
        "[{kind: sql, name: errors, conn_id: w, sql: select 1, no_data: hold, at_most: 1}]",
        [SqlGuardrail("w", "select 1", name="errors", no_data="hold", at_most=1)],
    ),
    "check_every": ("15m", timedelta(minutes=15)),
    "window": (
        "{days: Mon-Thu, start: 09:00, end: 16:00, timezone: Europe/Berlin, except_dates: [2026-12-24]}",
        ChangeWindow("Mon-Thu", "09:00", "16:00", "Europe/Berlin", ["2026-12-24"]),
    ),
    "preview": (
        "{conn_id: w, sql: select 1, group_by: [tier], sums: [revenue], names: account, refuse_if: {tier: [pro, 1]}}",
        RolloutPreview(
            "w", "select 1", group_by=["tier"], sums=["revenue"], names="account", refuse_if={"tier": ["pro", "1"]}
        ),
    ),
    "rollback": ("5", 5),
    "on_drift": ("adopt", "adopt"),
    "hold_tag": ("please-wait", "please-wait"),
    "if_changed_since": ("skip", "skip"),
    "catch_all": ("Rest", "Rest"),
    "preflight": ("false", False),
    "hold_timeout": ("2d", timedelta(days=2)),
    "on_hold_timeout": ("rollback", "rollback"),
    "record_path": ("s3://aws@audit/rollouts", "s3://aws@audit/rollouts"),
    "heartbeat_path": ("s3://aws@ops/heartbeats", "s3://aws@ops/heartbeats"),
    "sticky": ("switch_off", "switch_off"),
    "decided": ("ignore", "ignore"),
    "enable": ("false", False),
    "poll_interval": ("1m 30s", 90.0),
    "deferrable": ("false", False),
    **{
        name: ("[{kind: notifier, notifier: 'builtins:print'}]", [print])
        for name in ("on_rollback", "on_abort", "on_hold", "on_approval_needed")
    },
    "approve_before": ("[50, 100]", [50, 100]),
    "approvers": ("[ana, bob]", ["ana", "bob"]),
    "approval_timeout": ("2d", timedelta(days=2)),
    "on_reject": ("hold", "hold"),
    "on_no_answer": ("rollback", "rollback"),
}


@pytest.mark.parametrize("field", ARGUMENTS)
def test_what_a_file_says_is_what_the_group_gets(tmp_path: Path, field: str) -> None:
    text, expected = SAID[field]
    least = {"flag": "checkout", "stages": "[1, 50, 100]", "soak": "1h"}
    if field in ("flag_id", "experiment", "experiment_id"):
        del least["flag"]
    if field in ("approvers", "approval_timeout"):
        least["approve_before"] = "[50]"
    if field == "heartbeat_path":
        least["guardrails"] = SAID["guardrails"][0]
    plan = read(tmp_path, "".join(f"{name}: {value}\n" for name, value in {**least, field: text}.items()))
    arguments = plan.group_arguments()
    assert arguments[ARGUMENTS[field]] == expected
    assert set(arguments) == {ARGUMENTS[name] for name in {*least, field}}  # other arguments keep their defaults


def test_every_argument_of_the_group_is_a_field() -> None:
    from airflow_provider_ampexp.operators._base import AmplitudeOperator, AmplitudeTargetOperator
    from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
    from airflow_provider_ampexp.task_groups.rollout import staged_rollout

    takers = (
        staged_rollout,
        AmplitudeRampRolloutOperator.__init__,
        AmplitudeTargetOperator.__init__,
        AmplitudeOperator.__init__,
    )
    taken = {
        name
        for taker in takers
        for name, parameter in inspect.signature(inspect.unwrap(taker)).parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and name not in ("self", "group_id", "plan")
    }
    assert set(ARGUMENTS.values()) == taken


@pytest.mark.parametrize(
    ("model", "guardrail"),
    [(SqlFields, SqlGuardrail), (SampleRatioFields, SampleRatioGuardrail), (HoldbackFields, HoldbackGuardrail)],
)
def test_every_argument_of_a_guardrail_is_a_field(model: Any, guardrail: Any) -> None:
    fields = {field.name: field for field in dataclasses.fields(guardrail)}
    assert set(model.model_fields) == {"kind", *fields}
    for name, field in model.model_fields.items():
        if name not in ("kind", "no_data_grace", "load_timeout", "lookback", "timeout"):
            default = None if field.is_required() else field.default
            own = fields[name].default
            assert default == (None if own is dataclasses.MISSING else own), name
            assert field.is_required() == (own is dataclasses.MISSING), name


def test_every_argument_of_a_function_is_a_field(tmp_path: Path) -> None:
    assert set(CallableFields.model_fields) == {"kind", *inspect.signature(CallableGuardrail).parameters}
    text = (
        f"{GOOD}guardrails:\n  - kind: callable\n    function: {__name__}:is_fine\n"
        f"  - kind: callable\n    function: {__name__}:is_fine\n    name: b\n"
        "    effect: hold\n    dry_run: true\n    failure_limit: 2\n"
    )
    guardrails: list[Guardrail] = read(tmp_path, text).group_arguments()["guardrails"]
    one, two = guardrails
    assert (one.name, one.consequence.effect, one.consequence.failure_limit) == ("is_fine", "rollback", 1)
    assert (two.name, two.consequence.effect, two.consequence.failure_limit) == ("b", "hold", 2)
    assert two.consequence.dry_run


def test_the_dag_that_a_file_describes(tmp_path: Path) -> None:
    plan = read(tmp_path, GOOD, name="new-checkout.yaml")
    assert plan.dag_arguments() == {
        "dag_id": "new-checkout",
        "description": None,
        "schedule": None,
        "start_date": None,
        "tags": [],
        "default_args": {},
        "catchup": False,
        "max_active_runs": 1,
    }
    plan = read(
        tmp_path,
        f"{GOOD}dag_id: release\ndescription: New\nschedule: '@once'\nstart_date: 2026-03-02T09:00+01:00\ntags: [a]\n"
        "owner: ana\nretries: 2\nretry_delay: 5m\npool: amplitude\n",
    )
    assert plan.dag_arguments() == {
        "dag_id": "release",
        "description": "New",
        "schedule": "@once",
        "start_date": datetime(2026, 3, 2, 8, tzinfo=timezone.utc),
        "tags": ["a"],
        "default_args": {"owner": "ana", "retries": 2, "retry_delay": timedelta(minutes=5), "pool": "amplitude"},
        "catchup": False,
        "max_active_runs": 1,
    }
    assert read(tmp_path, f"{GOOD}start_date: 2026-03-02\n").start_date == datetime(2026, 3, 2, tzinfo=timezone.utc)
    in_utc = read(tmp_path, f"{GOOD}start_date: 2026-03-02T09:00:30Z\n").start_date
    assert in_utc == datetime(2026, 3, 2, 9, 0, 30, tzinfo=timezone.utc)


def test_defaults_hold_where_a_file_says_nothing(tmp_path: Path) -> None:
    text = "flag: checkout\nstages: [1, 100]\n"
    plan = read(tmp_path, text, soak=timedelta(hours=2), connection="amplitude_eu")
    assert (plan.soak, plan.connection) == (timedelta(hours=2), "amplitude_eu")
    assert read(tmp_path, GOOD, soak="2h").soak == timedelta(hours=1)
    assert mistakes(tmp_path, text, soak="nix")[0].startswith("plan.yaml:1: soak: expected a duration such as")
    with pytest.raises(InvalidInputError, match=r"^sok: is an unknown field; is 'soak' meant\?$"):
        read_plans([tmp_path], {"sok": "1h"})


def test_of_two_files_for_one_dag_neither_is_read(tmp_path: Path) -> None:
    (tmp_path / "eu").mkdir()
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(f"{GOOD}dag_id: a\n")
    (tmp_path / "eu" / "c.yml").write_text(GOOD)
    (tmp_path / ".hidden.yaml").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    one, two, three = read_plans([tmp_path])
    assert str(one) == f"{tmp_path}/a.yaml:1: dag_id: {tmp_path}/b.yaml also has 'a', so neither is loaded; rename one"
    assert str(two) == f"{tmp_path}/b.yaml:4: dag_id: {tmp_path}/a.yaml also has 'a', so neither is loaded; rename one"
    assert not isinstance(three, PlanFileError)
    assert three.plan.dag_id == "c"


WHOLE = Path(__file__).parents[2] / "example_dags" / "rollouts" / "new-checkout.yaml"
LINES = WHOLE.read_text().splitlines()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(LINES) - 1),
            st.sampled_from(["drop", "again", "indent", "null", "alias"])
            | st.text("abc0123:-[]{}&*!|'\"\t% ", max_size=8),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_is_written_there_the_mistakes_have_lines(tmp_path: Path, edits: list[tuple[int, str]]) -> None:
    lines = list(LINES)
    for place, edit in edits:
        name, colon, _ = lines[place].partition(":")
        lines[place] = {
            "drop": "",
            "again": f"{lines[place]}\n{lines[place]}",
            "indent": f"  {lines[place]}",
            "null": f"{name}:",
            "alias": f"{name}: &x [*x]",
        }.get(edit, f"{name}{colon} {edit}")
    text = "\n".join(lines)
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    (done,) = read_plans([path])
    for mistake in done.mistakes if isinstance(done, PlanFileError) else ():
        assert 1 <= mistake.line <= text.count("\n") + 1
        assert mistake.problem
        assert not mistake.problem.startswith("cannot be read")  # the text for an unexpected error
        assert "\n" not in str(mistake)


@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        ("approvers: [eve]\n", "4: approvers: is about approvals, and approve_before names no stage that needs one"),
        ("on_failure_callback: nowhere:f\n", "4: on_failure_callback: cannot import 'nowhere'"),
        ("create: {variants: [on], nam: x}\n", "4: create.nam: is an unknown field; is 'name' meant?"),
        ("inclusions: {on: []}\n", "4: inclusions.on: must not be empty"),
    ],
)
def test_what_stands_around_a_rollout_is_checked(tmp_path: Path, more: str, mistake: str) -> None:
    assert mistakes(tmp_path, f"{GOOD}{more}")[0].startswith(f"plan.yaml:{mistake}")


def test_what_has_an_id_is_not_created(tmp_path: Path) -> None:
    said = mistakes(tmp_path, f"{GOOD}create: {{}}\n".replace("flag: checkout", "flag_id: 7"))
    assert said == ["plan.yaml:4: create: needs flag or experiment (a key); an object with an id already exists"]


@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        ("pool: None", "4: pool: expected a text, got 'None'; remove it, or give it a value"),
        ("owner: None", "4: owner: expected a text, got 'None'; remove it, or give it a value"),
        ("tags: [None]", "4: tags[0]: expected a text, got 'None'; remove it, or give it a value"),
        ("dag_id: ''", "4: dag_id: '' should match pattern '^[\\w.-]+$'"),
        (
            "project_id: |\n  1",
            "4: project_id: expected a text without spaces around it and without line ends, got '1\\n'",
        ),
        ("create: {name: ''}", "4: create.name: '' should have at least 1 character"),
        ("approve_before: [1]\napprovers: ['']", "5: approvers[0]: '' should have at least 1 character"),
        ("on_abort: [{kind: email, to: []}]", "4: on_abort[0].to: expected one or more recipients, got an empty list"),
    ],
)
def test_an_empty_value_is_not_the_default(tmp_path: Path, more: str, mistake: str) -> None:
    assert mistakes(tmp_path, f"{GOOD}{more}\n") == [f"plan.yaml:{mistake}"]


@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        ("create:\n  variants:\n    - name: on", "6: create.variants[0].key: is required"),
        ("create:\n  rollout_weights: {}", "5: create.rollout_weights: expected at least one variant, got none"),
        (
            "inclusions:\n  on: [ann]\n  None: [bob]",
            "6: inclusions.None: expected a text, got 'None': a Param or an XCom is missing",
        ),
    ],
)
def test_a_mistake_before_the_first_stage_has_the_field_of_the_file(tmp_path: Path, more: str, mistake: str) -> None:
    from airflow_provider_ampexp.plans._dag_factory import rollout_dag

    (tmp_path / "plan.yaml").write_text(f"{GOOD}{more}\n")
    (loaded,) = read_plans([tmp_path])
    assert isinstance(loaded, LoadedPlan)
    with pytest.raises(PlanFileError) as refused:
        rollout_dag(loaded)
    assert str(refused.value).removeprefix(f"{tmp_path}/") == f"plan.yaml:{mistake}"
