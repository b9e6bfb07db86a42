"""Two cells whose timelines can be counted by hand.

Every band has 6 MHz. At 100 m the SNR is 3, hence 2 bit/s/Hz and 12 Mbit/s alone; the
path loss has exponent 2, so that twice as far is a quarter of the power.
"""

from netsim.channel import LogDistance, PerHertzRadio, Points
from netsim.cosim.learning_kinds import LearningOff
from netsim.cosim.scenario import Scenario
from netsim.devices.catalogue import DeviceChoice
from netsim.devices.device import Device
from netsim.mobility import Recorded
from netsim.network.cell import Cell, Downlink, Uplink
from netsim.policy import FullParticipation
from netsim.population import PopulationConfig
from netsim.server import Stop, Synchronous
from netsim.sharing import ProcessorSharing
from tests.support.timelines import MBIT, SNR_3_LOSS_DB, play_out

BOARD = Device(
    name="board",
    peak_flop_per_s=1e9,
    efficiency=1.0,
    memory_bytes=1,
    compute_power_w=10.0,
    idle_power_w=1.0,
)


def cell(name, x_m, *, down_hz=6e6, sharing=None, mode="broadcast", **changes):
    radio = PerHertzRadio(reference_band_hz=1e6)
    return Cell(
        name=name,
        position_m=(x_m, 0.0),
        uplink=Uplink(band_hz=6e6, radio=radio, sharing=sharing or ProcessorSharing()),
        downlink=Downlink(
            band_hz=down_hz,
            radio=radio,
            transmit_power_dbm=27.0,
            mode=mode,
            sharing=ProcessorSharing() if mode == "unicast" else None,
        ),
        path_loss=LogDistance(
            exponent=2.0, reference_loss_db=SNR_3_LOSS_DB, reference_distance_m=100.0
        ),
        **changes,
    )


def population(places, **changes):
    return PopulationConfig(
        num_clients=len(places),
        placement=Points(places_m=places),
        placed_around="origin",
        devices=(DeviceChoice(device=BOARD),),
        **changes,
    )


def scenario(cells, people, *, server=None, rounds=1, learning=None, **changes):
    return Scenario(
        name="cells",
        stop=Stop(rounds=rounds),
        server=server
        or Synchronous(
            sampling=FullParticipation(), announce_time_s=0.5, merge_time_s=0.25
        ),
        population=people,
        cells=cells,
        learning=learning
        or LearningOff(download_bits=0, upload_bits=0, compute_flop=0),
        **changes,
    )


WEST, EAST = cell("west", 0.0), cell("east", 1000.0)
THREE = ((100.0, 0.0), (0.0, 100.0), (900.0, 0.0))  # two in the west, one in the east


def counted(cells, folder, **changes):
    """Return the trace of one round in which all clients do the same work."""
    return play_out(
        scenario(cells, population(THREE), **changes),
        folder,
        uploads=(12 * MBIT,) * 3,
        flops=(10**9,) * 3,
        download=12 * MBIT,
    )


def walk(tmp_path, *rows, interval_s=1.0):
    path = tmp_path / "walk.csv"
    path.write_text("client_id,time,x,y\n" + "\n".join(rows))
    return PopulationConfig(
        num_clients=len({row.split(",")[0] for row in rows}),
        mobility=Recorded(path=str(path), interval_s=interval_s),
        devices=(DeviceChoice(device=BOARD),),
    )
