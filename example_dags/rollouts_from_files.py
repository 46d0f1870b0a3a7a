"""A DAG for each file in `rollouts/`: releases for those who would rather write YAML than Python.

`python -m airflow_provider_ampexp.plans check example_dags/rollouts` tells every mistake, for CI. A file with
mistakes hides no other one: it becomes a warning in the DAG processor's log of this file.
"""

from __future__ import annotations

from airflow_provider_ampexp.plans import rollout_dags

rollout_dags("rollouts/", tags=["amplitude", "rollout", "plan-file"])
