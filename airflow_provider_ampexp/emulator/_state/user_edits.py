"""People who edit in the web app while automation runs."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from airflow_provider_ampexp.emulator._api import request_models
from airflow_provider_ampexp.emulator._state import flags
from airflow_provider_ampexp.emulator._state.flags import Content, Kind

if TYPE_CHECKING:
    from airflow_provider_ampexp.emulator._state.service import Service


class PersonEdit(BaseModel):
    """What ``POST /_emulator/edit`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Kind
    id: str
    by: str = "Maria"
    fields: dict[str, Any]


def carry_out(service: Service, edit: PersonEdit) -> None:
    """A person's edit: it needs no approval and is not refused for what the API alone cannot do."""
    with service.lock:
        service.apply(service.find(edit.kind, edit.id), edit.by, _work(service, edit))


def rehearse(service: Service, edit: PersonEdit) -> None:
    """Refuse now what could not be carried out later, in the middle of somebody's request."""
    _work(service, edit)(deepcopy(service.find(edit.kind, edit.id).content))


def _work(service: Service, edit: PersonEdit) -> Callable[[Content], None]:
    """Fields that ``PATCH`` takes are checked as there; all others (``state``, ``variants``, ...) are set as given."""
    model: type[request_models.Body] = (
        request_models.EditExperiment if edit.kind == "experiments" else request_models.EditFlag
    )
    # A null is set as given, too: `decision: null` takes a decision back, which only the web app can do.
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
