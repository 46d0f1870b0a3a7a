"""Errors of the functions that bring a flag to a state."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_ampexp._validate import nearest


class EnsureError(Exception):
    """A change failed. The message has the state in Amplitude, and the next step."""


class TargetNotFoundError(EnsureError):
    """The flag or experiment does not exist. Nothing was changed."""


class OtherProjectError(TargetNotFoundError):
    """The object of this id is in another project than the named one. Nothing was changed."""


class OtherKindError(TargetNotFoundError):
    """A flag has the key or the id of the experiment, or the reverse."""


class AlreadyExistsError(EnsureError):
    """The object exists, and ``if_exists`` is ``"fail"``. Nothing was changed."""


class ArchivedError(EnsureError):
    """The flag or experiment is archived, so the change would have no effect. Nothing was changed."""


class WrongStateError(EnsureError):
    """The change does not fit the state in Amplitude (no such segment, an unknown variant)."""


class SegmentLostError(WrongStateError):
    """A target segment was renamed, removed or duplicated, so the name no longer identifies it."""


def no_such_variant(target: object, variant: str, variants: Iterable[str]) -> WrongStateError:
    """Return the error for a variant that the flag or experiment does not have."""
    known = sorted(variants)
    has = f"Its variants are {', '.join(map(repr, known))}." if known else "It has no variant."
    meant = nearest(variant, known) or "."
    return WrongStateError(f"{target} has no variant {variant!r}{meant} {has} Nothing was changed.")


NOT_SHOWN_NEXT_STEP = (
    "The change probably waits for approval, or another actor changed it at the same time. Check it in Amplitude, then "
    "run this again."
)
"""The cause and the next step of a :class:`ChangeNotVisibleError`."""


class ChangeNotVisibleError(EnsureError):
    """The service accepted a change and does not show it. The change probably waits for approval."""


class ConflictError(EnsureError):
    """Another actor changed the same value at the same time. The message says which change is in effect."""


class UnconfirmedWriteError(EnsureError):
    """All responses to a change were lost, and the change is not visible."""


class MissingFieldError(EnsureError):
    """The service does not show a required field."""


USE_EXISTING = "Set if_exists to 'skip' or 'update', or use another name."
"""The next step where an object already exists."""
