"""Random combinations of servers, samplings, networks and clients for small runs."""

import random

from netsim.cosim.shipped import FOLDER

TIMINGS = (
    "announce_time: 10 ms, merge_time: 20 ms",
    "announce_time: 0 s, merge_time: 0 s",
    "announce_time: 1 ms, merge_time: 300 ms",
)
OUTAGES = (
    "outages: [{at: 3 s, duration: 1 s}, {at: 9 s, duration: 2 s}]",
    "outages: [{at: 1.5 s, duration: 700 ms}]",
)
SHARINGS = (
    *("equal-finish", "equal-fixed", "equal-rate", "max-min", "max-min-live"),
    *("processor-sharing", "proportional", "proportional-fair", "work-conserving"),
    *("proportional-fair-live", "shortest-first", "tdma-first-come", "weighted"),
    *("tdma-shortest-first", "first-come", "whole-blocks"),
)
AT_EVENTS = ("processor-sharing", "tdma-first-come", "weighted", "shortest-first")
AVAILABILITIES = (
    *("always", "{kind: markov, mean_on: 20 s, mean_off: 4 s}"),
    *("{kind: markov, mean_on: 2 s, mean_off: 2 s}", "{kind: diurnal, low: 0.1}"),
    "{kind: periodic, on: 5 s, off: 2 s}",
)
FADINGS = (
    *("none", "rayleigh-fast", "{kind: rayleigh, coherence_time: 50 ms}"),
    "{kind: rician, k_factor: 6 dB, coherence_time: 100 ms}",
)
RADIOS = (
    "{kind: per-hertz, reference_band: 5 MHz, gap: 3 dB}",
    "{kind: per-hertz, reference_band: 1 MHz}",
    "{kind: fixed-power, gap: 3 dB}",
    f"{{kind: measured, reference_band: 5 MHz, path: {FOLDER / 'traces' / 'walk.up'}}}",
)
DELAYS = (
    *("latency: 10 ms", "jitter: {kind: uniform, longest: 20 ms}"),
    "latency: 10 ms, jitter: {kind: exponential, mean: 5 ms}",
)
ERRORS = (
    "errors: {probability: 0.2, max_retries: 2, backoff: 30 ms, backoff_factor: 2}",
    "errors: {packet_error_rate: 5e-4, max_retries: 1}",
    "errors: {probability: 0.3, max_retries: 0}",
)
BASES = {"network-only": 8, "several-cells": 2, "hierarchical": 2, "moving-clients": 1}
BASES |= {"measured-links": 1, "lossy-uplink": 1}
NUM_CELLS = {"several-cells": 3, "hierarchical": 2, "moving-clients": 2}
ONE_BY_ONE = ("buffered", "asynchronous")


class Combination:
    """One random combination: a shipped scenario and what is set in it.

    What does not go together is refused by the program, which names the reason.
    """

    def __init__(self, seed):
        self._rng = random.Random(f"combination {seed}")
        self.base = self._rng.choices([*BASES], [*BASES.values()])[0]
        num_clients = self._rng.choice((1, 3, 8, 12))
        self.overrides = [f"population.num_clients={num_clients}", f"seed={seed}"]
        self.server = self._server_kind()
        ends = ("{rounds: 4}", "{rounds: 8}", "{time: 8 s}", "{rounds: 6, time: 5 s}")
        self._set("stop", ends)
        self.overrides.append(f"server={{kind: {self.server}, {self._server()}}}")
        self._add_clients()
        if self.base in NUM_CELLS:
            self._add_cells()
        elif self.base != "measured-links":
            self._add_bands()

    def _often(self, chance):
        return self._rng.random() < chance

    def _set(self, path, values, chance=1.0):
        if self._often(chance):
            self.overrides.append(f"{path}={self._rng.choice(values)}")

    def _maybe(self, values, chance):
        return [self._rng.choice(values)] if self._often(chance) else []

    def _server_kind(self):
        if self.base == "hierarchical" and self._often(0.7):
            return "hierarchical"
        return self._rng.choice(("synchronous", "deadline", *ONE_BY_ONE))

    def _server(self):
        """Return the settings of the server."""
        choice, outages = self._rng.choice, self._maybe(OUTAGES, 0.3)
        if self.server in ONE_BY_ONE:
            size = f", buffer_size: {choice((1, 2, 3))}"
            settings = [
                f"concurrency: {choice((1, 4, 6, 20))}",
                f"merge_time: {choice(('0 s', '5 ms', '300 ms'))}",
                *outages,
            ]
            return ", ".join(settings) + (size if self.server == "buffered" else "")
        sampling = choice(
            (
                *("full", "{kind: weighted, num_draws: 6}"),
                *("{kind: independent, probability: 0.6}",),
                f"{{kind: uniform, num_drawn: {choice((1, 3))}}}",
                "{kind: data-weighted, num_expected: 0.9}",
            )
        )
        settings = [f"sampling: {sampling}", choice(TIMINGS)]
        if self.server == "hierarchical":
            edges = f"edge_rounds: {choice((1, 2, 3))}"
            return ", ".join([*settings, edges, "cloud_merge_time: 5 ms"])
        settings += [*outages, *self._maybe(("corrects_presence: true",), 0.2)]
        return ", ".join(settings + self._late())

    def _late(self):
        """Return when a round ends before all have arrived, and what becomes of
        these."""
        choice = self._rng.choice
        limits = [f"merge_first: {choice((1, 3, 4))}"]
        if self.server == "deadline":
            limits = [f"deadline: {choice(('400 ms', '1.5 s', '2.2 s', '4 s'))}"]
            limits += self._maybe(("merge_first: 3",), 0.2)
        elif self._often(0.4):
            return []
        late = (
            *("late: drop", "corrects_arrivals: true", "late: next-round"),
            "late: next-round, staleness_exponent: 0.5",
        )
        return [*limits, choice(late)]

    def _add_clients(self):
        self._set("population.availability", AVAILABILITIES, 0.7)
        self._set("population.battery.capacity", ("5 J", "15 J", "25 J", "200 J"), 0.3)
        self._set("population.compute_jitter", (0, 0.1, 0.3), 0.5)
        spreads = ("{kind: log-normal, sigma: 0.5}", "exponential")
        self._set("population.speed_spread", spreads, 0.5)
        self._set("population.radio_band", ("1 MHz",), 0.15)

    def _add_cells(self):
        for n in range(NUM_CELLS[self.base]):
            if self.server in ONE_BY_ONE:
                for one in ("mode=unicast", "sharing=processor-sharing"):
                    self.overrides.append(f"cells.{n}.downlink.{one}")
                self._set(f"cells.{n}.uplink.sharing", AT_EVENTS)
            else:
                self._set(f"cells.{n}.uplink.sharing", SHARINGS, 0.4)
        rates = ("{rate: 1 Mbit/s, latency: 5 ms}", "{rate: 100 Mbit/s, latency: 0 s}")
        self._set("cells.1.backhaul", rates, 0.5)

    def _add_bands(self):
        choice, is_single = self._rng.choice, self.server in ONE_BY_ONE
        sharings = AT_EVENTS if is_single else SHARINGS
        up = [f"band: {choice(('5 MHz', '500 kHz'))}", f"radio: {choice(RADIOS)}"]
        up += [f"sharing: {choice(sharings)}"]
        if "measured" not in up[1]:
            up += self._maybe(("minimum_snr: 3 dB, outage_timeout: 200 ms",), 0.3)
        up += self._maybe(DELAYS, 0.3) + self._maybe(ERRORS, 0.3)
        self.overrides.append(f"cell.uplink={{{', '.join(up)}}}")
        down = [f"band: {choice(('10 MHz', '300 kHz'))}", "transmit_power: 30 dBm"]
        kinds = ("{kind: fixed-power}", "{kind: per-hertz, reference_band: 10 MHz}")
        down += [f"radio: {choice(kinds)}"]
        if is_single or self._often(0.4):
            down += ["mode: unicast", f"sharing: {choice(AT_EVENTS)}"]
        down += self._maybe(ERRORS, 0.2) + self._maybe(DELAYS, 0.3)
        self.overrides.append(f"cell.downlink={{{', '.join(down)}}}")
        self._set("cell.fading", FADINGS)
        self._set("learning.download", ("0 B",), 0.2)
        self._set("learning.upload", ("0 B",), 0.1)
        self._set("learning.compute", ("0 FLOP",), 0.15)
