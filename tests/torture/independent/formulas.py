"""Shares and weights that a float decides, from the formulas of ``METHOD.md 5``."""

PER_ROUND = {
    "equal-fixed": lambda bits, efficiency, tau, band: [1.0] * len(bits),
    "proportional": lambda bits, efficiency, tau, band: bits,
    "equal-rate": lambda bits, efficiency, tau, band: [1 / e for e in efficiency],
    "max-min": lambda bits, efficiency, tau, band: [1 / e for e in efficiency],
    "proportional-fair": lambda bits, efficiency, tau, band: [1.0] * len(bits),
    "equal-finish": lambda *terms: equal_finish(*terms),
    "work-conserving": lambda *terms: equal_finish(*terms),
}


def equal_finish(bits, efficiency, tau, band):
    """Return shares with which all end at one time, in Hz; ``tau`` in seconds."""
    need = [b / e for b, e in zip(bits, efficiency, strict=True)]
    low, high = max(tau), max(tau) + sum(need) / band
    for _ in range(200):
        middle = (low + high) / 2
        # at low a term may have no time left: it asks for more than there is
        left = [max(middle - t, 1e-300) for t in tau]
        asked = sum(n / t for n, t in zip(need, left, strict=True))
        low, high = (middle, high) if asked > band else (low, middle)
    return [n / (high - t) for n, t in zip(need, tau, strict=True)]


def share_errors(run, scenario, given):
    """Return for each round by how much of the band a share differs from its formula.

    Where the page leaves nothing open: constant efficiency, no ceiling, and all start
    to compute together; elsewhere nothing.
    """
    formula = PER_ROUND.get(given.sharing)
    cell = scenario["cell"]
    is_open = (
        formula is None
        or "fading" in cell
        or cell["uplink"]["radio"]["kind"] != "per-hertz"
        or given.radio_uhz
        or scenario["population"]["compute_jitter"]
        or not given.broadcast
    )
    rounds = [] if is_open else given.drawn.values()
    return [_error(formula, tasks, given) for tasks in rounds if _has_all(tasks, given)]


def _has_all(tasks, given):
    """Return whether all that were drawn began their upload."""
    return tasks and all(("up", task, 0) in given.terms for task, _ in tasks)


def _error(formula, tasks, given):
    """Return the largest error of one round's shares, or of the parts of weights."""
    rows = [given.terms["up", task, 0][0] for task, _ in tasks]
    band = given.up_uhz // 10**6
    bits = [given.upload[client] for _, client in tasks]
    efficiency = [row["efficiency"] / 1e9 for row in rows]
    tau = [given.compute[task] / 1e9 for task, _ in tasks]
    expected = formula(bits, efficiency, tau, band)
    found = [row["weight"] if row["pinned"] is None else row["pinned"] for row in rows]
    parts = zip(found, expected, strict=True)
    return max(abs(f / sum(found) - e / sum(expected)) for f, e in parts)
