"""Errors that a user can cause, and so can mend.

Each carries one sentence that names the field or file, the value found and what would be valid. The command line
prints that sentence alone; anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class CompgraphError(Exception):
    """Base of all errors with a message meant for the user."""


class ConfigError(CompgraphError):
    """A configuration file, or a combination of its sections, is not valid."""


class ModelError(CompgraphError):
    """A model cannot be loaded, or cannot serve what was asked of it."""


class DataError(CompgraphError):
    """A dataset, a prompt pair or a recorded signal is not usable."""


class StoreError(CompgraphError):
    """A result on disk is missing, torn, foreign or cannot be written."""


class GraphError(CompgraphError):
    """A graph or a partition does not fit its use."""


class MissingDependency(CompgraphError):  # noqa: N818 (what is missing, said as such)
    """An optional library is needed; the message says which and how to get it."""
