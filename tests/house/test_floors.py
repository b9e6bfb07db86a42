"""No circle of imports, and no import from a lower floor to a higher one."""

from tests.support.floors import FLOORS, circles, imports, room, sources, upward
from tests.support.places import ROOT


def test_no_modules_import_each_other_in_a_circle():
    assert circles(imports(ROOT)) == []


def test_no_rooms_import_each_other_in_a_circle():
    graph = {}
    for name, others in imports(ROOT).items():
        known = graph.setdefault(room(name), set())
        known |= {room(other) for other in others} - {room(name)}
    assert circles(graph) == []


def test_no_import_leads_to_a_higher_floor():
    assert upward(imports(ROOT)) == []


def test_every_room_is_on_one_floor():
    listed = sorted(name for rooms in FLOORS for name in rooms)
    assert listed == sorted({room(name) for name in sources(ROOT)})


def test_a_circle_and_an_import_upwards_are_found(tmp_path):
    for place, text in {
        "netsim/core/low.py": "from netsim.cli import high\n",
        "netsim/cli/high.py": "def f():\n    import netsim.core.low\n",
        "fl/__init__.py": "",
    }.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    graph = imports(tmp_path)
    assert circles(graph) == [["netsim.cli.high", "netsim.core.low"]]
    assert upward(graph) == ["netsim.core.low imports netsim.cli.high"]
