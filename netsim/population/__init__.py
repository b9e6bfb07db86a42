"""Who is out there: places, devices, channels and data weights of all clients."""

from netsim.population.config import PopulationConfig
from netsim.population.drawn import Population
from netsim.population.fleet import Fleet
from netsim.population.radio_map import Direction, RadioMap

__all__ = ["Direction", "Fleet", "Population", "PopulationConfig", "RadioMap"]
