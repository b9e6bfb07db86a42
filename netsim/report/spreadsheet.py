"""CSV for spreadsheets, which take some texts for formulas."""

from __future__ import annotations

import pandas as pd

FORMULA_STARTS = ("=", "@", "+", "-", "\t", "\r")


def to_csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV; a text that a spreadsheet would compute begins with an
    apostrophe, numbers stay as they are."""
    safe = frame.rename(columns=_safe)
    for place, dtype in enumerate(frame.dtypes):
        if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
            safe.isetitem(place, frame.iloc[:, place].map(_safe).array)
    return safe.to_csv(index=False, lineterminator="\n")


def _safe(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(FORMULA_STARTS):
        return value
    return value if _is_number(value) else f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
