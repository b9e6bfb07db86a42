"""Adapters in the folder of the run that made them."""

from __future__ import annotations

from pathlib import Path

from netsim.core.files import damage
from netsim.errors import InputError
from netsim.runs.manifest import ADAPTER_FOLDER, FILE_NAME, SCENARIO_FILE, read_manifest


def require_as_left(adapter: Path) -> None:
    """Refuse an adapter in a run's folder that is not, byte for byte, what the manifest
    lists; an adapter elsewhere has no record to compare with."""
    run = adapter.parent
    is_of_a_run = (run / FILE_NAME).is_file() and (run / SCENARIO_FILE).is_file()
    if adapter.name != ADAPTER_FOLDER or not is_of_a_run:
        return
    try:
        listed = read_manifest(run).files
    except InputError as error:
        hint = "to start from its adapter as it is, copy that elsewhere"
        raise InputError(f"learning.start: {error}; {hint}") from error
    for file in listed:
        wrong = (
            damage(run, file) if Path(file.path).parent == Path(adapter.name) else ""
        )
        if wrong:
            raise InputError(f"learning.start: {wrong}")
