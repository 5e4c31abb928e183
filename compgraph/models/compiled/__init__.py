"""Transformers whose algorithm, and so whose true edges, are known by construction."""

from compgraph.models.compiled.cases import CASES, compile_case
from compgraph.models.compiled.plan import CompiledCase, Options

__all__ = ["CASES", "CompiledCase", "Options", "compile_case"]
