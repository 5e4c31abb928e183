"""The wheel carries the workflow, so that `compgraph run` works without the repository; an editable install uses the
repository's own."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WORKFLOW = ("Snakefile", "config.yaml", "profiles", "workflow")


class WorkflowInside(BuildHookInterface):
    """Puts the files of the workflow into the package, where `workflow_root` looks for them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them, before a wheel is built."""
        if version != "editable":
            build_data["force_include"].update({name: f"compgraph/_workflow/{name}" for name in WORKFLOW})
