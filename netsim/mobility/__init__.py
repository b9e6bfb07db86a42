"""Client mobility: still, random waypoints, or from a file."""

from netsim.mobility.path import Mobility, Place
from netsim.mobility.random_waypoint import RandomWaypoint
from netsim.mobility.recorded import Recorded
from netsim.mobility.still import Still

MOBILITIES = {"file": Recorded, "random-waypoint": RandomWaypoint, "still": Still}

__all__ = ["MOBILITIES", "Mobility", "Place", "Still"]
