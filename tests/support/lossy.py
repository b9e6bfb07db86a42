"""One round of two clients over links that delay and lose messages."""

from netsim.channel.packet_errors import TransmissionErrors
from netsim.trace.rows import Client
from netsim.verify.cells import Whereabouts
from netsim.verify.clock import check_clock
from netsim.verify.messages import check_messages
from netsim.verify.trace import Trace
from tests.support.timelines import MBIT, S, patient, play_out, scenario, times


class SomeLost(TransmissionErrors):
    """Loses the first attempts of one client alone."""

    client_id: int = 0
    num_lost: int = 1

    def is_lost(self, bits, seed, direction, client_id, occasion, attempt=0):
        return client_id == self.client_id and attempt < self.num_lost


def played(folder, *, up=None, down=None, server=None, uploads=(12, 18), **changes):
    """Play one round of two clients whose compute ends at 2.5 s after a download of
    12 Mbit; ``up`` and ``down`` change the links."""
    config = scenario(server or patient(), len(uploads), **changes)
    cell = config.cell.model_copy(
        update={
            "uplink": config.cell.uplink.model_copy(update=up or {}),
            "downlink": config.cell.downlink.model_copy(update=down or {}),
        }
    )
    return play_out(
        config.model_copy(update={"cell": cell}),
        folder,
        uploads=tuple(size * MBIT for size in uploads),
        flops=(10**9,) * len(uploads),
        download=12 * MBIT,
    )


def seconds(recorder):
    """Return client, end of download, start of upload, end and status of each task."""
    return [
        (c, down / S, up and up / S, end / S, status)
        for c, _, down, up, end, status in map(times, recorder.tasks)
    ]


def sent(recorder, direction="up"):
    """Return client, start, end and status of each transfer in one direction."""
    return sorted(
        (row.client_id, row.start_ns / S, row.end_ns / S, row.status)
        for row in recorder.transfers
        if row.direction == direction and row.client_id is not None
    )


def audit(recorder):
    return [
        *check_clock(recorder),
        *audit_messages(recorder.tasks, recorder.transfers, recorder.arrivals),
    ]


def audit_messages(tasks, transfers, arrivals):
    clients = [Client(n, 0, "", 0.0, 0.0, 0.0, False, 0.0, 1, 1 / 9) for n in range(9)]
    given = {"tasks": tasks, "transfers": transfers, "arrivals": arrivals}
    trace = Trace(0, clients=clients, **given)
    return check_messages(trace, Whereabouts(trace))
