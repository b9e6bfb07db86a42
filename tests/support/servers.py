"""Settings of the quickstart, one for each server."""

from netsim.cosim.reading import read_scenario
from netsim.cosim.shipped import find_scenario

SERVERS = {
    "synchronous": (),
    "deadline": (
        "server={kind: deadline, deadline: 900 ms, announce_time: 1 ms, "
        "merge_time: 0 s, sampling: {kind: uniform, num_drawn: 6}}",
    ),
    "buffered": (
        "server={kind: buffered, concurrency: 6, buffer_size: 3, merge_time: 5 ms}",
        "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, "
        "mode: unicast, sharing: processor-sharing}",
        "cell.uplink.sharing=processor-sharing",
    ),
}


def scenario(name, *overrides):
    return read_scenario(find_scenario(name), overrides)
