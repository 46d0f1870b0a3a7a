"""Flags and experiments as Airflow assets.

If a task has the asset of its flag among its ``outlets``, the task emits an event when it changed the flag. Without a
change the task emits no event. An ``AssetWatcher`` with an
:class:`~airflow_provider_ampexp.triggers.flag_changed.AmplitudeFlagChangedTrigger` also emits an event when another
actor changed the flag.
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

SCHEME = "amplitude-experiment"
_KINDS = ("flags", "experiments")


def flag_asset(flag_key: str, *, project_id: str, region: str = "us", watchers: Sequence[AssetWatcher] = ()) -> Asset:
    """Return the asset of a flag.

    :param flag_key: the key of the flag
    :param project_id: the id of the project of the flag
    :param region: ``us`` (default) or ``eu``, as in the connection
    :param watchers: the watchers that emit events of the asset; see :class:`airflow.sdk.AssetWatcher`; default: none
    :raises InvalidInputError: names the wrong argument
    """
    return _asset("flags", flag_key, project_id, region, watchers)


def experiment_asset(
    experiment_key: str, *, project_id: str, region: str = "us", watchers: Sequence[AssetWatcher] = ()
) -> Asset:
    """Return the asset of an experiment, with arguments as for :func:`flag_asset`."""
    return _asset("experiments", experiment_key, project_id, region, watchers)


def asset_uri(kind: Kind, key: str, *, project_id: str, region: str = "us") -> str:
    """Return the URI of a flag or experiment.

    All characters of a key except letters, digits and ``-._~`` are percent-encoded.

    :raises InvalidInputError: names the wrong argument
    """
    validate.region(region)
    names = [validate.name("project_id", project_id), kind, validate.name("key", key)]
    return f"{SCHEME}://{region}/" + "/".join(quote(str(one), safe="") for one in names)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the canonical form of a URI of this scheme.

    Airflow calls this function for each asset (``asset-uris``).

    :raises ValueError: when the URI is not the URI of a flag or experiment
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
