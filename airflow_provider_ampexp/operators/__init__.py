"""Operators that change or read flags, experiments and deployments. Each module has its own public operators::

from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
"""
