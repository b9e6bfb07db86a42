"""A user's own classes: what one of them learned is not taken for another's."""

import importlib
import sys

import pytest

from fl.memory.user_code import own_code
from fl.settings.federation import FederationSettings
from netsim import load_run, run_study
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError

pytestmark = pytest.mark.slow

HALVED = """
from dataclasses import replace

from fl.aggregation import FedIT


def scaled(pair):
    return pair._replace(lora_b=pair.lora_b * {factor})


class Halved(FedIT):
    def merge(self, layers):
        merged = super().merge(layers)
        return {{
            name: replace(layer, pair=scaled(layer.pair))
            for name, layer in merged.items()
        }}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text):
        (tmp_path / "halved_by.py").write_text(text)
        sys.modules.pop("halved_by", None)
        importlib.invalidate_caches()

    yield write
    sys.modules.pop("halved_by", None)


def test_nothing_of_ours_is_named():
    assert (
        own_code(
            [FederationSettings().task, FederationSettings().aggregation, None, "drop"]
        )
        == ()
    )


def test_an_edited_class_is_another_one(write, monkeypatch):
    monkeypatch.syspath_prepend(".")
    found = []
    for factor in (0.5, 0.5, 0.25):
        write(HALVED.format(factor=factor))
        halved = importlib.import_module("halved_by").Halved()
        found.append(own_code([halved]))
    assert found[0] == found[1] != found[2]
    assert found[0][0].startswith("halved_by:Halved ")


def test_what_another_class_learned_is_not_reused(write, tmp_path):
    losses = []
    for number, factor in enumerate((0.5, 0.25, 0.5)):
        write(HALVED.format(factor=factor))
        scenario = read_scenario(
            find_scenario("quickstart"),
            (
                "stop.rounds=1",
                "learning.training.local_steps=2",
                "learning.aggregation=halved_by:Halved",
            ),
        )
        run_scenario(scenario, tmp_path / str(number))
        losses.append(load_run(tmp_path / str(number)).evals.loss.iloc[-1])
    assert losses[0] == losses[2] != losses[1]


FACTOR = "from factors import FACTOR\n" + HALVED.replace("{factor}", "FACTOR").replace(
    "{{", "{"
).replace("}}", "}")


@pytest.fixture
def edit(write, tmp_path):
    def edit(factor):
        write(FACTOR)
        (tmp_path / "factors.py").write_text(f"FACTOR = {factor}\n")
        sys.modules.pop("factors", None)
        importlib.invalidate_caches()

    yield edit
    sys.modules.pop("factors", None)


def halved(*overrides):
    return read_scenario(
        find_scenario("quickstart"),
        (
            "stop.rounds=1",
            "learning.training.local_steps=2",
            "learning.aggregation=halved_by:Halved",
            *overrides,
        ),
    )


def test_an_edited_helper_gives_what_a_fresh_run_gives(edit, tmp_path):
    losses = {}
    for name, factor, reuse in (("a", 0.5, True), ("b", 0.25, True), ("c", 0.25, 0)):
        edit(factor)
        run_scenario(halved(), tmp_path / name, reuse=bool(reuse))
        losses[name] = load_run(tmp_path / name).evals.loss.iloc[-1]
    assert losses["a"] != losses["b"] == losses["c"]


def test_resume_with_an_edited_helper_is_refused_by_name(edit, tmp_path):
    edit(0.5)
    manifest = run_scenario(halved(), tmp_path / "run")
    assert {"halved_by.py", "factors.py"} <= manifest.inputs.keys()
    assert run_scenario(halved(), tmp_path / "run", resume=True) == manifest
    edit(0.25)
    with pytest.raises(InputError, match=r"other code made: factors\.py is no longer"):
        run_scenario(halved(), tmp_path / "run", resume=True)


def test_a_study_of_two_programs_is_refused(edit, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(
        "name: two\nscenario: quickstart\nbaseline: {seeded: a}\nseeds: [1]\n"
        "overrides: ['learning.aggregation=halved_by:Halved', 'stop.rounds=1',\n"
        "  'learning.training.local_steps=1']\n"
        "axes:\n  - name: seeded\n    variants: [{name: a}]\n"
    )
    edit(0.5)
    run_study(study, out=tmp_path / "out")
    edit(0.25)
    with pytest.raises(InputError, match=r"factors\.py is no longer"):
        run_study(study, out=tmp_path / "out")
