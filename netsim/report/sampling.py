"""Rounds and rows of a long run that a page shows or draws together."""

from __future__ import annotations

import numpy as np
import pandas as pd

SHOWN_ROUNDS = 36
SLOWEST_ROUNDS = 3


def shown_rounds(rounds: pd.DataFrame) -> list[int]:
    """Return the ids of at most some rounds, in order: the first, the last, the
    slowest, and others evenly spaced."""
    ids = rounds["round_id"].to_numpy()
    if len(ids) <= SHOWN_ROUNDS:
        return [int(round_id) for round_id in ids]
    lengths = (rounds["end_ns"] - rounds["start_ns"]).to_numpy()
    slowest = np.argsort(-lengths, kind="stable")[:SLOWEST_ROUNDS]
    even = np.linspace(0, len(ids) - 1, SHOWN_ROUNDS - SLOWEST_ROUNDS)
    places = np.union1d(slowest, even.round().astype(int))
    return [int(ids[place]) for place in places]


def thinned(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most ``most`` rows, evenly spaced, with the first and the last."""
    if len(frame) <= most:
        return frame
    places = np.linspace(0, len(frame) - 1, most).round().astype(int)
    return frame.iloc[np.unique(places)]


def binned(ids: pd.Series[int] | pd.Index[int], most: int) -> pd.Series[int]:
    """Return for every id the first of the neighbours that it is drawn with, so that
    there are at most ``most`` groups of equal length."""
    values = pd.Series(ids.to_numpy())
    if values.empty:
        return values
    first = int(values.min())
    size = -(-(int(values.max()) - first + 1) // most)
    return first + (values - first) // size * size
