"""Observe a live flag, decide, act. No Airflow."""
