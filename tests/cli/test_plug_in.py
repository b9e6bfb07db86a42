"""`netsim check --plug-in`: a class on trial, by itself."""

import re
import sys

import pytest

from netsim.cosim.commands.choices import SEAMS
from netsim.cosim.commands.plug_in import one_ofs
from netsim.scenario.repeated import same
from tests.support.command import netsim
from tests.support.rule import RULE

WRONG = "tests.support.wrong_seams"
HOURS = """
from typing import ClassVar

from netsim.availability.always import Always

calls = []


class Hours(Always):
    traits: ClassVar[dict[str, str]] = {{"comes-and-goes": ""}}
    kind: ClassVar[str] = "hours"

    def intervals(self, seed, client_id, since_ns):
        while True:
            yield since_ns, since_ns + {length}
            since_ns += 2 * 10**9
"""
OFFICE = """
from netsim.scenario import Record

number = 3


class Office(Record):
    def intervals(self, seed, client_id, since_ns):
        yield since_ns, since_ns + 1
"""
SAMPLER = """
import random
from dataclasses import replace
from typing import ClassVar

from netsim.policy.full import FullParticipation

calls = []


class Draws(FullParticipation):
    kind: ClassVar[str] = "mine"

    def draw(self, data_weights, rng):
        {body}
        return super().draw(data_weights, rng)
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def check(text, *words):
        (tmp_path / "mine.py").write_text(text)
        sys.modules.pop("mine", None)
        code = netsim("check", "--plug-in", *words)
        said = capsys.readouterr()
        return code, said.out, said.err

    yield check
    sys.modules.pop("mine", None)


def test_a_rule_that_keeps_its_contract_is_said_to(check):
    code, out, _ = check(RULE.format(weight=2), "mine:Plain")
    assert code == 0
    assert "mine:Plain as cell.uplink.sharing: two rounds of network-only" in out
    assert int(re.search(r"asked: divide (\d+)", out)[1]) > 10
    assert "keeps its contract; both runs have the digest " in out


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("pass", "keeps its contract"),
        ("data_weights[0] /= 2", "mine:Draws.draw changes its arguments"),
        (
            "return replace(super().draw(data_weights, rng), "
            "weights=(random.random(),) * len(data_weights))",
            "mine:Draws.draw answers the same question in two ways",
        ),
        (
            "calls.append(1)\n        if len(calls) > 4:\n            return "
            "replace(super().draw(data_weights, rng), weights=tuple(2 * data_weights))",
            "a second run differs: ",
        ),
    ],
)
def test_what_a_sampler_does_wrong_is_named(check, body, said):
    code, out, err = check(SAMPLER.format(body=body), "mine:Draws")
    assert said in out, (out, err)
    assert code == (0 if body == "pass" else 1)


def test_answers_that_come_one_by_one_are_compared_too(check):
    code, out, err = check(HOURS.format(length=10**9), "mine:Hours")
    assert (code, "asked: intervals " in out) == (0, True), (out, err)
    other = "10**9 - len(calls.append(1) or calls)"
    code, out, err = check(HOURS.format(length=other), "mine:Hours")
    assert code == 1, (out, err)
    assert "mine:Hours.intervals answers the same question in two ways" in out


def test_a_wrong_answer_and_a_wrong_name_are_one_line(check):
    for words, expected in (
        ((f"{WRONG}:HalfWeight",), f"{WRONG}:HalfWeight.divide must return "),
        (("mine:Plain", "--seam", "sharng"), "did you mean 'sharing'?"),
        (("Plain",), "must be module:Class"),
        (("mine:Plain", "--seam", "fading"), "lacks "),
        (("mine:Office",), "fits no seam; as availability it lacks share, traits"),
        (("mine:number",), "'mine:number' is not a subclass of netsim.scenario.Rec"),
        (("mine:Plane",), "no class 'Plane', did you mean 'Plain'?"),
        (("mein:Plain",), "cannot import 'mein'"),
    ):
        more = OFFICE
        code, _, err = check(RULE.format(weight=2) + more, *words)
        assert (code, expected in err) == (2, True), (words, err)
        assert "Traceback" not in err


def test_every_seam_has_its_field():
    assert one_ofs().keys() == {seam.name for seam in SEAMS}
    assert all(one_ofs()[seam.name].choices is seam.choices for seam in SEAMS)


def test_equal_numbers_are_the_same_and_others_are_not():
    assert same({"a": [1, float("nan")]}, {"a": [1, float("nan")]})
    assert not same({"a": [1, 2.0]}, {"a": [1, 2]})
    assert not same((1, 2), (1,))


@pytest.mark.slow
def test_a_merge_is_tried_where_it_learns(check):
    text = (
        "from typing import ClassVar\nfrom fl.aggregation import FedIT\n"
        "class M(FedIT):\n    kind: ClassVar[str] = 'mine'\n"
        "    def merge(self, layers):\n        return super().merge(layers)\n"
    )
    code, out, err = check(text, "mine:M")
    assert (
        code,
        "mine:M as learning.aggregation: two rounds of quickstart" in out,
    ) == (
        0,
        True,
    ), (out, err)
    assert "asked: merge 4" in out
