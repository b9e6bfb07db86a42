"""Pairs of scenarios whose results must agree, or differ in a known way.

``python -m tests.torture.metamorphic --pairs 100 --out DIR``. Scenarios come from the
swarm; each relation changes those that it applies to.
"""

import argparse
import copy
import shutil
from collections import Counter
from pathlib import Path

import yaml

import netsim
from netsim.errors import InputError
from tests.torture.swarm.scenarios import ROUNDLESS, scenario
from tests.torture.swarm.tables import Tables
from tests.torture.table import Table

COLUMNS = ("relation", "pairs", "tasks", "faults")
TIMES = (
    "download_start_ns",
    "download_end_ns",
    "compute_start_ns",
    "compute_end_ns",
    "upload_start_ns",
    "end_ns",
)
ROUND = ("round_id", "server_id", "num_sampled", "num_merged", "num_dropped")
SLACK_NS = 1000  # shares and ticks are rounded to whole numbers, once per event
FINER = {"MHz": ("kHz", 1000), "ms": ("us", 1000), "kB": ("B", 1000), "s": ("ms", 1000)}


def links(case):
    """Return both directions of every cell."""
    cells = case.get("cells") or [case["cell"]]
    return [cell[way] for cell in cells for way in ("uplink", "downlink")]


def strings(tree, change):
    """Return a tree with every text changed."""
    if isinstance(tree, dict):
        return {key: strings(value, change) for key, value in tree.items()}
    if isinstance(tree, list):
        return [strings(one, change) for one in tree]
    return change(tree) if isinstance(tree, str) else tree


def _times(text, unit_names, factor):
    number, _, unit = text.partition(" ")
    return f"{float(number) * factor:.12g} {unit}" if unit in unit_names else text


class Relation:
    """What is changed, and how the results of the pair relate."""

    scale = 1  # of every tick
    slack_ns = 0

    def change(self, case):
        """Return the other scenario, or None where the relation does not apply."""
        raise NotImplementedError

    def renamed(self, client_id):
        """Return the name of a client in the other scenario."""
        return client_id

    def differences(self, one, other):
        """Yield what does not relate as it must."""
        yield from self.unequal("task", self.tasks(one), self.tasks(other, False))
        yield from self.unequal("round", self.rounds(one), self.rounds(other))

    def tasks(self, tables, is_first=True):
        """Return the clients' participations, each with its ticks."""
        name = self.renamed if is_first else lambda client_id: client_id
        found = [
            ((name(row["client_id"]), row["status"]), [row[time] for time in TIMES])
            for row in tables.tasks
        ]
        return sorted(found, key=lambda row: (row[1][0], row[0]))

    def rounds(self, tables):
        """Return the rounds, each with its ticks."""
        return [
            (tuple(row[name] for name in ROUND), [row["start_ns"], row["end_ns"]])
            for row in tables.rounds
        ]

    def unequal(self, what, rows, others):
        """Yield the first pair of rows that differ."""
        if len(rows) != len(others):
            yield f"{len(rows)} and {len(others)} {what}s"
        for row, other in zip(rows, others, strict=False):
            pairs = zip(row[1], other[1], strict=True)
            if row[0] != other[0] or any(map(self._is_far, *zip(*pairs, strict=True))):
                yield f"{what} {row} and {other}"
                return

    def _is_far(self, tick, other):
        if tick is None or other is None:
            return tick != other
        return abs(tick * self.scale - other) > self.slack_ns


class OtherUnits(Relation):
    """The same quantities in finer units."""

    def change(self, case):
        def finer(text):
            number, _, unit = text.partition(" ")
            name, factor = FINER.get(unit, (unit, 1))
            return f"{float(number) * factor:.12g} {name}" if unit in FINER else text

        return strings(case, finer)


class SlowerWorld(Relation):
    """All times twice as long, and all work twice as much."""

    scale, slack_ns = 2, SLACK_NS

    def change(self, case):
        found = strings(case, lambda text: _times(text, ("us", "ms", "s"), 2))
        found = strings(found, lambda text: _times(text, ("kB", "GFLOP", "J"), 2))
        population = found["population"]
        if any("weighted" in str(link.get("sharing")) for link in links(case)):
            return None  # its unit of payload stays
        if "mobility" in population:
            for name in ("min_speed", "max_speed"):
                population["mobility"][name] = _times(
                    population["mobility"][name], ("km/h",), 0.5
                )
        return found


class WiderWorld(Relation):
    """Twice the bands and twice the bits, at the same SNR."""

    slack_ns = SLACK_NS

    def change(self, case):
        if any(one["radio"]["kind"] == "fixed-power" for one in links(case)):
            return None
        if any("weighted" in str(link.get("sharing")) for link in links(case)):
            return None
        if "battery" in case["population"] or "backhaul" in str(case):
            return None  # energy per hertz, and wires, stay
        found = strings(case, lambda text: _times(text, ("kB",), 2))
        for link in links(found):
            link["band"] = _times(link["band"], ("MHz",), 2)
        if "radio_band" in found["population"]:
            band = found["population"]["radio_band"]
            found["population"]["radio_band"] = _times(band, ("kHz",), 2)
        return found


class IdleClient(Relation):
    """One more client that is never drawn."""

    def change(self, case):
        sampling = case["server"].get("sampling", {})
        if sampling.get("kind") != "independent":
            return None
        if case["server"]["kind"] == "hierarchical":
            return None  # the client may open an edge that had none
        if {"battery", "availability"} & case["population"].keys():
            return None  # somebody is there where nobody was
        if "interference" in case:
            return None  # an average device stands for those of a cell
        case["population"]["devices"] = case["population"]["devices"][:1]
        if isinstance(case["learning"]["upload"], list):
            case["learning"]["upload"] = case["learning"]["upload"][0]
        num = case["population"]["num_clients"]
        found = copy.deepcopy(case)
        q = [1.0] + [sampling["probability"]] * (
            num - 1
        )  # a broadcast to nobody is for all
        case["server"]["sampling"]["probability"] = q
        found["server"]["sampling"]["probability"] = [*q, 1e-15]
        found["population"]["num_clients"] = num + 1
        return found


class LongDeadline(Relation):
    """A deadline that is never met is no deadline."""

    def change(self, case):
        if case["server"]["kind"] != "synchronous":
            return None
        found = copy.deepcopy(case)
        found["server"] |= {"kind": "deadline", "deadline": "100000 s"}
        found["server"].pop("corrects_arrivals", None)
        return found


class BufferOfOne(Relation):
    """A buffer of one update merges each arrival at once."""

    def change(self, case):
        if case["server"]["kind"] != "asynchronous":
            return None
        found = copy.deepcopy(case)
        found["server"] |= {"kind": "buffered", "buffer_size": 1}
        return found


class NeverMet(Relation):
    """Limits that nothing reaches: outages, batteries, ceilings, thresholds."""

    def change(self, case):
        found = copy.deepcopy(case)
        population, server = found["population"], found["server"]
        population.setdefault("battery", {"capacity": "1000000 kJ"})
        population.setdefault("radio_band", "10 MHz")
        if server["kind"] != "hierarchical":
            far = [{"at": "100000 s", "duration": "1 s"}]
            server.setdefault("outages", far)
        if not any("live" in str(link.get("sharing")) for link in links(case)):
            for link in links(found):
                link.setdefault("minimum_snr", "-100 dB")
        found["stop"].setdefault("time", "100000 s")
        return found


class LongerRun(Relation):
    """Rounds that follow leave those before as they are."""

    def change(self, case):
        if "time" in case["stop"]:
            return None
        found = copy.deepcopy(case)
        found["stop"]["rounds"] += 3
        return found

    def differences(self, one, other):
        """Yield what is not the beginning of the longer run."""
        rounds = self.rounds(other)[: len(one.rounds)]
        if one.rounds and len(self.rounds(one)) == len(rounds):
            yield from self.unequal("round", self.rounds(one), rounds)
        last = max((row["end_ns"] for row in one.rounds), default=0)
        yield from self.unequal("task", self.ended(one, last), self.ended(other, last))

    def ended(self, tables, tick_ns):
        """Return the tasks that ended before a tick, without their fate."""
        found = [row for row in tables.tasks if row["end_ns"] < tick_ns]
        return sorted(
            ((row["task_id"], row["client_id"]), [row[time] for time in TIMES])
            for row in found
        )


class OtherNames(Relation):
    """Clients in reverse order, where nothing about them is drawn."""

    slack_ns = SLACK_NS
    drawn = ("speed_spread", "mobility", "availability", "compute_jitter")

    def change(self, case):
        if case["server"]["kind"] in (*ROUNDLESS, "hierarchical") or "cells" in case:
            return None
        rules = {str(link.get("sharing")) for link in links(case)}
        if any("tdma" in rule or "shortest" in rule for rule in rules):
            return None  # equals are ordered by name
        if "backhaul" in case["cell"]:
            return None  # so are messages on a wire
        case["server"]["sampling"] = {"kind": "full"}
        for name in ("corrects_presence", "merge_first"):  # equals merge by name
            case["server"].pop(name, None)
        case["cell"].pop("fading", None)
        loss = {"kind": "log-distance", "exponent": 3, "reference_loss": "40 dB"}
        case["cell"]["path_loss"] = loss
        for name in self.drawn:
            case["population"].pop(name, None)
        for link in links(case):
            link.pop("jitter", None)
            link.pop("errors", None)
        num = self.num = case["population"]["num_clients"]
        places = [[f"{40 + 11 * n} m", f"{7 * n} m"] for n in range(num)]
        case["population"]["devices"] = case["population"]["devices"][:1]
        case["population"]["placement"] = {"kind": "points", "places": places}
        case["learning"] |= {
            "upload": [f"{50 + 13 * n} kB" for n in range(num)],
            "compute": [f"{10 + 3 * n} GFLOP" for n in range(num)],
        }
        found = copy.deepcopy(case)
        found["population"]["placement"]["places"].reverse()
        for name in ("upload", "compute"):
            found["learning"][name].reverse()
        return found

    def renamed(self, client_id):
        return self.num - 1 - client_id


RELATIONS = {
    "finer units": OtherUnits,
    "all times twice as long": SlowerWorld,
    "bands and bits twice as wide": WiderWorld,
    "one more client, never drawn": IdleClient,
    "a deadline that is never met": LongDeadline,
    "a buffer of one update": BufferOfOne,
    "limits that nothing reaches": NeverMet,
    "more rounds": LongerRun,
    "clients in reverse order": OtherNames,
}


def played(case, folder):
    """Return the tables of a run in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    netsim.run(case, out=folder)
    return Tables(folder)


def compared(relation, case, place):
    """Return the number of tasks and the differences of one pair; None where the
    relation does not apply, or netsim refuses the scenario."""
    other = relation.change(case)
    if other is None:
        return None
    try:
        first = played(case, place / "one")
    except InputError:
        return None
    second = played(other, place / "other")
    return len(first.tasks), list(relation.differences(first, second)), other


def pairs(kind, num_pairs, seed, place):
    """Yield the compared pairs of a relation, up to a number of them."""
    number = found = 0
    while found < num_pairs and number < 40 * num_pairs:
        case, _ = scenario(seed, number)
        number += 1
        result = compared(kind(), case, place)
        if result is not None:
            found += 1
            yield number - 1, case, *result


def main():
    """Write ``metamorphic.csv`` and a pair of scenarios for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100, help="for each relation")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(RELATIONS))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    table = Table(given.out / "metamorphic.csv", COLUMNS)
    for name in given.only:
        counts = Counter()
        cases = pairs(RELATIONS[name], given.pairs, given.seed, given.out / "work")
        for number, case, num_tasks, wrong, other in cases:
            counts += Counter(pairs=1, tasks=num_tasks, faults=bool(wrong))
            table.put({"relation": name, **counts})
            if wrong:
                print(name, number, *wrong[:2], sep=" | ", flush=True)
                both = yaml.safe_dump_all([case, other], sort_keys=False)
                (given.out / f"{name.replace(' ', '-')}-{number}.yaml").write_text(both)
        print(name, dict(counts), flush=True)


if __name__ == "__main__":
    main()
