"""Small Flower apps, played on the simulated network, and by Flower's own code."""

from pathlib import Path

from netsim.cosim.commands.flower_app import app_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.workers import Workers
from netsim.scenario import UserCode

APPS = Path(__file__).parents[1] / "flower" / "apps"
TIMES = (
    "learning.compute={train: {per_example: 1 ms}, evaluate: {per_message: 5 ms}}",
)


def app_settings(name, *overrides, config=(), network="network-only", num_clients=3):
    """Return the scenario of one of the apps."""
    own = (f"population.num_clients={num_clients}", *overrides)
    code = UserCode(allows_given=True)
    return app_scenario(APPS / name, network, config, own, code)


def play(folder, name, *overrides, reuse=False, workers=1, **more):
    """Return the manifest of a run of one of the apps."""
    scenario = app_settings(name, *overrides, **more)
    return run_scenario(scenario, folder, reuse=reuse, workers=Workers(workers))
