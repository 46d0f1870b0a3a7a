"""Edits by people in the web app."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp.emulator._api import request_models
from airflow_provider_ampexp.emulator._api.request_models import Body
from airflow_provider_ampexp.emulator._state import flags
from airflow_provider_ampexp.emulator._state.flags import Content, Kind

if TYPE_CHECKING:
    from airflow_provider_ampexp.emulator._state.service import Service


class PersonEdit(Body):
    """The body of ``POST /_emulator/edit``."""

    kind: Kind
    id: str
    by: str = "Maria"
    fields: dict[str, Any]


def carry_out(service: Service, edit: PersonEdit) -> None:
    """Apply a person's edit. It needs no approval, and can do more than the API."""
    with service.lock:
        service.apply(service.find(edit.kind, edit.id), edit.by, _work(service, edit))


def rehearse(service: Service, edit: PersonEdit) -> None:
    """Raise now for an edit that would fail later, during a request of the API."""
    _work(service, edit)(deepcopy(service.find(edit.kind, edit.id).content))


def _work(service: Service, edit: PersonEdit) -> Callable[[Content], None]:
    """Return the change: fields of ``PATCH`` are validated, others (``state``, ``variants``, ...) are set as given."""
    model: type[request_models.Body] = (
        request_models.EditExperiment if edit.kind == "experiments" else request_models.EditFlag
    )
    # A null is also set as given: `decision: null` reverts a decision, which only the web app can do.
    named = {name: value for name, value in edit.fields.items() if name in model.model_fields and value is not None}
    patch = request_models.check(model, named)
    rest = {name: value for name, value in edit.fields.items() if name not in patch}
    day = service.clock.day()

    def work(content: Content) -> None:
        flags.edit(edit.kind, content, patch, day)
        others = deepcopy(rest)
        if "exposureEvent" in others:
            content.exposure_event = others.pop("exposureEvent")
        content.config.update(others)

    return work
