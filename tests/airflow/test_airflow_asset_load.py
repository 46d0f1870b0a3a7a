"""A guardrail that waits for an event of an asset, as docs/guardrails.md shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.sdk import DAG
from airflow_runs import Run

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult

PAGE = Path(__file__).parents[2] / "docs" / "guardrails.md"


def example() -> dict[str, Any]:
    """Run the code of the page with a soak of a second, and return its names."""
    (source,) = re.findall(r"### With an asset.*?^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(source.replace('"1d"', '"1s"').replace('"10m"', '"1s"'), "guardrails.md", "exec"), names)
    return names


def load(until: str) -> None:
    """Add the event of a load."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        asset = session.scalars(select(AssetModel).where(AssetModel.name == "checkouts")).one()
        session.add(AssetEvent(asset_id=asset.id, extra={"loaded_until": until}))


def test_a_rollout_goes_on_with_the_load_that_covers_its_soak(run: Callable[[DAG], Run], emulator: Emulator) -> None:
    emulator.create_flag("new-checkout", variants=[{"key": "on"}])
    dag = example()["dag"]
    (guardrail,) = dag.get_task("ramp").guardrails
    loads = iter([None, "2020-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00"])
    check = guardrail._function

    def checked(moment: CheckContext) -> CheckResult:
        if not moment.is_preflight and (until := next(loads)):
            load(until)
        found: CheckResult = check(moment)
        return found

    guardrail._function = checked
    ran = run(dag)
    assert ran.succeeded, ran.states
    said = [line["why"] for line in ran.xcom("ramp", RECORD_XCOM) if line["what"] == "check"]
    assert said == [
        "checkouts are loaded up to None",
        "checkouts are loaded up to 2020-01-01 00:00:00+00:00",
        "checkouts are loaded up to 2099-01-01 00:00:00+00:00",
    ]
