"""Client availability: always, periodic, random, by the time of day, or from a file."""

from netsim.availability.always import Always
from netsim.availability.diurnal import Diurnal
from netsim.availability.markov import Markov
from netsim.availability.periodic import Periodic
from netsim.availability.presence import Availability, Presence
from netsim.availability.recorded import Recorded

AVAILABILITIES = {
    "always": Always,
    "diurnal": Diurnal,
    "markov": Markov,
    "periodic": Periodic,
    "trace": Recorded,
}

__all__ = ["AVAILABILITIES", "Always", "Availability", "Presence"]
