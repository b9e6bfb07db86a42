"""The data of a study's report: its tables in the form that the charts need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from netsim.errors import InputError
from netsim.runs.run import part_paths
from netsim.scenario import load_text
from netsim.study.design import Combination, combinations, joined_labels
from netsim.study.frames import CURVES, Study
from netsim.study.record import StudyConfig

STUDY_FILE = "study.yaml"
GRID = 100  # moments at which seeds are averaged


@dataclass(frozen=True)
class StudyData:
    """A study on disk with its configuration."""

    study: Study
    config: StudyConfig

    @classmethod
    def of(cls, study: Study) -> StudyData:
        """Return a study's data; its folder must hold its configuration."""
        path = study.folder / STUDY_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {path}: {error}") from error
        return cls(study, load_text(text, StudyConfig, folder=study.folder))

    @property
    def axes(self) -> list[str]:
        """The names of the axes."""
        return [axis.title for axis in self.config.axes]

    @cached_property
    def combinations(self) -> list[Combination]:
        """The combinations that are compared."""
        return combinations(self.config)

    @property
    def num_runs(self) -> int:
        """The number of runs of the whole study."""
        return len(self.combinations) * len(self.config.seeds)

    @cached_property
    def done(self) -> pd.DataFrame:
        """The rows of finished runs: one per run and target."""
        table = self.study.table
        found = table[table["status"] == "complete"].copy()
        found["arm"] = self.arms(found)
        found["bits"] = found["upload_bits"] + found["download_bits"]
        return found

    @property
    def targets(self) -> list[str]:
        """The names of the targets, in the order of the table."""
        return list(dict.fromkeys(self.study.table["target"]))

    @property
    def arm_axes(self) -> list[str]:
        """The axes that the baseline fixes; charts colour by these."""
        return [axis for axis in self.axes if axis in self.config.baseline]

    @property
    def other_axes(self) -> list[str]:
        """The axes that the baseline leaves open: compared value by value."""
        return [axis for axis in self.axes if axis not in self.config.baseline]

    def arms(self, frame: pd.DataFrame) -> pd.Series[str]:
        """Return each row's variants of the axes by which charts colour."""
        choices = frame[self.arm_axes].itertuples(index=False, name=None)
        return pd.Series([self._arms[one] for one in choices], frame.index, "str")

    @property
    def arm_names(self) -> list[str]:
        """The colours' names, the baseline first."""
        first = tuple(self.config.baseline[axis] for axis in self.arm_axes)
        choices = [tuple(map(c.choice.get, self.arm_axes)) for c in self.combinations]
        return [self._arms[one] for one in dict.fromkeys([first, *choices])]

    @cached_property
    def _arms(self) -> Mapping[tuple[Any, ...], str]:
        """What each choice of variants of these axes is called."""
        labels = {axis.title: axis.labels for axis in self.config.axes}
        return joined_labels([labels[axis] for axis in self.arm_axes])

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Global evaluations of all runs; empty where nothing was learned."""
        if not (self.study.folder / CURVES).is_file():
            return pd.DataFrame()
        return self.study.curves

    def mean_curves(self, metric: str) -> pd.DataFrame:
        """Return per combination the metric's mean, least and greatest value over seeds
        at moments up to the first seed's end (``time_ns``)."""
        frames = []
        curves = self.curves.dropna(subset=[metric])
        for variant, rows in curves.groupby("variant", sort=False):
            seeds = [own for _, own in rows.groupby("seed")]
            frame = _averaged(seeds, metric).assign(variant=variant)
            for axis in self.axes:
                frame[axis] = rows[axis].iloc[0]
            frames.append(frame)
        if not frames:
            return pd.DataFrame()
        found = pd.concat(frames, ignore_index=True)
        found["arm"] = self.arms(found)
        return found

    @cached_property
    def run_bits(self) -> pd.DataFrame:
        """Bits over all bands of every run that is on disk, by variant and seed."""
        rows = []
        for one in self.combinations:
            for seed in self.config.seeds:
                folder = self.study.folder / "runs" / one.folder / str(seed)
                parts = part_paths(folder, "transfers")
                if parts:
                    bits = sum(_sum_of_bits(path) for path in parts)
                    rows.append({"variant": one.label, "seed": seed, "all_bits": bits})
        return pd.DataFrame(rows, columns=["variant", "seed", "all_bits"])


def _averaged(seeds: list[pd.DataFrame], metric: str) -> pd.DataFrame:
    end_ns = min(int(own["time_ns"].max()) for own in seeds)
    moments = np.linspace(0, end_ns, GRID)
    values = np.array(
        [_at(own.sort_values("time_ns"), metric, moments) for own in seeds]
    )
    return pd.DataFrame(
        {
            "time_ns": moments,
            "mean": values.mean(axis=0),
            "low": values.min(axis=0),
            "high": values.max(axis=0),
            "seeds": len(seeds),
        }
    )


def _at(own: pd.DataFrame, metric: str, moments: np.ndarray) -> np.ndarray:
    """Return the value in force at each moment: that of the last evaluation."""
    places = np.searchsorted(own["time_ns"].to_numpy(), moments, side="right") - 1
    values: np.ndarray = own[metric].to_numpy(dtype=np.float64)[np.maximum(places, 0)]
    return values


def _sum_of_bits(path: Path) -> int:
    try:
        with open(path, "rb") as file:  # pyarrow takes no path that is not UTF-8
            column = pq.read_table(file, columns=["bits"])["bits"]
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    return int(pc.sum(column).as_py() or 0)
