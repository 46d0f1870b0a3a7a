"""Create a DAG for each file in `rollouts/`, so that a release is written in YAML, without Python.

`python -m airflow_provider_ampexp.plans check example_dags/rollouts` prints all mistakes, for CI. A file with mistakes
does not affect the other files. Its DAG fails with the mistakes, and each mistake is a warning in the DAG processor's
log of this file.
"""

from __future__ import annotations

from airflow_provider_ampexp.plans import rollout_dags

rollout_dags("rollouts/", tags=["amplitude", "rollout", "plan-file"])
