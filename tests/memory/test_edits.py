"""Which kinds of result an edit of one part of a user's own names anew."""

import importlib
import sys
from dataclasses import asdict, replace

import pytest

from fl.federation.code_digests import Code
from fl.settings.federation import FederationSettings

CLASS = """
from typing import ClassVar

from {module} import {base}
from helper_of_edits import HELPED


class Own({base}):
    kind: ClassVar[str] = "own"

    def {method}(self, *args, **kwargs):
        return super().{method}(*args, **kwargs){edit}
"""
MODEL = {"base", "job", "evaluation", "export"}
EDITS = {  # the part, what it extends, the method edited, and the results named anew
    "merge": ("aggregation", "fl.aggregation", "FedIT", "merge", {"merge"}),
    "merge's exchange": (
        "aggregation",
        "fl.aggregation",
        "FedIT",
        "exchange",
        {"merge"},
    ),
    "server's step": (
        "server_optimiser",
        "fl.aggregation.server_optimiser",
        "MomentumServer",
        "step",
        {"merge"},
    ),
    "compression": (
        "compression",
        "fl.aggregation.compression",
        "TopK",
        "deliver",
        {"job"},
    ),
    "local training": (
        "local_training",
        "fl.local.plain",
        "Plain",
        "train",
        {"job", "merge"},
    ),
    "labels": ("task", "fl.tasks", "Digits", "labels", MODEL),
    "batch": ("task", "fl.tasks", "Digits", "batch", MODEL),
    "backbone": ("backbone", "fl.backbones", "SmallViT", "load", MODEL),
    "partition": ("partition", "fl.partition", "IID", "split", set()),  # by its samples
}


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Return the digest of the code of each kind of result, one class edited."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("class_of_edits", "helper_of_edits")

    def named(part, module, base, method, edit="", helped="1", comment=""):
        text = CLASS.format(module=module, base=base, method=method, edit=edit)
        (tmp_path / "class_of_edits.py").write_text(comment + text)
        (tmp_path / "helper_of_edits.py").write_text(f"HELPED = {helped}\n")
        for name in names:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        own = importlib.import_module("class_of_edits").Own
        return asdict(Code.of(replace(FederationSettings(), **{part: own()})))

    yield named
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_names_what_it_decides_and_nothing_else(edit, named):
    *made, expected = EDITS[edit]
    before = named(*made)
    assert named(*made, comment='"""Said otherwise."""\n# a comment\n') == before
    for change in ({"edit": " or None"}, {"helped": "2"}):
        after = named(*made, **change)
        assert {kind for kind in before if after[kind] != before[kind]} == expected
