"""The scenario of a Flower app on the network of another scenario."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from fl.flower.project import parsed_config
from netsim.cosim.reading import read_scenario
from netsim.cosim.scenario import Scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.learner.stop import MAX_ROUNDS
from netsim.scenario import UserCode

# what the app decides itself
REPLACED = (
    "server={kind: flower, merge_time: 0 s}",
    "policy=null",
    "ranks=full",
    f"stop={{rounds: {MAX_ROUNDS}}}",
)


def app_scenario(
    app: Path,
    network: str,
    run_config: Sequence[str],
    overrides: Sequence[str],
    code: UserCode,
) -> Scenario:
    """Return the scenario ``network``, a file or a shipped name, whose server, learning
    and end are the app's; overrides come last."""
    try:
        given = parsed_config(run_config)
    except ValueError as error:
        raise InputError(str(error)) from error
    learning = {"kind": "flower", "app": str(app.resolve()), "run_config": given}
    own = f"learning={json.dumps(learning)}"
    path = find_scenario(network)
    return read_scenario(path, (own, *REPLACED, *overrides), code)
