"""Who may import whom across the wall between network and learning."""

from tests.support.places import ROOT, modules
from tests.support.sources import imported

HEAVY = {"torch", "peft", "transformers"}
COUPLING = "netsim/cosim/"
OF_COSIM = ("cli/", "study/", "tune/", "verify/", "__init__.py")


def crossings(package, is_wrong):
    """Return the imports of a package that are wrong, each as one line."""
    return [
        f"{place} imports {name}"
        for path in modules(package)
        for place in [path.relative_to(ROOT).as_posix()]
        for name in imported(path)
        if is_wrong(place, name)
    ]


def top(name):
    return name.split(".")[0]


def test_netsim_never_imports_what_computes_learning():
    assert crossings("netsim", lambda _, name: top(name) in HEAVY) == []


def test_only_the_coupling_imports_more_of_fl_than_records():
    def is_wrong(place, name):
        if top(name) != "fl" or place.startswith(COUPLING):
            return False
        records = ("fl.contract.", "fl.failure.", "fl.record.")
        return not f"{name}.".startswith(records)

    assert crossings("netsim", is_wrong) == []


def test_fl_never_imports_the_network():
    assert crossings("fl", lambda _, name: top(name) in {"netsim", "simpy"}) == []


def test_only_the_edge_imports_the_coupling():
    allowed = (COUPLING, *(f"netsim/{place}" for place in OF_COSIM))

    def is_wrong(place, name):
        return name.startswith("netsim.cosim") and not place.startswith(allowed)

    assert crossings("netsim", is_wrong) == []


def test_no_import_is_relative():
    every = ("netsim", "fl", "tests", "results", "scenarios")
    for package in every:
        assert crossings(package, lambda _, name: name.startswith(".")) == []
