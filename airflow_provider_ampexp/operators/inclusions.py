"""Inclusions: users, devices or cohorts that always get a variant, independent of the rollout percentage."""

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
    "AmplitudeAddCohortsOperator",
    "AmplitudeAddInclusionsOperator",
    "AmplitudeClearInclusionsOperator",
    "AmplitudeRemoveCohortsOperator",
    "AmplitudeRemoveInclusionsOperator",
    "AmplitudeSetCohortsOperator",
    "AmplitudeSetInclusionsOperator",
]


class AmplitudeClearInclusionsOperator(AmplitudeTargetChangeOperator):
    """Remove all inclusions of a variant (contract: *Remove all users from variant*).

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "variant")
    what = "clear the inclusions of"

    def __init__(self, *, variant: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        arguments.check_literal("variant", variant, arguments.text)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove all inclusions."""
        return ensure.ensure_no_inclusions(client, target, arguments.text("variant", self.variant))


class _AmplitudeInclusionsOperator(AmplitudeTargetChangeOperator):
    """The base of the operators for a list of users or devices."""

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "variant", "users")
    read_list = staticmethod(arguments.identifiers)

    def __init__(self, *, variant: str, users: Sequence[str] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        self.users = users
        arguments.check_literal("variant", variant, arguments.text)
        arguments.check_literal("users", users, self.read_list)

    def _variant_and_users(self) -> tuple[str, list[str]]:
        return arguments.text("variant", self.variant), self.read_list("users", self.users)


class AmplitudeAddInclusionsOperator(_AmplitudeInclusionsOperator):
    """Make sure that a variant includes these users or devices (contract: *Add users to variant*). Others stay.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: user or device ids (templated). A variant can have at most 2,000 inclusions.
    """

    what = "add inclusions to"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add the missing users."""
        return ensure.ensure_included(client, target, *self._variant_and_users())


class AmplitudeRemoveInclusionsOperator(_AmplitudeInclusionsOperator):
    """Make sure that a variant includes none of these users or devices (contract: *Remove users from variant*).

    Other inclusions stay.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: user or device ids (templated)

    The task removes by value, up to 100 users with each request. If the service does not support that, the task removes
    by place, with two requests for each user.
    """

    what = "remove inclusions from"
    read_list = staticmethod(arguments.texts)  # accepts ids with spaces around them, which were included by mistake

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the included users of this list."""
        return ensure.ensure_not_included(client, target, *self._variant_and_users())


class AmplitudeSetInclusionsOperator(_AmplitudeInclusionsOperator):
    """Make sure that a variant includes exactly these users or devices: add the missing ones, and remove all others.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: at most 2,000 user or device ids (templated). An empty list removes all inclusions.
    """

    what = "set the inclusions of"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add the missing users, and remove all others."""
        return ensure.ensure_exactly_included(client, target, *self._variant_and_users())


class _AmplitudeCohortsOperator(AmplitudeTargetChangeOperator):
    """The base of the operators for a list of cohorts."""

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "variant", "cohorts")
    read_list = staticmethod(arguments.identifiers)

    def __init__(self, *, variant: str, cohorts: Sequence[str] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        self.cohorts = cohorts
        arguments.check_literal("variant", variant, arguments.text)
        arguments.check_literal("cohorts", cohorts, self.read_list)

    def _variant_and_cohorts(self) -> tuple[str, list[str]]:
        return arguments.text("variant", self.variant), self.read_list("cohorts", self.cohorts)


class AmplitudeAddCohortsOperator(_AmplitudeCohortsOperator):
    """Make sure that the users of these cohorts get the variant. Other cohorts and the included users stay.

    The contract does not have cohorts as inclusions. The live service has them. With another service the task fails.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param cohorts: cohort ids, as in the address of a cohort's page in Amplitude (templated)
    """

    what = "add cohorts to"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add the missing cohorts."""
        return ensure.ensure_cohorts_included(client, target, *self._variant_and_cohorts())


class AmplitudeRemoveCohortsOperator(_AmplitudeCohortsOperator):
    """Make sure that none of these cohorts is included. Other cohorts and the included users stay.

    The task takes the arguments of :class:`AmplitudeAddCohortsOperator`. It removes up to 100 cohorts with each
    request. The contract does not have this call.
    """

    what = "remove cohorts from"
    read_list = staticmethod(arguments.texts)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the included cohorts of this list."""
        return ensure.ensure_cohorts_not_included(client, target, *self._variant_and_cohorts())


class AmplitudeSetCohortsOperator(_AmplitudeCohortsOperator):
    """Make sure that exactly these cohorts are included. The included users stay.

    The task takes the arguments of :class:`AmplitudeAddCohortsOperator`. An empty list removes all cohorts. The
    contract does not have these calls.
    """

    what = "set the cohorts of"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove all other cohorts, and add the missing ones."""
        return ensure.ensure_exactly_cohorts(client, target, *self._variant_and_cohorts())
