"""Adapters saved by plain ``peft``, merged, and loaded by plain ``peft`` again."""

import json
import os
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from peft import HiraConfig, PeftModel
from safetensors.torch import load_file, save_file

from fl.aggregation import (
    AGGREGATIONS,
    FedExLora,
    FedIT,
    FedSALora,
    FFALora,
    FloraNA,
    FloraStacking,
    Florist,
    FullAverage,
    HetLora,
    Residual,
    RoLora,
    ThinSVD,
)
from fl.aggregation.residual import ByCount
from fl.peft_folders import apply_base_delta, merge_folders
from tests.support.peft_clients import (
    WEIGHTS,
    averaged,
    base_of,
    bert,
    clients,
    distance,
    gpt2,
    llama,
    loaded,
    logits,
    lora,
    moved,
    only_pickle,
    save,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning",
    "ignore:fan_in_fan_out is set to False:UserWarning",
)
EXACT = {
    "flora-stacking": (FloraStacking(), None),
    "fedex-lora": (FedExLora(), None),
    "full-average": (FullAverage(), None),
    "residual": (
        Residual(projection=ThinSVD(), directions=ByCount(num_directions=8)),
        None,
    ),
    "florist": (Florist(energy=1.0), None),
    "ffa-lora": (FFALora(), "A"),
    "rolora": (RoLora(), "B"),
    "thin-svd": (ThinSVD(), "A"),
}


@pytest.mark.parametrize("make", [bert, gpt2, llama])
@pytest.mark.parametrize("name", EXACT)
def test_exact_merges_are_the_model_of_summed_products(name, make, tmp_path):
    method, common = EXACT[name]
    task = {"task_type": "SEQ_CLS"} if make is bert else {}
    folders = clients(tmp_path, make, lambda: lora(**task), common=common)
    report = merge_folders(folders, tmp_path / "out", method=method, weights=WEIGHTS)
    wanted = averaged(folders, make, WEIGHTS)
    found = loaded(tmp_path / "out", make)
    assert moved(wanted, make) > 1e-2
    assert distance(logits(found), logits(wanted)) < 1e-10
    assert report.relative_error < 1e-12
    assert (tmp_path / "out/base_delta.safetensors").exists() == (
        method.contract.is_folding
    )


@pytest.mark.parametrize(
    ("method", "combination"),
    [
        (FloraStacking(), {"combination_type": "cat"}),
        (FullAverage(), {"combination_type": "svd", "svd_rank": 16}),  # all there is
        (ThinSVD(), {"combination_type": "svd", "svd_rank": 4}),
        (Florist(energy=1.0), {"combination_type": "cat"}),
    ],
    ids=repr,
)
def test_merges_equal_those_of_peft_itself(method, combination, tmp_path):
    """PEFT's ``svd`` is dense; its ``cat`` stacks. alpha is not r."""
    folders = clients(tmp_path, gpt2)
    model = PeftModel.from_pretrained(base_of(gpt2), folders[0], adapter_name="0")
    for n, folder in enumerate(folders[1:], start=1):
        model.load_adapter(folder, adapter_name=str(n))
    model = model.double().eval()
    names = [str(n) for n in range(len(folders))]
    model.add_weighted_adapter(names, list(WEIGHTS), "merged", **combination)
    model.double().set_adapter("merged")
    merge_folders(folders, tmp_path / "out", method=method, weights=WEIGHTS)
    found = loaded(tmp_path / "out", gpt2)
    assert distance(logits(found), logits(model)) < 1e-5
    assert distance(logits(model), logits(base_of(gpt2))) > 1e-2


def test_a_forgotten_fold_is_not_the_summed_model(tmp_path):
    folders = clients(tmp_path)
    merge_folders(folders, tmp_path / "out", method=FedExLora(), weights=WEIGHTS)
    model = PeftModel.from_pretrained(base_of(llama), tmp_path / "out").double()
    wanted = averaged(folders, llama, WEIGHTS)
    assert distance(logits(model), logits(wanted)) > 1e-3
    assert apply_base_delta(model, tmp_path / "out") > 0  # also after loading
    assert distance(logits(model), logits(wanted)) < 1e-10


@pytest.mark.parametrize("is_rs", [False, True])
def test_unequal_ranks_scales_and_patterns_are_summed_rightly(is_rs, tmp_path):
    configs = [
        lora(use_rslora=is_rs),
        lora(r=2, use_rslora=is_rs, rank_pattern={"layers.1.*.q_proj": 3}),
        lora(r=3, lora_alpha=16, alpha_pattern={"v_proj": 1}),
    ]
    folders = [
        save(tmp_path / str(n), llama, config, n + 1)
        for n, config in enumerate(configs)
    ]
    report = merge_folders(
        folders, tmp_path / "out", method=FloraStacking(), weights=WEIGHTS
    )
    wanted = logits(averaged(folders, llama, WEIGHTS))
    assert distance(logits(loaded(tmp_path / "out", llama)), wanted) < 1e-10
    assert any("scales differ" in note for note in report.notes)
    report = merge_folders(
        folders, tmp_path / "best", method=Florist(energy=1.0), weights=WEIGHTS
    )
    assert {row.rank for row in report.layers} > {9}
    assert distance(logits(loaded(tmp_path / "best", llama)), wanted) < 1e-10


def test_unequal_ranks_are_refused_by_methods_that_cannot_take_them(tmp_path):
    folders = [
        save(tmp_path / str(rank), llama, lora(r=rank, lora_alpha=rank), rank)
        for rank in (2, 4)
    ]
    with pytest.raises(ValueError, match="fedit cannot merge these, unequal-ranks"):
        merge_folders(folders, tmp_path / "out", method=FedIT())
    assert not (tmp_path / "out").exists()
    assert merge_folders(folders, tmp_path / "out", method=HetLora()).layers


def test_the_previous_adapter_takes_the_rest_of_the_weights(tmp_path):
    folders = clients(tmp_path)
    previous = save(tmp_path / "previous", llama, lora(), 9)
    weights = (1.5, 0.75)
    report = merge_folders(
        folders[:2],
        tmp_path / "out",
        method=FedExLora(),
        weights=weights,
        previous=previous,
    )
    assert report.previous_weight == pytest.approx(-1.25)
    wanted = averaged([previous, *folders[:2]], llama, (-1.25, *weights))
    found = loaded(tmp_path / "out", llama)
    assert distance(logits(found), logits(wanted)) < 1e-10
    assert all(row.num_components == 3 for row in report.layers)
    with pytest.raises(ValueError, match="hetlora cannot merge these, independent"):
        merge_folders(
            folders[:2],
            tmp_path / "het",
            method=HetLora(),
            weights=weights,
            previous=previous,
        )


def test_a_previous_adapter_without_weight_only_measures(tmp_path):
    folders = clients(tmp_path)
    previous = save(tmp_path / "previous", llama, lora(), 9)
    report = merge_folders(folders, tmp_path / "out", previous=previous)
    assert all(row.num_components == 3 for row in report.layers)
    assert all(row.update_relative_error > 0 for row in report.layers)


def test_reported_errors_are_those_of_the_files(tmp_path):
    folders = clients(tmp_path, dtype=torch.float32)
    report = merge_folders(folders, tmp_path / "out", weights=WEIGHTS)
    adapters = [load_file(f / "adapter_model.safetensors") for f in folders]
    merged = load_file(tmp_path / "out/adapter_model.safetensors")

    def product(tensors, layer):
        name = f"base_model.model.{layer}.lora_"
        b, a = (tensors[f"{name}{factor}.weight"].double() for factor in "BA")
        return b @ a

    for row in report.layers:
        ideal = sum(
            w * product(a, row.layer) for w, a in zip(WEIGHTS, adapters, strict=True)
        )
        error = float((product(merged, row.layer) - ideal).norm() / ideal.norm())
        assert row.relative_error == pytest.approx(error, rel=1e-6)
        assert row.relative_error <= row.average_relative_error * (1 + 1e-6)
    saved = json.loads((tmp_path / "out/merge.json").read_text())
    assert saved["relative_error"] == report.relative_error
    assert saved["layers"][0]["layer"] == report.layers[0].layer


def test_half_precision_files_give_a_float32_merge(tmp_path):
    folders = clients(tmp_path)
    for folder in folders:
        path = folder / "adapter_model.safetensors"
        tensors = {n: t.to(torch.bfloat16) for n, t in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    report = merge_folders(
        folders, tmp_path / "out", method=FedExLora(), weights=WEIGHTS
    )
    assert report.relative_error < 1e-6
    merged = load_file(tmp_path / "out/adapter_model.safetensors")
    assert {tensor.dtype for tensor in merged.values()} == {torch.float32}
    wanted = averaged(folders, llama, WEIGHTS)
    found = loaded(tmp_path / "out", llama)
    assert distance(logits(found), logits(wanted)) < 1e-6


def test_whole_modules_are_averaged(tmp_path):
    folders = clients(tmp_path, bert, lambda: lora(modules_to_save=["classifier"]))
    report = merge_folders(folders, tmp_path / "out", weights=WEIGHTS)
    assert report.num_whole_tensors == 2
    heads = [
        next(
            tensor
            for name, tensor in load_file(f / "adapter_model.safetensors").items()
            if name.endswith("classifier.weight")
        )
        for f in folders
    ]
    mean = sum(w * head for w, head in zip(WEIGHTS, heads, strict=True))
    model = loaded(tmp_path / "out", bert)
    head = model.base_model.model.classifier.modules_to_save["default"].weight
    torch.testing.assert_close(head.detach(), mean)


def test_dora_lengths_are_averaged_with_guard(tmp_path):
    folders = clients(tmp_path, llama, lambda: lora(use_dora=True), common="A")
    report = merge_folders(folders, tmp_path / "out", method=FFALora(), weights=WEIGHTS)
    model = loaded(tmp_path / "out", llama)
    name = "model.layers.0.self_attn.q_proj"
    key = f"base_model.model.{name}.lora_magnitude_vector"
    lengths = [load_file(f / "adapter_model.safetensors")[key] for f in folders]
    mean = sum(w * length for w, length in zip(WEIGHTS, lengths, strict=True))
    layer = model.base_model.model.get_submodule(name)
    found = layer.lora_magnitude_vector["default"].weight.detach()
    torch.testing.assert_close(found, mean)
    assert any("DoRA" in note for note in report.notes)
    extrapolated = merge_folders(
        folders[:2], tmp_path / "far", weights=(9.0, -8.0), method=ThinSVD()
    )
    assert extrapolated.layers
    far = load_file(tmp_path / "far/adapter_model.safetensors")[key]
    assert bool((far > 0).all())


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("name", ["flora-stacking", "full-average", "florist"])
def test_hira_is_merged_exactly(name, make, tmp_path):
    def hira():
        return HiraConfig(r=3, target_modules="all-linear")

    method, _ = EXACT[name]
    folders = clients(tmp_path, make, hira)
    merge_folders(folders, tmp_path / "out", method=method, weights=WEIGHTS)
    wanted = averaged(folders, make, WEIGHTS)
    found = loaded(tmp_path / "out", make)
    assert distance(logits(found), logits(wanted)) < 1e-10
    with pytest.raises(ValueError, match="HiRA multiplies that base"):
        merge_folders(folders, tmp_path / "fedex", method=FedExLora())


def test_a_personal_method_has_no_merged_model(tmp_path):
    with pytest.raises(ValueError, match="no one merged model"):
        merge_folders(clients(tmp_path), tmp_path / "out", method=FedSALora())


REFUSING = ("fed-sb", "fedsa-lora", "fedsvd", "ffa-lora", "rolora")


@pytest.mark.parametrize(
    "kind", [kind for kind in AGGREGATIONS if kind not in REFUSING]
)
def test_a_method_of_free_factors_merges(kind, tmp_path):
    report = merge_folders(
        clients(tmp_path), tmp_path / "out", method=AGGREGATIONS[kind]()
    )
    assert report.method == kind
    assert logits(loaded(tmp_path / "out", llama)).isfinite().all()


@pytest.mark.parametrize("kind", REFUSING)
def test_a_method_of_other_training_says_why_it_does_not(kind, tmp_path):
    folders = clients(tmp_path)
    with pytest.raises(ValueError, match=kind) as caught:
        merge_folders(folders, tmp_path / "out", method=AGGREGATIONS[kind]())
    assert "common" in str(caught.value) or "no one merged" in str(caught.value)
    assert not (tmp_path / "out").exists()


def edit_config(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(folder, change):
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file(change(tensors), path, metadata={"format": "pt"})


def first_key(tensors):
    return next(name for name in tensors if "lora_A" in name)


def without_one(tensors):
    module = first_key(tensors).removesuffix("lora_A.weight")
    return {n: t for n, t in tensors.items() if not n.startswith(module)}


MISFITS = {
    "pickle": (only_pickle, "only adapter_model.bin, a pickle"),
    "nothing": (
        lambda f: (f / "adapter_model.safetensors").unlink(),
        "no adapter_model.safetensors",
    ),
    "no config": (lambda f: (f / "adapter_config.json").unlink(), "no PEFT adapter"),
    "garbled config": (
        lambda f: (f / "adapter_config.json").write_text("{"),
        "is not JSON",
    ),
    "garbled weights": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x80\x04pickle"),
        "cannot be read",
    ),
    "another type": (
        lambda f: edit_config(f, peft_type="LOHA"),
        "peft_type must be LORA or HIRA, got 'LOHA'",
    ),
    "dora": (lambda f: edit_config(f, use_dora=True), "use_dora must be False"),
    "pissa": (lambda f: edit_config(f, init_lora_weights="pissa"), "changes the base"),
    "qalora": (lambda f: edit_config(f, use_qalora=True), "use_qalora cannot"),
    "rank": (lambda f: edit_config(f, r=5), "has rank 4, its adapter_config.json"),
    "alpha": (lambda f: edit_config(f, lora_alpha=0), "lora_alpha must be positive"),
    "fewer modules": (
        lambda f: edit_tensors(f, without_one),
        "adapted module 'model.layers.0.mlp.down_proj' is in",
    ),
    "another shape": (
        lambda f: edit_tensors(
            f,
            lambda ts: {
                n: torch.cat([t, t], 1) if n == first_key(ts) else t
                for n, t in ts.items()
            },
        ),
        "is (16, 24) in the first, (16, 48) in the second",
    ),
    "half a pair": (
        lambda f: edit_tensors(
            f, lambda ts: {n: t for n, t in ts.items() if n != first_key(ts)}
        ),
        "lacks its factor A",
    ),
    "no rank": (
        lambda f: edit_tensors(
            f,
            lambda ts: {
                n: t[:0] if n.endswith("lora_A.weight") else t[:, :0]
                for n, t in ts.items()
            },
        ),
        "has rank 0",
    ),
    "quantised": (
        lambda f: edit_tensors(
            f, lambda ts: {n: t.to(torch.int8) for n, t in ts.items()}
        ),
        "are whole numbers, as quantisation",
    ),
    "a list of patterns": (
        lambda f: edit_config(f, rank_pattern=[1]),
        "rank_pattern must be a mapping",
    ),
    "an invalid pattern": (
        lambda f: edit_config(f, rank_pattern={"(": 2}),
        "pattern '(' is invalid",
    ),
    "code by megatron": (
        lambda f: edit_config(f, megatron_config={"x": 1}, megatron_core="evil"),
        "adapters with megatron_config cannot be merged",
    ),
    "targets that may hang": (
        lambda f: edit_config(f, target_modules="([a-z.]+)+!"),
        "pattern '([a-z.]+)+!' is not supported",
    ),
    "targets of no name": (
        lambda f: edit_config(f, exclude_modules=7),
        "exclude_modules must be a list of names, got 7",
    ),
    "a revision of no name": (
        lambda f: edit_config(f, revision=["x"]),
        "revision must be a text, got ['x']",
    ),
    "a pipe as base delta": (
        lambda f: os.mkfifo(f / "base_delta.safetensors"),
        "not a regular file",
    ),
    "not finite": (
        lambda f: edit_tensors(f, lambda ts: {n: t / 0 for n, t in ts.items()}),
        "is not finite",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused_in_words(name, tmp_path):
    spoil, message = MISFITS[name]
    folders = clients(tmp_path, num=2)
    spoil(folders[1])
    with pytest.raises(ValueError, match="client1") as caught:
        merge_folders(folders, tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora_dropout": "x"}, "the adapters do not load: "),
        ({"base_model_name_or_path": "/nowhere/x"}, "base model /nowhere/x: "),
        ({"task_type": "SEQ_2_SEQ_LM"}, "base model .*: Unrecognized configuration"),
    ],
)
def test_what_libraries_say_of_a_whole_model_is_one_message(change, message, tmp_path):
    base_of(llama).save_pretrained(tmp_path / "base")
    folder = save(tmp_path / "client", llama, lora(), 1)
    edit_config(folder, **{"base_model_name_or_path": str(tmp_path / "base"), **change})
    with pytest.raises(ValueError, match=message) as caught:
        merge_folders([folder, folder], tmp_path / "out", with_model="float32")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_pickle_is_never_opened(tmp_path, monkeypatch):
    folders = clients(tmp_path, num=2)
    only_pickle(folders[0])
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("opened a pickle"))
    with pytest.raises(ValueError, match="a pickle"):
        merge_folders(folders, tmp_path / "out")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((0.5, 0.4, 0.2), "weights must sum to 1, got 1.1"),
        ((0.5, 0.5), r"one per adapter \(3\), got 2"),
        ((float("nan"), 0.5, 0.5), "weights must be finite"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        merge_folders(clients(tmp_path), tmp_path / "out", weights=weights)


def test_a_folder_in_use_is_left_alone_and_a_failure_leaves_none(tmp_path, monkeypatch):
    folders = clients(tmp_path, num=2)
    before = {p: p.read_bytes() for p in folders[0].iterdir()}
    with pytest.raises(ValueError, match="is not empty"):
        merge_folders(folders, folders[0])
    assert {p: p.read_bytes() for p in folders[0].iterdir()} == before

    def full(*args, **kwargs):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("fl.peft_folders.merge.write_base_delta", full)
        with pytest.raises(OSError, match="no space"):
            merge_folders(folders, tmp_path / "deep/out")
    assert list((tmp_path / "deep").iterdir()) == []
    (tmp_path / "empty").mkdir()
    assert merge_folders(folders, tmp_path / "empty").layers


def test_the_same_merge_writes_the_same_bytes(tmp_path):
    folders = clients(tmp_path, num=2)
    for name in ("one", "two"):
        merge_folders(folders, tmp_path / name, method=FloraNA())
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        one, two = (tmp_path / out / name for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def trained_on(folder, previous, make, seed):
    """A client that goes on from a merged adapter and from the base that it changed."""
    model = loaded(previous, make)
    for name, parameter in model.named_parameters():
        if "lora" in name or "hira" in name:
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.2 * drawn
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("is_hira", [False, True])
@pytest.mark.parametrize("method", [FloraStacking(), FullAverage()], ids=repr)
def test_a_second_round_carries_over_what_the_first_folded(method, is_hira, tmp_path):
    def config():
        return HiraConfig(r=3, target_modules="all-linear") if is_hira else lora()

    first = clients(tmp_path, llama, config)
    merge_folders(first, tmp_path / "round1", method=method, weights=WEIGHTS)
    second = [
        trained_on(tmp_path / f"again{n}", tmp_path / "round1", llama, n)
        for n in range(3)
    ]
    report = merge_folders(
        second,
        tmp_path / "round2",
        method=method,
        weights=WEIGHTS,
        previous=tmp_path / "round1",
    )
    assert any("carried over" in note for note in report.notes)
    own = base_of(llama)
    apply_base_delta(own, tmp_path / "round1")
    states = []
    for folder in second:
        base = base_of(llama)
        apply_base_delta(base, tmp_path / "round1")
        model = PeftModel.from_pretrained(base, folder).double()
        states.append(model.merge_and_unload().state_dict())
    own.load_state_dict(
        {
            name: sum(w * s[name] for w, s in zip(WEIGHTS, states, strict=True))
            for name in states[0]
        }
    )
    found = loaded(tmp_path / "round2", llama)
    assert distance(logits(found), logits(own)) < 1e-10
    forgotten = PeftModel.from_pretrained(base_of(llama), tmp_path / "round2").double()
    assert distance(logits(forgotten), logits(own)) > 1e-3


def test_adapters_of_different_bases_are_refused(tmp_path):
    folders = clients(tmp_path, num=3)
    for name, pair in (("one", folders[:2]), ("two", folders[1:])):
        merge_folders(pair, tmp_path / name, method=FullAverage())
    for others in (["two"], ["client0"]):
        together = [tmp_path / name for name in ("one", *others)]
        with pytest.raises(ValueError, match="were trained on different bases"):
            merge_folders(together, tmp_path / "out")
    with pytest.raises(ValueError, match="were trained on different bases"):
        merge_folders(
            [tmp_path / "one"], tmp_path / "out", previous=tmp_path / "client0"
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04pickle", "cannot be read"),
        ({"x.fold": torch.ones(2, 2), "rule": "evil"}, "not a base delta that this"),
        ({"x.fold_B": torch.ones(2, 2), "rule": "add"}, "factors that do not fit"),
        (
            {
                "x.fold_B": torch.ones(2, 2),
                "x.fold_A": torch.ones(3, 2),
                "rule": "add",
            },
            "factors that do not fit",
        ),
        (
            {"model.layers.0.mlp.down_proj.fold": torch.ones(2, 2), "rule": "add"},
            r"down_proj is \(16, 24\), its fold \(2, 2\)",
        ),
    ],
)
def test_a_strangers_base_delta_is_refused_in_one_message(content, message, tmp_path):
    folders = clients(tmp_path, num=2)
    path = folders[0] / "base_delta.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        tensors = {**content}
        metadata = {"kind": "base-delta 1", "rule": tensors.pop("rule")}
        save_file(tensors, path, metadata=metadata)
    shutil.copy(path, folders[1])
    with pytest.raises(ValueError, match=message) as caught:
        merge_folders(folders, tmp_path / "out", method="fedex-lora")
    assert str(folders[0]) in str(caught.value)


def test_a_base_delta_of_another_model_is_refused(tmp_path):
    folders = clients(tmp_path, num=2)
    merge_folders(folders, tmp_path / "out", method=FloraStacking())
    with pytest.raises(ValueError, match="no linear layer"):
        apply_base_delta(base_of(gpt2), tmp_path / "out")
    assert apply_base_delta(base_of(gpt2), folders[0]) == 0


def test_the_module_needs_no_torch():
    code = "import sys, fl.peft_folders; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_warns_when_the_result_is_loaded(tmp_path):
    folders = clients(tmp_path, num=2)
    merge_folders(folders, tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing`", category=FutureWarning
        )
        PeftModel.from_pretrained(base_of(llama), tmp_path / "out")
