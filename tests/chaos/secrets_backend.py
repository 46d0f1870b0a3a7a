"""A secrets backend that can have an outage, like a vault behind a network."""

from __future__ import annotations

import os

from airflow.sdk.bases.secrets_backend import BaseSecretsBackend

from tests.chaos.signals import Signals

CONNECTION_ID = "amplitude_vault"
CONNECTION = "AMPEXP_CHAOS_VAULT"  # the variable of the environment with the connection as JSON


class ChaosSecretsBackend(BaseSecretsBackend):
    """A secrets backend with one connection, which exists only there."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        if conn_id != CONNECTION_ID:
            return None
        how = Signals.of_this_process().how_secrets_are_away()
        if how == "returns nothing":
            return None
        if how is not None:
            raise ConnectionError("the vault does not answer")
        return os.environ[CONNECTION]

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        return None

    def get_config(self, key: str) -> str | None:
        return None
