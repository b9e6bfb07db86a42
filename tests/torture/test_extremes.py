"""Scenarios and merges at the ends of what numbers allow."""

import pytest
import torch

from fl.aggregation import AGGREGATIONS
from fl.aggregation.components import LayerComponents, Pair
from tests.torture import extremes

pytestmark = pytest.mark.slow

ROWS, COLUMNS, RANK = 12, 10, 3
# these merge one factor only and refuse pairs whose other one differs
ONE_FACTOR = {"fed-sb", "fedsvd", "ffa-lora", "rolora"}


@pytest.mark.parametrize("what", extremes.EXTREMES)
def test_an_extreme_runs_to_a_sound_trace(what, tmp_path):
    assert extremes.run_extreme(what, tmp_path / "run")["fault"] == ""


def pair(seed, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    lora_b = torch.randn(ROWS, RANK, generator=draw, dtype=torch.float64)
    lora_a = torch.randn(RANK, COLUMNS, generator=draw, dtype=torch.float64)
    return Pair(scale * lora_b, scale * lora_a)


def zero():
    return pair(0, 0.0)


def flat(lora):
    """Return the pair with all its columns the first one: of rank one."""
    return Pair(lora.lora_b[:, :1].expand(-1, RANK).clone(), lora.lora_a)


DEGENERATE = {
    "nothing at all": ((zero(), zero()), (0.5, 0.5)),
    "one alone": ((pair(1),), (1.0,)),
    "twice the same": ((pair(1), pair(1)), (0.5, 0.5)),
    "opposites": ((pair(1), pair(1, -1.0)), (0.5, 0.5)),
    "of rank one": ((flat(pair(1)), flat(pair(2))), (0.5, 0.5)),
    "b is zero": ((Pair(zero().lora_b, pair(1).lora_a), pair(2)), (0.5, 0.5)),
    "large": ((pair(1, 1e9), pair(2, 1e9)), (0.5, 0.5)),
    "small": ((pair(1, 1e-12), pair(2, 1e-12)), (0.5, 0.5)),
    "of all sizes": ((pair(1, 1e9), pair(2, 1e-9)), (0.5, 0.5)),
    "large weights": ((pair(1), pair(2), pair(3)), (1e6, -1e6, 1.0)),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("method", sorted(set(AGGREGATIONS) - ONE_FACTOR))
def test_a_singular_merge_is_finite(method, case):
    pairs, weights = DEGENERATE[case]
    layers = {"layer": LayerComponents(pairs, weights, pairs[0])}
    if (method, case) == ("hetlora", "large weights"):  # it weighs by norms
        with pytest.raises(ValueError, match="weights"):
            AGGREGATIONS[method]().merge(layers)
        return
    merged = AGGREGATIONS[method]().merge(layers)["layer"]
    for part in (merged.pair, merged.fold):
        if part is not None:
            assert part.lora_b.isfinite().all()
            assert part.lora_a.isfinite().all()
