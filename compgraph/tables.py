"""Small tables as Parquet files with reproducible bytes and checksums."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import TYPE_CHECKING

from compgraph.checksums import REMAKE
from compgraph.disk import explained
from compgraph.errors import StoreError
from compgraph.memory import require_memory

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def write_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a small table as Parquet: the same table gives the same bytes.

    The index is not kept. Pages carry checksums, which `read_table` compares.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with explained(Path(path)):
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        pq.write_table(arrow, os.fspath(path), compression="zstd", write_page_checksum=True)


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises
    ------
    StoreError
        If the file is missing, is not Parquet or is damaged.
    """
    try:
        return read_arrow(path).to_pandas()
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # of what pandas wrote beside the columns
        raise StoreError(f"{path} is not a readable table: {error}; {REMAKE}") from error


def read_arrow(path: str | os.PathLike[str]) -> pa.Table:
    """Read a Parquet file as an Arrow table, the checksums of its pages compared.

    Raises
    ------
    StoreError
        If the file is missing, is not Parquet or is damaged, or claims to hold more than fits into memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # One plain file, not a dataset: the folder names above it are not columns.
        with pq.ParquetFile(os.fspath(path), page_checksum_verification=True) as file:
            groups = range(file.metadata.num_row_groups)
            require_memory(Path(path), sum(file.metadata.row_group(group).total_byte_size for group in groups))
            return file.read()
    except FileNotFoundError:
        raise StoreError(f"there is no table {path}") from None
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
        raise StoreError(f"{path} is not a readable table: {error}; {REMAKE}") from error


def notebook_table(heading: str, table: pd.DataFrame) -> str:
    """A sentence and a table as HTML, for notebooks; both are escaped."""
    body = table.to_html(index=False, border=0, escape=True, float_format="{:.4g}".format)
    return f"<p>{html.escape(heading)}</p>{body}"
