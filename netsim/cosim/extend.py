"""A run on disk extended to a later end: written next to it, then put in its place.

The longer run is made in ``.longer`` inside the folder. Only when it is complete do its
parts replace the recorded ones, the manifest last; a kill in between leaves
``.longer/manifest.json``, and the next look at the folder ends what it began.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from netsim.cosim.replay import first_row
from netsim.cosim.scenario import Scenario
from netsim.errors import InputError
from netsim.runs.manifest import (
    ADAPTER_FOLDER,
    CODE_FOLDER,
    FILE_NAME,
    SCENARIO_FILE,
    read_manifest,
)
from netsim.scenario import dump

LONGER = ".longer"  # in the run's folder
COMMON = ("plans", "rounds", "merges")  # of the rounds that both runs have
REPLACED = (
    "trace",
    ADAPTER_FOLDER,
    CODE_FOLDER,
    SCENARIO_FILE,
    FILE_NAME,
)  # in this order


def adopt(folder: Path) -> None:
    """Put a complete longer run in the recorded one's place, if there is one.

    Every step may be repeated: what was moved is no longer there. A longer run that
    ended before the recorded rounds, or whose first rounds differ from them, is deleted
    and refused.
    """
    made = folder / LONGER
    if not made.exists():
        return
    if not (made / FILE_NAME).exists():  # not begun, or all moved
        shutil.rmtree(made)
        return
    longer, earlier = read_manifest(made), read_manifest(folder)
    if longer.status != "complete":
        return
    if longer.rounds < earlier.rounds:
        shutil.rmtree(made)
        raise InputError(
            f"{folder} holds {earlier.rounds} finished rounds and the new end comes "
            f"after {longer.rounds}: the recorded run is kept; choose another folder, "
            "what it learned is reused there too"
        )
    if earlier.status == "complete":
        _require_same_rounds(folder, made, earlier.rounds)
    for name in REPLACED:
        if (made / name).exists():
            _replace(folder / name, made / name, made / f"old-{name}")
    shutil.rmtree(made)


def _require_same_rounds(folder: Path, made: Path, num_rounds: int) -> None:
    """Delete and refuse a longer run whose first rounds differ from the recorded ones:
    a file that the scenario names has changed, or a policy plans for the end."""
    if not ((folder / "trace").exists() and (made / "trace").exists()):
        return  # found the same before the traces changed places
    from netsim.runs.run import load_run  # brings pandas

    before, after = load_run(folder), load_run(made)
    for name in COMMON:
        old, new = before.table(name), after.table(name)
        old, new = (one[one.round_id <= num_rounds] for one in (old, new))
        found = first_row(old, new)
        if found:
            shutil.rmtree(made)
            raise InputError(
                f"{folder} holds rounds that do not come again ({name}: {found}). A "
                "file that the scenario names or the program has changed since, or the "
                "policy plans for another end. The recorded run is kept; choose "
                "another folder"
            )


def _replace(place: Path, new: Path, old: Path) -> None:
    if place.is_dir():
        _rename(place, old)
    _rename(new, place)


def _rename(path: Path, target: Path) -> None:
    path.replace(target)


def scenario_path(folder: Path, scenario: Scenario) -> Path:
    """Return the scenario file with which an interrupted run is continued."""
    longer = folder / LONGER / SCENARIO_FILE
    if longer.is_file() and longer.read_text(encoding="utf-8") == dump(scenario):
        return longer
    return folder / SCENARIO_FILE
