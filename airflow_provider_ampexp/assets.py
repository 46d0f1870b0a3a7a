"""Flags and experiments as Airflow assets.

A task with the asset of its flag in its ``outlets`` emits an event if the task changed the flag, and otherwise none. An
``AssetWatcher`` with an :class:`~airflow_provider_ampexp.triggers.flag_changed.AmplitudeFlagChangedTrigger` emits an
event also if another actor changed the flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.sdk import Asset, AssetWatcher

    from airflow_provider_ampexp.client._flags import Kind

__all__ = ["asset_uri", "experiment_asset", "flag_asset", "sanitize_uri"]

SCHEME = "amplitude-experiment"
_KINDS = ("flags", "experiments")


def flag_asset(flag_key: str, *, project_id: str, region: str = "us", watchers: Sequence[AssetWatcher] = ()) -> Asset:
    """Return the asset of a flag.

    :param flag_key: the flag's key
    :param project_id: the id of its project
    :param region: ``us`` (default) or ``eu``, as in the connection
    :param watchers: the watchers that report changes; see :class:`airflow.sdk.AssetWatcher`
    """
    return _asset("flags", flag_key, project_id, region, watchers)


def experiment_asset(
    experiment_key: str, *, project_id: str, region: str = "us", watchers: Sequence[AssetWatcher] = ()
) -> Asset:
    """Return the asset of an experiment. The arguments are those of :func:`flag_asset`."""
    return _asset("experiments", experiment_key, project_id, region, watchers)


def asset_uri(kind: Kind, key: str, *, project_id: str, region: str = "us") -> str:
    """Return the URI of a flag or experiment.

    All characters of a key except ASCII letters, digits and ``-._~`` are percent-encoded.

    :raises InvalidInputError: names the argument
    """
    validate.region(region)
    names = [validate.name("project_id", project_id), kind, validate.name("key", key)]
    return f"{SCHEME}://{region}/" + "/".join(quote(str(name), safe="") for name in names)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Normalise a URI of this scheme. Airflow calls this for each asset (``asset-uris``).

    :raises ValueError: when the URI is not of a flag or an experiment
    """
    parts = uri.path.split("/")[1:]
    if len(parts) != 3 or parts[1] not in _KINDS or not all(parts) or uri.query:
        raise ValueError(f"{uri.geturl()!r} is not {SCHEME}://<region>/<project>/flags/<key>, or experiments/<key>")
    region = uri.netloc.lower()
    try:
        validate.region(region)
    except InvalidInputError as error:
        raise ValueError(f"{uri.geturl()!r}: {error}") from None
    path = "/".join(quote(unquote(part), safe="") for part in parts)
    return uri._replace(netloc=region, path=f"/{path}")


def _asset(kind: Kind, key: str, project_id: str, region: str, watchers: Sequence[AssetWatcher]) -> Asset:
    from airflow.sdk import Asset

    return Asset(asset_uri(kind, key, project_id=project_id, region=region), group=SCHEME, watchers=list(watchers))
