"""Bring one object to a state: read, compare, write only the difference, read back.

Each function brings one part of a flag or experiment to a state and returns a ``ChangeResult``. A second run changes
nothing. After a lost response, a function reads the object before it repeats the change.
"""

from __future__ import annotations

from airflow_provider_ampexp.ensure._creation import ensure_created
from airflow_provider_ampexp.ensure._deployments import (
    ensure_assigned,
    ensure_deployment,
    ensure_deployment_fields,
    ensure_not_assigned,
)
from airflow_provider_ampexp.ensure._edit import ensure_fields
from airflow_provider_ampexp.ensure._errors import (
    AlreadyExistsError,
    ArchivedError,
    ChangeNotVisibleError,
    ConflictError,
    EnsureError,
    MissingFieldError,
    OtherProjectError,
    TargetNotFoundError,
    UnconfirmedWriteError,
    WrongStateError,
)
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, flag_url
from airflow_provider_ampexp.ensure._inclusions import (
    ensure_exactly_included,
    ensure_included,
    ensure_no_inclusions,
    ensure_not_included,
)
from airflow_provider_ampexp.ensure._result import ChangeResult, ChangeResultXCom
from airflow_provider_ampexp.ensure._rollout_percentage import ensure_percentage
from airflow_provider_ampexp.ensure._variants import (
    IfExists,
    ensure_variant,
    ensure_variant_absent,
    ensure_variant_fields,
)
from airflow_provider_ampexp.ensure._weights import ensure_weights

__all__ = [
    "AlreadyExistsError",
    "ArchivedError",
    "ChangeNotVisibleError",
    "ChangeResult",
    "ChangeResultXCom",
    "ConflictError",
    "EnsureError",
    "FlagRef",
    "IfExists",
    "MissingFieldError",
    "OtherProjectError",
    "TargetNotFoundError",
    "UnconfirmedWriteError",
    "WrongStateError",
    "ensure_assigned",
    "ensure_created",
    "ensure_deployment",
    "ensure_deployment_fields",
    "ensure_exactly_included",
    "ensure_fields",
    "ensure_included",
    "ensure_no_inclusions",
    "ensure_not_assigned",
    "ensure_not_included",
    "ensure_percentage",
    "ensure_variant",
    "ensure_variant_absent",
    "ensure_variant_fields",
    "ensure_weights",
    "flag_url",
]
