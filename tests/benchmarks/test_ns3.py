"""The published comparison with ns-3: its thresholds, and that netsim still says it."""

import sys

import pandas as pd
import pytest

from tests.support.places import ROOT

SCRIPTS = str(ROOT / "tests" / "benchmarks" / "ns3")
sys.path.insert(0, SCRIPTS)
try:
    import judge
finally:
    sys.path.remove(SCRIPTS)

FOLDER = ROOT / "results" / "validation" / "ns3"


def test_uploads_keep_the_thresholds_that_were_set_before():
    found = judge.summary(pd.read_csv(FOLDER / "phones.csv").assign(cpu_s=1.0))
    whole = found[(found.pattern == "all uploads") & (found.buffers == "today")]
    assert len(whole) == 2  # schedulers
    assert (whole.messages == 450).all()
    assert (whole.median_size <= 0.05).all()
    assert (whole.p95_size <= 0.15).all()
    assert (whole.round_median_size <= 0.05).all()
    assert whole.round_worst_size.max() < 0.082  # of the one who leaves
    uploads = found[found.pattern.isin(judge.UPLOADS) & (found.buffers == "today")]
    late = uploads[uploads.round_median_size > 0.05]
    assert set(late.pattern) == {"together"}
    assert late.bare_round_worst_size.max() < 0.02  # without the blocks for control


def test_netsim_predicts_what_is_published():
    measured = pd.read_csv(FOLDER / "ns3.csv")
    few = measured[
        measured.pattern.isin(["cell edge", "one leaves"])
        & (measured.seed == 1)
        & (measured.scheduler == "proportional-fair")
        & (measured.buffers == "today")
    ]
    keys = [*judge.KEYS, "phone"]
    own = judge.compared(few).set_index(keys)
    published = pd.read_csv(FOLDER / "phones.csv").set_index(keys).loc[own.index]
    assert own.netsim_s.tolist() == pytest.approx(
        published.netsim_s.tolist(), abs=1e-4, nan_ok=True
    )
