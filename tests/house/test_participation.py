"""Who may write the record of a participation."""

import ast

from netsim.client.participation import Participation
from tests.support.places import ROOT, modules

OF_THE_SERVER = {"weight", "waits_for_release", "process"}
OF_ATTENDANCE = {"gone_ns"}


def written(path):
    """Return the attributes of ``part`` that a module assigns."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if isinstance(node.value, ast.Name) and node.value.id == "part"
    }


def test_the_server_writes_its_own_fields_of_a_participation_and_no_others():
    fields = set(Participation.__dataclass_fields__)
    wrong = {
        path.name: written(path) & fields - OF_THE_SERVER
        for path in modules("netsim")
        if (ROOT / "netsim/client") not in path.parents
    }
    assert {name: found for name, found in wrong.items() if found} == {}


def test_only_its_own_steps_write_how_a_participation_ended():
    ends = {"status", "end_ns", "compute_end_ns", "airtime_ns"}
    writers = {path.name for path in modules("netsim/client") if written(path) & ends}
    assert writers == {"client.py", "undisturbed.py"}
    assert written(ROOT / "netsim/client/attendance.py") == OF_ATTENDANCE
