"""Chrome's trace-event format, which Perfetto opens too, one event at a time.

Slices are pairs of B and E. A viewer may cut the fraction of a microsecond; ends and
the beginnings after them then stay equal, which a start plus a duration does not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import NamedTuple, TextIO

Args = Mapping[str, int | float | str | None]

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


class Track(NamedTuple):
    """One line of the picture."""

    pid: int
    tid: int


class TraceEvents:
    """Writes ``{"traceEvents": [...], "otherData": {...}}``, an event per line.

    Events of one track must come in the order of time; tracks may follow each other.
    """

    def __init__(self, file: TextIO) -> None:
        self.num_events = 0
        self._write = file.write
        self._write('{"traceEvents":[')

    def close(self, about: Args) -> None:
        """End the file; viewers may stop at a key that they do not know, so it is
        the last."""
        self._write('\n],"otherData":' + _text(about) + "}\n")

    def name_process(self, pid: int, name: str, sort_index: int) -> None:
        """Write the name and the place of a process."""
        self._metadata(f'"pid":{pid}', "process_name", {"name": name})
        place = {"sort_index": sort_index}
        self._metadata(f'"pid":{pid}', "process_sort_index", place)

    def name_track(self, track: Track, name: str, sort_index: int) -> None:
        """Write the name and the place of a track in its process."""
        place = f'"pid":{track.pid},"tid":{track.tid}'
        self._metadata(place, "thread_name", {"name": name})
        self._metadata(place, "thread_sort_index", {"sort_index": sort_index})

    def begin(
        self, track: Track, time_ns: int, category: str, name: str, args: Args
    ) -> None:
        """Begin a slice within the one that is open on the track, if any."""
        self._event(
            f'"ph":"B",{_at(track, time_ns)},"cat":"{category}",'
            f'"name":{_encode(name)},"args":{_text(args)}'
        )

    def end(self, track: Track, time_ns: int) -> None:
        """End the slice that began last on the track."""
        self._event(f'"ph":"E",{_at(track, time_ns)}')

    def flow_out(self, track: Track, time_ns: int, flow_id: int) -> None:
        """Let an arrow leave the slice that is open on the track."""
        self._event(f'"ph":"s",{_at(track, time_ns)},{_flow(flow_id)}')

    def flow_in(self, track: Track, time_ns: int, flow_id: int) -> None:
        """Let an arrow arrive at the slice that is open on the track."""
        self._event(f'"ph":"f","bp":"e",{_at(track, time_ns)},{_flow(flow_id)}')

    def instant(self, track: Track, time_ns: int, name: str, args: Args) -> None:
        """Mark a moment on a track."""
        self._event(
            f'"ph":"i","s":"t",{_at(track, time_ns)},"cat":"event",'
            f'"name":{_encode(name)},"args":{_text(args)}'
        )

    def count(self, pid: int, time_ns: int, name: str, value: float) -> None:
        """Let a counter of a process have a value from this tick on."""
        self._event(
            f'"ph":"C","pid":{pid},"ts":{micros(time_ns)},'
            f'"name":{_encode(name)},"args":{{"value":{_encode(value)}}}'
        )

    def _metadata(self, place: str, name: str, args: Args) -> None:
        self._event(f'"ph":"M",{place},"name":"{name}","args":{_text(args)}')

    def _event(self, fields: str) -> None:
        self._write(",\n{" if self.num_events else "\n{")
        self._write(fields)
        self._write("}")
        self.num_events += 1


def micros(time_ns: int) -> str:
    """Return nanoseconds as decimal microseconds, every digit of them."""
    whole, rest = divmod(time_ns, 1000)
    return f"{whole}.{rest:03d}"


def _at(track: Track, time_ns: int) -> str:
    return f'"pid":{track.pid},"tid":{track.tid},"ts":{micros(time_ns)}'


def _flow(flow_id: int) -> str:
    return f'"cat":"update","name":"update","id":{flow_id}'


def _text(args: Args) -> str:
    """Return the arguments that are known; JSON has finite numbers only."""
    return _encode({name: value for name, value in args.items() if _is_known(value)})


def _is_known(value: float | str | None) -> bool:
    if value is None:
        return False
    return not isinstance(value, float) or math.isfinite(value)
