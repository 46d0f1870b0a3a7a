"""The settings of ``POST /_emulator/settings``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """The behaviour of the service where real servers differ. The defaults follow the contract."""

    model_config = ConfigDict(extra="forbid", strict=True)

    page_size_cap: int = Field(default=1000, ge=1)
    default_page_size: int = Field(default=100, ge=1)
    rate_per_second: int | None = Field(default=100, ge=0)
    rate_per_day: int | None = Field(default=100_000, ge=0)
    retry_after: bool = True
    ignore_filters: bool = False
    numeric_ids: bool = False
    numeric_cursor: bool = False
    last_page_cursor: Literal["absent", "null", "empty"] = "absent"
    bare_arrays: bool = False
    version_gaps: bool = False
    refuse_disable_without_deployments: bool = False
    omit_version_fields: list[str] = []
    hide_cohorts: bool = False
    write_body: Literal["OK", "ok", "{}"] = "OK"
    extra_endpoints: bool = False
    winner_by_name: bool = False
    created_by: Literal["name", "number", "object"] = "name"
