"""Exported adapters in the hands of somebody who has peft and transformers only."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fl.backbones import FromConfig, FromPretrained, read
from fl.model.adapters import LoraSettings
from fl.model.evaluation import evaluate
from fl.model.export import Exporter
from fl.model.lora_model import LoraModel
from fl.streams import torch_stream
from fl.tasks import Arithmetic, Digits, Synthetic

SENTENCES = Synthetic(num_samples=200, num_test=60, num_labels=3, difficulty=0.2)
SUMS = Arithmetic(num_samples=200, num_test=30, num_public=200)
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY = {**TINY, "intermediate_size": 24}
IMAGES = {"image_size": 8, "patch_size": 4, "num_channels": 1}
BERT = ("query", "value")
COMMIT = "c" * 40


def configured(family, dtype="float32", **config):
    return FromConfig(model_type=family, config=config, vocab_size=400, dtype=dtype)


def from_folder(kind, folder):
    """Return a backbone of a model that somebody else saved, as the case asks."""
    from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

    if "hub" in kind:
        folder = folder / f"models--someone--small/snapshots/{COMMIT}"
        (folder.parents[1] / "refs").mkdir(parents=True)
        (folder.parents[1] / "refs/main").write_text(COMMIT)
    words = configured("bert", **TINY).tokenizer(SENTENCES).loaded
    torch.manual_seed(0)
    if kind.startswith("gpt2"):
        words.eos_token = "[SEP]"
        config = GPT2Config(vocab_size=len(words), n_embd=16, n_layer=1, n_head=2)
        model = GPT2LMHeadModel(config)
    else:
        model = BertModel(BertConfig(vocab_size=len(words), **TINY))
    # a checkpoint's own type: the run's is another
    model.to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    pooling = "mean" if "mean" in kind else None
    dtype = "bfloat16" if "bf16" in kind else "float32"
    path = "someone/small" if "hub" in kind else str(folder)
    return FromPretrained(path=path, pooling=pooling, dtype=dtype)


CASES = {
    "vit": (Digits(), LoraSettings(), configured("vit", **TINY, **IMAGES)),
    "bert": (SENTENCES, LoraSettings(target_modules=BERT), None),
    "bert mean": (SENTENCES, LoraSettings(target_modules=BERT, r=3), None),
    "bert mean all": (SENTENCES, LoraSettings(target_modules=("all-linear",)), None),
    "bert frozen head": (
        SENTENCES,
        LoraSettings(target_modules=BERT, modules_to_save=()),
        None,
    ),
    "bert hub": (SENTENCES, LoraSettings(target_modules=BERT), None),
    "bert bf16": (SENTENCES, LoraSettings(target_modules=BERT), None),
    "bert mean bf16": (SENTENCES, LoraSettings(target_modules=BERT), None),
    "bert frozen bf16": (
        SENTENCES,
        LoraSettings(target_modules=BERT, modules_to_save=()),
        None,
    ),
    "gpt2 score": (
        SENTENCES,
        LoraSettings(target_modules=("c_attn", "c_proj"), modules_to_save=("score",)),
        None,
    ),
    "llama": (
        SUMS,
        LoraSettings(modules_to_save=()),
        configured("llama", **TINY, num_key_value_heads=1),
    ),
    "llama bf16": (
        SUMS,
        LoraSettings(modules_to_save=()),
        configured("llama", **TINY, num_key_value_heads=1, dtype="bfloat16"),
    ),
    "dora": (
        SENTENCES,
        LoraSettings(target_modules=BERT, use_dora=True),
        configured("bert", **TINY),
    ),
}
FOLDED = "gpt2 score"
LOADER = """
import os, sys
sys.modules["netsim"] = sys.modules["fl"] = None  # not installed
from pathlib import Path
import peft, torch
root = Path(sys.argv[1])
for folder in sorted(root.glob("*/adapter")):
    os.chdir(folder)
    card = Path("README.md").read_text()
    scope = {}
    for block in card.split("```python\\n")[1:]:
        exec(block.split("```")[0], scope)
    asked = torch.load("../asked.pt")
    with torch.inference_mode():
        if "classify" in scope:
            logits = scope["classify"](asked)
        elif isinstance(asked, list):
            tokens = scope["tokenizer"](
                asked, padding=True, truncation=True, return_tensors="pt"
            )
            logits = scope["model"](**tokens).logits
        else:
            logits = scope["model"](**asked).logits
    torch.save(logits, "../answered.pt")
    kind = folder.parent.name
    if kind in ("vit", "bert", "bert-hub", "llama", "dora"):
        config = peft.PeftConfig.from_pretrained(".")
        auto = {
            "SEQ_CLS": peft.AutoPeftModelForSequenceClassification,
            "CAUSAL_LM": peft.AutoPeftModelForCausalLM,
        }.get(config.task_type, peft.AutoPeftModel)
        labels = {"num_labels": 3} if config.task_type == "SEQ_CLS" else {}
        labels |= {"revision": config.revision} if config.revision else {}
        model = auto.from_pretrained(".", dtype="float32", **labels).eval()
        with torch.inference_mode():
            given = tokens if isinstance(asked, list) else asked
            torch.save(model(**given).logits, "../by-auto.pt")
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return for each case its folder, its model here, and the card's logits there."""
    root = tmp_path_factory.mktemp("exports")
    hub = root / "bert-hub/source"
    found = {}
    patch = pytest.MonkeyPatch()
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    for kind, (task, lora, backbone) in CASES.items():
        folder = root / kind.replace(" ", "-")
        folder.mkdir()
        if backbone is None:
            backbone = from_folder(kind, folder / "source")
        model = LoraModel(backbone.load(task), lora, seed=0)
        flat = torch.randn(model.layout.num_numbers, generator=torch_stream(0, "test"))
        model.write(model.layout.pack(model.layout.views(flat * 0.3)))
        folds = {}
        if kind == FOLDED:
            folds = {
                name: torch.randn(shape, generator=torch_stream(1, "fold"))
                for name, shape in model.layout.shapes.items()
            }
            model.fold(folds)
        exporter = Exporter(backbone=backbone, task=task, lora=lora)
        scaled = {name: lora.scale * fold for name, fold in folds.items()}
        written = exporter.write(folder / "adapter", model.read(), scaled)
        if written:
            from fl.peft_folders.base_delta import save_base_delta

            named = {f"{module}.fold": fold for module, fold in written.items()}
            save_base_delta(folder / "adapter", named, rule="add")
        asked = question(task)
        torch.save(asked, folder / "asked.pt")
        found[kind] = (folder, model, read(task, backbone))
    patch.undo()
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADER, root],
        env={**os.environ, "HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return found


def question(task):
    """Return what the loaded model is asked: texts, or pixels or tokens as they are."""
    indices = np.arange(60)
    if task.objective == "text-classification":
        return task.texts("test", indices.tolist())
    if task.objective == "causal":
        return {"input_ids": torch.arange(40).reshape(4, 10)}
    return {"pixel_values": task.batch("test", indices)["pixel_values"]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_the_lines_of_the_model_card_give_the_runs_numbers(answers, kind):
    folder, model, task = answers[kind]
    logits = torch.load(folder / "answered.pt")
    asked = question(CASES[kind][0])
    with torch.inference_mode():
        if isinstance(asked, list):
            batch = task.batch("test", np.arange(60))
            wanted = model.logits(model.placed(batch))
            right = (logits.argmax(-1) == batch["labels"]).double().mean()
            score = evaluate(model, task, "test")
            assert float(right) == pytest.approx(score.accuracy, abs=1e-6)
        else:
            wanted = model.logits(asked)
    spread = float(wanted.std())  # a frozen head is small
    close(logits, wanted, spread)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "bert", "bert hub", "llama", "dora"])
def test_pefts_own_auto_class_gives_the_runs_numbers(answers, kind):
    folder, _, _ = answers[kind]
    ours, theirs = (torch.load(folder / f"{n}.pt") for n in ("answered", "by-auto"))
    close(theirs, ours, float(ours.std()))


def close(found, wanted, spread):
    found = found.to(wanted.dtype)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * spread)


@pytest.mark.slow
def test_a_base_is_copied_only_where_it_has_no_other_source(answers):
    has_base = {
        kind: (one[0] / "adapter/base").exists() for kind, one in answers.items()
    }
    assert has_base == {
        "vit": True,
        "bert": False,
        "bert mean": False,
        "bert mean all": False,
        "bert frozen head": True,
        "bert hub": False,
        "bert bf16": False,
        "bert mean bf16": False,
        "bert frozen bf16": True,
        "gpt2 score": False,
        "llama": True,
        "llama bf16": True,
        "dora": True,
    }
    card = (answers["bert"][0] / "adapter/README.md").read_text()
    source = answers["bert"][0] / "source"
    assert f"base_model: '{source}'" in card
    assert "license: apache-2.0" in card
    assert re.search(r"`model.safetensors`: SHA-256 `[0-9a-f]{64}`", card)
    card = (answers["bert hub"][0] / "adapter/README.md").read_text()
    assert f"The base model is `someone/small`, revision `{COMMIT}`." in card
    assert "base_model: 'someone/small'\nlicense: apache-2.0" in card
    assert re.search(r"`model.safetensors`: SHA-256 `[0-9a-f]{64}`", card)


@pytest.mark.slow
def test_pefts_own_fields_say_what_loads_an_adapter(answers):
    configs = {
        kind: json.loads((one[0] / "adapter/adapter_config.json").read_text())
        for kind, one in answers.items()
    }
    assert {kind: one["task_type"] for kind, one in configs.items()} == {
        "vit": None,
        "bert": "SEQ_CLS",
        "bert mean": "FEATURE_EXTRACTION",
        "bert mean all": "FEATURE_EXTRACTION",
        "bert frozen head": None,
        "bert hub": "SEQ_CLS",
        "bert bf16": "SEQ_CLS",
        "bert mean bf16": "FEATURE_EXTRACTION",
        "bert frozen bf16": None,
        "gpt2 score": "SEQ_CLS",
        "llama": "CAUSAL_LM",
        "llama bf16": "CAUSAL_LM",
        "dora": "SEQ_CLS",
    }
    assert configs["bert"]["base_model_name_or_path"] == str(
        answers["bert"][0] / "source"
    )
    assert configs["vit"]["base_model_name_or_path"] == "./base"
    names = configs["bert mean all"]["target_modules"]
    assert all(
        name.startswith("encoder.layer.0.") for name in names if "pool" not in name
    )


@pytest.mark.slow
def test_the_tokenizer_is_whole(answers):
    from transformers import AutoTokenizer

    for kind in ("bert", "llama"):
        folder, _, task = answers[kind]
        saved = AutoTokenizer.from_pretrained(folder / "adapter")
        assert saved.get_vocab() == task.tokenizer.loaded.get_vocab()
        assert len(saved) > 250


@pytest.mark.slow
def test_a_mean_pooled_adapter_starts_another_run(answers):
    from fl.federation.warm_start import require_settings, start_adapter

    for kind in ("bert mean", "bert mean all"):
        folder, model, _ = answers[kind]
        require_settings(folder / "adapter", CASES[kind][1])
        assert start_adapter(folder / "adapter", model) == model.read()


@pytest.mark.slow
def test_the_base_is_copied_where_it_is_asked_for(answers, tmp_path):
    _, model, _ = answers["bert mean"]
    task, lora, _ = CASES["bert mean"]
    source = answers["bert mean"][0] / "source"
    backbone = FromPretrained(path=str(source), pooling="mean")
    Exporter(backbone=backbone, task=task, lora=lora, with_base=True).write(
        tmp_path, model.read(), {}
    )
    assert (
        json.loads((tmp_path / "base/config.json").read_text())["model_type"] == "bert"
    )
    card = (tmp_path / "README.md").read_text()
    assert 'AutoModel.from_pretrained(f"{folder}/base"' in card
    assert f"base_model: '{source}'" in card


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "bert", "bert mean", FOLDED, "llama"])
def test_a_merge_keeps_card_and_tokenizer_and_writes_whole_models(
    kind, answers, tmp_path
):
    import transformers

    from fl.peft_folders import merge_folders

    folder, model, task = answers[kind]
    source, out = folder / "adapter", tmp_path / "merged"
    report = merge_folders([source, source], out, method="fedit", with_model="float32")
    assert not [note for note in report.notes if "differ" in note]
    assert (out / "base").exists() == (source / "base").exists()
    card = (out / "README.md").read_text()
    words = (source / "README.md").read_text().split()
    assert card.split()[: len(words)] == words
    assert "Merged by `fedit`" in card
    family = re.search(r"import (\w+)", (out / "model/README.md").read_text())[1]
    whole = getattr(transformers, family).from_pretrained(out / "model").eval()
    asked = question(CASES[kind][0])
    with torch.inference_mode():
        if isinstance(asked, list):
            batch = model.placed(task.batch("test", np.arange(60)))
            wanted = model.logits(batch)
            words = transformers.AutoTokenizer.from_pretrained(out / "model")
            asked = words(asked, padding=True, truncation=True, return_tensors="pt")
        else:
            wanted = model.logits(asked)
        found = whole(**asked)
    if kind == "bert mean":
        head = load_file(out / "model/head.safetensors")
        mask = asked["attention_mask"].unsqueeze(-1)
        means = (found.last_hidden_state * mask).sum(1) / mask.sum(1)
        logits = means @ head["classifier.weight"].T + head["classifier.bias"]
    else:
        logits = found.logits
    close(logits, wanted, float(wanted.std()))


@pytest.mark.slow
def test_a_merged_card_says_how_its_own_folds_are_applied(answers, tmp_path):
    from fl.peft_folders import apply_base_delta, merge_folders

    folder = answers["llama"][0]
    other = tmp_path / "other"
    shutil.copytree(folder / "adapter", other)
    path = other / "adapter_model.safetensors"
    save_file({n: one.flip(0) for n, one in load_file(path).items()}, path)
    out = tmp_path / "merged"
    merge_folders([folder / "adapter", other], out, method="fedex-lora")
    scope, blocks = {}, (out / "README.md").read_text().split("```python\n")[1:]
    first, last = (block.split("```")[0] for block in blocks)
    assert first.count('"."') == 1
    exec(first.replace('"."', repr(str(out))), scope)
    plain = {n: one.clone() for n, one in scope["base"].state_dict().items()}
    exec(last, scope)
    changed = {n: one.clone() for n, one in scope["base"].state_dict().items()}
    scope["base"].load_state_dict(plain)
    assert apply_base_delta(scope["base"], out) > 0
    torch.testing.assert_close(changed, dict(scope["base"].state_dict()))
    assert any(not one.equal(plain[name]) for name, one in changed.items())


@pytest.mark.slow
def test_a_merge_notes_tokenizers_and_own_bases_that_differ(answers, tmp_path):
    from fl.peft_folders import merge_folders

    source, other = answers["llama"][0] / "adapter", tmp_path / "other"
    shutil.copytree(source, other)
    (other / "tokenizer_config.json").write_text("{}")
    (other / "base/config.json").write_text("{}")
    report = merge_folders([source, other], tmp_path / "merged", method="fedit")
    text = "\n".join(report.notes)
    assert f"the adapters' tokenizers differ: that of {source} is copied" in text
    assert "the adapters name different bases (./base " in text


@pytest.mark.slow
def test_merged_adapters_keep_a_mean_pooled_head(answers, tmp_path):
    from fl.peft_folders import merge_folders

    source = answers["bert mean"][0] / "adapter"
    merge_folders([source, source], tmp_path / "merged", method="fedit")
    one, merged = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (source, tmp_path / "merged")
    )
    assert one.keys() == merged.keys()
    head = "base_model.model.classifier.weight"
    torch.testing.assert_close(merged[head], one[head])
