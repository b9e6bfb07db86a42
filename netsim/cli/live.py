"""The view of a running simulation: a live line on a terminal, else plain lines."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType, TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fl.contract import Score
from netsim.core.clock import to_s
from netsim.core.quantities import format_duration_ns
from netsim.learner.stop import Stop
from netsim.server.stage import Progress

PLAIN_LINE_EVERY_S = 5.0
BAR_COLUMNS = 32


@dataclass
class LiveView:
    """A spectator of one run; call it with every round's progress."""

    console: Console
    stop: Stop
    name: str
    is_quiet: bool = False
    seen: list[Progress] = field(default_factory=list)
    _scores: Sequence[Score] = ()
    _started_s: float = field(default_factory=time.perf_counter)
    _last_line_s: float = float("-inf")
    _live: Live | None = None
    _is_interrupted: bool = False
    _handlers: dict[int, signal._HANDLER] = field(default_factory=dict)

    def __enter__(self) -> LiveView:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._interrupt)
        if self.console.is_terminal and not self.is_quiet:
            self._live = Live(console=self.console, transient=True)
            self._live.start()
            self._live.update(Text(f"{self.name}  preparing"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._live is not None:
            self._live.stop()
        if self._is_interrupted and isinstance(error, Exception):
            raise KeyboardInterrupt from error  # what a library made of it

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Stop at once, or at the round's end where a finaliser swallowed that."""
        self._is_interrupted = True
        raise KeyboardInterrupt

    def __call__(self, progress: Progress) -> None:
        if self._is_interrupted:
            raise KeyboardInterrupt
        self.seen.append(progress)
        self._scores = progress.scores or self._scores
        if self.is_quiet:
            return
        now_s = time.perf_counter()
        if self._live is not None:
            self._live.update(self.picture(now_s))
        elif now_s - self._last_line_s >= PLAIN_LINE_EVERY_S:
            self._last_line_s = now_s
            self.console.print(self.line(now_s), highlight=False, soft_wrap=True)

    def picture(self, now_s: float) -> Group:
        """Return the view on a terminal: name and bar, and below them a line of at most
        the terminal's width."""
        share = self._share_done()
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=1.0, completed=share, width=BAR_COLUMNS)
        head.add_row(Text(self.name, "bold"), bar, f"{share:.0%}")
        return Group(head, Text(self.line(now_s, self.console.width), no_wrap=True))

    def line(self, now_s: float, columns: int | None = None) -> str:
        """Return the progress of the run; if longer than ``columns``, the speed is
        left out first, then the accuracy."""
        parts = self._parts(now_s)
        for name in ("speed", "accuracy", "left"):
            text = " · ".join(part for part in parts.values() if part)
            if columns is None or len(text) <= columns:
                return text
            parts[name] = ""
        return " · ".join(part for part in parts.values() if part)

    def _parts(self, now_s: float) -> dict[str, str]:
        """Return the parts of the line by name; empty where unknown."""
        progress = self.seen[-1]
        real_s = now_s - self._started_s
        ratio = to_s(progress.now_ns) / real_s if real_s > 0 else 0.0
        return {
            "round": self._round(progress),
            "time": f"simulated {format_duration_ns(progress.now_ns)}",
            "accuracy": self._accuracy(),
            "speed": f"{_ratio(ratio)} real time" if ratio else "",
            "left": self._left(real_s),
        }

    def _accuracy(self) -> str:
        found = [s for s in self._scores if s.client_id is None]
        return " · ".join(f"accuracy {score.accuracy:.3f}" for score in found[:1])

    def _left(self, real_s: float) -> str:
        share = self._share_done()
        if not 0 < share < 1:
            return ""
        left_ns = round(real_s * (1 - share) / share * 1e9)
        return f"{format_duration_ns(left_ns)} left"

    def _round(self, progress: Progress) -> str:
        number = progress.round_id - progress.phase.after_round_id
        if progress.phase.is_pilot:
            return f"pilot round {number}/{progress.phase.num_rounds}"
        of_rounds = "" if self.stop.rounds is None else f"/{self.stop.rounds}"
        return f"round {number}{of_rounds}"

    def _share_done(self) -> float:
        """Return how much of the nearest limit is used up, 0 to 1."""
        progress, shares = self.seen[-1], [0.0]
        if self.stop.rounds is not None and not progress.phase.is_pilot:
            number = progress.round_id - progress.phase.after_round_id
            shares.append(number / self.stop.rounds)
        if self.stop.time_s is not None:
            shares.append(to_s(progress.now_ns) / self.stop.time_s)
        return min(max(shares), 1.0)


def _ratio(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2g}x"
