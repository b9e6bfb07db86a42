"""A discrete-event loop of its own: integer ticks, processes as generators."""

import heapq
from itertools import count


class Signal:
    """Something that a process waits for; it happens once."""

    def __init__(self):
        self.value, self.happened, self._waiting = None, False, []

    def happen(self, value=None):
        """Wake all that wait, now."""
        if not self.happened:
            self.value, self.happened = value, True
            for wake in self._waiting:
                wake(value)

    def then(self, wake):
        """Call ``wake`` when it happens, at once where it has."""
        if self.happened:
            wake(self.value)
        else:
            self._waiting.append(wake)


class Loop:
    """Calls in order of tick, then rank, then request."""

    def __init__(self):
        self.now, self._heap, self._order = 0, [], count()
        self.stopped = False

    def at(self, tick, call, rank=0):
        """Call at a tick; a higher rank comes later within it."""
        heapq.heappush(self._heap, (tick, rank, next(self._order), call))

    def play(self, story):
        """Run a generator that yields delays in ticks, or signals."""

        def step(value=None):
            try:
                wait = story.send(value)
            except StopIteration:
                return
            if isinstance(wait, Signal):
                wait.then(step)
            else:
                self.at(self.now + wait, step)

        self.at(self.now, step)

    def run(self):
        """Go on until a process says stop, or nothing is left."""
        while self._heap and not self.stopped:
            self.now, _, _, call = heapq.heappop(self._heap)
            call()
