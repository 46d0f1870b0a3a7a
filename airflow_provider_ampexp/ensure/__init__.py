"""Bring one object to a state: read, compare, write only the difference, read back.

Each function brings one part of a flag or experiment to a state and returns a ``ChangeResult``. A second run changes
nothing. After a lost response, a function reads the object before it repeats the change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp._lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_ampexp.ensure._archive import IfDependedOn, ensure_archived
    from airflow_provider_ampexp.ensure._cohorts import (
        ensure_cohorts_included,
        ensure_cohorts_not_included,
        ensure_exactly_cohorts,
    )
    from airflow_provider_ampexp.ensure._creation import ensure_created
    from airflow_provider_ampexp.ensure._decision import Decision, ensure_decision
    from airflow_provider_ampexp.ensure._dependencies import DependencyOperator, ensure_dependencies
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
    from airflow_provider_ampexp.ensure._group_members import ensure_in_group, ensure_not_in_group
    from airflow_provider_ampexp.ensure._group_ref import GroupRef
    from airflow_provider_ampexp.ensure._groups import ensure_group, ensure_group_fields
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
    from airflow_provider_ampexp.ensure._version import RESTORED_FIELDS, Restoration, ensure_version
    from airflow_provider_ampexp.ensure._weights import ensure_weights

__all__ = [
    "RESTORED_FIELDS",
    "AlreadyExistsError",
    "ArchivedError",
    "ChangeNotVisibleError",
    "ChangeResult",
    "ChangeResultXCom",
    "ConflictError",
    "Decision",
    "DependencyOperator",
    "EnsureError",
    "FlagRef",
    "GroupRef",
    "IfDependedOn",
    "IfExists",
    "MissingFieldError",
    "OtherProjectError",
    "Restoration",
    "TargetNotFoundError",
    "UnconfirmedWriteError",
    "WrongStateError",
    "ensure_archived",
    "ensure_assigned",
    "ensure_cohorts_included",
    "ensure_cohorts_not_included",
    "ensure_created",
    "ensure_decision",
    "ensure_dependencies",
    "ensure_deployment",
    "ensure_deployment_fields",
    "ensure_exactly_cohorts",
    "ensure_exactly_included",
    "ensure_fields",
    "ensure_group",
    "ensure_group_fields",
    "ensure_in_group",
    "ensure_included",
    "ensure_no_inclusions",
    "ensure_not_assigned",
    "ensure_not_in_group",
    "ensure_not_included",
    "ensure_percentage",
    "ensure_variant",
    "ensure_variant_absent",
    "ensure_variant_fields",
    "ensure_version",
    "ensure_weights",
    "flag_url",
]

if not TYPE_CHECKING:  # with it, a type checker would accept any name
    __getattr__ = lazy_names(
        __name__,
        {
            "_archive": ["IfDependedOn", "ensure_archived"],
            "_cohorts": ["ensure_cohorts_included", "ensure_cohorts_not_included", "ensure_exactly_cohorts"],
            "_creation": ["ensure_created"],
            "_decision": ["Decision", "ensure_decision"],
            "_dependencies": ["DependencyOperator", "ensure_dependencies"],
            "_deployments": ["ensure_assigned", "ensure_deployment", "ensure_deployment_fields", "ensure_not_assigned"],
            "_edit": ["ensure_fields"],
            "_errors": [
                "AlreadyExistsError",
                "ArchivedError",
                "ChangeNotVisibleError",
                "ConflictError",
                "EnsureError",
                "MissingFieldError",
                "OtherProjectError",
                "TargetNotFoundError",
                "UnconfirmedWriteError",
                "WrongStateError",
            ],
            "_flag_ref": ["FlagRef", "flag_url"],
            "_group_members": ["ensure_in_group", "ensure_not_in_group"],
            "_group_ref": ["GroupRef"],
            "_groups": ["ensure_group", "ensure_group_fields"],
            "_inclusions": [
                "ensure_exactly_included",
                "ensure_included",
                "ensure_no_inclusions",
                "ensure_not_included",
            ],
            "_result": ["ChangeResult", "ChangeResultXCom"],
            "_rollout_percentage": ["ensure_percentage"],
            "_variants": ["IfExists", "ensure_variant", "ensure_variant_absent", "ensure_variant_fields"],
            "_version": ["RESTORED_FIELDS", "Restoration", "ensure_version"],
            "_weights": ["ensure_weights"],
        },
    )
