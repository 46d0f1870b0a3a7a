"""Archive a flag or experiment, unless others depend on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from airflow_provider_ampexp.ensure._dependencies import dependents
from airflow_provider_ampexp.ensure._edit import write_validated_fields
from airflow_provider_ampexp.ensure._errors import WrongStateError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._result import ChangeResult

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

IfDependedOn = Literal["fail", "archive"]


def ensure_archived(
    client: ManagementClient, target: FlagRef, *, if_depended_on: IfDependedOn = "fail"
) -> ChangeResult:
    """Archive an object, so that no user gets a variant of it.

    1 request without a change, 3 with a change, and 1 for each 1,000 flags and each 1,000 experiments of the project.

    :param if_depended_on: if a flag or experiment in use depends on it: ``fail`` raises, ``archive`` does not read the
        others
    :raises WrongStateError: names the flags and experiments that depend on it
    """
    config = target.read(client)
    is_checked = not config.get("deleted") and if_depended_on == "fail"
    if is_checked and (found := dependents(client, config)):
        raise WrongStateError(
            f"Archiving {target} failed: it is a dependency of {', '.join(found)}, whose users would get no "
            "variant. Nothing was changed. Remove the dependency, or set if_depended_on='archive'."
        )
    return write_validated_fields(client, target, config, {"archive": True})
