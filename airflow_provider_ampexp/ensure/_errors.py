"""Errors of the functions that bring a flag to a state."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_ampexp._validate import nearest


class EnsureError(Exception):
    """The flag is not as it should be. The message says what is now so in Amplitude, and what to do."""


class TargetNotFoundError(EnsureError):
    """There is no such flag or experiment. Nothing was changed."""


class OtherProjectError(TargetNotFoundError):
    """The id is that of an object in another project than the named one. Nothing was changed."""


class AlreadyExistsError(EnsureError):
    """It exists, and ``if_exists="fail"`` says that it should not. Nothing was changed."""


class ArchivedError(EnsureError):
    """The flag or experiment is archived, so that the change would reach nobody. Nothing was changed."""


class WrongStateError(EnsureError):
    """What is asked for does not fit what stands in Amplitude (no such segment, a variant too many)."""


class SegmentLostError(WrongStateError):
    """A target segment that was there is renamed, removed or doubled, so that it cannot be told which one is meant."""


def no_such_variant(target: object, variant: str, variants: Iterable[str]) -> WrongStateError:
    """Return the error for a variant that the flag or experiment does not have."""
    known = sorted(variants)
    has = f"Its variants are {', '.join(map(repr, known))}." if known else "It has no variant."
    meant = nearest(variant, known) or "."
    return WrongStateError(f"{target} has no variant {variant!r}{meant} {has} Nothing was changed.")


class ChangeNotVisibleError(EnsureError):
    """The service accepted a change and does not show it; most likely it waits for somebody's approval."""


class ConflictError(EnsureError):
    """A change overwrote one that somebody else had made a moment before. Theirs was put back."""


class UnconfirmedWriteError(EnsureError):
    """The answers to a change were lost again and again, and reading does not show it either."""


class MissingFieldError(EnsureError):
    """The service does not show a field without which nothing can be decided."""
