"""One cell whose timelines can be counted by hand.

One 6 MHz band at 2 bit/s/Hz (SNR 3): 12 Mbit/s alone, 6 for each of two, 4 for each of
three.
"""

from dataclasses import dataclass

from fl.contract import Work
from netsim.channel import LogDistance, NoFading, PerHertzRadio, Ring
from netsim.cosim.learning_kinds import LearningOff
from netsim.cosim.scenario import Scenario
from netsim.cosim.world import build_population, build_stage, play
from netsim.devices.catalogue import DeviceChoice
from netsim.devices.device import Device
from netsim.learner.no_learning import NoLearning
from netsim.network.cell import Cell, Downlink, Uplink
from netsim.policy import FullParticipation
from netsim.population import PopulationConfig
from netsim.server import Stop, Synchronous
from netsim.sharing import ProcessorSharing
from netsim.trace.writer import Recorder

S = 10**9
MBIT = 10**6
SNR_3_LOSS_DB = 127.2287874528034  # 23 dBm + 174 - 5 - loss = 10 log10(3 MHz)


@dataclass(frozen=True, kw_only=True)
class Uneven(NoLearning):
    """Sizes and work that differ from client to client."""

    uploads: tuple[int, ...]
    flops: tuple[int, ...]

    def bits_up(self, job):
        return self.uploads[job.client_id]

    def work(self, job):
        return Work(self.flops[job.client_id])


def scenario(
    server,
    num_clients,
    *,
    sharing=None,
    rounds=1,
    fading=None,
    mode="broadcast",
    population=None,
):
    radio = PerHertzRadio(reference_band_hz=1e6)
    return Scenario(
        name="timeline",
        stop=Stop(rounds=rounds),
        server=server,
        population=PopulationConfig(
            num_clients=num_clients,
            placement=Ring(distance_m=100.0),
            devices=(
                DeviceChoice(
                    device=Device(
                        name="board",
                        peak_flop_per_s=1e9,
                        efficiency=1.0,
                        memory_bytes=1,
                        compute_power_w=10.0,
                        idle_power_w=1.0,
                    )
                ),
            ),
            **(population or {}),
        ),
        cell=Cell(
            uplink=Uplink(
                band_hz=6e6, radio=radio, sharing=sharing or ProcessorSharing()
            ),
            downlink=Downlink(
                band_hz=6e6,
                radio=radio,
                transmit_power_dbm=27.0,
                mode=mode,
                sharing=ProcessorSharing() if mode == "unicast" else None,
            ),
            path_loss=LogDistance(
                exponent=2.0,
                reference_loss_db=SNR_3_LOSS_DB,
                reference_distance_m=100.0,
            ),
            fading=fading or NoFading(),
        ),
        learning=LearningOff(download_bits=0, upload_bits=0, compute_flop=0),
    )


def play_out(config, folder, *, uploads, flops, download=0, kind=Uneven, **more):
    learner = kind(
        num_clients=config.population.num_clients,
        download_bits=download,
        upload_bits=0,
        compute_flop=0,
        memory_bytes=0,
        samples_per_client=1,
        uploads=uploads,
        flops=flops,
        **more,
    )
    recorder = Recorder(folder)
    population = build_population(config, learner)
    stage = build_stage(config, learner, population, recorder, lambda progress: None)
    play(stage, config)
    return recorder


def times(task):
    return (
        task.client_id,
        task.download_start_ns,
        task.compute_start_ns,
        task.upload_start_ns,
        task.end_ns,
        task.status,
    )


def patient(**changes):
    defaults = {
        "sampling": FullParticipation(),
        "announce_time_s": 0.5,
        "merge_time_s": 0.25,
    }
    return Synchronous(**(defaults | changes))
