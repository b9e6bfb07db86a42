"""Small modules and functions with docstrings, and file names that mean one thing."""

import ast
from collections import defaultdict

from tests.support.places import PACKAGES, ROOT, modules

MOST_LINES = 500  # of a module
MOST_LINES_OF_A_BODY = 28
LONGER = {  # functions, and why they are
    "netsim/client/client.py: take_part": "a further generator costs time at events",
    "netsim/client/messages.py: carry": "the same",
}
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
MIRRORS = ("netsim/verify/", "netsim/cli/", "netsim/cosim/", "netsim/timeline/")
SAME_MEANING = {  # file names that occur more than once, and mean the same
    "components": "parts of a merge: of a run's clients, of folders",
    "config": "the settings of the room",
    "context": "what a plug-in may ask for by name: of a round, of a merge",
    "device": "what computes: simulated, or of torch",
    "federation": "the federation, and its settings",
    "files": "files that are whole or absent",
    "layers": "layers of the model: adapted, in cohorts",
    "local_training": "training of a client: settings, steps",
    "outages": "times at which nothing is sent: of a band, of the server",
    "own_links": "links of one client: measured, simulated",
    "payload": "what an upload holds",
    "plan": "what a study or a search will run",
    "record": "settings that cannot change",
    "recorded": "from a file of the user",
    "run": "one run: made, read, of a study, of a search",
    "streams": "named streams of random numbers",
    "tables": "tables of data",
    "versions": "versions of the global model: learned, held by the server",
}


def defined(body, prefix=""):
    """Yield the functions and classes of a module and of its classes, with names."""
    for node in body:
        if isinstance(node, DEFINITIONS):
            yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from defined(node.body, f"{prefix}{node.name}.")


def every_definition():
    for path in modules(*PACKAGES):
        for name, node in defined(ast.parse(path.read_text()).body):
            yield f"{path.relative_to(ROOT)}: {name}", node


def body_lines(node):
    first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
    return node.end_lineno - first.lineno + 1


def test_modules_are_short():
    lengths = {p: len(p.read_text().splitlines()) for p in modules(*PACKAGES)}
    assert [str(p) for p, lines in lengths.items() if lines > MOST_LINES] == []


def test_functions_are_short():
    long = {
        name
        for name, node in every_definition()
        if isinstance(node, ast.FunctionDef)
        if body_lines(node) > MOST_LINES_OF_A_BODY
    }
    assert long - set(LONGER) == set()


def test_public_functions_and_classes_have_docstrings():
    assert [
        name
        for name, node in every_definition()
        if "." not in name.rpartition(": ")[2] or isinstance(node, ast.ClassDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ] == []


def test_modules_have_docstrings():
    wrong = [
        p for p in modules(*PACKAGES) if not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert [str(p) for p in wrong if p.read_text().strip()] == []


def test_file_names_mean_one_thing():
    places = defaultdict(list)
    for path in modules(*PACKAGES):
        place = path.relative_to(ROOT).as_posix()
        if path.stem not in ("__init__", "__main__") and not place.startswith(MIRRORS):
            places[path.stem].append(place)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert {k: v for k, v in twice.items() if k not in SAME_MEANING} == {}
    assert set(SAME_MEANING) - set(twice) == set()
