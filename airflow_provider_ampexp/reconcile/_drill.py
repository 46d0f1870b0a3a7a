"""A rollback drill: raise a flag that no user gets, lower it as a rollback does, and measure both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.client._optional_fields import segments_of
from airflow_provider_ampexp.client.types import FlagConfig
from airflow_provider_ampexp.ensure._dependencies import dependents
from airflow_provider_ampexp.ensure._errors import ConflictError, EnsureError, MissingFieldError, WrongStateError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_RAISED = 1  # percent: the lowest stage
_OFF = Exposure(0, enabled=False)


class DrillStepXCom(TypedDict):
    """The duration of a step, and its requests."""

    seconds: float
    requests: int


class DrillXCom(TypedDict):
    """The result of a drill. ``waits_for_429`` is the number of waits because of the request limit."""

    id: str
    key: str | None
    url: str
    raised: DrillStepXCom
    rolled_back: DrillStepXCom
    waits_for_429: int


class DrillError(Exception):
    """A step of a drill failed. The message names the step, the cause and the present state of the flag."""

    def __init__(self, step: str, cause: Exception, left: str) -> None:
        self.cause = cause
        super().__init__(f"failed while {step}: {cause} {left}")


class RollbackDrill:
    """A drill on one flag. It uses the writes of a rollout, and leaves the flag disabled at 0 %.

    ``left`` describes the flag after the last step.
    """

    def __init__(self, client: ManagementClient, target: FlagRef) -> None:
        """Read the flag, its history, and the lists of flags and experiments: 4 requests.

        :raises WrongStateError: when users may get the flag
        """
        config = target.read(client)
        self.flag = ManagedFlag.of_read(client, target, config)
        _refuse_used(target, config, self.flag.seen, dependents(client, config))
        self.left = f"The flag is at {self.flag.seen.exposure}."

    def run(self) -> tuple[DrillStepXCom, DrillStepXCom]:
        """Raise the flag and roll it back, and read it back each time: 2 requests each.

        The first step is a rollback, if an earlier drill was killed.

        :returns: the raise and the rollback
        :raises DrillError: when a step fails. The flag is lowered first, unless another person changed it.
        """
        flag, step = self.flag, "it rolled back an earlier drill"
        try:
            self._roll_back()
            step = f"it raised the flag to {_RAISED} %"
            raised = self._measured(lambda: flag.set_stage(_RAISED))
            step = f"it rolled back the flag from {_RAISED} %"
            rolled_back = self._measured(self._roll_back)
        except ConflictError as error:
            if flag.seen.exposure.effective_percentage == _RAISED:  # the other person's change was not restored
                self._lower()
            else:
                self.left = f"The flag is at {flag.seen.exposure}."
            raise DrillError(step, error, self.left) from None
        except BaseException as error:
            self._lower()
            if not isinstance(error, EnsureError | ManagementApiError):
                raise  # the task is ended from outside
            raise DrillError(step, error, self.left) from None
        self._refuse_new_deployment()
        return raised, rolled_back

    def _refuse_new_deployment(self) -> None:
        """Read the deployments again: 1 request. The flag is already disabled.

        :raises DrillError: when the flag was added to a deployment, or when that cannot be read
        """
        flag, step = self.flag, "it read the deployments again"
        try:
            config = flag.target.read(flag.client)
        except (EnsureError, ManagementApiError) as error:
            raise DrillError(step, error, self.left) from None
        if added := config.get("deployments"):
            used = WrongStateError(
                f"{flag.target} was added to deployment {', '.join(map(str, added))} during the drill, so users may "
                f"have got {_RAISED} %. Remove the deployment."
            )
            raise DrillError(step, used, self.left)

    def _measured(self, change: Callable[[], object]) -> DrillStepXCom:
        requests = self.flag.client.requests
        began, sent = time.monotonic(), requests.total
        change()
        return {"seconds": round(time.monotonic() - began, 3), "requests": requests.total - sent}

    def _roll_back(self) -> None:
        self.flag.roll_back_to(_OFF)
        self.left = f"The flag is at {self.flag.seen.exposure}."

    def _lower(self) -> None:
        """Lower the flag after an error. A write without a response may still be applied, so wait for it."""
        flag = self.flag
        try:
            time.sleep(flag.client.unresolved_write_seconds)
            flag.observe(archived=flag.seen.archived)
            self._roll_back()
        except (EnsureError, ManagementApiError) as error:
            self.left = (
                f"The flag may still be enabled at {_RAISED} %, and no user gets it: it is in no deployment. Lowering "
                f"it failed: {error} Disable it in Amplitude."
            )


def _refuse_used(target: FlagRef, config: FlagConfig, seen: FlagSnapshot, dependents: list[str]) -> None:
    """Refuse a flag that users may get.

    :raises WrongStateError: names what shows it
    """
    deployments = config.get("deployments")
    if deployments is None:
        raise MissingFieldError(f"Amplitude does not show the deployments of {target}. Nothing was changed.")
    used = next(
        (str(entry) for entry in seen.history if entry.exposure and entry.exposure.effective_percentage > _RAISED), None
    )
    given = [str(segment.get("name")) for segment in segments_of(config) if segment.get("percentage")]
    reasons = {
        "it is archived": seen.archived,
        f"it is in deployment {', '.join(map(str, deployments))}": bool(deployments),
        f"it is at {seen.exposure}": seen.exposure.percentage > _RAISED,
        f"its segments {', '.join(given)} have a percentage": bool(given),
        f"it is a dependency of {', '.join(dependents)}": bool(dependents),
        f"users got more than {_RAISED} % in {used}": used is not None,
    }
    for reason, applies in reasons.items():
        if applies:
            raise WrongStateError(
                f"expected a flag that no user gets, got {target}: {reason}. Nothing was changed. Name a flag that is "
                "used for drills only, or set create=True with a new key."
            )
