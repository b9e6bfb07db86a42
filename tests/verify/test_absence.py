"""An audit notices where nobody was there, and no mark says so, or the reverse."""

import pytest

from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.trace.rows import Event
from tests.support.forgeries import DROPPED, Forgery, Recorded

UNICAST = "cell.downlink={band: 10 MHz, radio: {kind: fixed-power}, mode: unicast}"
SERVERS = {
    "synchronous": ("server.sampling=full",),
    "buffered": (
        UNICAST,
        "cell.downlink.sharing=processor-sharing",
        "cell.uplink.sharing=processor-sharing",
        "server={kind: buffered, concurrency: 1, buffer_size: 1, merge_time: 1 ms}",
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_mark_that_nobody_is_there_is_neither_left_out_nor_made_up(tmp_path, server):
    changes = (
        "population.num_clients=1",
        "population.availability={kind: periodic, on: 3 s, off: 2 s}",
        "stop={rounds: 8}",
        *SERVERS[server],
    )
    run_scenario(read_scenario(find_scenario("network-only"), changes), tmp_path)
    run = Recorded(tmp_path)
    assert (run.findings, run.skipped) == ([], [])
    events = [Event(**row) for row in run.tables["events"].to_pylist()]
    marks = [n for n, event in enumerate(events) if event.kind == "nobody there"]
    assert marks
    assert all(run.is_caught(Forgery("events", DROPPED, row)) for row in marks)
    at_ns = Forgery("events", "time_ns", marks[0], events[marks[0]].time_ns + 1)
    assert run.is_caught(at_ns)
