"""The policy of an approval, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias, get_args

from airflow_provider_ampexp._validate import InvalidInputError, choice

OnReject: TypeAlias = Literal["hold", "rollback"]


@dataclass(frozen=True)
class ApprovalPolicy:
    """The stage that needs an approval, and what follows without one.

    :param before: the percentage of that stage
    :param timeout: how long to wait for an answer; ``None`` for no limit
    :param on_reject: ``"rollback"``, or ``"hold"`` to leave the flag as it is and skip the next stages
    :param on_no_answer: the same, after the time limit
    :raises InvalidInputError: names the argument
    """

    before: int
    timeout: timedelta | None = None
    on_reject: OnReject | str = "rollback"
    on_no_answer: OnReject | str = "hold"

    def __post_init__(self) -> None:
        for field in ("on_reject", "on_no_answer"):
            choice(field, getattr(self, field), get_args(OnReject))
        if self.timeout is not None and self.timeout <= timedelta(0):
            raise InvalidInputError("approval_timeout", "must be greater than zero")


@dataclass(frozen=True)
class ApprovalResponse:
    """The answer of a person."""

    approved: bool
    by: str
