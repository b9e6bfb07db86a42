"""The code behind a result: what one class learned is not taken for another's."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fl.federation.code_digests import KINDS
from fl.memory.code import code_of, own_classes
from fl.settings.federation import FederationSettings
from netsim import load_run, run, run_study
from netsim.core.files import file_sha256
from netsim.cosim.inputs import edited_since
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.errors import InputError
from netsim.runs.manifest import edited, read_manifest
from netsim.study.run import other_code
from tests.support.command import netsim
from tests.support.rule import RULE

HALVED = """
from dataclasses import replace
from typing import ClassVar

from fl.aggregation import FedIT


def scaled(pair):
    return pair._replace(lora_b=pair.lora_b * {factor})


class Halved(FedIT):
    kind: ClassVar[str] = "halved"

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


def test_nothing_of_ours_is_a_users():
    learning = FederationSettings()
    assert own_classes([learning.task, learning.aggregation, None, "drop"]) == set()


def halved_code():
    return code_of([], [importlib.import_module("halved_by").Halved()])


def test_an_edit_of_a_class_is_seen_and_a_comment_is_not(write, monkeypatch):
    monkeypatch.syspath_prepend(".")
    found = []
    for text in (
        HALVED.format(factor=0.5),
        '"""Halves."""\n# a comment\n' + HALVED.format(factor=0.5),
        HALVED.format(factor=0.25),
        HALVED.format(factor=0.5) + "print(__doc__)\n",
        '"""Halves."""\n' + HALVED.format(factor=0.5) + "print(__doc__)\n",
    ):
        write(text)
        found.append(halved_code())
    assert found[0] == found[1]
    digests = [one["halved_by.py"] for one in found[1:]]
    assert len(set(digests)) == 4  # of a program that reads itself comments count
    assert "fl/aggregation/fedit.py" in found[0]


def test_where_a_module_lies_does_not_depend_on_what_is_loaded(
    write, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(".")
    write("import pytest_plug\n" + HALVED.format(factor=0.5))
    (tmp_path / "pytest_plug.py").write_text("BESIDE = 1\n")
    before = halved_code()
    assert "pytest_plug.py" in before
    monkeypatch.setitem(sys.modules, "pytest_plug", pytest)
    write("import pytest_plug\n" + HALVED.format(factor=0.5))
    assert halved_code() == before


def test_a_package_is_followed_by_its_imports(tmp_path, monkeypatch):
    """What Python executes counts, and all where names of modules are computed."""
    package = tmp_path / "own_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "__init__.py").write_text("")
    for name in ("far", "unused", "inner/near"):
        (package / f"{name}.py").write_text("")
    merge = package / "inner" / "merge.py"
    body = "from . import near\nfrom ..far import *\nclass M(FedIT): pass\n"
    merge.write_text("from fl.aggregation import FedIT\n" + body)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("own_package", "own_package.inner", "own_package.inner.merge")
    expected = {"__init__", "far", "inner/__init__", "inner/merge", "inner/near"}
    for text, more in (("", set()), ("import_module('a' + x)\n", {"unused"})):
        merge.write_text(merge.read_text() + f"def f(x):\n    {text or 'pass'}\n")
        for name in [one for one in sys.modules if one.startswith("own_package")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        code = code_of([], [importlib.import_module(names[-1]).M()])
        own = {path for path in code if path.startswith("own_package")}
        assert own == {f"own_package/{one}.py" for one in expected | more}
    for name in names:
        sys.modules.pop(name, None)


def test_each_kind_of_result_has_its_own_code():
    """A merge is in no job, an evaluation in no merge, the network in none."""
    learning = FederationSettings()
    found = {
        kind: set(code_of(roots, [getattr(learning, part) for part in parts]))
        for kind, (roots, parts) in KINDS.items()
    }
    assert "fl/aggregation/flora_na.py" in found["merge"]
    assert "fl/aggregation/flora_na.py" not in found["job"] | found["evaluation"]
    assert "fl/training/core.py" in found["job"] - found["base"] - found["evaluation"]
    assert "fl/model/evaluation.py" in found["evaluation"]
    assert "fl/model/evaluation.py" not in found["job"] | found["merge"]
    assert {"fl/tasks/digits.py", "fl/backbones/small_vit.py"} <= found["job"]
    assert "fl/tasks/text.py" not in found["job"]
    everything = set.union(*found.values())
    assert not any(path.startswith(("netsim/", "fl/memory/")) for path in everything)


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_edited_helper_gives_what_a_fresh_run_gives(edit, tmp_path):
    losses = {}
    for name, factor, reuse in (("a", 0.5, True), ("b", 0.25, True), ("c", 0.25, 0)):
        edit(factor)
        run_scenario(halved(), tmp_path / name, reuse=bool(reuse))
        losses[name] = load_run(tmp_path / name).evals.loss.iloc[-1]
    assert losses["a"] != losses["b"] == losses["c"]


@pytest.mark.slow
def test_resume_with_an_edited_helper_is_refused_by_name(edit, tmp_path):
    edit(0.5)
    manifest = run_scenario(halved(), tmp_path / "run")
    assert {"halved_by.py", "factors.py"} <= manifest.inputs.keys()
    assert run_scenario(halved(), tmp_path / "run", resume=True) == manifest
    edit(0.25)
    with pytest.raises(InputError, match=r"other code made: factors\.py is no longer"):
        run_scenario(halved(), tmp_path / "run", resume=True)


@pytest.mark.slow
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
    study.write_text(study.read_text().replace("[1]", "[1, 2]"))
    table = run_study(study, out=tmp_path / "out", mixed_code=True).table
    assert [*table.other_code] == ["factors.py", ""]


def test_a_class_edited_since_it_was_loaded_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    rule = tmp_path / "plain.py"
    settings = ("cell.uplink.sharing=plain:Plain", "stop.rounds=1")
    rule.write_text(RULE.format(weight=2))
    scenario = read_scenario(find_scenario("network-only"), settings)
    rule.write_text(RULE.format(weight=3))
    with pytest.raises(InputError, match=r"plain\.py is no longer what this process"):
        run_scenario(scenario, tmp_path / "run")
    rule.write_text("# said otherwise\n" + RULE.format(weight=2))
    run_scenario(scenario, tmp_path / "run", resume=True)
    sys.modules.pop("plain")


DRAWN = RULE.replace("{weight}", "__import__('random').randint(1, 99)")


def netsim_in(folder, *words):
    """Return the exit code and the output of a command in a process of its own."""
    command = [sys.executable, "-m", "netsim", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_a_run_replays_from_elsewhere_with_the_code_that_it_keeps(tmp_path):
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    (home / "plain.py").write_text(RULE.format(weight=2))
    set_ = ("--set", "cell.uplink.sharing=plain:Plain", "--set", "stop.rounds=1")
    words = ("run", "network-only", *set_, "--quiet", "--out")
    assert netsim_in(home, *words, "one")[0] == 0
    assert (home / "one" / "code" / "plain.py").is_file()
    code, said = netsim_in(other, "replay", home / "one")
    assert (code, "--allow-code" in said) == (2, True)
    assert netsim_in(other, "replay", home / "one", "--allow-code")[0] == 0
    (home / "plain.py").write_text(RULE.format(weight=3))
    code, said = netsim_in(home, "replay", "one")
    assert (code, "plain.py is no longer what it was then" in said) == (2, True)
    code, said = netsim_in(home, "replay", "one", "--set", "seed=2", "--quiet")
    assert (code, "plain.py is no longer what it was then" in said) == (0, True)
    assert netsim_in(home, *words, "two")[0] == 0
    _, said = netsim_in(other, "compare", home / "one", home / "two")
    assert "code: plain.py differs" in said
    (home / "plain.py").write_text(DRAWN)
    assert netsim_in(home, *words, "three")[0] == 0
    code, said = netsim_in(home, "replay", "three", "--fresh")
    assert code == 1
    assert "does not replay: " in said
    assert "does a class draw without a seed?" in said


OLD = Path(__file__).parent / "run_of_unknown_code"  # from before modules were listed


def test_a_run_from_before_modules_were_listed_is_of_unknown_code(tmp_path, capsys):
    assert netsim("verify", OLD) == 0
    said = capsys.readouterr().out
    assert "its manifest lists no modules: it was made by unknown code" in said
    new = tmp_path / "new"
    assert netsim("replay", OLD, "--out", new) in (0, 1)  # networks have changed since
    capsys.readouterr()
    assert netsim("compare", OLD, new) == 0
    assert f"code: {OLD} lists no modules" in capsys.readouterr().out
    copy = tmp_path / "copy"
    shutil.copytree(OLD, copy)
    assert netsim("run", copy / "scenario.yaml", "--resume", "--out", copy) == 0
    assert read_manifest(copy) == read_manifest(OLD)


def test_files_of_a_run_of_unknown_code_are_compared_as_they_were_named(
    tmp_path, monkeypatch
):
    """By the SHA-256 of the file; of another form of names nothing is said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    rule = tmp_path / "plain.py"
    rule.write_text(RULE.format(weight=2))
    settings = ("cell.uplink.sharing=plain:Plain", "stop.rounds=1")
    scenario = read_scenario(find_scenario("network-only"), settings)
    manifest = run_scenario(scenario, tmp_path / "run")
    names = {"plain.py": file_sha256(rule)}
    old = manifest.model_copy(update={"inputs": names})
    assert edited_since(old, scenario) == []
    assert other_code(old, scenario) == "unknown"
    assert edited(old.inputs, manifest.inputs) == []
    rule.write_text(RULE.format(weight=3))
    assert edited_since(old, scenario) == ["plain.py"]
    assert other_code(old, scenario) == "plain.py"
    assert edited(old.inputs, {"plain.py": file_sha256(rule)}) == ["plain.py"]
    sys.modules.pop("plain")


def test_a_program_is_announced_once_before_it_runs(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "plain.py").write_text(RULE.format(weight=1))
    run("network-only", "cell.uplink.sharing=plain:Plain", "stop.rounds=1", out="run")
    sys.modules.pop("plain")
    (said,) = caplog.messages
    assert said.startswith("this scenario is a program: plain:Plain runs from ")
