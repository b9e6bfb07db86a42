"""The shared band against queueing theory: Poisson starts, one band, known means.

Work is in seconds of the whole band, on average one; ``load`` is the rate of starts.
Means over independent replications must lie within their 99.9 % confidence interval,
which is asked to be narrow enough to tell the formulas apart.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from netsim.band import Message, SharedBand
from netsim.core.engine import Engine, rare_garbage_collection
from netsim.sharing import FirstComeTdma, ProcessorSharing, ShortestFirstTdma

pytestmark = pytest.mark.slow

NUM_REPLICATIONS = 16
NUM_JOBS = 5_000
WARM_UP, COOL_DOWN = 500, 300  # later starts slow down who is sharing
T_999 = 4.073  # Student's quantile for 15 degrees of freedom, two-sided 99.9 %
BAND_HZ = 1_000_000  # at 1 bit/s/Hz: a bit is a microsecond of the whole band
NS_PER_S = 1_000_000_000


class Flat:
    """One bit/s/Hz, whatever the channel."""

    depends_on_share = False

    def efficiency_nbit(self, cn0_hz, share_uhz):
        return 10**9


class Still:
    """A channel that never changes."""

    def at(self, now_ns):
        return 1.0, None


class Nowhere(list):
    """Takes rows and keeps none."""

    def append(self, row):
        pass


@dataclass
class Ledger:
    transfers: list = field(default_factory=Nowhere)
    segments: list = field(default_factory=Nowhere)
    bands: list = field(default_factory=Nowhere)


def exponential(rng, count):
    return rng.exponential(1.0, count)


def deterministic(rng, count):
    return np.ones(count)


def bimodal(rng, count):
    """Nine of ten are a half, one is 5.5: mean one, squared variation 2.25."""
    return np.where(rng.random(count) < 0.9, 0.5, 5.5)


def sojourns(starts_ns, bits, rule, ceiling_uhz=None):
    """Return every transfer's nanoseconds from start to end on one band."""
    env, channel = Engine(), Still()
    band = SharedBand(
        env,
        cell_id=0,
        direction="up",
        band_hz=BAND_HZ,
        radio=Flat(),
        divider=rule,
        ledger=Ledger(),
        transfer_ids=itertools.count(),
    )
    took_ns = np.zeros(len(bits), dtype=np.int64)

    def transfer(job_id, num_bits):
        start_ns = env.now
        message = Message(0, num_bits, job_id, job_id)
        yield band.send(message, channel, ceiling_uhz=ceiling_uhz).done
        took_ns[job_id] = env.now - start_ns

    def source():
        for job_id, (start_ns, size) in enumerate(zip(starts_ns, bits, strict=True)):
            yield env.timeout(start_ns - env.now)
            env.process(transfer(job_id, size))

    env.process(source())
    with rare_garbage_collection():
        env.run()
    return took_ns


def traffic(rng, load, draw):
    """Return starts in nanoseconds and sizes in bits of one replication."""
    gaps_s = rng.exponential(1 / load, NUM_JOBS)
    starts_ns = np.rint(np.cumsum(gaps_s) * NS_PER_S).astype(np.int64)
    bits = np.maximum(np.rint(draw(rng, NUM_JOBS) * BAND_HZ), 1).astype(np.int64)
    return starts_ns.tolist(), bits.tolist()


def replications(load, draw, rule, **terms):
    """Return sizes and sojourn times in seconds, a row for each replication."""
    sizes_s, took_s = [], []
    for number in range(NUM_REPLICATIONS):
        rng = np.random.default_rng(1000 + number)
        starts_ns, bits = traffic(rng, load, draw)
        kept = slice(WARM_UP, NUM_JOBS - COOL_DOWN)
        sizes_s.append(np.array(bits)[kept] / BAND_HZ)
        took_s.append(sojourns(starts_ns, bits, rule, **terms)[kept] / NS_PER_S)
    return np.array(sizes_s), np.array(took_s)


def assert_mean(per_replication, expected, within):
    """Assert that the mean is the expected one, up to an interval so narrow."""
    half = T_999 * np.std(per_replication, ddof=1) / math.sqrt(len(per_replication))
    assert half < within * expected, f"interval of {half / expected:.1%}: too wide"
    assert abs(np.mean(per_replication) - expected) < half


@pytest.mark.parametrize("load", [0.5, 0.8])
@pytest.mark.parametrize("draw", [exponential, deterministic, bimodal])
def test_sharing_takes_the_same_time_whatever_the_sizes_are_like(load, draw):
    """M/G/1-PS is insensitive: E[T] = E[S] / (1 - rho) and E[T | x] = x / (1 - rho),
    Kleinrock, Queueing Systems II (1976), 4.4."""
    sizes_s, took_s = replications(load, draw, ProcessorSharing())
    assert_mean(took_s.mean(axis=1), 1 / (1 - load), within=0.2)
    if draw is deterministic:
        return
    middle_s = 1.0
    for is_in in (sizes_s <= middle_s, sizes_s > middle_s):
        slowness = [
            took[chosen].sum() / size[chosen].sum()
            for took, size, chosen in zip(took_s, sizes_s, is_in, strict=True)
        ]
        assert_mean(slowness, 1 / (1 - load), within=0.2)


@pytest.mark.parametrize("load", [0.5, 0.8])
@pytest.mark.parametrize(("draw", "squares"), [(exponential, 2), (deterministic, 1)])
def test_one_at_a_time_is_the_formula_of_pollaczek_and_khinchine(load, draw, squares):
    """E[T] = E[S] + rho E[S^2] / (2 (1 - rho) E[S])."""
    _, took_s = replications(load, draw, FirstComeTdma())
    expected_s = 1 + load * squares / (2 * (1 - load))
    assert_mean(took_s.mean(axis=1), expected_s, within=0.15)
    if draw is exponential:  # the sojourn time is exponential itself
        later = (took_s > expected_s).mean(axis=1)
        assert_mean(later, math.exp(-1), within=0.25)


def test_one_at_a_time_follows_lindley_to_the_nanosecond():
    """T_n = S_n + max(0, T_(n-1) - A_n); a bit takes exactly 1000 ns."""
    starts_ns, bits = traffic(np.random.default_rng(7), 0.8, exponential)
    took_ns = sojourns(starts_ns, bits, FirstComeTdma())
    expected_ns, before_ns, last_ns = [], 0, 0
    for start_ns, size in zip(starts_ns, bits, strict=True):
        before_ns = max(0, before_ns - (start_ns - last_ns)) + size * 1000
        last_ns = start_ns
        expected_ns.append(before_ns)
    assert took_ns.tolist() == expected_ns


def test_shortest_first_is_schrages_formula():
    """M/M/1 under shortest remaining first (Schrage and Miller, 1966)."""
    load, step = 0.8, 2e-3
    x = np.arange(step / 2, 30, step)
    density, beyond = np.exp(-x), np.exp(-x)
    small_load = load * np.cumsum(x * density) * step
    squares = np.cumsum(x**2 * density) * step + x**2 * beyond
    waits = load * squares / (2 * (1 - small_load) ** 2)
    serves = np.cumsum(1 / (1 - small_load)) * step
    expected_s = float(np.sum((waits + serves) * density) * step)
    assert expected_s == pytest.approx(2.35, abs=0.02)  # half of sharing's 5 or less
    _, took_s = replications(load, exponential, ShortestFirstTdma())
    assert_mean(took_s.mean(axis=1), expected_s, within=0.1)


@pytest.mark.parametrize("draw", [exponential, bimodal])
def test_radios_of_a_quarter_of_the_band_make_it_four_servers(draw):
    """With ceilings of band / c sharing is M/G/c-PS, as insensitive as one server, and
    has the mean number of M/M/c: c rho + C(c, c rho) rho / (1 - rho)."""
    num_servers, load = 4, 0.7
    offered = num_servers * load
    terms = [offered**n / math.factorial(n) for n in range(num_servers)]
    last = offered**num_servers / math.factorial(num_servers) / (1 - load)
    wait_probability = last / (sum(terms) + last)  # Erlang's C
    mean_live = offered + wait_probability * load / (1 - load)
    ceiling_uhz = BAND_HZ * 10**6 // num_servers
    _, took_s = replications(load, draw, ProcessorSharing(), ceiling_uhz=ceiling_uhz)
    assert_mean(took_s.mean(axis=1), mean_live / load, within=0.1)
