"""The arguments that the operators and sensors share: the connection, the project, and the flag or experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp._keys import DEFAULT_CONNECTION
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.links.amplitude import AmplitudeExperimentLink
from airflow_provider_ampexp.operators import _arguments as arguments

if TYPE_CHECKING:
    from airflow.sdk import Context
    from jinja2 import Environment

    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook


class AmplitudeOperator(BaseOperator):
    """The base class of operators and sensors that use a connection of the type ``amplitude_experiment``.

    :param amplitude_conn_id: the connection (templated)
    :param project_id: the id of the project (templated, default: the project of the connection)
    """

    template_fields: Sequence[str] = ("amplitude_conn_id", "project_id")
    operator_extra_links = (AmplitudeExperimentLink(),)
    ui_color = "#dfe9ff"

    def __init__(
        self, *, amplitude_conn_id: str = DEFAULT_CONNECTION, project_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.amplitude_conn_id = amplitude_conn_id
        self.project_id = project_id
        arguments.check_literal("amplitude_conn_id", amplitude_conn_id, arguments.identifier)
        arguments.check_literal("project_id", project_id, arguments.optional(arguments.identifier))

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render the templates in a value. A text without Jinja is returned unchanged.

        With ``render_template_as_native_obj``, Airflow would parse such a text as Python: the key ``"1_000"`` would
        become the number 1000, and the user ``"+4810"`` the number 4810.
        """
        if isinstance(content, str) and arguments.has_no_jinja(content, jinja_env):
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def _do_render_template_fields(self, parent: Any, template_fields: Iterable[str], *more: Any, **named: Any) -> None:
        """Render the template fields, and refuse an argument whose template was rendered to ``None``.

        Such an argument would count as not given. The parts of a JSON value are checked too: a payload ``"None"`` is
        valid JSON, so no later check refuses it.

        :raises AirflowFailException: names the argument
        """
        before = {name: getattr(parent, name) for name in template_fields}
        super()._do_render_template_fields(parent, template_fields, *more, **named)
        for name, value in before.items():
            rendered = getattr(parent, name, value)
            missing: list[tuple[str, object]] = [(name, None)] if value is not None and rendered is None else []
            if self.template_fields_renderers.get(name) == "json":
                missing.extend(arguments.missing_parts(name, value, rendered))
            if missing:
                field, became = missing[0]
                raise AirflowFailException(
                    f"Rendering task {self.task_id!r} failed: {field} became {became!r}: a Param or an XCom is missing."
                    " Nothing was sent. Correct the template or the task that gives the value."
                )

    def hook(self) -> AmplitudeExperimentHook:
        """Return a hook for the connection. The caller closes the hook (``with``)."""
        from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

        return AmplitudeExperimentHook(arguments.identifier("amplitude_conn_id", self.amplitude_conn_id))

    def project_of(self, hook: AmplitudeExperimentHook) -> str | None:
        """Return the project that the task names, otherwise the project of the connection."""
        named = self.named_project()
        return hook.project_id if named is None else named

    def named_project(self) -> str | None:
        """Return the project that the task names; ``None`` if the task names no project."""
        return arguments.optional(arguments.identifier)("project_id", self.project_id)

    def required_project_of(self, hook: AmplitudeExperimentHook) -> str:
        """Return the project that the task names, otherwise the project of the connection.

        :raises InvalidInputError: when neither the task nor the connection names a project
        """
        if project_id := self.project_of(hook):
            return project_id
        raise InvalidInputError(
            "project_id",
            f"expected a project, got none: set project_id of the task or of connection {hook.amplitude_conn_id!r}",
        )


class AmplitudeTargetOperator(AmplitudeOperator):
    """The base class of operators and sensors for one flag or experiment.

    Exactly one of the first four arguments names the flag or experiment.

    :param flag_key: the key of a flag (templated)
    :param flag_id: the id of a flag (templated)
    :param experiment_key: the key of an experiment (templated)
    :param experiment_id: the id of an experiment (templated)
    :param project_id: the id of the project of the flag or experiment (templated, default: the project of the
        connection)
    :param amplitude_conn_id: the connection (templated)
    :raises InvalidInputError: when Airflow parses the DAG, unless exactly one of the first four arguments is given
    """

    template_fields: Sequence[str] = (
        *AmplitudeOperator.template_fields,
        "flag_key",
        "flag_id",
        "experiment_key",
        "experiment_id",
    )

    def __init__(
        self,
        *,
        flag_key: str | None = None,
        flag_id: str | None = None,
        experiment_key: str | None = None,
        experiment_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flag_key = flag_key
        self.flag_id = flag_id
        self.experiment_key = experiment_key
        self.experiment_id = experiment_id
        # "later" stands for a value that is known only when the task runs. This check counts the given arguments.
        read = arguments.optional(arguments.identifier)
        FlagRef.of(
            **{way: read(way, name) if arguments.is_literal(name) else "later" for way, name in self._ways().items()}
        )

    def target(self, project_id: str | None) -> FlagRef:
        """Return a reference to the named flag or experiment, from rendered arguments."""
        read = arguments.optional(arguments.identifier)
        return FlagRef.of(**{way: read(way, value) for way, value in self._ways().items()}, project_id=project_id)

    def described(self) -> str:
        """Return a description of the flag or experiment for logs and errors, also if the arguments are wrong."""
        way, value = next(((way, value) for way, value in self._ways().items() if value is not None), ("flag", None))
        return f"{way.partition('_')[0]} {value!r}"

    def _ways(self) -> dict[str, str | None]:
        return {
            "flag_key": self.flag_key,
            "flag_id": self.flag_id,
            "experiment_key": self.experiment_key,
            "experiment_id": self.experiment_id,
        }
