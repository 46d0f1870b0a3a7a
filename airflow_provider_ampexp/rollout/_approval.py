"""A stage that somebody has to approve first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias, get_args

from airflow_provider_ampexp._validate import InvalidInputError, choice

OnReject: TypeAlias = Literal["hold", "rollback"]


@dataclass(frozen=True)
class ApprovalPolicy:
    """Which stage needs one, and what follows where it is not given.

    :param before: the percentage that is not set without it
    :param timeout: how long to wait for an answer; ``None`` for as long as it takes
    :param on_reject: ``"rollback"``, or ``"hold"`` to leave the flag where it is and go no further
    :param on_no_answer: the same, when the time is over
    :raises InvalidInputError: names what is wrong
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
    """What somebody answered."""

    approved: bool
    by: str
