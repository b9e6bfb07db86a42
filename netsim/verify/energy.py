"""Checks the joules of every task, summed from its transfers and the bands' rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from netsim.availability import Presence
from netsim.band.own_links import LINK_UHZ
from netsim.core.clock import to_s
from netsim.server.hierarchical import Hierarchical
from netsim.server.round_settings import RoundSettings
from netsim.trace.rows import Segment, Task, Transfer
from netsim.verify.compare import check_equal
from netsim.verify.clock import VirtualTime
from netsim.verify.finding import Finding
from netsim.verify.known import Known
from netsim.verify.releases import Releases
from netsim.verify.trace import Trace, grouped
