"""Planning problems of random fleets, and the least total time that is found."""

from dataclasses import replace

import numpy as np

from netsim.policy import solver
from netsim.policy.problem import Problem, value


def fleet(num_clients, seed=0, *, ranks=(2, 8), dtype=float, slope=0.5, **changes):
    """Return a problem whose compute and payload both grow with rank."""
    rng = np.random.default_rng(seed)
    k = np.asarray(ranks, dtype=float)
    work_s = rng.lognormal(0.0, 0.8, num_clients)[:, None]
    efficiency = rng.uniform(0.5, 6.0, num_clients)[:, None]
    bits = 2e5 + 4e5 * k
    weights = rng.dirichlet(np.full(num_clients, 3.0))
    whole = Problem(
        data_weights=weights.astype(dtype),
        norms2=rng.lognormal(0.0, 1.0, num_clients).astype(dtype),
        ranks=tuple(ranks),
        global_rank=8,
        compute_s=(work_s * (1 - slope + slope * k / 8)).astype(dtype),
        need_hz_s=(bits / efficiency).astype(dtype),
        bits=bits,
        is_allowed=np.ones((num_clients, len(ranks)), dtype=bool),
        band_hz=2e6,
        fixed_s=0.3,
        max_weight=max(4.0 / num_clients * 10, 1.0) * weights.max(),
    )
    return replace(whole, **changes)


def least_total_s(problem, surrogate):
    prices = solver.search(problem, surrogate)
    choice = solver.respond(problem, surrogate, prices)
    return value(choice, problem, surrogate).total_s
