"""A reference to a mutual exclusion group or a holdout group, by its key in a project or by its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import NotFoundError, UnsupportedError
from airflow_provider_ampexp.ensure._errors import TargetNotFoundError, WrongStateError
from airflow_provider_ampexp.ensure._flag_ref import ObjectRef, only_way

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._groups import GroupEndpoints, GroupKind
    from airflow_provider_ampexp.client.types import Group


@dataclass(frozen=True)
class GroupRef(ObjectRef):
    """A mutual exclusion group or a holdout group."""

    kind: GroupKind

    @classmethod
    def of(
        cls,
        *,
        mutex_key: str | None = None,
        mutex_id: str | None = None,
        holdout_key: str | None = None,
        holdout_id: str | None = None,
        project_id: str | None = None,
    ) -> GroupRef:
        """Create a reference from the arguments of operators.

        :raises InvalidInputError: unless exactly one of the first four is given
        """
        way, value = only_way(mutex_key=mutex_key, mutex_id=mutex_id, holdout_key=holdout_key, holdout_id=holdout_id)
        kind: GroupKind = "mutexes" if way.startswith("mutex") else "holdouts"
        key, id = (value, None) if way.endswith("_key") else (None, value)
        return cls(kind, key, id, project_id or None)

    @property
    def noun(self) -> str:
        """The kind of the group, in Amplitude's words."""
        return "mutual exclusion group" if self.kind == "mutexes" else "holdout group"

    def endpoints(self, client: ManagementClient) -> GroupEndpoints:
        """Return the calls for this kind of group."""
        return client.mutexes if self.kind == "mutexes" else client.holdouts

    def find(self, client: ManagementClient) -> Group | None:
        """Find the group by its key: 1 request for each 1,000 groups. Lists omit archived groups.

        :raises WrongStateError: when the service does not have these groups
        """
        try:
            return self.endpoints(client).find(str(self.key), project_id=self.project_id)
        except (NotFoundError, UnsupportedError):
            raise WrongStateError(
                f"Reading the {self} failed: the service does not have {self.noun}s. Nothing was changed. Create and "
                "edit them in Amplitude."
            ) from None

    def read(self, client: ManagementClient) -> Group:
        """Read the group: 1 request.

        :raises TargetNotFoundError: when the group does not exist
        :raises OtherProjectError: when the group of this id is in another project than the named one
        """
        if self.key is not None:
            found = self.find(client)
            if found is None:
                raise TargetNotFoundError(
                    f"The {self} does not exist. Nothing was changed. Check the key, the project_id and the "
                    "connection's region. Use the id for an archived group."
                )
            return found
        try:
            found = self.endpoints(client).get(str(self.id))
        except (NotFoundError, UnsupportedError):
            raise TargetNotFoundError(
                f"The {self} does not exist, or the service does not have {self.noun}s. Nothing was changed. Check "
                "the id and the connection's region."
            ) from None
        self.refuse_other_project(found)
        return found

    def check_slot(self, slot: object) -> None:
        """Raise unless a mutual exclusion group has a slot, and a holdout group has none.

        :raises InvalidInputError: names ``slot``
        """
        if (slot is None) == (self.kind == "mutexes"):
            expected = "the index of a slot" if slot is None else "none for a holdout group"
            raise InvalidInputError("slot", f"expected {expected}, got {slot!r}")
