"""Names that only a running task needs. Operators import this module inside functions, to parse DAG files faster."""

from __future__ import annotations

from airflow_provider_ampexp.ensure._sticky import weighed_notes
from airflow_provider_ampexp.operators._asset_events import emit_asset_events
from airflow_provider_ampexp.operators._attempts import NO_RETRY, this_attempt
from airflow_provider_ampexp.operators._outdated_run import refuse_before_a_write

__all__ = ["NO_RETRY", "emit_asset_events", "refuse_before_a_write", "this_attempt", "weighed_notes"]
