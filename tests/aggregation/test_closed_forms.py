"""Merging LoRA factors against closed forms, exact arithmetic and outside solvers."""

import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import minimize

from fl.aggregation import (
    AGGREGATIONS,
    FedIT,
    FloraNA,
    LayerComponents,
    Pair,
    weighted_mean,
)
from fl.aggregation.grams import product_error, residual, stack_grams
from fl.aggregation.mixing import component_scalars
from fl.aggregation.newton import Found

METHODS = [FedIT(), FloraNA(), FloraNA(gauge="as-is")]
WEIGHTS = [(0.25, 0.25, 0.5), (1.5, -0.75, 0.25), (4.0, 2.0, -5.0)]
every_method = pytest.mark.parametrize("method", METHODS, ids=repr)


def draw(seed, weights, m=9, n=5, rank=2, drift=1.0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    b, a = rng.normal(size=(m, rank)), rng.normal(size=(rank, n))
    pairs = tuple(
        Pair(
            torch.tensor(b + drift * rng.normal(size=(m, rank)), dtype=dtype),
            torch.tensor(a + drift * rng.normal(size=(rank, n)), dtype=dtype),
        )
        for _ in weights
    )
    return LayerComponents(pairs, tuple(weights))


def uniform(num_components):
    return (1 / num_components,) * num_components


def ideal(layer):
    return sum(
        w * b.double() @ a.double()
        for w, (b, a) in zip(layer.weights, layer.pairs, strict=True)
    )


def merge_one(method, layer):
    return method.merge({"layer": layer})["layer"]


def dense_error(layer, pair):
    target = ideal(layer)
    return float((target - pair.lora_b @ pair.lora_a).norm() / target.norm())


def exact_squared_error(layer, left, right):
    """||W* - (sum P_i B_i)(sum Q_i A_i)||^2 and ||W*||^2 in rational arithmetic."""

    def exact(tensor):
        return np.array(
            [[Fraction(v) for v in row] for row in tensor.tolist()], dtype=object
        )

    factors = [(exact(b), exact(a)) for b, a in layer.pairs]
    weights = [Fraction(w) for w in layer.weights]
    target = sum(w * b.dot(a) for w, (b, a) in zip(weights, factors, strict=True))
    sum_b = sum(p * b for p, (b, _) in zip(left, factors, strict=True))
    sum_a = sum(q * a for q, (_, a) in zip(right, factors, strict=True))
    return ((target - sum_b.dot(sum_a)) ** 2).sum(), (target**2).sum()


@pytest.mark.parametrize("drift", [1.0, 1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("shape", [(9, 5), (4, 11)], ids=str)
def test_gram_objective_equals_dense_objective_in_exact_arithmetic(
    drift, weights, shape
):
    layer = draw(3, weights, *shape, drift=drift)
    grams = stack_grams([layer])
    rng = np.random.default_rng(4)
    zero = torch.zeros(1, 4, dtype=torch.float64)
    # As at an optimum: the mean moves in second order of the drift, the rest in first.
    size = np.array([drift**2, drift, drift, drift])
    moved = [torch.tensor(size * rng.normal(size=(1, 4))) for _ in range(2)]
    for left, right in [(zero, zero), moved]:
        value = grams.squared_norm(residual(grams, left, right)).item()
        # P = u_i + (1 + u_0 - sum u) w_i, exactly.
        p, q = (
            [
                u + (1 + dev[0] - sum(dev[1:])) * Fraction(w)
                for u, w in zip(dev[1:], weights, strict=True)
            ]
            for dev in ([Fraction(v) for v in d[0].tolist()] for d in (left, right))
        )
        expected, norm = exact_squared_error(layer, p, q)
        # abs=0: the squared error is 1e-32 at the smallest drift.
        assert value == pytest.approx(float(expected), rel=1e-10, abs=0)
        ideal_value = grams.squared_norm(grams.ideal()).item()
        assert ideal_value == pytest.approx(float(norm), rel=1e-10, abs=0)


@every_method
@pytest.mark.parametrize("drift", [1.0, 1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_reported_errors_are_those_of_the_pairs_sent(method, weights, drift):
    layer = draw(5, weights, drift=drift)
    merged = merge_one(method, layer)
    average = merge_one(FedIT(), layer)
    diagnostics = merged.diagnostics
    assert diagnostics.num_components == 3
    for pair, error in [
        (merged.pair, diagnostics.relative_error),
        (average.pair, diagnostics.average_relative_error),
    ]:
        assert error == pytest.approx(dense_error(layer, pair), rel=1e-9, abs=1e-14)
        assert error == pytest.approx(product_error(layer, [pair]), rel=1e-9, abs=1e-14)


def test_a_fold_counts_and_an_exact_product_has_no_error():
    layer = draw(6, WEIGHTS[1], 30, 20)
    average = merge_one(FedIT(), layer).pair
    gap = ideal(layer) - average.lora_b @ average.lora_a
    fold = Pair(gap, torch.eye(20, dtype=torch.float64))
    assert product_error(layer, [average]) > 0.1
    assert product_error(layer, [average, fold]) < 1e-14


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_averaging_misses_by_the_weighted_covariance_of_the_factors(weights):
    layer = draw(7, weights)
    mean_b, mean_a = merge_one(FedIT(), layer).pair
    covariance = sum(
        w * (b - mean_b) @ (a - mean_a)
        for w, (b, a) in zip(weights, layer.pairs, strict=True)
    )
    torch.testing.assert_close(
        ideal(layer) - mean_b @ mean_a, covariance, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    "weights", [uniform(2), uniform(10), (0.6, 0.2, 0.1, 0.1)], ids=str
)
def test_averaging_of_independent_factors_misses_by_the_closed_form(weights):
    layer = draw(8, weights, 500, 400, rank=8, drift=1e6)
    square, cube = sum(w**2 for w in weights), sum(w**3 for w in weights)
    law = (1 - 2 * cube / square + square) ** 0.5
    error = merge_one(FedIT(), layer).diagnostics.relative_error
    # Fluctuations of Gaussian inner products are of order 1/sqrt(500 * 400 / rank).
    assert error == pytest.approx(law, rel=0.02)
    if len(set(weights)) == 1:
        assert law == pytest.approx((1 - 1 / len(weights)) ** 0.5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(*[st.integers(1, 7)] * 3),
    raw=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    exponent=st.integers(-9, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_flora_na_is_never_worse_than_averaging(seed, size, raw, exponent, dtype):
    m, n, rank = size
    weights = (*raw, 1 - sum(raw))
    layer = draw(seed, weights, m, n, rank, drift=10.0**exponent, dtype=dtype)
    merged = merge_one(FloraNA(), layer)
    diagnostics = merged.diagnostics
    assert diagnostics.relative_error <= diagnostics.average_relative_error
    average = merge_one(FedIT(), layer).diagnostics
    assert diagnostics.average_relative_error == average.relative_error
    assert merged.pair.lora_b.isfinite().all()
    assert merged.pair.lora_a.isfinite().all()


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("drift", [1.0, 0.1, 1e-4])
def test_more_sweeps_never_fit_worse(weights, drift):
    layer = draw(9, weights, 40, 30, rank=3, drift=drift)
    errors = [
        merge_one(FloraNA(max_sweeps=n, tolerance=0), layer).diagnostics.relative_error
        for n in range(1, 30)
    ]
    assert all(late <= early * (1 + 1e-12) for early, late in pairwise(errors))


def test_a_descent_that_went_wrong_falls_back_to_the_average(monkeypatch):
    def astray(method, grams, start, norm):
        left = torch.ones(grams.left.shape[:2], dtype=torch.float64)
        return Found(left, left, start, start > 0)

    monkeypatch.setattr(FloraNA, "_descend", astray)
    layer = draw(29, WEIGHTS[0])
    merged, average = merge_one(FloraNA(), layer), merge_one(FedIT(), layer)
    assert torch.equal(merged.pair.lora_b, average.pair.lora_b)
    assert torch.equal(merged.pair.lora_a, average.pair.lora_a)
    assert merged.diagnostics.relative_error == average.diagnostics.relative_error
    assert merged.diagnostics.left_spread == 0.0


@pytest.mark.parametrize("weights", [*WEIGHTS, uniform(5)], ids=str)
@pytest.mark.parametrize("drift", [1.0, 0.3])
def test_flora_na_reaches_the_optimum_of_an_independent_solver(weights, drift):
    num = len(weights)
    layer = draw(10, weights, 12, 7, rank=2, drift=drift)
    b = np.stack([pair.lora_b.numpy() for pair in layer.pairs])
    a = np.stack([pair.lora_a.numpy() for pair in layer.pairs])
    target = ideal(layer).numpy()

    def objective(x):
        sum_b, sum_a = np.tensordot(x[:num], b, 1), np.tensordot(x[num:], a, 1)
        gap = target - sum_b @ sum_a
        slope_b = -2 * np.einsum("uik,ik->u", b, gap @ sum_a.T)
        slope_a = -2 * np.einsum("ukj,kj->u", a, sum_b.T @ gap)
        return (gap**2).sum(), np.concatenate([slope_b, slope_a])

    rng = np.random.default_rng(11)
    start = np.array([*weights, *weights])
    spread = 0.05 * np.abs(start).max()
    starts = [start, *(start + spread * rng.normal(size=(3, 2 * num)))]
    best = min(
        minimize(objective, x, jac=True, method="BFGS", options={"gtol": 1e-10}).fun
        for x in starts
    )
    method = FloraNA(tolerance=1e-12, max_sweeps=1000)
    error = merge_one(method, layer).diagnostics.relative_error
    assert error**2 * (target**2).sum() <= best * (1 + 1e-6)
    default = merge_one(FloraNA(), layer).diagnostics.relative_error
    assert default == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_the_gain_over_averaging_does_not_fade_with_the_drift(weights):
    gains = []
    for drift in (1e-3, 1e-7):
        diagnostics = merge_one(FloraNA(), draw(28, weights, drift=drift)).diagnostics
        gains.append(diagnostics.relative_error / diagnostics.average_relative_error)
    assert gains[0] < 0.99
    assert gains[1] == pytest.approx(gains[0], rel=0.01)


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_single_component_comes_back_bit_for_bit(method, dtype):
    layer = draw(12, (1.0,), dtype=dtype)
    merged = merge_one(method, layer)
    for out, given_factor in zip(merged.pair, layer.pairs[0], strict=True):
        assert out.dtype == dtype
        assert torch.equal(out, given_factor)
    assert merged.fold is None
    assert merged.diagnostics.relative_error == 0.0


@every_method
def test_zero_b_before_any_training_gives_the_average(method):
    layer = draw(13, WEIGHTS[0])
    layer = LayerComponents(
        tuple(Pair(torch.zeros_like(b), a) for b, a in layer.pairs), layer.weights
    )
    merged = merge_one(method, layer)
    assert not merged.pair.lora_b.any()
    average = weighted_mean([a for _, a in layer.pairs], layer.weights)
    assert torch.equal(merged.pair.lora_a, average)
    assert merged.diagnostics.relative_error == 0.0


@every_method
def test_equal_components_give_themselves(method):
    pair = draw(14, (1.0,), dtype=torch.float32).pairs[0]
    layer = LayerComponents((pair,) * 3, (0.7, 0.7, -0.4))
    merged = merge_one(method, layer)
    assert torch.equal(merged.pair.lora_b, pair.lora_b)
    assert torch.equal(merged.pair.lora_a, pair.lora_a)


@every_method
def test_order_of_components_matters_only_by_round_off(method):
    layer = draw(15, WEIGHTS[1], 20, 30)
    order = [2, 0, 1]
    shuffled = LayerComponents(
        tuple(layer.pairs[i] for i in order), tuple(layer.weights[i] for i in order)
    )
    one, other = merge_one(method, layer).pair, merge_one(method, shuffled).pair
    torch.testing.assert_close(
        one.lora_b @ one.lora_a, other.lora_b @ other.lora_a, rtol=1e-7, atol=1e-7
    )


def test_gauge_keeps_the_scale_of_the_average_and_not_the_product():
    layer = draw(16, (0.5, 0.3, 0.2), 20, 30)
    average, scaled, free = (
        merge_one(m, layer).pair for m in (FedIT(), FloraNA(), FloraNA(gauge="as-is"))
    )
    target, kept, drifted = (
        float(b.norm() / a.norm()) for b, a in (average, scaled, free)
    )
    assert kept == pytest.approx(target, rel=1e-12)
    assert drifted != pytest.approx(target, rel=1e-6)
    torch.testing.assert_close(
        scaled.lora_b @ scaled.lora_a, free.lora_b @ free.lora_a, rtol=0, atol=1e-12
    )


def test_fedit_of_drawn_clients_and_the_previous_global_is_the_unbiased_update():
    start, *trained = draw(17, uniform(4), drift=0.1).pairs
    steps = (0.2 / 0.5, 0.3 / 0.25, 0.1 / 0.4)  # a_n / q_n
    layer = LayerComponents((start, *trained), (1 - sum(steps), *steps))
    merged = merge_one(FedIT(), layer).pair
    for part in range(2):
        update = sum(
            s * (pair[part] - start[part])
            for s, pair in zip(steps, trained, strict=True)
        )
        torch.testing.assert_close(
            merged[part], start[part] + update, rtol=0, atol=1e-14
        )


@every_method
def test_smaller_ranks_are_padded_with_zeros(method):
    wide, small = draw(18, (0.6, 0.4), rank=4).pairs
    small = Pair(small.lora_b[:, :1], small.lora_a[:1])
    layer = LayerComponents((wide, small), (0.6, 0.4))
    merged = merge_one(method, layer)
    assert merged.pair.lora_b.shape == (9, 4)
    assert merged.pair.lora_a.shape == (4, 5)
    assert merged.diagnostics.relative_error == pytest.approx(
        dense_error(layer, merged.pair), rel=1e-9
    )


@every_method
def test_layers_merged_together_equal_layers_merged_alone(method):
    layers = {
        "z": draw(19, WEIGHTS[1], 20, 30),
        "narrow": draw(20, WEIGHTS[0], 8, 6, drift=1e-6),
        "other rank": draw(21, WEIGHTS[0], 20, 30, rank=3),
        "dead": draw(22, WEIGHTS[0], drift=0.0),
        "pair": draw(23, (0.5, 0.5), 20, 30),
    }
    together = method.merge(layers)
    assert list(together) == list(layers)
    for name, layer in layers.items():
        alone = merge_one(method, layer)
        for out, expected in zip(together[name].pair, alone.pair, strict=True):
            torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)


@every_method
def test_a_rerun_is_equal_bit_for_bit_and_leaves_its_inputs_alone(method):
    layer = draw(24, WEIGHTS[1], 64, 48, rank=4, dtype=torch.float32)
    before = [factor.clone() for pair in layer.pairs for factor in pair]
    one, other = merge_one(method, layer), merge_one(method, layer)
    assert torch.equal(one.pair.lora_b, other.pair.lora_b)
    assert torch.equal(one.pair.lora_a, other.pair.lora_a)
    assert one.diagnostics == other.diagnostics
    after = [factor for pair in layer.pairs for factor in pair]
    assert all(map(torch.equal, before, after))


@every_method
def test_a_diverged_client_shows_as_nan_and_spoils_no_other_layer(method):
    sane = draw(25, WEIGHTS[0])
    broken = draw(26, WEIGHTS[0])
    broken.pairs[1].lora_b[0, 0] = float("nan")
    merged = method.merge({"broken": broken, "sane": sane})
    assert np.isnan(merged["broken"].diagnostics.relative_error)
    assert merged["broken"].pair.lora_b.isnan().any()
    assert torch.equal(merged["sane"].pair.lora_b, merge_one(method, sane).pair.lora_b)


def test_flora_na_scalars_of_the_untouched_start_are_the_weights():
    weights = torch.tensor([WEIGHTS[2]], dtype=torch.float64)
    start = torch.zeros(1, 4, dtype=torch.float64)
    assert torch.equal(component_scalars(weights, start), weights)


def test_ideal_merge_equals_peft_cat():
    peft = pytest.importorskip("peft")
    layer = draw(27, WEIGHTS[0], 7, 5, dtype=torch.float32)
    base = torch.nn.Sequential(torch.nn.Linear(5, 7, bias=False))
    config = peft.LoraConfig(r=2, lora_alpha=2, target_modules=["0"])
    model = peft.PeftModel(base, config, adapter_name="client0")
    for index, pair in enumerate(layer.pairs):
        if index:
            model.add_adapter(f"client{index}", config)
        module = model.base_model.model[0]
        module.lora_B[f"client{index}"].weight.data.copy_(pair.lora_b)
        module.lora_A[f"client{index}"].weight.data.copy_(pair.lora_a)
    names = [f"client{i}" for i in range(3)]
    model.add_weighted_adapter(names, list(WEIGHTS[0]), "all", combination_type="cat")
    delta = module.get_delta_weight("all").detach().double()
    torch.testing.assert_close(delta, ideal(layer), rtol=0, atol=1e-5)
    stacked = Pair(module.lora_B["all"].weight, module.lora_A["all"].weight)
    assert product_error(layer, [stacked]) < 1e-6


def test_weighted_mean_adds_up_in_float64_and_keeps_the_dtype():
    tensors = [torch.full((2,), v) for v in (1e8, 1.0, -1e8)]
    total = weighted_mean(tensors, (1.0, 1.0, 1.0))
    assert total.tolist() == [1.0, 1.0]
    assert total.dtype == torch.float32


@pytest.mark.parametrize(
    ("pairs", "weights", "rule"),
    [
        ([(3, 1, 2)], (0.9,), "sum to 1"),
        ([(3, 1, 2)], (float("nan"),), "sum to 1"),
        ([(3, 1, 2)], (0.5, 0.5), "one weight per pair"),
        ([], (), "at least one pair"),
        ([(3, 1, 2), (4, 1, 2)], (0.5, 0.5), "share shape and dtype"),
    ],
)
def test_inconsistent_components_are_refused(pairs, weights, rule):
    factors = tuple(Pair(torch.ones(m, r), torch.ones(r, n)) for m, r, n in pairs)
    with pytest.raises(ValueError, match=rule):
        LayerComponents(factors, weights)


def test_the_ranks_of_a_pair_must_agree():
    with pytest.raises(ValueError, match="ranks of B and A"):
        LayerComponents((Pair(torch.ones(3, 2), torch.ones(1, 4)),), (1.0,))


@pytest.mark.parametrize("kind", AGGREGATIONS)
def test_every_kind_is_a_strict_frozen_record(kind):
    method = AGGREGATIONS[kind](kind=kind)
    assert method.kind == kind
    with pytest.raises(ValidationError):
        AGGREGATIONS[kind](kind=kind, unknown=1)
    with pytest.raises(ValidationError):
        method.kind = "other"


@pytest.mark.parametrize("field", ["ridge", "tolerance", "max_sweeps"])
def test_flora_na_refuses_impossible_solver_settings(field):
    with pytest.raises(ValidationError):
        FloraNA(**{field: -1})


def test_records_are_importable_without_torch():
    code = "import sys, fl.aggregation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
