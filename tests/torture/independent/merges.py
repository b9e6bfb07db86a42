"""Every merge against dense matrices in float64, from the table of ``METHOD.md 11.3``.

The ideal ``W* = sum w B A`` is formed; inverses and singular values are numpy's.
"""

import numpy as np
import torch

from fl.aggregation import AGGREGATIONS, LayerComponents, Pair, Residual
from fl.aggregation.residual import ByCount

LIMIT = 1e-9  # relative to the sum of the components' norms
SHARED_A = ("ffa-lora", "fed-sb", "fedsvd", "rolora")
FOLDED = 2  # directions of ``residual``
ENERGY = 0.99  # of ``florist``
PENALTY = 0.01  # of ``lora-fair``


class Layer:
    """Random components of one adapted matrix."""

    def __init__(self, rng, *, shares_a, mixes_ranks, is_convex):
        self.m, self.n = rng.integers(4, 40, 2)
        rank, num = int(rng.integers(1, 6)), int(rng.integers(2, 8))
        drift = rng.choice((1e-3, 0.1, 1.0, 30.0))
        start = rng.normal(size=(self.m, rank)), rng.normal(size=(rank, self.n))
        self.pairs = []
        for _ in range(num):
            r = int(rng.integers(1, rank + 1)) if mixes_ranks else rank
            b = start[0][:, :r] + drift * rng.normal(size=(self.m, r))
            a = start[1][:r] + (not shares_a) * drift * rng.normal(size=(r, self.n))
            self.pairs.append((b, a))
        self.weights = rng.dirichlet(np.ones(num))
        self.previous = start
        if not is_convex and rng.random() < 0.5:  # drawn with 1/q: the start joins
            self.pairs.append(start)
            drawn = self.weights / rng.uniform(0.2, 1.0, num)
            self.weights = np.append(drawn, 1 - drawn.sum())
        self.rank = rank

    @property
    def ideal(self):
        """Return W*, dense."""
        terms = zip(self.weights, self.pairs, strict=True)
        return sum(w * (b @ a) for w, (b, a) in terms)

    @property
    def scale(self):
        """Return the sum of the weighted components' norms."""
        terms = zip(self.weights, self.pairs, strict=True)
        return sum(abs(w) * np.linalg.norm(b @ a) for w, (b, a) in terms)

    def mean(self, weights=None):
        """Return both average factors, padded with zeros."""
        weights = self.weights if weights is None else weights
        b, a = np.zeros((self.m, self.rank)), np.zeros((self.rank, self.n))
        for w, (one_b, one_a) in zip(weights, self.pairs, strict=True):
            b[:, : one_b.shape[1]] += w * one_b
            a[: one_a.shape[0]] += w * one_a
        return b, a

    def components(self):
        """Return the layer as a merge takes it."""
        pairs = [Pair(*map(torch.tensor, pair)) for pair in self.pairs]
        previous = Pair(*map(torch.tensor, self.previous))
        return LayerComponents(tuple(pairs), tuple(self.weights.tolist()), previous)


def best(matrix, rank):
    """Return the best approximation of a rank."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def _average(layer):
    b, a = layer.mean()
    return b @ a


def _florist(layer):
    energies = np.linalg.svd(layer.ideal, compute_uv=False) ** 2
    kept = np.cumsum(energies) / energies.sum()
    return best(layer.ideal, 1 + int(np.argmax(kept >= ENERGY)))


def _hetlora(layer):
    terms = zip(layer.weights, layer.pairs, strict=True)
    sizes = np.array([w * np.linalg.norm(b @ a) for w, (b, a) in terms])
    b, a = layer.mean(sizes / sizes.sum())
    return b @ a


def _lora_fair(layer):
    b, a = layer.mean()
    ridge = PENALTY * (a**2).sum() / len(a)
    wide = np.vstack((a.T, np.sqrt(ridge) * np.eye(len(a))))
    missed = np.vstack(((layer.ideal - b @ a).T, np.zeros((len(a), layer.m))))
    return (b + np.linalg.lstsq(wide, missed, rcond=None)[0].T) @ a


def _free_als(layer):
    b, a = layer.mean()
    for _ in range(2):
        b = layer.ideal @ np.linalg.pinv(a)
        a = np.linalg.pinv(b) @ layer.ideal
    return b @ a


EXPECTED = dict.fromkeys(
    ("fed-sb", "fedex-lora", "fedsvd", "ffa-lora", "flora-stacking", "full-average"),
    lambda layer: layer.ideal,
) | {
    "rolora": lambda layer: layer.ideal,
    "fedit": _average,
    "fedsa-lora": _average,
    "fslora": _average,
    "hetlora": _hetlora,
    "lora-fair": _lora_fair,
    "free-als": _free_als,
    "florist": _florist,
    "flexlora": lambda layer: best(layer.ideal, layer.rank),
    "thin-svd": lambda layer: best(layer.ideal, layer.rank),
    "residual": lambda layer: best(layer.ideal, layer.rank + FOLDED),
}


def mixed(layer, num_sweeps=500):
    """Return the error of scalars P and Q by alternating least squares from the
    weights; each half is a dense regression."""
    stacks = [np.array(one) for one in zip(*layer.pairs, strict=True)]
    left, right = np.array(layer.weights), np.array(layer.weights)
    goal, error = layer.ideal.ravel(), np.inf
    for _ in range(num_sweeps):
        a = np.tensordot(right, stacks[1], 1)
        terms = np.stack([(b @ a).ravel() for b in stacks[0]], 1)
        left = np.linalg.lstsq(terms, goal, rcond=1e-12)[0]
        b = np.tensordot(left, stacks[0], 1)
        terms = np.stack([(b @ a).ravel() for a in stacks[1]], 1)
        right = np.linalg.lstsq(terms, goal, rcond=1e-12)[0]
        before, error = error, np.linalg.norm(terms @ right - goal)
        if not error < (1 - 1e-9) * before:
            break
    return error


def method_of(kind):
    """Return a method with the settings that the reference takes."""
    if kind == "residual":
        return Residual(directions=ByCount(num_directions=FOLDED))
    return AGGREGATIONS[kind]()


def judge(kind, layer):
    """Return how far a merge is from the reference, relative to the components, and how
    far its reported error is from what it returned."""
    merged = method_of(kind).merge({"w": layer.components()})["w"]
    found = sum(pair.lora_b.numpy() @ pair.lora_a.numpy() for pair in merged.sent)
    ideal, scale = layer.ideal, layer.scale
    error = np.linalg.norm(found - ideal)
    reported = merged.diagnostics.relative_error * np.linalg.norm(ideal)
    if kind == "flora-na":  # no worse than alternation from the weights
        off = max(error - mixed(layer), 0.0)
    elif kind == "flora-na-adam":  # no worse than the average
        off = max(error - np.linalg.norm(_average(layer) - ideal), 0.0)
    else:
        off = np.linalg.norm(found - EXPECTED[kind](layer))
    return off / scale, abs(error - reported) / scale


def rows(num_layers, seed=1):
    """Yield one row per method over the same number of layers."""
    for kind in sorted(AGGREGATIONS):
        cannot = method_of(kind).contract.cannot
        offs, wrong = [], 0
        for number in range(num_layers):
            rng = np.random.default_rng((seed, number))
            layer = Layer(
                rng,
                shares_a=kind in SHARED_A,
                mixes_ranks="unequal-ranks" not in cannot and number % 2,
                is_convex="independent-sampling" in cannot,
            )
            pair = judge(kind, layer)
            offs.append(max(pair))
            wrong += not max(pair) <= LIMIT
        yield "merge", kind, num_layers, max(offs), LIMIT, wrong
