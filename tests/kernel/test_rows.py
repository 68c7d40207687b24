"""No row of the table of capabilities is without a test."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from support.rows import ROWS, TESTS_OF_ROWS


def test_each_row_has_a_test() -> None:
    """Also where this file alone is run: the tests are then read for what they register."""
    if not all(TESTS_OF_ROWS.values()):
        for path in sorted(Path(__file__).parent.glob("test_rows_*.py")):
            spec = importlib.util.spec_from_file_location(f"registering_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert [name for name in ROWS if not TESTS_OF_ROWS[name]] == []
