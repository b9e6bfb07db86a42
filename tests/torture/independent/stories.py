"""The servers' stories, from the handbook: rounds, deadlines, buffers, arrivals."""

from tests.torture.independent.divisions import DIVISIONS, equal
from tests.torture.independent.loop import Loop, Signal
from tests.torture.independent.shared_band import Flow, SharedBand


class Task:
    """One participation as this reference sees it."""

    def __init__(self, task_id, client, round_id):
        self.task_id, self.client, self.round_id = task_id, client, round_id
        self.ticks, self.status, self.flow, self.over = {}, None, None, Signal()


class World:
    """Loop, bands, recorded terms, and what happened."""

    def __init__(self, given):
        self.given, self.loop = given, Loop()
        self.up = SharedBand(self.loop, given.up_uhz, DIVISIONS[given.sharing])
        down = DIVISIONS[given.down_sharing] if given.down_sharing else equal
        self.down = SharedBand(self.loop, given.down_uhz, down)
        self.tasks, self.rounds, self.transfers = {}, [], {}

    def send(self, band, key, client, bits):
        """Return a flow that starts now; ``key`` names it in the trace."""
        most = self.given.most_uhz(band.width_uhz)
        terms = self.given.terms.get(key) or [
            {"start": 0, "end": 1, "efficiency": 0, "weight": 1, "pinned": None}
        ]
        flow = Flow(client, bits, terms, most)
        begun = self.loop.now
        flow.over.then(
            lambda how: self.transfers.update({key: (begun, self.loop.now, how)})
        )
        band.start(flow)
        return flow

    def broadcast(self, number, gathered, heard):
        """Send a version to all that were drawn."""
        flow = self.send(self.down, ("down", number), -1, self.given.down_bits)
        if self.given.late == "drop" or not self.given.drawn[number]:
            gathered.then(lambda how: self.silence(flow))
        yield flow.over
        yield self.given.down_latency
        heard.happen()

    def take_part(self, task, download):
        """Download where it is unicast, compute, upload."""
        given, loop = self.given, self.loop
        self.tasks[task.task_id] = task
        if isinstance(download, Signal):
            yield download
        else:
            task.flow = self.send(self.down, download, task.client, given.down_bits)
            yield task.flow.over
            if task.status:
                return
            task.flow = None
            yield given.down_latency
        if task.status:
            return
        task.ticks["compute_start"] = loop.now
        lasts = given.compute.get(task.task_id)
        if lasts is None:
            return  # the trace has it cut while it computes
        yield lasts
        if task.status:
            return
        task.ticks["upload_start"] = loop.now
        attempt = 0
        while True:
            key = ("up", task.task_id, attempt)
            task.flow = self.send(self.up, key, task.client, given.up_bits(task.client))
            yield task.flow.over
            if task.status:
                return
            task.flow = None
            if given.lost.get(key) is None:
                break
            self.transfers[key] = (*self.transfers[key][:2], "failed")
            if attempt == given.retries:
                self.end(task, "failed")
                return
            yield given.backoff * given.backoff_factor**attempt
            if task.status:
                return
            attempt += 1
        yield given.up_latency
        if not task.status:
            self.end(task, "arrived")

    def end(self, task, status):
        """A participation is over now."""
        task.status, task.ticks["end"] = status, self.loop.now
        task.over.happen(status)

    def cut(self, task, status):
        """End a participation from outside."""
        if task.status:
            return
        self.end(task, status)
        if task.flow is not None:
            (self.up if task.flow in self.up.live else self.down).cut(task.flow)

    def silence(self, flow):
        """End a broadcast that nobody waits for any more."""
        if flow in self.down.live:
            self.down.cut(flow)

    def finish(self):
        """Stop the run."""
        self.loop.stopped = True


def in_rounds(world):
    """Synchronous and deadline servers."""
    given, loop = world.given, world.loop
    waiting, ready = [], []
    for number in range(1, given.num_rounds + 1):
        begun = loop.now
        drawn = [Task(t, c, number) for t, c in given.drawn[number]]
        gathered = Signal()
        if given.deadline:
            loop.at(begun + given.deadline, lambda s=gathered: s.happen("late"), rank=1)
        yield given.announce
        heard = Signal()
        if given.broadcast:
            loop.play(world.broadcast(number, gathered, heard))
        left = {task.task_id for task in drawn}
        arrivals = []
        for task in drawn:
            key = heard if given.broadcast else ("down", task.task_id, 0)
            task.over.then(_arrive(task, left, arrivals, gathered, given, ready))
            task.ticks["download_start"] = begun + given.announce
            loop.play(world.take_part(task, key))
        if not drawn:
            heard.then(gathered.happen)
        if drawn or given.broadcast:
            yield gathered
        waiting += drawn
        late = [task for task in waiting if not task.status]
        if given.late == "drop" or not late:
            reason = "late" if gathered.value == "late" else "surplus"
            for task in late:
                world.cut(task, reason)
            waiting = []
        else:
            waiting = late
        merged, ready[:] = list(ready), []
        for task in merged:
            task.status = "done"
        if merged:
            yield given.merge
        dropped = sum(t.status in ("late", "surplus", "failed") for t in drawn)
        world.rounds.append((number, begun, loop.now, len(merged), dropped))
    world.finish()


def _arrive(task, left, arrivals, gathered, given, ready):
    def note(status):
        left.discard(task.task_id)
        if status == "arrived":
            arrivals.append(task)
            ready.append(task)
        full = given.merge_first and len(arrivals) >= given.merge_first
        if full or not left:
            gathered.happen("enough")

    return note


def without_rounds(world):
    """Buffered and asynchronous servers: arrivals are handled one after the other."""
    given, loop = world.given, world.loop
    clients, inbox, buffer = iter(given.order), [], []
    state = {"number": 1, "begun": 0, "news": Signal()}

    def begin():
        task = Task(*next(clients, (-1, -1)), state["number"])
        if task.task_id >= 0:
            task.ticks["download_start"] = loop.now
            task.over.then(lambda how: arrived(task))
            loop.play(world.take_part(task, ("down", task.task_id, 0)))

    def arrived(task):
        inbox.append(task)
        state["news"].happen()

    for _ in range(given.concurrency):
        begin()
    while True:
        while not inbox:
            state["news"] = Signal()
            yield state["news"]
        task = inbox.pop(0)
        if task.status == "arrived":
            buffer.append(task)
        if len(buffer) == given.buffer_size:
            yield given.merge
            for one in buffer:
                one.status = "done"
            row = (state["number"], state["begun"], loop.now, len(buffer), 0)
            world.rounds.append(row)
            buffer.clear()
            if state["number"] == given.num_rounds:
                world.finish()
                return
            state.update(number=state["number"] + 1, begun=loop.now)
        begin()


def play(given):
    """Return the world after the scenario's story has been played in exact integers."""
    world = World(given)
    story = without_rounds if given.order else in_rounds
    world.loop.play(story(world))
    world.loop.run()
    return world
