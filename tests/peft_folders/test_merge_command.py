"""``netsim merge`` at the command line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.command import netsim
from tests.support.peft_clients import (
    base_of,
    clients,
    distance,
    llama,
    loaded,
    logits,
    lora,
    only_pickle,
    save,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)


def test_merge_prints_a_table_and_writes_what_peft_loads(tmp_path, capsys):
    folders = clients(tmp_path)
    out = tmp_path / "out"
    code = netsim("merge", *folders, "--out", out, "--weights", "0.5,0.3,0.2", "--json")
    assert code == 0
    printed = capsys.readouterr().out
    report = json.loads(printed.splitlines()[-1])
    assert "model.layers.0.mlp.down_proj" in printed
    assert "average's" in printed
    assert report["method"] == "flora-na"
    assert report["weights"] == [0.5, 0.3, 0.2]
    assert len(report["layers"]) == 14
    assert 0 < report["relative_error"] < report["average_relative_error"]
    assert distance(logits(loaded(out, llama)), logits(base_of(llama))) > 1e-3


def test_merge_takes_the_methods_own_settings(tmp_path, capsys):
    folders = clients(tmp_path)
    code = netsim(
        *("merge", *folders, "--out", tmp_path / "out", "--method", "residual"),
        *("--set", "projection.kind=free-als", "--set", "projection.gauge=procrustes"),
        *("--set", "directions={kind: count, num_directions: 2}", "--json"),
    )
    assert code == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["settings"]["projection"]["gauge"] == "procrustes"
    assert {row["fold_rank"] for row in report["layers"]} == {2}


def test_merge_gives_the_rest_to_the_previous_adapter(tmp_path, capsys):
    folders = clients(tmp_path, num=2)
    previous = save(tmp_path / "previous", llama, lora(), 9)
    code = netsim(
        *("merge", *folders, "--out", tmp_path / "out", "--weights", "3/4,1"),
        *("--previous", previous, "--method", "fedex-lora", "--json"),
    )
    assert code == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["previous_weight"] == -0.75
    assert report["relative_error"] < 1e-12
    assert any("base" in note for note in report["notes"])


def test_merge_takes_a_class_of_the_users_own(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_merge.py").write_text(
        "from typing import Literal\n"
        "from fl.aggregation import FedIT\n"
        "class Mine(FedIT):\n"
        "    kind: Literal['mine'] = 'mine'\n"
    )
    folders = clients(tmp_path, num=2)
    monkeypatch.chdir(tmp_path)
    code = netsim(
        "merge", *folders, "--out", "out", "--method", "my_merge:Mine", "--json"
    )
    assert code == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["method"] == "mine"
    assert report["relative_error"] == pytest.approx(report["average_relative_error"])


WRONG = {
    "method": (("--method", "flora-an"), "did you mean 'flora-na'?"),
    "setting": (("--set", "gage=balanced"), "unknown key 'gage', did you mean 'gauge'"),
    "value": (("--set", "gauge=balancd"), "did you mean 'balanced'?"),
    "weights": (("--weights", "0.5,a"), "must be numbers or fractions"),
    "sum": (("--weights", "0.5,0.4"), "weights must sum to 1, got 0.9"),
    "previous": (("--previous", "nowhere"), "no adapter at nowhere"),
    "personal": (("--method", "fedsa-lora"), "no one merged model"),
    "moved factor": (("--method", "ffa-lora"), "one common A"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_merge_gets_one_message_and_exit_code_2(name, tmp_path, capsys):
    options, message = WRONG[name]
    out = tmp_path / "out"
    assert netsim("merge", *clients(tmp_path, num=2), "--out", out, *options) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not out.exists()


def test_a_pickle_is_refused_by_the_command(tmp_path, capsys):
    folders = clients(tmp_path, num=2)
    only_pickle(folders[1])
    assert netsim("merge", *folders, "--out", tmp_path / "out") == 2
    assert "a pickle" in capsys.readouterr().err


@pytest.mark.parametrize("alpha", [float("inf"), float("nan"), 10**400, -1])
def test_an_adapter_of_no_finite_scale_is_refused(alpha, tmp_path, capsys):
    folders = clients(tmp_path, num=2)
    path = folders[1] / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": alpha}))
    assert netsim("merge", *folders, "--out", tmp_path / "out") == 2
    assert "lora_alpha must be positive and finite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["complex", "overflow"])
def test_numbers_that_a_merge_cannot_keep_are_refused(how, tmp_path, capsys):
    folders = clients(tmp_path, num=2, dtype=torch.float32)
    for sign, folder in zip((1, -1), folders, strict=True):
        path = folder / "adapter_model.safetensors"
        tensors = load_file(path)
        for name, tensor in tensors.items():
            large = sign * (tensor.abs() + 3e38)
            tensors[name] = tensor.to(torch.complex64) if how == "complex" else large
        save_file(tensors, path)
    out = tmp_path / "out"
    weights = ("--weights", "3,-2") if how == "overflow" else ()
    assert netsim("merge", *folders, "--out", out, "--method", "fedit", *weights) == 2
    said = {"complex": "has complex numbers", "overflow": "is not finite in float32"}
    assert said[how] in capsys.readouterr().err
    assert not out.exists()
