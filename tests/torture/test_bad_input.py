"""Mutated scenarios and studies end with exit code 0 or 2 and one message."""

import pytest

from tests.torture import bad_input
from tests.torture.judging import judged
from tests.torture.mutation import as_yaml

pytestmark = pytest.mark.slow

FEW = 12


@pytest.mark.parametrize("kind", bad_input.KINDS)
@pytest.mark.parametrize("what", ["scenario", "study", "run"])
def test_mutated_files_are_taken_or_refused_with_a_place(what, kind, tmp_path):
    (corpus,) = [c for c in bad_input.corpora(tmp_path) if c.what == what]
    counts, faults, _ = bad_input.torment(corpus, kind, 11, FEW, tmp_path)
    assert faults == []
    assert counts["refused"] > 0
    assert counts["with a place"] >= counts["refused"] - 2


def test_a_mutation_is_the_same_again_and_seldom_the_original(tmp_path):
    corpus = bad_input.corpora(tmp_path)[0]
    for kind in bad_input.KINDS:
        first = [corpus.case(kind, 1, number) for number in range(20)]
        assert first == [corpus.case(kind, 1, number) for number in range(20)]
        assert len(set(first)) > 15


BOMB = b"a0: &a0 [1, 1]\n" + b"".join(
    b"a%d: &a%d [*a%d, *a%d, *a%d, *a%d]\n" % (n, n, *(n - 1,) * 4)
    for n in range(1, 40)
)
HOSTILE = {
    "aliases that multiply": BOMB,
    "an alias of itself": b"a: &a [*a]\n",
    "deep brackets": b"[" * 10_000,
    "deep indentation": b"".join(b" " * n + b"a:\n" for n in range(2_000)),
    "a million dashes": b"- " * 400_000,
    "one endless key": b"a" * 900_000 + b": 1\n",
    "more than a scenario": b"#" * 1_000_001,
    "a number of a million digits": b"seed: " + b"9" * 900_000,
    "only a comment": b"# nothing\n",
    "two documents": b"a: 1\n---\nb: 2\n",
    "python, please": b"seed: !!python/object/apply:os.system ['true']\n",
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_refused_at_once(case, tmp_path):
    path = tmp_path / "hostile.yaml"
    path.write_bytes(HOSTILE[case])
    for words in (("check", path), ("study", path, "--dry-run")):
        verdict = judged(*words)
        assert (verdict.code, verdict.fault) == (2, "")
        assert str(path) in verdict.said
        assert len(verdict.said) < 3_000


@pytest.mark.parametrize(
    "setting",
    [
        "population.num_clients=1000000000000",
        "seed=1e999",
        "stop.rounds=-0.0",
        "stop.rounds=.nan",
        "stop.time=1e300 s",
        "population.compute_jitter=.inf",
        "cell.uplink.band=-0 Hz",
        "population.transmit_power=1e12 dBm",
        "population.devices=[]",
        "cell.uplink.band=1e-300 Hz",
    ],
)
def test_numbers_that_no_run_could_bear_are_refused(setting):
    verdict = judged("check", "network-only", "--set", setting)
    assert (verdict.code, verdict.fault) == (2, "")
    assert setting.partition("=")[0].partition(".")[0] in verdict.said


def test_a_right_document_stays_right_through_the_mutators():
    corpus = bad_input.corpora(bad_input.Path())[0]
    documents = [bad_input.yaml.safe_load(d) for d in corpus.documents]
    assert all(bad_input.yaml.safe_load(as_yaml(d)) == d for d in documents)
