"""The task that shows the mistakes of a plan file in Airflow's UI."""

from __future__ import annotations

from typing import Any, NoReturn

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException


class BrokenPlanFileOperator(BaseOperator):
    """Fail with the mistakes of a plan file.

    :param mistakes: all mistakes, one a line
    """

    ui_color = "#f8d7d0"

    def __init__(self, *, mistakes: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mistakes = mistakes

    def execute(self, context: Context) -> NoReturn:
        """Fail, without a retry.

        :raises AirflowFailException: always
        """
        raise AirflowFailException(
            f"Loading the plan file failed: it has mistakes.\n{self.mistakes}\n"
            "The file has no DAG. Fix it, and run `python -m airflow_provider_ampexp.plans check`."
        )
