"""Predicted against observed steps, and the committed table of both.

A device that was fitted is asked about each of its settings with a law fitted to the
others. Every device is asked about groups that it was not fitted to: another model or
program on the same chip, or on one of the same family.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from netsim.devices.catalogue import DEVICES
from netsim.devices.fitted import FITTED, Fitted
from netsim.devices.fitting import Law, fit
from netsim.devices.observations import Observation, by_setting, read_observations

COMMITTED = Path(__file__).with_name("validation.csv")
TOLERANCE = 1.05  # of an error, against the committed one
JUDGED = (
    ("galaxy-s25-qvac", "qvac-Adreno"),
    ("macbook-m3-pro-qvac", "qvac-M3Pro"),
    ("rtx-4090-qvac", "qvac-4090"),
    ("raspberry-pi-4-fedadapter", "rpi-4-bert"),
    ("raspberry-pi-4-fedadapter", "rpi-4-vit"),
    ("nvidia-t4-pytorch", "t4-tf"),
    ("raspberry-pi-4", "rpi-4-vit"),
    ("raspberry-pi-4", "rpi-4-distilbert"),
    ("raspberry-pi-5", "rpi-5-vit"),
    ("jetson-nano", "jetson-nano"),
    ("jetson-tx2", "jetson-tx2"),
    ("pixel-8", "qvac-bitnet-Mali"),
    ("pixel-7", "sd778g"),
    ("galaxy-s21", "qvac-bitnet-Adreno"),
    ("apple-m1", "m1"),
    ("nvidia-t4", "t4"),
    ("edge-server-a10", "a10"),
)


class Comparison(NamedTuple):
    """A setting's step on a device, observed and predicted; ``role`` is ``left out``
    of the fit, or ``judged``: of another group."""

    device: str
    basis: str
    role: str
    group: str
    setting: str
    observed_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Return the factor between prediction and observation, at least 1."""
        ratio = self.predicted_s / self.observed_s
        return max(ratio, 1 / ratio)

    @property
    def key(self) -> tuple[str, ...]:
        """Return what names the comparison."""
        return self.device, self.role, self.group, self.setting


def comparisons() -> list[Comparison]:
    """Return all comparisons that the package's observations allow."""
    groups: dict[str, list[Observation]] = defaultdict(list)
    for one in read_observations():
        if one.flop is not None:
            groups[one.group].append(one)
    found: list[Comparison] = []
    for row in FITTED:
        found += _left_out(row, by_setting(groups[row.group]))
    for name, group in JUDGED:
        found += _judged(name, by_setting(groups[group]))
    return found


def _left_out(row: Fitted, settings: Sequence[Observation]) -> Iterator[Comparison]:
    chosen = [one for one in settings if row.only in one.setting]
    for index, one in enumerate(chosen):
        others = [*chosen[:index], *chosen[index + 1 :]]
        if others:
            yield _comparison(row.name, "left out", one, fit(others).law)


def _judged(name: str, settings: Sequence[Observation]) -> Iterator[Comparison]:
    device = DEVICES[name]
    law = Law(device.flop_per_s, device.fixed_time_s)
    for one in settings:
        yield _comparison(name, "judged", one, law)


def _comparison(name: str, role: str, one: Observation, law: Law) -> Comparison:
    assert one.flop is not None
    predicted_s = float(f"{law.step_s(one.flop):.4g}")
    return Comparison(
        *(name, DEVICES[name].basis, role, one.group, one.setting),
        *(float(f"{one.step_s:.5g}"), predicted_s),
    )


def table(rows: Sequence[Comparison]) -> str:
    """Return comparisons as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*Comparison._fields, "error"))
    writer.writerows((*row, f"{row.error:.3f}") for row in rows)
    return text.getvalue()


def committed_errors(path: Path = COMMITTED) -> Mapping[tuple[str, ...], float]:
    """Return the error of each comparison of the committed table, by ``key``."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["device"], row["role"], row["group"], row["setting"]): float(
                row["error"]
            )
            for row in csv.DictReader(file)
        }


def worse(
    rows: Sequence[Comparison], committed: Mapping[tuple[str, ...], float]
) -> list[str]:
    """Return a line on each comparison that errs over 5 % more than the committed one,
    and on each that is missing on one side."""
    found = []
    for row in rows:
        before = committed.get(row.key)
        where = f"{row.device}, {row.role}: {row.setting} ({row.group})"
        if before is None:
            found.append(f"{where}: not in the committed table")
        elif row.error > before * TOLERANCE:
            found.append(f"{where}: error {row.error:.3f}, committed {before:.3f}")
    gone = committed.keys() - {row.key for row in rows}
    return [*found, *(f"{', '.join(key)}: no longer compared" for key in sorted(gone))]
