"""A server that is an app: its letters on the clock, counted by hand.

The band is that of ``tests/support/timelines``: 12 Mbit/s alone, 6 for each of two.
"""

from dataclasses import dataclass, field

import pytest

from fl.contract import Letter, Pause
from netsim.availability import Recorded
from netsim.errors import InputError
from netsim.server import app_loop
from netsim.server.flower import Flower
from netsim.trace.rows import Client
from netsim.verify.clock import check_clock
from netsim.verify.consistency import check_consistency
from netsim.verify.trace import Trace
from tests.support.timelines import MBIT, S, Uneven, play_out, scenario, times


@dataclass(frozen=True, kw_only=True)
class Scripted(Uneven):
    """A learner whose server is a generator that yields what it waits for."""

    script: object
    running: list = field(default_factory=list)

    def resume(self, post):
        if not self.running:
            self.running.append(self.script(post))
        return next(self.running[0], None)


def letters(*client_ids, first=0):
    return [Letter(f"t{first + n}", one, "train") for n, one in enumerate(client_ids)]


def until(seconds, *tickets):
    return Pause(tickets, round(seconds * S))


def play_app(script, folder, *, merge_time_s=0.0, download=0, **changes):
    """Play an app that asks boards for 12 Mbit after a second, and audit the trace."""
    trace = play_out(
        scenario(Flower(merge_time_s=merge_time_s), 3, rounds=99, **changes),
        folder,
        uploads=(12 * MBIT,) * 3,
        flops=(10**9,) * 3,
        download=download,
        kind=Scripted,
        script=script,
    )
    tables = ("plans", "rounds", "tasks", "transfers", "segments", "bands", "events")
    whole = Trace(
        **{name: getattr(trace, name) for name in tables},
        clients=[
            Client(n, 0, "board", 0.0, 0.0, 0.0, True, 0.0, 1, 0.5) for n in range(3)
        ],
        sim_time_ns=max(row.end_ns for row in (*trace.rounds, *trace.tasks)),
    )
    assert [*check_consistency(whole), *check_clock(whole)] == []
    return trace


def seconds(trace):
    """Return client, start and end in seconds, and status of every task."""
    found = [times(row) for row in sorted(trace.tasks)]
    return [(one[0], one[1] / S, one[-2] / S, one[-1]) for one in found]


def spans(trace):
    return [
        (row.round_id, row.start_ns / S, row.end_ns / S, *row[5:])
        for row in trace.rounds
    ]


def test_a_round_ends_when_the_app_has_its_replies_and_has_merged_them(tmp_path):
    seen, merged = [], []

    def script(post):
        for number in (0, 1):
            post.send(letters(0, 1, first=2 * number))
            tickets = (f"t{2 * number}", f"t{2 * number + 1}")
            yield Pause(tickets)
            seen.append([post.outcome(one) for one in tickets])
            post.take(tickets)
            merged.append(post.now_ns / S)  # what the app sends next is sent then

    trace = play_app(script, tmp_path, merge_time_s=0.5)
    assert merged == [3.5, 7.0]
    assert seen[0] == [(3 * S, "done")] * 2
    assert seconds(trace) == [
        (0, 0.0, 3.0, "done"),
        (1, 0.0, 3.0, "done"),
        (0, 3.5, 6.5, "done"),
        (1, 3.5, 6.5, "done"),
    ]
    assert spans(trace) == [(1, 0.0, 3.5, 2, 2, 0), (2, 3.5, 7.0, 2, 2, 0)]
    assert [event.detail for event in trace.events] == ["app"]


def test_a_reply_at_the_tick_of_the_time_out_is_in_time(tmp_path):
    seen = []

    def script(post):
        post.send(letters(0, 1, 2))  # 1 s of computing, 12 Mbit at 4 Mbit/s
        yield until(4.0, "t0", "t1", "t2")
        seen.extend(post.outcome(f"t{n}") for n in range(3))
        post.take(["t0", "t1", "t2"])

    play_app(script, tmp_path)
    assert seen == [(4 * S, "done")] * 3


def test_a_late_client_goes_on_and_takes_its_next_letter_then(tmp_path):
    def script(post):
        post.send(letters(0))
        yield until(1.5, "t0")
        assert post.outcome("t0") is None
        post.give_up(["t0"])
        post.send(letters(0, first=1))
        yield Pause(("t1",))
        post.take(["t1"])

    trace = play_app(script, tmp_path)
    assert seconds(trace) == [(0, 0.0, 2.0, "unmerged"), (0, 2.0, 4.0, "done")]
    assert spans(trace) == [(1, 0.0, 1.5, 1, 0, 0), (2, 1.5, 4.0, 1, 1, 0)]


def test_an_app_that_ends_leaves_its_clients_unfinished(tmp_path):
    def script(post):
        post.send(letters(0, 1))
        yield until(1.5)

    trace = play_app(script, tmp_path, download=6 * MBIT)
    assert seconds(trace) == [
        (0, 0.0, 1.5, "unfinished"),
        (1, 0.0, 1.5, "unfinished"),
    ]
    assert [event.kind for event in trace.events] == ["stop", "dismissed"]


def test_a_broadcast_to_clients_ends_with_the_app(tmp_path):
    def script(post):
        post.send(letters(0, 1))
        yield until(0.25)

    trace = play_app(script, tmp_path, download=6 * MBIT)
    assert {row[-1] for row in seconds(trace)} == {"unfinished"}
    assert {row.end_ns for row in trace.tasks} == {S // 4}


def test_a_client_that_is_away_or_leaves_brings_nothing(tmp_path):
    path = tmp_path / "presence.csv"
    path.write_text("client_id,start,end\n0,0,1.5\n2,0,100\n")
    seen = []

    def script(post):
        seen.append(post.present())
        post.send(letters(0, 1, 2))
        yield Pause(("t0", "t1", "t2"))
        seen.extend(post.outcome(f"t{n}") for n in range(3))
        post.take(["t0", "t1", "t2"])

    availability = Recorded(path=str(path))
    trace = play_app(script, tmp_path, population={"availability": availability})
    assert seen == [[0, 2], (3 * S // 2, "left"), (0, "away"), (9 * S // 4, "done")]
    assert spans(trace) == [(1, 0.0, 2.25, 2, 1, 1)]


def test_an_app_that_waits_for_ever_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(app_loop, "MAX_IDLE_WAITS", 10)

    def script(post):
        while True:
            yield until(post.now_ns / S + 1)

    with pytest.raises(InputError, match="waited 10 times in a row and sent nothing"):
        play_app(script, tmp_path)
