import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from fl.backbones import BACKBONES, FromConfig, FromPretrained, Pretraining, read
from fl.backbones.tokenizers import folder_tokenizer
from fl.model.evaluation import evaluate
from fl.model.evaluation_settings import EvaluationSettings
from fl.tasks import Arithmetic, Digits, Synthetic, data_files

SENTENCES = Synthetic(
    num_samples=200, num_test=60, num_public=300, num_labels=3, difficulty=0.2
)
SUMS = Arithmetic(num_samples=200, num_test=30, num_public=200)
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY = {**TINY, "intermediate_size": 24}
FAMILIES = {
    "bert": TINY,
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
    "llama": {**TINY, "num_key_value_heads": 1},
}


def config(family="bert", **settings):
    return FromConfig(
        model_type=family,
        **{"config": FAMILIES.get(family, {}), "vocab_size": 400, **settings},
    )


def equal_weights(first, second):
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """Return a tiny BERT with its tokenizer, as ``save_pretrained`` leaves it."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("model")
    words = config().tokenizer(SENTENCES).loaded
    torch.manual_seed(0)
    body = BertModel(BertConfig(vocab_size=len(words), **TINY))
    body.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("bert", SENTENCES),
        ("gpt2", SENTENCES),
        ("llama", SENTENCES),
        ("gpt2", SUMS),
        ("llama", SUMS),
    ],
)
def test_a_family_is_built_for_the_task(family, task):
    backbone = config(family)
    model = backbone.load(task)
    batch = read(task, backbone).batch("train", np.arange(4))
    output = model(**batch)
    assert not model.training
    assert output.loss.isfinite()
    assert output.logits.shape[-1] == (task.num_labels or model.config.vocab_size)
    assert equal_weights(model, backbone.load(task))
    assert not equal_weights(model, config(family, seed=1).load(task))


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_no_answer(family):
    backbone = config(family)
    model, ready = backbone.load(SENTENCES), read(SENTENCES, backbone)
    samples = np.arange(8)
    assert len(set(ready.lengths("test", samples).tolist())) > 2
    with torch.inference_mode():
        together = model(**ready.batch("test", samples)).logits
        alone = [
            model(**ready.batch("test", samples[i : i + 1])).logits for i in samples
        ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


def mean_pooled_by_hand(model, batch):
    states = model.body(batch["input_ids"], attention_mask=batch["attention_mask"])
    rows = [
        of_text[: int(mask.sum())].mean(0)
        for of_text, mask in zip(
            states.last_hidden_state, batch["attention_mask"], strict=True
        )
    ]
    return torch.stack(rows) @ model.classifier.weight.T + model.classifier.bias


def test_a_sentence_encoder_is_classified_by_the_mean_of_its_tokens(
    model_folder,
):
    from transformers import BertModel

    backbone = FromPretrained(path=str(model_folder), pooling="mean")
    model = backbone.load(SENTENCES)
    assert equal_weights(model.body, BertModel.from_pretrained(model_folder))
    assert equal_weights(model, backbone.load(SENTENCES))
    ready = read(SENTENCES, backbone)
    assert len(set(ready.lengths("test", np.arange(8)).tolist())) > 2
    batch = ready.batch("test", np.arange(8))
    with torch.inference_mode():
        output = model(**batch)
        torch.testing.assert_close(output.logits, mean_pooled_by_hand(model, batch))
    wanted = torch.nn.functional.cross_entropy(output.logits, batch["labels"])
    assert output.loss == wanted
    plain = FromPretrained(path=str(model_folder))
    assert plain.digest(SENTENCES) != backbone.digest(SENTENCES)


def test_only_labelled_texts_are_pooled(model_folder):
    with pytest.raises(ValueError, match="pooling must be left out"):
        FromPretrained(path=str(model_folder), pooling="mean").load(SUMS)


def test_images_are_classified_by_any_image_family():
    small = {"image_size": 8, "patch_size": 4, "num_channels": 1}
    backbone = FromConfig(model_type="vit", config={**TINY, **small})
    task = Digits()
    assert read(task, backbone) is task
    output = backbone.load(task)(**task.batch("train", np.arange(3)))
    assert output.logits.shape == (3, 10)


def test_pretraining_draws_its_dropout_from_its_own_stream(tmp_path, monkeypatch):
    backbone = config(pretraining=Pretraining(steps=3, learning_rate=1e-2))
    models = []
    for seed in (1, 2):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(seed)))
        torch.manual_seed(seed)
        models.append(backbone.load(SENTENCES))
    assert models[0].config.hidden_dropout_prob > 0
    assert equal_weights(*models)


def test_public_samples_can_be_learned_first_and_are_kept():
    backbone = config(pretraining=Pretraining(steps=150, learning_rate=1e-2))
    model = backbone.load(SENTENCES)
    ready = read(SENTENCES, backbone)
    with torch.inference_mode():
        logits = model(**ready.batch("test", np.arange(60))).logits
    right = logits.argmax(-1).numpy() == ready.labels("test")
    assert right.mean() > 0.9
    assert equal_weights(model, backbone.load(SENTENCES))
    tied = config("gpt2", pretraining=Pretraining(steps=2))
    assert equal_weights(tied.load(SUMS), tied.load(SUMS))
    with pytest.raises(ValueError, match="no public samples"):
        backbone.load(Synthetic(num_samples=50))


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("lama", {}, "no model type 'lama'; did you mean 'llama'"),
        ("bert", {"hiden_size": 8}, "'hiden_size'; did you mean 'hidden_size'"),
        ("bert", {"hidden_size": 15, "num_attention_heads": 2}, "not a multiple"),
        ("vit", TINY, "no 'vit' for text-classification"),
        ("bert", {**TINY, "max_position_embeddings": 8}, "at most the model's 8"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(family, settings, message):
    with pytest.raises(ValueError, match=message):
        config(family, config=settings).load(SENTENCES)


def test_what_the_task_decides_is_not_set_by_hand():
    with pytest.raises(ValueError, match=r"'vocab_size': set backbone\.vocab_size"):
        config(config={"vocab_size": 10})


def test_a_digest_follows_settings_and_words():
    digests = [
        backbone.digest(task)
        for backbone in (config(), config(seed=1), config(dtype="bfloat16"))
        for task in (SENTENCES, Synthetic(num_samples=201, num_labels=3), Digits())
    ]
    assert len(set(digests)) == 9
    assert config().digest(SENTENCES) == digests[0]


def test_a_local_folder_gives_its_body_and_a_fresh_head(model_folder):
    from transformers import AutoModel

    backbone = FromPretrained(path=str(model_folder))
    model = backbone.load(SENTENCES)
    assert equal_weights(model.bert, AutoModel.from_pretrained(model_folder))
    assert model.classifier.weight.shape == (3, 16)
    again, other = backbone, FromPretrained(path=str(model_folder), seed=1)
    assert equal_weights(model, again.load(SENTENCES))
    assert not torch.equal(
        model.classifier.weight, other.load(SENTENCES).classifier.weight
    )
    ready = read(SENTENCES, backbone)
    assert model(**ready.batch("train", np.arange(2))).loss.isfinite()


def test_a_head_of_other_labels_is_drawn_again(model_folder, tmp_path):
    backbone = FromPretrained(path=str(model_folder))
    backbone.load(SENTENCES).save_pretrained(tmp_path)
    other = Synthetic(num_samples=200, num_labels=5)
    loaded = FromPretrained(path=str(tmp_path)).load(other)
    assert loaded.classifier.weight.shape == (5, 16)
    assert equal_weights(loaded.bert, backbone.load(SENTENCES).bert)


def test_content_and_not_place_makes_the_digest(model_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    first, second = (FromPretrained(path=str(p)) for p in (model_folder, copy))
    assert first.digest(SENTENCES) == second.digest(SENTENCES)
    words = copy / "tokenizer.json"
    words.write_text(words.read_text() + "\n")
    assert first.digest(SENTENCES) != second.digest(SENTENCES)


def test_a_path_is_seen_from_the_scenario(model_folder):
    context = {"folder": model_folder.parent}
    backbone = FromPretrained.model_validate(
        {"path": model_folder.name}, context=context
    )
    assert backbone.path == str(model_folder)
    for path in ("./nothing/here", "/nowhere", "a b"):
        with pytest.raises(ValueError, match="must be a model's folder or a hub id"):
            FromPretrained.model_validate({"path": path}, context=context)
    with pytest.raises(ValueError, match="left out for a local folder"):
        FromPretrained(path=str(model_folder), revision="main")


def test_pickled_weights_are_refused(model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin, which can hide code"):
        FromPretrained(path=str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        FromPretrained(path=str(tmp_path))


def test_a_folder_without_tokenizer_or_with_half_a_body_is_refused(
    model_folder, tmp_path
):
    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("token*"):
        path.unlink()
    settings = json.loads((tmp_path / "config.json").read_text())
    deeper = {**settings, "num_hidden_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(deeper))
    backbone = FromPretrained(path=str(tmp_path))
    with pytest.raises(ValueError, match=r"bert\.encoder\.layer\.1.* is missing"):
        backbone.load(SENTENCES)
    with pytest.raises(ValueError, match="holds no tokenizer"):
        read(SENTENCES, backbone)


def test_the_hub_is_asked_by_id_and_its_cache_serves_offline(
    model_folder, tmp_path, monkeypatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(model_folder, repository / "snapshots" / ("c" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c" * 40)
    there = FromPretrained(path="someone/tiny")
    local = FromPretrained(path=str(model_folder))
    assert equal_weights(there.load(SENTENCES), local.load(SENTENCES))
    assert there.digest(SENTENCES) != local.digest(SENTENCES)
    message = "'someone/absent' is not a folder.*HF_HUB_OFFLINE is set"
    with pytest.raises(ValueError, match=message):
        FromPretrained(path="someone/absent").load(SENTENCES)


@pytest.mark.parametrize(("family", "task"), [("bert", SENTENCES), ("llama", SUMS)])
def test_a_bfloat16_base_keeps_its_head_in_float32(family, task):
    backbone = config(family, dtype="bfloat16")
    model = backbone.load(task)
    types = {name: p.dtype for name, p in model.named_parameters()}
    heads = {name for name, dtype in types.items() if dtype == torch.float32}
    assert heads == {n for n in types if n.startswith("classifier")}
    output = model(**read(task, backbone).batch("train", np.arange(4)))
    assert output.loss.isfinite()


@pytest.mark.parametrize(
    ("family", "task", "head"), [("bert", SENTENCES, "classifier"), ("llama", SUMS, "")]
)
def test_adapters_on_a_bfloat16_base_are_float32(family, task, head):
    from fl.model.adapters import LoraSettings
    from fl.model.lora_model import LoraModel

    target = {"bert": "query", "llama": "q_proj"}[family]
    lora = LoraSettings(
        target_modules=(target,), modules_to_save=(head,) if head else ()
    )
    losses = []
    for dtype in ("float32", "bfloat16"):
        backbone = config(family, dtype=dtype)
        lora_model = LoraModel(backbone.load(task), lora, seed=0)
        loss, _ = lora_model.forward(read(task, backbone).batch("train", np.arange(8)))
        loss.backward()
        assert {p.grad.dtype for p in lora_model.parameters} == {torch.float32}
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_small_vit_sees_no_texts():
    with pytest.raises(ValueError, match="classifies images, and the task is causal"):
        read(SUMS, BACKBONES["small-vit"]())


ELSEWHERE = """
import sys
from fl.backbones import FromConfig, read
from fl.tasks import Arithmetic, Synthetic
backbone = FromConfig(model_type="bert", vocab_size=400)
tasks = (Synthetic(num_samples=200, num_labels=3), Arithmetic(num_samples=200))
words = [backbone.tokenizer(task) for task in tasks]
for task, own in zip(tasks, words):
    print(backbone.digest(task), own.digest)
    assert len(read(task, backbone).labels("train")) == 200
assert not {"torch", "transformers", "tokenizers"} & set(sys.modules)
for own in words:
    print(own.loaded.backend_tokenizer.to_str())
"""


@pytest.mark.slow
def test_words_are_the_same_in_another_process_and_digests_need_no_torch(tmp_path):
    runs = [
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            check=True,
            capture_output=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": str(index),
                "XDG_CACHE_HOME": str(tmp_path / str(index)),
            },
        ).stdout
        for index in range(2)
    ]
    assert runs[0] == runs[1]


def test_evaluation_takes_a_named_part_and_bfloat16():
    from fl.model.adapters import LoraSettings
    from fl.model.lora_model import LoraModel

    backbone = config()
    lora = LoraSettings(r=1, target_modules=("query",), modules_to_save=())
    lora_model = LoraModel(backbone.load(SENTENCES), lora, seed=0)
    ready = read(SENTENCES, backbone)
    settings = EvaluationSettings(limit=10)
    assert settings.split_name(60) == "test[:10]"
    assert settings.split_name(10) == "test"
    part = evaluate(lora_model, ready, "test[:10]", settings)
    assert (part.split, part.num_samples, part.perplexity) == ("test[:10]", 10, None)
    whole = evaluate(lora_model, ready, "test")
    short = evaluate(lora_model, ready, "test", EvaluationSettings(bf16=True))
    assert short.loss == pytest.approx(whole.loss, rel=0.02)
    assert short.loss != whole.loss
    for wrong in ("tests", "test[:0]", "test[5:]"):
        with pytest.raises(ValueError, match=r"split is one of|no samples"):
            evaluate(lora_model, ready, wrong)
    with pytest.raises(ValueError, match="exact_match needs a task whose answers"):
        evaluate(lora_model, ready, "test", EvaluationSettings(exact_match=True))


@pytest.mark.parametrize(
    "name",
    [
        "chat_template.jinja",
        "additional_chat_templates/tools.jinja",
        "generation_config.json",
        "added_tokens.json",
        "config.json",
    ],
)
def test_every_file_that_changes_a_token_is_in_the_recipe(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    (tmp_path / "tokenizer.json").write_text("{}")
    path.write_text("before")
    before = folder_tokenizer(tmp_path).digest
    path.write_text("after!")
    assert folder_tokenizer(tmp_path).digest != before


def test_a_large_file_changed_at_equal_size_and_time_is_read_again(
    own_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(data_files, "YOUNG_NS", 0)
    path = tmp_path / "weights"
    with open(path, "wb") as file:
        file.truncate(data_files.LARGE_BYTES + 1)
    state = path.stat()
    before = data_files.file_digest(path)
    time.sleep(0.05)  # more than a tick of the file system
    with open(path, "r+b") as file:
        file.seek(1000)
        file.write(b"x")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_mtime_ns == state.st_mtime_ns
    assert data_files.file_digest(path) != before
