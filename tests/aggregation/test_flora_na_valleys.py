"""FLoRA-NA where components share no start, and what merges report of themselves."""

import numpy as np
import pytest
import torch

from fl.aggregation import (
    FedIT,
    FloraNA,
    FloraNAAdam,
    FreeALS,
    LayerComponents,
    Pair,
)
from fl.aggregation.grams import product_error

pytestmark = pytest.mark.slow


def rotated(seed):
    """Return adapters of one product, each in coordinates of its own, 10 % apart."""
    rng = np.random.default_rng(seed)
    num, m, n, rank = int(rng.integers(2, 7)), 16, 12, 3
    b, a = rng.normal(size=(m, rank)), rng.normal(size=(rank, n))
    pairs = []
    for _ in range(num):
        turn = np.linalg.qr(rng.normal(size=(rank, rank)))[0]
        lora_b = (b + 0.1 * rng.normal(size=(m, rank))) @ turn
        lora_a = turn.T @ (a + 0.1 * rng.normal(size=(rank, n)))
        pairs.append(Pair(torch.tensor(lora_b), torch.tensor(lora_a)))
    return LayerComponents(tuple(pairs), (1 / num,) * num)


def merged(method, layer):
    return method.merge({"layer": layer})["layer"]


# The third column is what 50 sweeps from the plain average had reached.
@pytest.mark.parametrize(
    ("seed", "best", "before"),
    [(3, 0.0525474, 0.0853), (20, 0.0598305, 0.0967), (33, 0.0873487, 0.1341)],
)
def test_rotated_adapters_are_merged_at_the_deepest_valley(seed, best, before):
    layer = rotated(seed)
    result = merged(FloraNA(), layer)
    assert result.diagnostics.relative_error == pytest.approx(best, rel=1e-5)
    assert result.diagnostics.relative_error < 0.7 * before
    assert product_error(layer, [result.pair]) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("seed", [2, 9, 18])
def test_no_start_leads_to_a_better_valley_than_the_one_found(seed):
    """Sixty random starts of plain Gauss-Seidel least squares, on dense matrices."""
    layer = rotated(seed)
    b = np.stack([pair.lora_b.numpy() for pair in layer.pairs])
    a = np.stack([pair.lora_a.numpy() for pair in layer.pairs])
    ideal = np.einsum("u,uik,ukj->ij", layer.weights, b, a)
    rng = np.random.default_rng(seed)
    best = np.inf
    for _ in range(60):
        q = rng.random(len(b))
        for _ in range(800):
            parts = (b @ np.tensordot(q, a, 1)).reshape(len(b), -1).T
            p = np.linalg.lstsq(parts, ideal.ravel(), rcond=None)[0]
            parts = (np.tensordot(p, b, 1) @ a).reshape(len(b), -1).T
            q, rest = np.linalg.lstsq(parts, ideal.ravel(), rcond=None)[:2]
        best = min(best, float(np.sqrt(rest[0])) / np.linalg.norm(ideal))
    assert merged(FloraNA(), layer).diagnostics.relative_error <= best * (1 + 1e-5)


def test_a_layer_that_has_not_converged_is_reported(monkeypatch):
    monkeypatch.setattr("fl.aggregation.newton.MAX_STEPS", 2)
    monkeypatch.setattr("fl.aggregation.newton.NUM_TRIAL_STEPS", 2)
    with pytest.warns(RuntimeWarning, match="flora-na: the scalars of 1 layers have"):
        merged(FloraNA(), rotated(3))


@pytest.mark.parametrize("method", [FloraNA(), FreeALS(), FreeALS(num_sweeps=10)])
def test_the_error_of_an_exact_merge_is_told_to_round_off(method):
    generator = torch.Generator().manual_seed(1)
    b = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    a = torch.randn(4, 30, generator=generator, dtype=torch.float64)
    pairs = tuple(Pair(b * c, a * d) for c, d in ((1, 2.0), (0.5, 1.0), (3, -1.0)))
    layer = LayerComponents(pairs, (0.5, 0.3, 0.2))
    result = merged(method, layer)
    assert 0 < result.diagnostics.relative_error < 1e-14
    assert product_error(layer, [result.pair]) < 1e-14


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("method", [FloraNA(), FloraNAAdam(num_steps=20)])
def test_a_gain_within_the_rounding_of_the_pair_is_not_reported(method, seed):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(shape, generator=generator)

    b, a = drawn(16, 3), drawn(3, 12)
    pairs = tuple(
        Pair(b + 1e-4 * drawn(16, 3), a + 1e-4 * drawn(3, 12)) for _ in range(4)
    )
    layer = LayerComponents(pairs, (0.1, 0.2, 0.3, 0.4))
    result, average = merged(method, layer), merged(FedIT(), layer)
    assert result.diagnostics.average_relative_error < 1e-7
    assert result.diagnostics.relative_error == average.diagnostics.relative_error
    assert torch.equal(result.pair.lora_b, average.pair.lora_b)
    assert torch.equal(result.pair.lora_a, average.pair.lora_a)
