"""What does not go together: all of it is told, each at its place, of any class."""

import sys
from typing import get_args

import pytest

from netsim.cosim.checks.declared import Fact
from netsim.cosim.checks.rules import DEMANDS, RULES
from netsim.cosim.commands.choices import SEAMS
from netsim.cosim.reading import parse_scenario, read_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.scenario.traits import Trait
from tests.support.command import netsim

OWN_SERVER = """
from typing import ClassVar

from netsim.scenario import Record
from netsim.scenario.traits import Traits


class Impatient(Record):
    {traits}
    sampling: ClassVar[None] = None
    counts: ClassVar[dict[str, int]] = {{}}
    round_timing: ClassVar[None] = None
    kind: ClassVar[str] = "impatient"

    def play(self, stage):
        raise NotImplementedError
"""
DROPS = 'traits: ClassVar[Traits] = {"takes-first": "", "merges-new-versions": ""}'
WAITS = 'traits: ClassVar[Traits] = {"waits-for-all": "", "merges-new-versions": ""}'


def messages(name, *overrides):
    with pytest.raises(InputError) as refused:
        read_scenario(find_scenario(name), overrides)
    return str(refused.value).splitlines()


def test_five_contradictions_are_told_at_once():
    lines = messages(
        "network-only",
        "stop={rounds: 1, target: {level: 0.9}}",
        "interference={reuse: 1}",
        "ranks={kind: fixed, rank: 2}",
        "population.radio_band=[1 MHz, 2 MHz]",
        "server={kind: synchronous, sampling: full, announce_time: 0 s, "
        "merge_time: 0 s, corrects_presence: true}",
    )
    assert len(lines) == 5
    places = ("stop.target", "interference", "ranks", "population.radio_band")
    for place in (*places, "server.corrects_presence"):
        assert sum(f" {place}: " in line for line in lines) == 1, (place, lines)


def places(text):
    return [one.split()[0] for one in text.splitlines() if one.startswith("scenario:")]


def test_a_contradiction_is_told_with_file_line_and_column(tmp_path):
    text = find_scenario("network-only").read_text()
    wrong = text + "interference: {reuse: 1}\nranks: {kind: fixed, rank: 2}\n"
    with pytest.raises(InputError) as refused:
        parse_scenario(wrong, tmp_path)
    first = text.count("\n") + 1
    assert places(str(refused.value)) == [
        f"scenario:{first}:1:",
        f"scenario:{first + 1}:1:",
    ]


def test_conflicts_within_learning_are_told_with_the_others():
    lines = messages(
        "quickstart",
        "interference={reuse: 1}",
        "learning.aggregation=fed-sb",
        "learning.compression={kind: top-k, share: 0.1}",
        "learning.payload={precision: bfloat16}",
    )
    said = "\n".join(lines)
    for place in ("interference", "learning.compression", "learning.payload"):
        assert f" {place}" in said


def own_server(tmp_path, traits):
    (tmp_path / "own.py").write_text(OWN_SERVER.format(traits=traits))
    text = find_scenario("quickstart").read_text()
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return str(path), "--set", "server={kind: 'own:Impatient'}"


@pytest.fixture
def forgets_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    yield
    sys.modules.pop("own", None)


STACKING = ("--set", "learning.aggregation=hetlora")


@pytest.mark.usefixtures("forgets_own")
def test_a_server_of_ones_own_that_drops_late_updates_is_judged(tmp_path, capsys):
    assert netsim("check", *own_server(tmp_path, DROPS), *STACKING) == 2
    said = capsys.readouterr().err
    assert "server: does not go with aggregation 'hetlora': independent-samp" in said


@pytest.mark.usefixtures("forgets_own")
def test_a_server_of_ones_own_that_waits_for_all_is_right(tmp_path):
    assert netsim("check", *own_server(tmp_path, WAITS), *STACKING) == 0


@pytest.mark.usefixtures("forgets_own")
@pytest.mark.parametrize(
    ("traits", "reason"),
    [
        ("", "'own:Impatient' lacks traits"),
        ("", "waits-for-all or has-deadline"),
        (
            "traits: ClassVar[Traits] = {}",
            "declares no trait of waits-for-all, has-deadline",
        ),
        (
            'traits: ClassVar[Traits] = {"wait-for-all": ""}',
            "did you mean 'waits-for-all'?",
        ),
    ],
)
def test_a_class_that_does_not_declare_itself_is_refused(
    tmp_path, capsys, traits, reason
):
    assert netsim("check", *own_server(tmp_path, traits)) == 2
    assert reason in capsys.readouterr().err


def test_every_trait_of_a_rule_is_one_that_something_declares():
    known = {*get_args(Trait), *get_args(Fact)}
    used = {name for pair in RULES for name in pair}
    used |= {trait for trait, _ in DEMANDS}
    assert used <= known


def test_facts_and_traits_have_different_names():
    assert not set(get_args(Trait)) & set(get_args(Fact))


@pytest.mark.parametrize("seam", [seam.title for seam in SEAMS])
def test_no_kind_of_a_seam_lacks_a_declaration_that_others_have(seam):
    choices = next(found.choices for found in SEAMS if found.title == seam)
    declaring = [kind for kind, cls in choices.items() if hasattr(cls, "traits")]
    assert declaring in ([], list(choices))


def test_a_width_of_radios_does_not_go_with_links_of_their_own():
    (line,) = messages("measured-links", "population.radio_band=1 MHz")
    assert " population.radio_band: has no effect with population.links" in line
