"""The alerts of a plan file: notifiers of Airflow's providers with their connection."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator
from typing_extensions import Self

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.plans._types import StrictModel, Text, obey, or_else
from airflow_provider_ampexp.rollout._alert import Notifier

_TEXT = "{{ rollout.text }}"
Recipients = Annotated[Text | Annotated[list[Text], Field(min_length=1)], or_else("one or more recipients")]


class AlertFields(StrictModel):
    """The base of all kinds. The notifier is created when the file is read."""

    _made: Notifier = PrivateAttr()

    @model_validator(mode="after")
    def _make(self) -> Self:
        def make() -> None:
            self._made = self._notifier()

        obey(make)
        return self

    @property
    def made(self) -> Notifier:
        """Return the notifier of these fields."""
        return self._made

    @abstractmethod
    def _notifier(self) -> Notifier:
        """Create the notifier."""


class SlackAlert(AlertFields):
    """A message to a Slack channel."""

    kind: Literal["slack"]
    connection: Text = Field("slack_api_default", description="The Airflow connection to Slack.")
    channel: Text = Field(description="The channel, such as #releases.")
    text: str = Field(_TEXT, description="The message, a template.")

    def _notifier(self) -> Notifier:
        make = _class_of("airflow.providers.slack.notifications.slack", "SlackNotifier", "slack")
        return make(slack_conn_id=self.connection, channel=self.channel, text=self.text)


class EmailAlert(AlertFields):
    """An e-mail by SMTP."""

    kind: Literal["email"]
    connection: Text = Field("smtp_default", description="The Airflow connection to the mail server.")
    to: Recipients = Field(description="The recipients.")
    sender: Text | None = Field(None, description="The sender; default: the sender of the connection.")
    subject: str = Field("Rollout of {{ rollout.key }}: {{ rollout.event }}", description="The subject, a template.")
    text: str = Field("{{ rollout.text | e }}", description="The message, a template of HTML.")

    def _notifier(self) -> Notifier:
        make = _class_of("airflow.providers.smtp.notifications.smtp", "SmtpNotifier", "smtp")
        sender = {} if self.sender is None else {"from_email": self.sender}
        return make(smtp_conn_id=self.connection, to=self.to, subject=self.subject, html_content=self.text, **sender)


class PagerDutyAlert(AlertFields):
    """A PagerDuty event."""

    kind: Literal["pagerduty"]
    connection: Text = Field("pagerduty_events_default", description="The Airflow connection to PagerDuty Events.")
    severity: Literal["info", "warning", "error", "critical"] = Field("critical", description="The severity.")
    text: str = Field(_TEXT, description="The summary, a template.")

    def _notifier(self) -> Notifier:
        make = _class_of("airflow.providers.pagerduty.notifications.pagerduty", "PagerdutyNotifier", "pagerduty")
        return make(
            pagerduty_events_conn_id=self.connection,
            summary=self.text,
            severity=self.severity,
            source="airflow-provider-ampexp",
        )


class OtherAlert(AlertFields):
    """Any other notifier, or a function that takes Airflow's context."""

    kind: Literal["notifier"]
    notifier: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] = Field(description="module:Class or module:function.")
    arguments: dict[str, Any] = Field({}, description="The arguments of the class.")

    def _notifier(self) -> Notifier:
        module, _, path = self.notifier.partition(":")
        try:
            found: Any = reduce(getattr, path.split("."), importlib.import_module(module))
            made: Notifier = found(**self.arguments) if isinstance(found, type) else found
        except (Exception, SystemExit) as error:
            raise InvalidInputError(
                "notifier", f"cannot make {self.notifier!r}: {type(error).__name__}: {error}"
            ) from None
        if not callable(made):
            raise InvalidInputError("notifier", f"expected a notifier or a function, got {self.notifier!r}")
        return made


AnyAlert = Annotated[SlackAlert | EmailAlert | PagerDutyAlert | OtherAlert, Field(discriminator="kind")]


def _class_of(module: str, name: str, provider: str) -> Callable[..., Notifier]:
    """Import a notifier's class, so that a missing provider is an error when the file is read."""
    try:
        found: Callable[..., Notifier] = getattr(importlib.import_module(module), name)
        return found
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise InvalidInputError("kind", f"importing {module} failed: {error}") from None
        package = f"apache-airflow-providers-{provider}"
        raise InvalidInputError("kind", f"needs the package {package}, which is not installed") from None
    except ImportError as error:
        raise InvalidInputError("kind", f"importing {module} failed: {error}") from None
