"""A Snakemake logger that writes one JSON object a line: what `compgraph run` and `compgraph plan` read.

Snakemake finds it by its name when this folder is on PYTHONPATH. The file to write to is named by the environment
variable COMPGRAPH_EVENTS.
"""

import json
import os
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase

FIELDS = (
    "jobid",
    "job_id",
    "job_ids",
    "jobs",
    "rule_name",
    "wildcards",
    "input",
    "output",
    "log",
    "benchmark",
    "reason",
    "done",
    "total",
    "stats",
    "shellcmd",
)


class LogHandler(LogHandlerBase):
    """Writes the events of a run, and the errors, as they come."""

    def __post_init__(self) -> None:
        path = os.environ.get("COMPGRAPH_EVENTS")
        if not path:
            raise ValueError("COMPGRAPH_EVENTS must name the file to write events to")
        self.file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 (open as long as the run)

    def emit(self, record: LogRecord) -> None:
        """Write one record, if it is an event or an error."""
        event = getattr(record, "event", None)
        if event is None and record.levelname not in ("ERROR", "CRITICAL"):
            return
        line = {"event": str(event or "message").lower(), "level": record.levelname, "text": record.getMessage()}
        line |= {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
        self.file.write(json.dumps(line, default=_plain) + "\n")

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        return False

    @property
    def writes_to_file(self) -> bool:
        return False

    @property
    def has_filter(self) -> bool:
        return True

    @property
    def has_formatter(self) -> bool:
        return True

    @property
    def needs_rulegraph(self) -> bool:
        return False


def _plain(value: object) -> object:
    if hasattr(value, "items"):
        return dict(value.items())
    return list(value) if isinstance(value, (set, tuple)) or hasattr(value, "__iter__") else str(value)
