"""Inclusions: users or devices that always get a variant, independent of the rollout percentage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import AmplitudeTargetChangeOperator

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.ensure import ChangeResult, FlagRef

__all__ = [
    "AmplitudeAddInclusionsOperator",
    "AmplitudeClearInclusionsOperator",
    "AmplitudeRemoveInclusionsOperator",
    "AmplitudeSetInclusionsOperator",
]


class AmplitudeClearInclusionsOperator(AmplitudeTargetChangeOperator):
    """Remove all inclusions of a variant (contract: *Remove all users from variant*).

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "variant")
    what = "clear the inclusions of"

    def __init__(self, *, variant: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        arguments.check_literal("variant", variant, arguments.text)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove all users and devices."""
        return ensure.ensure_no_inclusions(client, target, arguments.text("variant", self.variant))


class _AmplitudeInclusionsOperator(AmplitudeTargetChangeOperator):
    """Change the inclusions of a variant by a list of users."""

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "variant", "users")

    def __init__(self, *, variant: str, users: Sequence[str] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        self.users = users
        arguments.check_literal("variant", variant, arguments.text)
        arguments.check_literal("users", users, arguments.texts)

    def _variant_and_users(self) -> tuple[str, list[str]]:
        return arguments.text("variant", self.variant), arguments.texts("users", self.users)


class AmplitudeAddInclusionsOperator(_AmplitudeInclusionsOperator):
    """Make sure that these users or devices get the variant (contract: *Add users to variant*).

    Other inclusions stay.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: user or device ids (templated). A variant can have at most 2,000.
    """

    what = "add inclusions to"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add the users that are missing."""
        return ensure.ensure_included(client, target, *self._variant_and_users())


class AmplitudeRemoveInclusionsOperator(_AmplitudeInclusionsOperator):
    """Make sure that none of these users is included (contract: *Remove users from variant*).

    Other inclusions stay. The task removes 100 users in a request. If the service cannot remove by value, the task
    needs 2 requests for each removed user.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: user or device ids (templated)
    """

    what = "remove inclusions from"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the users that are included."""
        return ensure.ensure_not_included(client, target, *self._variant_and_users())


class AmplitudeSetInclusionsOperator(_AmplitudeInclusionsOperator):
    """Make sure that exactly these users or devices are included.

    The task adds the users that are missing and removes all others.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: user or device ids (templated), at most 2,000. An empty list removes all inclusions.
    """

    what = "set the inclusions of"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add the users that are missing and remove all others."""
        return ensure.ensure_exactly_included(client, target, *self._variant_and_users())
