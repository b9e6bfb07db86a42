"""A warm start: the numbers of another adapter, or one clear reason why not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fl.federation.warm_start import content_digest, read_header
from fl.memory import recipe
from fl.model.adapters import LoraSettings
from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.cosim.workers import Workers
from netsim.errors import InputError

pytestmark = pytest.mark.slow

SMALL = ("stop.rounds=1", "learning.training.local_steps=1")


def scenario(*overrides):
    return read_scenario(find_scenario("quickstart"), (*SMALL, *overrides))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A finished run whose adapter others start from."""
    folder = tmp_path_factory.mktemp("earlier") / "run"
    run_scenario(scenario("stop.rounds=2"), folder)
    return folder


@pytest.fixture
def adapter(earlier, tmp_path):
    """A copy of its adapter, to be spoiled."""
    return shutil.copytree(earlier / "adapter", tmp_path / "adapter")


def configured(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_run_goes_on_from_the_numbers_of_another(earlier, tmp_path):
    first = load_run(earlier)
    for place in (earlier, earlier / "adapter"):
        manifest = run_scenario(scenario(f"learning.start={place}"), tmp_path / "warm")
        warm = load_run(tmp_path / "warm")
        began, ended = warm.evals.iloc[0], first.evals.iloc[-1]
        assert (began.accuracy, began.loss) == (ended.accuracy, ended.loss)
        assert manifest.digest != first.manifest.digest
        shutil.rmtree(tmp_path / "warm")


def test_a_started_run_has_the_same_digest_with_workers_and_from_its_own_file(
    earlier, tmp_path
):
    config = scenario(f"learning.start={earlier}", "learning.cohort_size=4")
    one = run_scenario(config, tmp_path / "one", reuse=False)
    two = run_scenario(config, tmp_path / "two", reuse=False, workers=Workers(2))
    again = read_scenario(tmp_path / "one" / "scenario.yaml")
    assert run_scenario(again, tmp_path / "again").digest == one.digest == two.digest


def test_what_is_remembered_needs_no_torch(earlier, tmp_path):
    start = f"learning.start={earlier}"
    run_scenario(scenario(start), tmp_path / "first")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from netsim.cosim.run import run_scenario\n"
        "from netsim.cosim.reading import read_scenario\n"
        "config = read_scenario(Path(sys.argv[1]))\n"
        "print(run_scenario(config, Path(sys.argv[2])).digest)\n"
        "assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "first" / "scenario.yaml"]
    done = subprocess.run(
        [*command, tmp_path / "again"], capture_output=True, text=True
    )
    assert done.stdout.strip() == load_run(tmp_path / "first").manifest.digest


def test_the_recipe_names_the_numbers_only_where_there_is_a_start(adapter):
    given = {"base": "b", "lora": LoraSettings(), "seed": 1, "code": "c"}
    plain = recipe.initial_version(**given)
    assert plain == recipe.initial_version(**given, start=None)
    assert plain == recipe.digest(
        "initial",
        {
            "base": "b",
            "lora": recipe.settings(LoraSettings()),
            "seed": 1,
            "code": "c",
        },
    )
    named = recipe.initial_version(**given, start=content_digest(adapter))
    configured(adapter, lora_dropout=0.5)  # no number of the adapter
    assert named == recipe.initial_version(**given, start=content_digest(adapter))
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert named != recipe.initial_version(**given, start=content_digest(adapter))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learning.lora.r=4"], "r is 8 in the start and 4 in learning.lora; the sc"),
        (["learning.lora.lora_alpha=8"], "the scale is 2 in the start and 1 in"),
        (["learning.lora.use_rslora=true"], "the scale is 2 in the start and 5.65685"),
        (["learning.lora.use_dora=true"], "use_dora is false in the start and true"),
        (
            ["learning.lora={peft_type: hira, target_modules: [q_proj, v_proj]}"],
            "peft_type is lora in the start and hira",
        ),
        (
            ["learning.lora.target_modules=[q_proj, k_proj]"],
            r"target_modules is \['q_proj', 'v_proj'\] in the start and \['k_proj', 'q",
        ),
        (
            ["learning.lora.modules_to_save=[]"],
            r"modules_to_save is \['classifier'\] in the start and \[\] in",
        ),
    ],
)
def test_other_settings_are_named_with_both_values(overrides, message, adapter):
    with pytest.raises(InputError, match=message) as refused:
        scenario(f"learning.start={adapter}", *overrides)
    assert "learning.start" in str(refused.value)


def test_a_start_lies_beside_its_scenario(adapter, tmp_path):
    """As a plan does (``tests/policy/test_policy_runs.py``)."""
    copied = shutil.copy(find_scenario("quickstart"), tmp_path)
    found = read_scenario(Path(copied), (*SMALL, "learning.start=adapter"))
    assert found.learning.start == str(adapter)


def test_the_same_scale_in_other_words_is_the_same(adapter):
    configured(adapter, r=8, lora_alpha=2 * 8**0.5, use_rslora=True)
    assert scenario(f"learning.start={adapter}").learning.start == str(adapter)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"bias": "all"}, "bias 'all'"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed its base model"),
        ({"peft_type": "IA3"}, "peft_type is ia3"),
    ],
)
def test_adapters_of_other_kinds_are_refused(changes, message, adapter):
    configured(adapter, **changes)
    with pytest.raises(InputError, match=message):
        scenario(f"learning.start={adapter}")


def test_folders_that_hold_no_start_are_refused(adapter, tmp_path):
    def refused(message):
        with pytest.raises(InputError, match=message):
            scenario(f"learning.start={adapter}")

    (adapter / "base_delta.safetensors").write_bytes(b"")
    refused("base_delta.safetensors: its method adds to the base model")
    (adapter / "base_delta.safetensors").unlink()
    tensors = adapter / "adapter_model.safetensors"
    whole = tensors.read_bytes()
    for damaged in (whole[:-5], b"", b"\xff" * 64, whole[:8] + b"{]" + whole[10:]):
        tensors.write_bytes(damaged)
        refused("is damaged")
    tensors.rename(adapter / "adapter_model.bin")
    refused("no adapter_model.safetensors .adapter_model.bin is a pickle")
    (adapter / "adapter_config.json").unlink()
    refused("has no adapter_config.json")
    with pytest.raises(InputError, match="must be a folder with a PEFT adapter"):
        scenario(f"learning.start={tmp_path / 'nowhere'}")


def test_another_models_numbers_are_refused_when_checked(adapter):
    other = "learning.backbone={kind: small-vit, hidden_size: 32, pretrain_steps: 2}"
    config = scenario(f"learning.start={adapter}", other)
    with pytest.raises(InputError, match=r"learning\.start: .* numbers outside LoRA"):
        config.learning.known_learner(20, 1, may_count=True)


def test_equal_counts_under_other_names_are_refused_by_name(adapter, tmp_path):
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    renamed = {k.replace("layers.0", "layers.9"): v for k, v in tensors.items()}
    save_file(renamed, path)
    config = scenario(f"learning.start={adapter}")
    with pytest.raises(
        InputError, match=r"layers\.0.* is absent in the folder and \("
    ) as refused:
        run_scenario(config, tmp_path / "run")
    assert str(refused.value).startswith("learning.start: ")
    poison = {name: value * float("nan") for name, value in tensors.items()}
    save_file(poison, path)
    config = scenario(f"learning.start={adapter}")
    with pytest.raises(InputError, match="not finite"):
        run_scenario(config, tmp_path / "poisoned")


def test_the_head_of_the_file_says_what_is_in_it(adapter):
    from safetensors.torch import load_file

    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    assert read_header(path).shapes == {n: tuple(t.shape) for n, t in tensors.items()}
    assert {name.split(".")[2] for name in read_header(path).whole()} == {"classifier"}


def test_a_start_of_half_precision_trains_in_the_models(adapter, tmp_path):
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    save_file({n: t.half() for n, t in load_file(path).items()}, path)
    run_scenario(scenario(f"learning.start={adapter}"), tmp_path / "run")
    end = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in end.values()} == {"torch.float32"}


def test_a_start_that_is_not_what_its_run_left_is_refused(earlier, tmp_path):
    run = shutil.copytree(earlier, tmp_path / "run")
    file = run / "adapter" / "adapter_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for place in (run, run / "adapter"):
        config = scenario(f"learning.start={place}")
        with pytest.raises(InputError, match=r"learning\.start: .*another SHA-256"):
            run_scenario(config, tmp_path / "warm")
    copied = shutil.copytree(run / "adapter", tmp_path / "adapter")
    run_scenario(scenario(f"learning.start={copied}"), tmp_path / "warm")  # its own
    file.write_bytes(content)
    (run / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match=r"is damaged: .*copy that elsewhere"):
        run_scenario(scenario(f"learning.start={run}"), tmp_path / "other")
