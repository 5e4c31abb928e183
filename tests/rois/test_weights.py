from __future__ import annotations

import numpy as np
import pytest

from compgraph.errors import DataError
from compgraph.rois.weights import weight_signals


def test_placeholder() -> None:
    pass
