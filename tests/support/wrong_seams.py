"""Classes that answer wrongly, or raise, each at one seam; a test names them."""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from fl.aggregation import FedIT
from fl.aggregation.components import Pair
from fl.aggregation.compression import Delivery, Quantised
from fl.aggregation.server_optimiser import MomentumServer
from fl.backbones import SmallViT
from fl.local import Plain
from fl.partition import DirichletByLabel
from fl.tasks import Digits
from netsim.availability.always import Always
from netsim.band.transfer import Terms
from netsim.channel.fading import NoFading
from netsim.channel.latency import ExponentialJitter
from netsim.channel.own_links import MeasuredLinks, OwnLink
from netsim.channel.path_loss import LogDistance
from netsim.channel.placement import Ring
from netsim.channel.radio import PerHertzRadio
from netsim.cosim.learning_kinds import LearningOff
from netsim.devices.device import ExponentialSpread
from netsim.learner.no_learning import NoLearning
from netsim.mobility import Still
from netsim.policy import FullRank
from netsim.policy.full import FullParticipation
from netsim.policy.sampler import Drawn
from netsim.scenario import Record
from netsim.server.round_loop import RoundLoop
from netsim.server.rounds import Synchronous
from netsim.server.staleness import PolynomialStaleness
from netsim.server.story import RoundTiming
from netsim.sharing import ProcessorSharing


class NanGain(NoFading):
    kind: ClassVar[str] = "mine"

    def gain(self, seed, direction, client_id, now_ns):
        return float("nan"), None


class ChangesNow(NanGain):
    def gain(self, seed, direction, client_id, now_ns):
        return 1.0, now_ns


class FloatTick(NanGain):
    def gain(self, seed, direction, client_id, now_ns):
        return 1.0, now_ns + 1.5


class NoPair(NanGain):
    def gain(self, seed, direction, client_id, now_ns):
        return 1.0


class NanDelay(ExponentialJitter):
    kind: ClassVar[str] = "mine"

    def delay_s(self, probability):
        return float("nan")


class NoSpeed(ExponentialSpread):
    kind: ClassVar[str] = "mine"

    def factor(self, probability):
        return 0.0


class StandsStill(Always):
    traits: ClassVar[dict[str, str]] = {"comes-and-goes": ""}
    kind: ClassVar[str] = "mine"

    def intervals(self, seed, client_id, since_ns):
        while True:
            yield 0, 0


class HalfBit(PerHertzRadio):
    kind: ClassVar[str] = "mine"

    def efficiency_nbit(self, cn0_hz, share_uhz):
        return 1.5


class NanRate(HalfBit):
    def rate_bps(self, cn0_hz, share_hz):
        return float("nan")


class NoRadio(NoFading):
    kind: ClassVar[str] = "mine"

    def effective_radio(self, radio):
        return None


class NanLoss(LogDistance):
    kind: ClassVar[str] = "mine"

    def loss_db(self, distance_2d_m, is_line_of_sight):
        return float("nan")


class NoPlace(Ring):
    kind: ClassVar[str] = "mine"

    def place(self, num_clients, rng):
        return np.full(num_clients, np.nan), np.zeros(num_clients)


class NoPaths(Still):
    kind: ClassVar[str] = "mine"
    interval_s: ClassVar[float] = 1.0

    def paths(self, num_clients, starts, seed):
        return Lost()


class Lost:
    def at(self, client_id, now_ns):
        return float("nan"), 0.0


class FloatOffset(MeasuredLinks):
    kind: ClassVar[str] = "mine"

    def link(self, seed, client_id):
        return OwnLink(0, 1.5)


class NanDiscount(PolynomialStaleness):
    kind: ClassVar[str] = "mine"

    def discount(self, staleness):
        return float("nan")


class NanTiming(Synchronous):
    kind: ClassVar[str] = "mine"

    @property
    def round_timing(self):
        return RoundTiming(float("nan"), 0.0)


class NoProcess(Synchronous):
    kind: ClassVar[str] = "mine"

    def play(self, stage):
        return None


class Steers(Record):
    """A policy with a sampler of its own."""

    kind: ClassVar[str] = "mine"
    traits: ClassVar[dict] = {"keeps-sampling": ""}
    constants: ClassVar[None] = None
    charges_pilots: ClassVar[bool] = True
    max_weight: ClassVar[None] = None

    def require_files(self, num_clients): ...

    def require(self, planner): ...

    def samplers(self, stage, planner):
        while True:
            yield Twice()


class NoSampler(Steers):
    def samplers(self, stage, planner):
        while True:
            yield None


class EndsEarly(Steers):
    def samplers(self, stage, planner):
        yield from ()


class Twice(FullParticipation):
    kind: ClassVar[str] = "mine"
    ids: ClassVar[tuple] = (1, 1)
    weights: ClassVar[tuple] = (0.5, 0.5)

    def draw(self, data_weights, rng):
        return Drawn(self.ids, self.weights)


class NanWeight(Twice):
    ids: ClassVar[tuple] = (0, 1)
    weights: ClassVar[tuple] = (0.5, float("nan"))


class Unsorted(Twice):
    ids: ClassVar[tuple] = (1, 0)


class NoSuchClient(Twice):
    ids: ClassVar[tuple] = (0, 1_000_000)


class DrawRaises(Twice):
    def draw(self, data_weights, rng):
        return data_weights["all"]


class HighRank(FullRank):
    kind: ClassVar[str] = "mine"
    traits: ClassVar[dict[str, str]] = {"lower-ranks": ""}

    def rank(self, full_rank, device, memory_at):
        return full_rank + 1


class HalfWeight(ProcessorSharing):
    kind: ClassVar[str] = "mine"

    def divide(self, started, live, band):
        return ((one, Terms(weight=0.5)) for one in started)


class DivideRaises(ProcessorSharing):
    kind: ClassVar[str] = "mine"

    def divide(self, started, live, band):
        return 1 / 0


class FloatPause(Synchronous):
    kind: ClassVar[str] = "mine"

    def play(self, stage):
        yield stage.scene.env.timeout(1.5)
        yield from RoundLoop(stage, self, self.round_timing).play()


class HalfBits(NoLearning):
    def bits_up(self, job):
        return 0.5


class FloatBits(LearningOff):
    kind: ClassVar[str] = "mine"

    def learner(self, num_clients, seed, *, reuse, workers=None):
        return HalfBits(
            num_clients=num_clients,
            download_bits=1,
            upload_bits=1,
            compute_flop=1,
            memory_bytes=0,
            samples_per_client=1,
        )


class NoDigest(Digits):
    kind: ClassVar[str] = "mine"

    @property
    def digest(self):
        return ""


class SampleTwice(DirichletByLabel):
    kind: ClassVar[str] = "mine"

    def split(self, groups, num_clients, rng):
        return [np.arange(10)] * num_clients


class Transposed(FedIT):
    kind: ClassVar[str] = "mine"

    def merge(self, layers):
        return {
            name: replace(layer, pair=Pair(layer.pair.lora_a, layer.pair.lora_b))
            for name, layer in super().merge(layers).items()
        }


class LayerMissing(FedIT):
    kind: ClassVar[str] = "mine"

    def merge(self, layers):
        merged = super().merge(layers)
        merged.popitem()
        return merged


class OtherDtype(FedIT):
    kind: ClassVar[str] = "mine"

    def merge_layer(self, layer, norms):
        merged = super().merge_layer(layer, norms)
        return replace(merged, pair=Pair(*(one.double() for one in merged.pair)))


class NoRank(FullRank):
    kind: ClassVar[str] = "mine"
    traits: ClassVar[dict[str, str]] = {"lower-ranks": ""}

    def rank(self, full_rank, device, memory_at):
        return 0


class LowRank(FedIT):
    kind: ClassVar[str] = "mine"

    def merge_layer(self, layer, norms):
        merged = super().merge_layer(layer, norms)
        lora_b, lora_a = merged.pair
        return replace(merged, pair=Pair(lora_b[:, :1], lora_a[:1]))


class NoModel(SmallViT):
    kind: ClassVar[str] = "mine"

    def digest(self, task):
        return None


class ShortUpload(Quantised):
    kind: ClassVar[str] = "mine"

    def deliver(self, trained, rng):
        assert isinstance(rng, np.random.Generator)
        return Delivery(trained[: -1 - int(rng.integers(2))], None)


class AsksTooMuch(Quantised):
    kind: ClassVar[str] = "mine"

    def deliver(self, trained, rnd):
        return Delivery(trained, None)


class NoMoments(MomentumServer):
    kind: ClassVar[str] = "mine"

    def step(self, before, merged, moments):
        return merged, None


class NoDemands(Plain):
    kind: ClassVar[str] = "mine"

    @property
    def demands(self):
        return None


class MergeRaises(FedIT):
    kind: ClassVar[str] = "mine"

    def merge(self, layers):
        raise RuntimeError("no way to merge")
