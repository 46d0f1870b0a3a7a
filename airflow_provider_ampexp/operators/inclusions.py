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
        """Remove all users."""
        return ensure.ensure_no_inclusions(client, target, arguments.text("variant", self.variant))


class _AmplitudeInclusionsOperator(AmplitudeTargetChangeOperator):
    """What the operators for a list of users have in common."""

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
    """Make sure that these users or devices get the variant (contract: *Add users to variant*). Others stay.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: user or device ids (templated). A variant has 2,000 at most.
    """

    what = "add inclusions to"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add who is missing."""
        return ensure.ensure_included(client, target, *self._variant_and_users())


class AmplitudeRemoveInclusionsOperator(_AmplitudeInclusionsOperator):
    """Make sure that none of these users or devices is included (contract: *Remove users from variant*). Others stay.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: user or device ids (templated)

    Removes by value, 100 in a request. Where the service cannot, it removes by place, two requests for each user.
    """

    what = "remove inclusions from"
    read_list = staticmethod(arguments.texts)  # also ids with spaces around them, which were included by mistake

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove who is there."""
        return ensure.ensure_not_included(client, target, *self._variant_and_users())


class AmplitudeSetInclusionsOperator(_AmplitudeInclusionsOperator):
    """Make sure that exactly these users or devices are included: adds who is missing and removes all others.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param users: user or device ids (templated), 2,000 at most. An empty list removes all users.
    """

    what = "set the inclusions of"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add who is missing, remove who is too many."""
        return ensure.ensure_exactly_included(client, target, *self._variant_and_users())


class _AmplitudeCohortsOperator(AmplitudeTargetChangeOperator):
    """What the operators for a list of cohorts have in common."""

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

    The contract does not have cohorts as inclusions. The live service has them; with another service the task fails.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param cohorts: cohort ids, as in the address of a cohort's page in Amplitude (templated)
    """

    what = "add cohorts to"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add the missing cohorts."""
        return ensure.ensure_cohorts_included(client, target, *self._variant_and_cohorts())


class AmplitudeRemoveCohortsOperator(_AmplitudeCohortsOperator):
    """Make sure that none of these cohorts is included. Other cohorts and the included users stay.

    Takes the arguments of :class:`AmplitudeAddCohortsOperator`. Removes 100 cohorts in a request. The contract does not
    have this call.
    """

    what = "remove cohorts from"
    read_list = staticmethod(arguments.texts)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the included ones of these cohorts."""
        return ensure.ensure_cohorts_not_included(client, target, *self._variant_and_cohorts())


class AmplitudeSetCohortsOperator(_AmplitudeCohortsOperator):
    """Make sure that exactly these cohorts are included. The included users stay.

    Takes the arguments of :class:`AmplitudeAddCohortsOperator`. An empty list removes all cohorts. The contract does
    not have these calls.
    """

    what = "set the cohorts of"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the other cohorts, and add the missing ones."""
        return ensure.ensure_exactly_cohorts(client, target, *self._variant_and_cohorts())
