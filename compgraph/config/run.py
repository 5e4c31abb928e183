"""Section ``run``: where and with what, which changes no result."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compgraph.config.base import Device, Positive, Section


class Run(Section):
    """Settings of the run itself. None of them is a parameter of a result: changing them reruns nothing."""

    results: str = Field("results", min_length=1, description="Folder of the results.")
    cores: Positive | Literal["all"] = Field("all", description="Jobs at a time, one core each.")
    batch: Positive = Field(
        32, description="Results that one process makes in a row: it loads libraries and networks once for all."
    )
    device: Device = Field("auto", description="Where networks run: auto takes an accelerator if there is one.")
    open: bool = Field(True, description="Open the report at the end, where there is a desktop.")
