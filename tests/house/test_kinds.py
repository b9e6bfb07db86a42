"""A choice is asked what it declares, never which class or kind it is."""

import ast

from netsim.cosim.commands.choices import SEAMS
from tests.support.places import ROOT, modules

KINDS = {cls.__name__ for seam in SEAMS for cls in seam.choices.values()}
ROWS = ("event", "e", "self")  # of the trace, whose kind is data


def calls(tree, *names):
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return (c for c in found if isinstance(c.func, ast.Name) and c.func.id in names)


def asks_for_a_name(call):
    return isinstance(call.args[1], ast.Constant)


def asks_for_a_class(call):
    return any(
        isinstance(node, ast.Name) and node.id in KINDS
        for node in ast.walk(call.args[1])
    )


def compares_a_kind(compare):
    """Return whether the kind of a choice is compared with one by name."""
    sides = (compare.left, *compare.comparators)
    names = (ast.Constant, ast.Tuple, ast.List, ast.Set)
    is_by_name = any(isinstance(side, names) for side in sides)
    return is_by_name and any(
        isinstance(side, ast.Attribute)
        and side.attr == "kind"
        and not (isinstance(side.value, ast.Name) and side.value.id in ROWS)
        for side in sides
    )


def questions(path):
    tree = ast.parse(path.read_text())
    yield from filter(asks_for_a_name, calls(tree, "getattr", "hasattr"))
    yield from filter(asks_for_a_class, calls(tree, "isinstance", "issubclass"))
    compares = (node for node in ast.walk(tree) if isinstance(node, ast.Compare))
    yield from filter(compares_a_kind, compares)


def test_no_module_asks_a_choice_for_its_kind():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules("netsim")
        for node in questions(path)
    ]
    assert found == []


def test_each_way_of_asking_is_found(tmp_path):
    path = tmp_path / "asks.py"
    path.write_text(
        "getattr(server, 'late', 'drop')\n"
        "hasattr(server, 'sampling')\n"
        "isinstance(server, Synchronous)\n"
        "server.kind == 'deadline'\n"
        "policy.kind in ('adaptive',)\n"
    )
    assert sorted(node.lineno for node in questions(path)) == [1, 2, 3, 4, 5]
