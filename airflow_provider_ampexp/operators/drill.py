"""Test a rollback before a rollout needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.links.amplitude import push_link
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeOperator
from airflow_provider_ampexp.operators._errors import error_context

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import CreateFields
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
    from airflow_provider_ampexp.reconcile._drill import DrillXCom, RollbackDrill

__all__ = ["AmplitudeRollbackDrillOperator"]

_DESCRIPTION = "For rollback drills only. Do not add a deployment."


class AmplitudeRollbackDrillOperator(AmplitudeOperator):
    """Raise a flag that no user gets to 1 %, and roll it back, with the writes of a rollout (contract: *Edit*).

    A drill finds the causes that would stop a rollback: a revoked key, a missing right, changes that wait for approval,
    a used-up request limit, a write that Amplitude does not show. If a step fails, the task disables the flag at 0 %
    (if Amplitude allows that) and fails. The error names the step and the cause. If another person changes the flag
    during the drill, the task fails and leaves that change.

    The task returns ``{"id", "key", "url", "raised", "rolled_back", "waits_for_429"}``. ``raised`` and ``rolled_back``
    are ``{"seconds", "requests"}``.

    :param flag_key: the key of a flag that is used for drills only (templated). The task refuses an archived flag. It
        also refuses a flag with a deployment, a target segment above 0 %, a present or past percentage above 1 %, or a
        flag or experiment that depends on it.
    :param create: create the flag if it does not exist (default: False); needs a project (contract: *Create*)
    :param project_id: the id of the project (templated, default: the project of the connection)
    :param amplitude_conn_id: the connection whose key is tested (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeOperator.template_fields, "flag_key")

    def __init__(self, *, flag_key: str, create: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flag_key = flag_key
        self.create = create
        arguments.check_literal("flag_key", flag_key, arguments.identifier)
        arguments.check_literal("create", create, arguments.switch)

    def execute(self, context: Context) -> DrillXCom:
        """Carry out the drill.

        :raises AirflowFailException: when users may get the flag, or a retry cannot fix the error
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        what = f"flag {self.flag_key!r}"
        with error_context(f"drill the rollback of {what}"), self.hook() as hook:
            drill = self._drill(hook)
            url = ensure.flag_url(hook.client, drill.flag.config)
            push_link(context, url)
            return self._carried_out(drill, what, url)

    def _drill(self, hook: AmplitudeExperimentHook) -> RollbackDrill:
        from airflow_provider_ampexp.reconcile._drill import RollbackDrill

        key = arguments.identifier("flag_key", self.flag_key)
        target = ensure.FlagRef("flags", key=key, project_id=self.project_of(hook))
        try:
            return RollbackDrill(hook.client, target)
        except ensure.TargetNotFoundError:
            if not arguments.switch("create", self.create):
                raise
        self._create(hook.client, key, self.required_project_of(hook))
        return RollbackDrill(hook.client, target)

    def _create(self, client: ManagementClient, key: str, project_id: str) -> None:
        fields = cast("CreateFields", {"projectId": project_id, "key": key, "description": _DESCRIPTION})
        ensure.ensure_created(client, "flags", fields)
        self.log.info("Created flag %r for the drill.", key)

    def _carried_out(self, drill: RollbackDrill, what: str, url: str) -> DrillXCom:
        from airflow_provider_ampexp.exceptions import AmplitudeTaskError, is_retryable
        from airflow_provider_ampexp.reconcile._drill import DrillError

        requests = drill.flag.client.requests
        try:
            raised, rolled_back = drill.run()
        except DrillError as error:
            kind = AmplitudeTaskError if is_retryable(error.cause) else AirflowFailException
            raise kind(
                f"Rollback drill of {what} {error} A rollback with connection {self.amplitude_conn_id!r} may fail in "
                "the same way: fix the cause before the next rollout."
            ) from None
        finally:
            self.log.info("Rollback drill of %s: %s", what, drill.left)
        if requests.waits:
            self.log.warning(
                "The drill waited for the request limit (429) %d times, %.1f s in total. A rollback waits too.",
                requests.waits,
                requests.waited,
            )
        self.log.info("Raised in %.1f s, rolled back in %.1f s.", raised["seconds"], rolled_back["seconds"])
        return {
            "id": drill.flag.id,
            "key": drill.flag.config.get("key"),
            "url": url,
            "raised": raised,
            "rolled_back": rolled_back,
            "waits_for_429": requests.waits,
        }
