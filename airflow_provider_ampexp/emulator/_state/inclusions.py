"""Inclusions: the users who always get a variant, independent of the percentages. An ordered list, removed by index.

Cohorts can be included too, which the contract does not have. A cohort is removed by its id.
"""

from __future__ import annotations

from airflow_provider_ampexp.emulator._api.request_models import MAX_INCLUSIONS
from airflow_provider_ampexp.emulator._state import variants
from airflow_provider_ampexp.emulator._state.errors import bad_request, not_found
from airflow_provider_ampexp.emulator._state.flags import Content


def of(content: Content, variant_key: str) -> list[str]:
    """Contract: Get variant inclusions."""
    variants.find(content, variant_key)
    return content.inclusions.get(variant_key, [])


def add(content: Content, variant_key: str, users: list[str]) -> None:
    """Contract: Add users to variant. Existing users are added again."""
    present = of(content, variant_key)
    if len(present) + len(users) > MAX_INCLUSIONS:
        raise bad_request(f"inclusions: a variant holds {MAX_INCLUSIONS} at most.")
    content.inclusions[variant_key] = [*present, *users]


def remove_at(content: Content, variant_key: str, index: str) -> None:
    """Contract: Remove users from variant. The users after the index move up by one."""
    present = of(content, variant_key)
    if not (index.isascii() and index.isdigit()):
        raise bad_request("userIndex: must be a whole number from 0.")
    # Check the length first, because Python does not parse numbers of thousands of digits.
    if len(index) > 9 or int(index) >= len(present):
        raise not_found(f"There is no inclusion with the index {index[:20]}.")
    del present[int(index)]


def remove_all(content: Content, variant_key: str) -> None:
    """Contract: Remove all users from variant."""
    of(content, variant_key)
    content.inclusions.pop(variant_key, None)


def remove_users(content: Content, variant_key: str, users: list[str]) -> None:
    """Not in the contract: remove all entries of these users."""
    content.inclusions[variant_key] = [user for user in of(content, variant_key) if user not in set(users)]


def cohorts_of(content: Content, variant_key: str) -> list[str]:
    """Not in the contract: the included cohorts."""
    variants.find(content, variant_key)
    return content.cohorts.get(variant_key, [])


def add_cohorts(content: Content, variant_key: str, cohorts: list[str]) -> None:
    """Not in the contract: include cohorts. Existing cohorts are added again, as users are."""
    content.cohorts[variant_key] = [*cohorts_of(content, variant_key), *cohorts]


def remove_cohorts(content: Content, variant_key: str, cohorts: list[str]) -> None:
    """Not in the contract: remove all entries of these cohorts."""
    content.cohorts[variant_key] = [cohort for cohort in cohorts_of(content, variant_key) if cohort not in set(cohorts)]
