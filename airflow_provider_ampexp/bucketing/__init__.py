"""The evaluation of users: the hash and the order of the vendor. Pure functions, no Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp._lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_ampexp.bucketing._allocation import Allocation
    from airflow_provider_ampexp.bucketing._audience import Audience
    from airflow_provider_ampexp.bucketing._conditions import Unknown
    from airflow_provider_ampexp.bucketing._hash import Bucketer, bucket, buckets

__all__ = ["Allocation", "Audience", "Bucketer", "Unknown", "bucket", "buckets"]

if not TYPE_CHECKING:  # with it, a type checker would accept any name
    __getattr__ = lazy_names(
        __name__,
        {
            "_allocation": ["Allocation"],
            "_audience": ["Audience"],
            "_conditions": ["Unknown"],
            "_hash": ["Bucketer", "bucket", "buckets"],
        },
    )
