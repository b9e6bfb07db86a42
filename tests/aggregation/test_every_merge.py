"""Every aggregation method against dense arithmetic: exactness, ordering, traffic."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from fl.aggregation import (
    AGGREGATIONS,
    FedExLora,
    FedIT,
    FedSALora,
    FedSB,
    FedSVD,
    FFALora,
    FlexLora,
    FloraNA,
    FloraNAAdam,
    FloraStacking,
    Florist,
    FreeALS,
    FSLora,
    FullAverage,
    HetLora,
    LayerComponents,
    LoraFair,
    MergedLayer,
    Pair,
    Residual,
    RoLora,
    Shape,
    ThinSVD,
    ranks,
    weighted_mean,
)
from fl.aggregation.reference_norms import ratio
from fl.aggregation.residual import ByBytes, ByCount, ByEnergy
from fl.aggregation.spectral import exact_spectrum, ideal_stack, leading_spectrum
from fl.federation.traffic import Traffic
from fl.federation.versions import at_rank
from fl.model.payload import NOTHING, Payload

M, N, RANK = 14, 9, 3
SCALE = 5.0 / RANK  # alpha / r, alpha != r
PLAIN = (0.5, 0.3, 0.2)
WEIGHTS = [PLAIN, (1.5, -0.75, 0.25), (4.0, 2.0, -5.0)]  # the last: previous global
GAUGES = ["as-is", "scale-matched", "balanced", "procrustes", "hadamard"]
every_weights = pytest.mark.parametrize("weights", WEIGHTS, ids=str)


def factors(rng, *shape, dtype=torch.float64):
    return torch.tensor(rng.normal(size=shape), dtype=dtype)


def free(weights, *, seed=1, m=M, n=N, rank=RANK, drift=1.0, dtype=torch.float64):
    """Components around one start, which is the previous pair."""
    rng = np.random.default_rng(seed)
    b, a = factors(rng, m, rank), factors(rng, rank, n)
    pairs = [
        Pair(b + drift * factors(rng, m, rank), a + drift * factors(rng, rank, n))
        for _ in weights
    ]
    return cast(LayerComponents(tuple(pairs), weights, Pair(b, a)), dtype)


def cast(layer, dtype):
    def convert(pair):
        return Pair(pair.lora_b.to(dtype), pair.lora_a.to(dtype))

    previous = layer.previous and convert(layer.previous)
    return LayerComponents(tuple(map(convert, layer.pairs)), layer.weights, previous)


def common_a(weights, **options):
    layer = free(weights, **options)
    pairs = tuple(Pair(b, layer.previous.lora_a) for b, _ in layer.pairs)
    return LayerComponents(pairs, weights, layer.previous)


def common_b(weights, **options):
    layer = free(weights, **options)
    pairs = tuple(Pair(layer.previous.lora_b, a) for _, a in layer.pairs)
    return LayerComponents(pairs, weights, layer.previous)


def cores(weights, dtype=torch.float64, **options):
    bases = free(weights, **options).previous
    rng = np.random.default_rng(2)
    pairs = [
        Pair(bases.lora_b @ factors(rng, RANK, RANK), bases.lora_a) for _ in weights
    ]
    return cast(LayerComponents(tuple(pairs), weights, bases), dtype)


def mixed(weights, **options):
    layer = free(weights, **options)
    small = [Pair(b[:, : 3 - i], a[: 3 - i]) for i, (b, a) in enumerate(layer.pairs)]
    return LayerComponents(tuple(small), weights, layer.previous)


EXACT = [
    (FFALora(), common_a),
    (RoLora(), common_a),
    (RoLora(), common_b),
    (FloraStacking(), free),
    (FloraStacking(), mixed),
    (FedExLora(), free),
    (FedSB(), cores),
    (FedSVD(), common_a),
    (Florist(energy=1.0), free),
    (Florist(energy=1.0), mixed),
    (FullAverage(), mixed),
    (Residual(projection=FedIT(), directions=ByCount(num_directions=2 * RANK)), free),
    (Residual(projection=ThinSVD(), directions=ByCount(num_directions=2 * RANK)), free),
    (Residual(projection=FloraNA(), directions=ByCount(num_directions=3 * RANK)), free),
    (Residual(projection=FreeALS(), directions=ByEnergy(energy=1.0)), free),
    (ThinSVD(), common_a),
    (FlexLora(), common_b),
]
OTHERS = [
    (FedIT(), free),
    (FedSALora(), free),
    (FSLora(), mixed),
    (HetLora(), mixed),
    (LoraFair(), free),
    *((FloraNA(gauge=gauge), free) for gauge in GAUGES[:4]),
    (FloraNAAdam(num_steps=50), free),
    *((ThinSVD(gauge=gauge), mixed) for gauge in GAUGES[1:4]),
    (ThinSVD(randomised_above=1), free),
    *((FreeALS(gauge=gauge), mixed) for gauge in GAUGES[:4]),
]


def name_of(value):
    return value.__name__ if callable(value) else repr(value)


def name_case(case):
    method, kind = case
    return f"{method!r}-{kind.__name__}"


every_exact = pytest.mark.parametrize("case", EXACT, ids=name_case)
every_case = pytest.mark.parametrize("case", EXACT + OTHERS, ids=name_case)


def usable(method, weights):
    """HetLoRA refuses negative weights; it gets their sizes."""
    if not isinstance(method, HetLora):
        return weights
    total = sum(map(abs, weights))
    return tuple(abs(w) / total for w in weights)


def merge_one(method, layer):
    return method.merge({"layer": layer})["layer"]


def ideal(layer):
    return sum(
        w * b.double() @ a.double()
        for w, (b, a) in zip(layer.weights, layer.pairs, strict=True)
    )


def product(pair):
    return pair.lora_b.double() @ pair.lora_a.double()


def delta(merged):
    fold = 0 if merged.fold is None else product(merged.fold)
    return fold + product(merged.pair)


def misses(method, layer):
    """How far the model after the merge is from W0 + s W*, per ||s W*||."""
    w0 = torch.tensor(np.random.default_rng(3).normal(size=(M, N)))
    merged = merge_one(method, layer)
    base = w0 if merged.fold is None else w0 + SCALE * product(merged.fold)
    after = base + SCALE * product(merged.pair)
    wanted = w0 + SCALE * ideal(layer)
    return float((after - wanted).norm() / (SCALE * ideal(layer)).norm())


@every_exact
@every_weights
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)]
)
def test_exact_methods_give_the_ideal_model(case, weights, dtype, tolerance):
    method, kind = case
    layer = kind(weights, dtype=dtype)
    assert misses(method, layer) < tolerance
    assert merge_one(method, layer).diagnostics.relative_error < tolerance


class Faulty:
    """A method with one of the faults that public code is known to have."""

    def __init__(self, method, fault):
        self.method, self.fault = method, fault

    def merge(self, layers):
        broken = {name: self.before(layer) for name, layer in layers.items()}
        merged = self.method.merge(broken)
        return {name: self.after(layer) for name, layer in merged.items()}

    def before(self, layer):
        if self.fault != "first client only":
            return layer
        return LayerComponents(layer.pairs[:1], (1.0,), layer.previous)

    def after(self, merged):
        pair, fold = merged.pair, merged.fold
        if self.fault == "transposed residual":  # its rows and columns, cut to fit
            turned = product(fold).T
            side = min(M, N)
            fitted = torch.zeros(M, N, dtype=torch.float64)
            fitted[:side, :side] = turned[:side, :side]
            fold = Pair(fitted, torch.eye(N, dtype=torch.float64))
        if self.fault == "scale forgotten":
            fold = Pair(fold.lora_b / SCALE, fold.lora_a)
        if self.fault == "sqrt(Sigma)":
            values = pair.lora_b.norm(dim=0)
            pair = Pair(pair.lora_b / values.sqrt(), pair.lora_a)
        return MergedLayer(pair, merged.diagnostics, fold)


COMPLETED = Residual(projection=FedIT(), directions=ByCount(num_directions=2 * RANK))


@pytest.mark.parametrize(
    ("method", "kind", "fault"),
    [
        (FedExLora(), free, "transposed residual"),
        (FedExLora(), free, "scale forgotten"),
        (FedExLora(), free, "first client only"),
        (FloraStacking(), free, "transposed residual"),
        (FloraStacking(), free, "scale forgotten"),
        (FloraStacking(), mixed, "first client only"),
        (FFALora(), common_a, "first client only"),
        (RoLora(), common_b, "first client only"),
        (FedSB(), cores, "first client only"),
        (FedSVD(), common_a, "sqrt(Sigma)"),
        (FedSVD(), common_a, "first client only"),
        (FullAverage(), mixed, "transposed residual"),
        (FullAverage(), mixed, "scale forgotten"),
        (FullAverage(), mixed, "first client only"),
        (COMPLETED, free, "transposed residual"),
        (COMPLETED, free, "scale forgotten"),
        (COMPLETED, free, "first client only"),
        (Florist(energy=1.0), free, "sqrt(Sigma)"),
        (Florist(energy=1.0), free, "first client only"),
        (ThinSVD(), common_a, "sqrt(Sigma)"),
        (ThinSVD(), common_a, "first client only"),
        (FlexLora(), common_b, "sqrt(Sigma)"),
        (FlexLora(), common_b, "first client only"),
    ],
    ids=name_of,
)
@every_weights
def test_known_faults_fail_the_exactness_test(method, kind, fault, weights):
    assert misses(Faulty(method, fault), kind(weights)) > 1e-2


@every_case
@every_weights
@pytest.mark.parametrize("drift", [1.0, 0.01])
def test_reported_errors_are_those_of_what_is_sent(case, weights, drift):
    method, kind = case
    options = {} if kind is cores else {"drift": drift}
    layer = kind(usable(method, weights), **options)
    merged = merge_one(method, layer)
    target, found = ideal(layer), merged.diagnostics
    error = float((target - delta(merged)).norm())
    before = product(layer.previous)
    close = {"rel": 1e-6, "abs": 1e-12}
    if method == ThinSVD(randomised_above=1):
        close["abs"] = 1e-7  # by a difference of squares
    assert found.num_components == 3
    assert found.relative_error == pytest.approx(error / float(target.norm()), **close)
    change = float((target - before).norm())
    assert found.update_relative_error == pytest.approx(error / change, **close)
    average = delta(merge_one(FedIT(), layer))
    gap = float((target - average).norm() / target.norm())
    assert found.average_relative_error == pytest.approx(gap, **close)
    projection = getattr(method, "projection", method)
    is_mixing = isinstance(projection, FloraNA | FloraNAAdam)
    assert (found.left_spread is not None) == is_mixing


@every_weights
@pytest.mark.parametrize("drift", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize("shape", [(14, 9), (30, 40)], ids=str)
def test_merges_are_ordered_from_the_svd_to_the_average(weights, drift, shape):
    layer = free(weights, m=shape[0], n=shape[1], drift=drift)

    def error(method):
        return merge_one(method, layer).diagnostics.relative_error

    chain = [
        ThinSVD(),
        FreeALS(num_sweeps=50),
        FreeALS(num_sweeps=2),
        FreeALS(num_sweeps=1),
        LoraFair(penalty=1e-9),
        LoraFair(),
        FedIT(),
    ]
    errors = [error(method) for method in chain]
    # abs: at a drift of 1e-3 the errors are 1e-6 and round-off 1e-16
    assert all(a <= b * (1 + 1e-9) + 1e-14 for a, b in pairwise(errors))
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    scalars = error(FloraNA())
    assert errors[0] * (1 - 1e-9) - 1e-14 <= scalars <= errors[-1]
    by_adam = error(FloraNAAdam())
    assert scalars * (1 - 1e-6) <= by_adam <= errors[-1]


@pytest.mark.slow
def test_adam_finds_the_scalars_that_least_squares_finds():
    for weights in WEIGHTS[:2]:
        layer = free(weights, drift=0.5)
        als = merge_one(FloraNA(tolerance=0), layer).diagnostics.relative_error
        adam = FloraNAAdam(num_steps=4000, learning_rate=0.003)
        found = merge_one(adam, layer).diagnostics.relative_error
        assert found == pytest.approx(als, rel=1e-4)


ALL_SETTINGS = [
    LoraFair(),
    FloraNAAdam(num_steps=5),
    *(FloraNA(gauge=gauge) for gauge in GAUGES[2:4]),
    *(FreeALS(gauge=gauge) for gauge in GAUGES[:4]),
    *(ThinSVD(gauge=gauge) for gauge in GAUGES[1:4]),
    ThinSVD(randomised_above=1),
]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(*[st.integers(1, 7)] * 3),
    raw=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    exponent=st.integers(-9, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_merges_by_name_are_never_worse_than_averaging(
    seed, size, raw, exponent, dtype
):
    m, n, rank = size
    options = {"m": m, "n": n, "rank": rank, "drift": 10.0**exponent}
    layer = free((*raw, 1 - sum(raw)), seed=seed, dtype=dtype, **options)
    for method in ALL_SETTINGS:
        merged = merge_one(method, layer)
        found = merged.diagnostics
        assert found.relative_error <= found.average_relative_error
        assert (merged.pair.lora_b.shape, merged.pair.lora_a.shape) == (
            (m, rank),
            (rank, n),
        )
        scale = max(1.0, sum(map(abs, layer.weights)) * float(ideal(layer).norm()))
        if dtype == torch.float64:
            error = float((ideal(layer) - delta(merged)).norm())
            wanted = found.relative_error * float(ideal(layer).norm())
            assert error == pytest.approx(wanted, rel=1e-4, abs=1e-6 * scale)


def test_a_merge_of_small_clients_keeps_the_rank_of_the_previous_pair():
    layer = mixed(PLAIN)
    only_small = LayerComponents(layer.pairs[2:], (1.0,), layer.previous)
    for method in (FedIT(), ThinSVD(), FreeALS(), FlexLora(), HetLora()):
        merged = merge_one(method, only_small)
        assert ranks(merged).pair == RANK
        torch.testing.assert_close(delta(merged), ideal(only_small))


@every_weights
def test_the_residual_goes_down_from_the_projection_to_nothing(weights):
    layer = free(weights)
    for projection in (FedIT(), ThinSVD(), FloraNA()):
        errors = [
            merge_one(
                Residual(projection=projection, directions=ByCount(num_directions=s)),
                layer,
            ).diagnostics.relative_error
            for s in range(10)
        ]
        plain = merge_one(projection, layer)
        assert errors[0] == plain.diagnostics.relative_error
        assert all(late <= early for early, late in pairwise(errors))
        assert errors[-1] < 1e-12
    kept = Residual(projection=FedIT(), directions=ByCount(num_directions=0))
    assert merge_one(kept, layer).fold is None


def test_the_residual_keeps_an_energy_or_a_budget():
    layers = {"wide": free(PLAIN, m=40, n=30), "small": free(PLAIN, seed=5, m=8, n=6)}
    plain = FedIT().merge(layers)
    by_energy = Residual(projection=FedIT(), directions=ByEnergy(energy=0.8))
    for name, merged in by_energy.merge(layers).items():
        share = merged.diagnostics.relative_error / (
            plain[name].diagnostics.relative_error
        )
        assert share**2 <= 0.2 * (1 + 1e-12)
    for budget in (0, 60, 1000, 10**6):
        rule = ByBytes(budget_bytes=budget)
        merged = Residual(projection=FedIT(), directions=rule).merge(layers)
        spent = sum(
            sum(4 * part.numel() for part in layer.fold)
            for layer in merged.values()
            if layer.fold
        )
        assert spent <= budget
        if budget == 60:  # one direction of the small matrix is 56 bytes
            assert (spent, merged["wide"].fold) == (56, None)
    assert all(m.diagnostics.relative_error < 1e-12 for m in merged.values())


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_round_without_training_leaves_the_model_unchanged(case, dtype):
    method, kind = case
    layer = kind(PLAIN, dtype=dtype)
    start = kind((1.0,), dtype=dtype).pairs[0]
    if method.contract.continues_from == "restart":
        start = Pair(torch.zeros_like(start.lora_b), start.lora_a)
    weights = usable(method, (0.7, 0.7, -0.4))
    layer = LayerComponents((start,) * 3, weights, start)
    merged = merge_one(method, layer)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(
        delta(merged), product(start), rtol=tolerance, atol=tolerance
    )
    assert merged.fold is None
    assert merged.pair.lora_b.dtype == dtype


@every_case
def test_before_any_training_b_stays_zero_and_a_alive(case):
    method, kind = case
    layer = kind(usable(method, WEIGHTS[2]))
    zeros = tuple(Pair(torch.zeros_like(b), a) for b, a in layer.pairs)
    merged = merge_one(method, LayerComponents(zeros, layer.weights))
    assert not merged.pair.lora_b.any()
    assert merged.fold is None
    assert merged.diagnostics.relative_error == 0
    rank = merged.pair.lora_a.shape[0]
    assert int(torch.linalg.matrix_rank(merged.pair.lora_a)) == rank


@every_case
def test_inputs_stay_and_reruns_are_equal_bit_for_bit(case):
    method, kind = case
    layer = kind(usable(method, WEIGHTS[1]), dtype=torch.float32)
    before = [factor.clone() for pair in layer.pairs for factor in pair]
    one, other = merge_one(method, layer), merge_one(method, layer)
    assert all(map(torch.equal, one.pair, other.pair))
    assert one.diagnostics == other.diagnostics
    after = [factor for pair in layer.pairs for factor in pair]
    assert all(map(torch.equal, before, after))
    assert all(factor.dtype == torch.float32 for factor in one.pair)


@every_case
def test_a_layer_that_is_not_finite_spoils_no_other(case):
    method, kind = case
    layer = kind(usable(method, PLAIN))
    nan = tuple(Pair(b * float("nan"), a) for b, a in layer.pairs)
    broken = LayerComponents(nan, layer.weights, layer.previous)
    merged = method.merge({"broken": broken, "sane": layer})
    assert list(merged) == ["broken", "sane"]
    assert np.isnan(merged["broken"].diagnostics.relative_error)
    alone = merge_one(method, layer).pair
    for found, wanted in zip(merged["sane"].pair, alone, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gauge", GAUGES)
@pytest.mark.parametrize("method", [FloraNA, FreeALS, ThinSVD])
def test_a_gauge_changes_the_factors_and_not_the_model(method, gauge):
    if (method, gauge) == (ThinSVD, "as-is"):
        pytest.skip("the SVD has no gauge of its own")
    layer = free(PLAIN, rank=4, drift=0.3)
    reference = merge_one(method(gauge="scale-matched"), layer)
    merged = merge_one(method(gauge=gauge), layer)
    torch.testing.assert_close(delta(merged), delta(reference), rtol=0, atol=1e-12)
    b, a = merged.pair
    gram_b, gram_a = b.T @ b, a @ a.T
    if gauge == "balanced":
        values = torch.linalg.svdvals(delta(merged))[:4]
        for gram in (gram_b, gram_a):
            torch.testing.assert_close(gram, values.diag(), rtol=0, atol=1e-10)
    if gauge == "hadamard":
        for gram in (gram_b, gram_a):
            mean = gram.diagonal().mean()
            torch.testing.assert_close(gram.diagonal(), mean.expand(4))
    if gauge == "scale-matched":
        average = merge_one(FedIT(), layer).pair
        wanted = average.lora_b.norm() / average.lora_a.norm()
        torch.testing.assert_close(b.norm() / a.norm(), wanted)
    if gauge == "procrustes":
        even = merge_one(method(gauge="balanced"), layer).pair
        b0, a0 = layer.previous
        nearest = (b - b0).norm() ** 2 + (a - a0).norm() ** 2
        assert nearest < (even.lora_b - b0).norm() ** 2 + (even.lora_a - a0).norm() ** 2
        rng = np.random.default_rng(6)
        for _ in range(20):
            turn = torch.linalg.qr(
                torch.eye(4, dtype=torch.float64) + 0.1 * factors(rng, 4, 4)
            ).Q
            other = (b @ turn - b0).norm() ** 2 + (turn.T @ a - a0).norm() ** 2
            assert nearest <= other


def test_hadamard_refuses_a_rank_that_is_no_power_of_two():
    with pytest.raises(ValueError, match="power of two, got 3"):
        merge_one(ThinSVD(gauge="hadamard"), free(PLAIN))


@pytest.mark.parametrize("method", [ThinSVD(), FreeALS(), FloraNA(gauge="balanced")])
def test_dead_ranks_keep_the_averaged_a_and_can_be_trained_again(method):
    layer = common_a(PLAIN, rank=4)
    keep = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    pairs = tuple(Pair(b * keep, a) for b, a in layer.pairs)
    layer = LayerComponents(pairs, PLAIN)
    b, a = merge_one(method, layer).pair
    is_dead = b.norm(dim=0) == 0
    assert is_dead.tolist() == [False, False, True, True]
    assert int(torch.linalg.matrix_rank(a)) == 4
    average = weighted_mean([a for _, a in pairs], PLAIN)
    span = torch.cat([average, *(p.lora_a for p in pairs)])
    assert int(torch.linalg.matrix_rank(span)) == int(
        torch.linalg.matrix_rank(torch.cat([span, a]))
    )


def test_every_prefix_of_flexlora_is_the_best_of_its_rank():
    layer = mixed(PLAIN)
    u, s, v = torch.linalg.svd(ideal(layer), full_matrices=False)
    b, a = merge_one(FlexLora(), layer).pair
    for rank in range(1, 4):
        best = (u[:, :rank] * s[:rank]) @ v[:rank]
        torch.testing.assert_close(b[:, :rank] @ a[:rank], best, rtol=0, atol=1e-12)


def test_a_client_takes_its_prefix_or_pads_with_its_own_a():
    merged = merge_one(FlexLora(), free(PLAIN)).pair
    for rank in (1, 2, 3, 5):
        own = free((1.0,), seed=4, rank=rank).previous
        b, a = at_rank(merged, rank, own.lora_a)
        width = min(rank, RANK)
        wanted = merged.lora_b[:, :width] @ merged.lora_a[:width]
        torch.testing.assert_close(b @ a, wanted, rtol=0, atol=1e-12)
        assert (b.shape, a.shape) == ((M, rank), (rank, N))
        assert torch.equal(a[width:], own.lora_a[width:])


def test_florist_keeps_the_smallest_rank_that_holds_the_energy():
    layer = mixed(PLAIN, m=20, n=30)
    values = torch.linalg.svdvals(ideal(layer)) ** 2
    shares = (values.cumsum(0) / values.sum()).tolist()
    for energy in (0.3, 0.6, 0.9, 0.99):
        rank = ranks(merge_one(Florist(energy=energy), layer)).pair
        assert shares[rank - 1] >= energy * (1 - 1e-12)
        assert rank == 1 or shares[rank - 2] < energy


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_the_randomised_svd_nears_the_exact_one(decay):
    rng = np.random.default_rng(7)
    width, rank = 120, 8
    sizes = torch.tensor(decay ** np.arange(width))
    stacked = Pair(factors(rng, 200, width) * sizes, factors(rng, width, 150))
    exact = exact_spectrum(stacked)
    norm = float(product(stacked).norm())
    found = leading_spectrum(stacked, rank, norm)
    gap = product(stacked) - product(found.section(0, rank))
    assert found.tail(rank) == pytest.approx(float(gap.norm()), rel=1e-6)
    assert found.tail(rank) >= exact.tail(rank) * (1 - 1e-9)
    loss = 1e-6 if decay < 1 else 0.02
    assert found.tail(rank) <= exact.tail(rank) * (1 + loss)
    torch.testing.assert_close(
        exact.values, torch.linalg.svdvals(product(stacked))[:width]
    )


def test_hetlora_weighs_by_the_size_of_the_update():
    layer = mixed(PLAIN)
    sizes = [
        w * float(product(p).norm()) for w, p in zip(PLAIN, layer.pairs, strict=True)
    ]
    weights = [size / sum(sizes) for size in sizes]
    b, _ = merge_one(HetLora(), layer).pair
    wanted = torch.zeros(M, RANK, dtype=torch.float64)
    for weight, pair in zip(weights, layer.pairs, strict=True):
        wanted[:, : pair.lora_b.shape[1]] += weight * pair.lora_b
    torch.testing.assert_close(b, wanted, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="weights >= 0"):
        merge_one(HetLora(), free(WEIGHTS[2]))


def test_fslora_adds_the_scattered_changes():
    start = free((1.0,), rank=4).previous
    rng = np.random.default_rng(8)
    drawn = [(0.8, [0, 2]), (1.1, [1]), (0.4, [0, 1, 2, 3])]  # a / q, rank units
    wanted_b, pairs = start.lora_b.clone(), [start]
    for weight, units in drawn:
        b, a = (factor.clone() for factor in start)
        b[:, units] += factors(rng, M, len(units))
        a[units] += factors(rng, len(units), N)
        wanted_b += weight * (b - start.lora_b)
        pairs.append(Pair(b, a))
    weights = tuple(weight for weight, _ in drawn)
    layer = LayerComponents(tuple(pairs), (1 - sum(weights), *weights), start)
    torch.testing.assert_close(
        merge_one(FSLora(), layer).pair.lora_b, wanted_b, rtol=0, atol=1e-12
    )


def test_lora_fair_solves_its_penalised_problem():
    layer = free(PLAIN)
    average = merge_one(FedIT(), layer).pair
    for penalty in (1e-3, 0.1, 10.0):
        merged = merge_one(LoraFair(penalty=penalty), layer).pair
        torch.testing.assert_close(merged.lora_a, average.lora_a)
        step = merged.lora_b - average.lora_b
        gap = ideal(layer) - product(merged)
        weight = penalty * average.lora_a.norm() ** 2 / RANK
        # the gradient of the objective vanishes
        torch.testing.assert_close(
            gap @ average.lora_a.T, weight * step, rtol=0, atol=1e-10
        )


def core_of(bases, pair):
    """Return the R of a pair ``(B R, A)``."""
    return torch.linalg.lstsq(bases.lora_b, pair.lora_b).solution


def test_fed_sb_gives_the_average_of_the_cores():
    layer = cores(PLAIN)
    means = sum(
        w * core_of(layer.previous, pair)
        for w, pair in zip(PLAIN, layer.pairs, strict=True)
    )
    merged = merge_one(FedSB(), layer).pair
    torch.testing.assert_close(core_of(layer.previous, merged), means)


def test_fedsvd_sends_orthonormal_rows():
    b, a = merge_one(FedSVD(), common_a(PLAIN)).pair
    torch.testing.assert_close(a @ a.T, torch.eye(RANK, dtype=torch.float64))
    gram = b.T @ b
    torch.testing.assert_close(gram, gram.diagonal().diag(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", [FFALora(), FedSB(), FedSVD(), RoLora()], ids=repr)
def test_methods_with_a_frozen_factor_refuse_components_that_moved_it(method):
    with pytest.raises(ValueError, match=rf"{method.kind} merges .* started from the"):
        merge_one(method, free(PLAIN))


# Traffic: up, pair down and fold down per client, METHOD.md 11.3, for clients of rank 2
# of a global rank 3 where ranks may be mixed, else 3. The stack's ranks are 3 + 2 + 1.
LORA = RANK * (M + N)
SMALL = 2 * (M + N)
TRAFFIC = [
    (FedIT(), free, 3, 0, (LORA, LORA, 0)),
    (FFALora(), common_a, 3, 0, (RANK * M, RANK * M, 0)),
    (RoLora(), common_a, 3, 0, (RANK * M, RANK * M, 0)),
    (RoLora(), common_b, 3, 1, (RANK * N, RANK * N, 0)),
    # six ranks are 138 numbers, the dense matrix and a restarted A of rank 2 are 144
    (FloraStacking(), mixed, 2, 0, (SMALL, 0, min(M * N + 2 * N, 6 * (M + N)))),
    (FlexLora(), mixed, 2, 0, (SMALL, SMALL, 0)),
    (HetLora(), mixed, 2, 0, (SMALL, SMALL, 0)),
    (FedExLora(), free, 3, 0, (LORA, LORA, min(M * N, 2 * RANK * (M + N)))),
    (FedSALora(), free, 3, 0, (RANK * N, RANK * N, 0)),
    (LoraFair(), free, 3, 0, (LORA, LORA, 0)),
    (FedSB(), cores, 3, 0, (RANK**2, RANK**2, 0)),
    (FedSVD(), common_a, 3, 0, (RANK * M, LORA, 0)),
    (Florist(energy=0.3), mixed, 2, 0, (SMALL, M + N, 0)),
    (FSLora(), mixed, 2, 0, (SMALL, LORA, 0)),
    (FloraNA(), free, 3, 0, (LORA, LORA, 0)),
    (FloraNAAdam(), free, 3, 0, (LORA, LORA, 0)),
    (ThinSVD(), mixed, 2, 0, (SMALL, SMALL, 0)),
    (ThinSVD(gauge="procrustes"), free, 3, 0, (LORA, LORA, 0)),
    (FreeALS(), mixed, 2, 0, (SMALL, SMALL, 0)),
    (
        Residual(directions=ByCount(num_directions=2)),
        free,
        3,
        0,
        (LORA, LORA, 2 * (M + N)),
    ),
    (FullAverage(), mixed, 2, 0, (SMALL, 0, M * N + 2 * N)),
]


def traffic(method, shape):
    """Return a method's messages about one matrix and nothing outside LoRA."""
    return Traffic(
        method=method,
        shapes=[shape],
        rest=NOTHING,
        payload=Payload(),
        rank=RANK,
        is_truncated=True,
    )


@pytest.mark.parametrize(
    ("method", "kind", "rank", "round_index", "wanted"), TRAFFIC, ids=name_of
)
def test_traffic_is_that_of_the_table(method, kind, rank, round_index, wanted):
    merged = merge_one(method, kind(PLAIN))
    moved = traffic(method, Shape(M, N))
    up, parts = moved.bits_up(rank, round_index), method.exchange(round_index).receives
    made = ranks(merged)
    pair, fold = (
        moved.bits_down(parts, [made], rank),
        moved.fold_bits([made.fold], rank),
    )
    assert (up, pair, fold) == tuple(32 * numbers for numbers in wanted)


def test_stacks_travel_as_factors_where_these_are_shorter_than_dense():
    for size in (20, 400):
        layer = free(PLAIN, m=size, n=size)
        restart = RANK * size  # A, which a dense stack does not tell
        for method, width, extra in (
            (FloraStacking(), 9, restart),
            (FedExLora(), 6, 0),
        ):
            made = ranks(merge_one(method, layer))
            assert made.fold == width
            found = traffic(method, Shape(size, size)).fold_bits([made.fold], RANK)
            assert found == 32 * min(size**2 + extra, width * 2 * size)


def test_a_restarted_global_adapter_adds_nothing_to_the_stack():
    layer = free((0.6, 0.5, -0.1))
    restarted = Pair(torch.zeros(M, RANK, dtype=torch.float64), layer.pairs[2].lora_a)
    layer = LayerComponents((*layer.pairs[:2], restarted), layer.weights)
    merged = merge_one(FloraStacking(), layer)
    assert ranks(merged).fold == 2 * RANK
    torch.testing.assert_close(delta(merged), ideal(layer), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", AGGREGATIONS)
def test_every_method_answers_what_the_simulation_asks(kind):
    method = AGGREGATIONS[kind](kind=kind)
    assert method.kind == kind
    contract = method.contract
    assert all(len(reason) > 20 for reason in contract.cannot.values())
    for round_index in (0, 1):
        exchange = method.exchange(round_index)
        assert set(exchange.sends) <= set(exchange.trains)
    if "asynchrony" in contract.cannot:
        wanted = f"asynchrony: {contract.cannot['asynchrony']}"
        assert contract.refusals(["asynchrony"]) == [wanted]


def test_ideal_and_truncated_merges_equal_peft_cat_and_svd():
    peft = pytest.importorskip("peft")
    layer = free(PLAIN, dtype=torch.float32)
    base = torch.nn.Sequential(torch.nn.Linear(N, M, bias=False))
    config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["0"])
    model = peft.PeftModel(base, config, adapter_name="client0")
    for index, pair in enumerate(layer.pairs):
        if index:
            model.add_adapter(f"client{index}", config)
        module = model.base_model.model[0]
        module.lora_B[f"client{index}"].weight.data.copy_(pair.lora_b)
        module.lora_A[f"client{index}"].weight.data.copy_(pair.lora_a)
    names = [f"client{i}" for i in range(3)]
    wanted = {
        "cat": (FloraStacking(), {"combination_type": "cat"}),
        "full": (FullAverage(), {"combination_type": "svd", "svd_rank": N}),
        "thin": (ThinSVD(), {"combination_type": "svd", "svd_rank": RANK}),
        "flex": (FlexLora(), {"combination_type": "svd", "svd_rank": RANK}),
    }
    for name, (method, options) in wanted.items():
        model.add_weighted_adapter(names, list(PLAIN), name, **options)
        found = module.get_delta_weight(name).detach().double()
        ours = delta(merge_one(method, layer))
        torch.testing.assert_close(ours, found, rtol=0, atol=2e-5)


LEVEL = 1e-3  # of the chi-square tests below
NUM_DRAWS = 2000


def sampling():
    """Shares a, probabilities q, the start and the clients' pairs."""
    shares, probabilities = (0.4, 0.3, 0.2, 0.1), (0.9, 0.5, 0.3, 0.6)
    layer = free(shares, seed=9, m=5, n=4, rank=2, drift=0.5)
    return shares, probabilities, layer.previous, layer.pairs


def drawn_components(is_drawn, *, with_previous):
    shares, probabilities, start, pairs = sampling()
    kept = [
        (pair, a / q)
        for pair, a, q, is_in in zip(
            pairs, shares, probabilities, is_drawn, strict=True
        )
        if is_in
    ]
    total = sum(weight for _, weight in kept)
    if with_previous:
        kept = [(start, 1 - total), *kept]
    elif kept:  # weights must sum to one: renormalised
        kept = [(pair, weight / total) for pair, weight in kept]
    else:
        kept = [(start, 1.0)]
    kept_pairs, weights = zip(*kept, strict=True)
    return LayerComponents(kept_pairs, weights)


def chi_square_of_the_mean(method, *, with_previous):
    """N (mean - wanted)' V^-1 (mean - wanted) in the four directions of the clients'
    changes, V the exact covariance of the unbiased estimate; chi-square with 4."""
    shares, probabilities, start, pairs = sampling()
    changes = np.stack([(product(p) - product(start)).ravel().numpy() for p in pairs])
    basis = np.linalg.qr(changes.T)[0]
    coordinates = changes @ basis
    spread = [a**2 * (1 - q) / q for a, q in zip(shares, probabilities, strict=True)]
    covariance = (coordinates.T * spread) @ coordinates
    rng = np.random.default_rng(10)
    estimates = []
    for _ in range(NUM_DRAWS):
        is_drawn = rng.random(4) < probabilities
        layer = drawn_components(is_drawn, with_previous=with_previous)
        change = delta(merge_one(method, layer)) - product(start)
        estimates.append(change.ravel().numpy() @ basis)
    off = np.mean(estimates, 0) - np.array(shares) @ coordinates
    return NUM_DRAWS * off @ np.linalg.solve(covariance, off)


def test_the_ideal_merge_is_unbiased_over_the_draws():
    statistic = chi_square_of_the_mean(FullAverage(), with_previous=True)
    assert statistic < chi2.isf(LEVEL, 4)


def test_it_is_biased_without_the_previous_global_component():
    statistic = chi_square_of_the_mean(FullAverage(), with_previous=False)
    assert statistic > 10 * chi2.isf(LEVEL, 4)


def test_factor_averages_are_biased_in_model_space():
    statistic = chi_square_of_the_mean(FedIT(), with_previous=True)
    assert statistic > 10 * chi2.isf(LEVEL, 4)


def test_ratio_of_nothing_to_nothing_is_nothing():
    assert ratio(0.0, 0.0) == 0.0
    assert ratio(1.0, 0.0) == float("inf")
    assert np.isnan(ratio(float("nan"), 0.0))


def test_the_ideal_stack_is_the_ideal_merge():
    for kind in (free, mixed):
        layer = kind(WEIGHTS[2])
        torch.testing.assert_close(product(ideal_stack(layer)), ideal(layer))
