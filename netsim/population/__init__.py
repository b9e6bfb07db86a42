"""All clients: places, devices, channels and data weights."""

from netsim.network.cell import Direction
from netsim.population.config import PopulationConfig
from netsim.population.population import Population
from netsim.population.radio_map import RadioMap

__all__ = ["Direction", "Population", "PopulationConfig", "RadioMap"]
