"""Say what should be, not what to do: read, compare, write only the difference, read back.

Every function of this room brings one thing of a flag or experiment to a state and returns an ``Outcome``. Run twice,
it changes nothing the second time. When the answer to a change is lost, it reads before it repeats.
"""

from __future__ import annotations

from airflow_provider_ampexp.ensure._creation import ensure_exists
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
    EnsureError,
    MissingFieldError,
    NotAppliedError,
    OtherProjectError,
    OverwrittenError,
    TargetNotFoundError,
    UnsettledError,
    WrongStateError,
)
from airflow_provider_ampexp.ensure._flag_ref import Target, url_of
from airflow_provider_ampexp.ensure._inclusions import (
    ensure_exactly_included,
    ensure_included,
    ensure_nobody_included,
    ensure_not_included,
)
from airflow_provider_ampexp.ensure._result import Outcome, OutcomeXCom
from airflow_provider_ampexp.ensure._rollout_percentage import ensure_percentage
from airflow_provider_ampexp.ensure._variants import (
    IfExists,
    ensure_no_variant,
    ensure_variant,
    ensure_variant_fields,
)
from airflow_provider_ampexp.ensure._weights import ensure_weights

__all__ = [
    "AlreadyExistsError",
    "ArchivedError",
    "EnsureError",
    "IfExists",
    "MissingFieldError",
    "NotAppliedError",
    "OtherProjectError",
    "Outcome",
    "OutcomeXCom",
    "OverwrittenError",
    "Target",
    "TargetNotFoundError",
    "UnsettledError",
    "WrongStateError",
    "ensure_assigned",
    "ensure_deployment",
    "ensure_deployment_fields",
    "ensure_exactly_included",
    "ensure_exists",
    "ensure_fields",
    "ensure_included",
    "ensure_no_variant",
    "ensure_nobody_included",
    "ensure_not_assigned",
    "ensure_not_included",
    "ensure_percentage",
    "ensure_variant",
    "ensure_variant_fields",
    "ensure_weights",
    "url_of",
]
