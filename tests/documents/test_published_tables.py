"""Every published table follows from its raw one, by the page's own script."""

import importlib.util
import shlex
import sys

import pandas as pd
import pytest

from tests.support.command import netsim
from tests.support.places import ROOT
from tests.torture import report

pytest.importorskip("altair")
pytest.importorskip("scipy")
RESULTS, BENCHMARKS = ROOT / "results", ROOT / "tests" / "benchmarks"


def script(name, folder=RESULTS):
    """Return a script as a module; it may import what lies beside it."""
    path = folder / name
    found = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(found)
    sys.path.insert(0, str(path.parent))
    try:
        found.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def ns3():
    """From every message; ``ns3.csv`` is simulated again by its own command."""
    judge = script("ns3/judge.py", BENCHMARKS)
    return judge.summary(raw("validation/ns3/phones.csv").assign(cpu_s=1.0))


def correlations():
    """Few resamples: intervals, which take a minute, are not compared."""
    tables = script("merges/tables.py")
    tables.NUM_RESAMPLES = 10
    return tables.correlations(raw("merges/identical.csv"))


def raw(name):
    return pd.read_csv(RESULTS / name)


def paired_merges():
    runs, tables = raw("merges/runs.csv"), script("merges/tables.py")
    common = runs[runs.seed <= tables.NUM_COMMON]
    return pd.concat([tables.paired(common), tables.paired(runs)]).drop_duplicates()


def same_uploads():
    merges = raw("merges/identical.csv")
    return script("merges/tables.py").gains_over_average(merges).reset_index()


def nu_of_policies():
    runs = raw("policy/runs.csv").dropna(subset="nu")
    runs = runs.drop_duplicates(["fleet", "seed"])
    return runs[["fleet", "seed", "nu", "nu_error"]]


def real_bytes():
    tables = (raw(f"real-bytes/{name}.csv") for name in ("uploads", "rounds"))
    return script("real_bytes/measure.py", BENCHMARKS).summary(*tables)


PUBLISHED = {
    "merges/paired.csv": paired_merges,
    "merges/same-uploads.csv": same_uploads,
    "merges/correlation.csv": correlations,
    "texts/differences.csv": lambda: script("texts/tables.py").differences(
        raw("texts/runs.csv")
    ),
    "both/speedups.csv": lambda: script("both/both.py").speedups(raw("both/costs.csv")),
    "policy/speedups.csv": lambda: script("policy/tables.py").speedups(
        raw("policy/runs.csv")
    ),
    "policy/calibration.csv": lambda: script("policy/tables.py").calibration(
        raw("policy/runs.csv")
    ),
    "policy/nu.csv": nu_of_policies,
    "transfer/seconds.csv": lambda: script("transfer/transfer.py").seconds(
        raw("transfer/uploads.csv")
    ),
    "real-bytes/summary.csv": real_bytes,
    "validation/ns3/summary.csv": ns3,
}


UNCOMPARED = {
    "merges/correlation.csv": ("low", "high"),
    "validation/ns3/summary.csv": ("cpu_ratio",),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_table_follows_from_its_raw_one(name):
    published, found = raw(name), PUBLISHED[name]().reset_index(drop=True)
    assert len(published) == len(found)
    for column in published.columns.difference(UNCOMPARED.get(name, ())):
        if not pd.api.types.is_float_dtype(published[column]):
            assert published[column].astype(str).tolist() == (
                found[column].astype(str).tolist()
            ), column
            continue
        assert found[column].astype(float).tolist() == pytest.approx(
            published[column].tolist(), rel=2e-4, abs=2e-4, nan_ok=True
        ), column


def test_every_published_table_is_named_by_its_page_or_script():
    for path in RESULTS.rglob("*.csv"):
        if path.parent.name == "reliability":
            assert path.stem in report.BEDS, path
            continue
        folders = (path.parent, path.parent.parent, BENCHMARKS / "ns3")
        beside = [one for folder in folders for one in folder.glob("*.*[yd]")]
        assert any(path.name in one.read_text() for one in beside), path


def test_the_page_of_reliability_is_that_of_its_tables():
    page = (RESULTS / "reliability.md").read_text()
    for name in report.BEDS:
        found = report.rows(RESULTS / "reliability", name)
        assert report.section(name, found) in page + "\n", name


def test_the_commands_of_single_rows_plan_two_runs(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = (RESULTS / "data.md").read_text().splitlines()
    commands = [line for line in lines if line.startswith("netsim study")]
    assert len(commands) >= 5
    for line in commands:
        assert netsim(*shlex.split(line)[1:], "--dry-run") == 0
        assert ": 2 runs, 2 combinations" in capsys.readouterr().out
