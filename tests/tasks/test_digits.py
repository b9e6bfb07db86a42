import gzip
import hashlib
from importlib.resources import files

import numpy as np
import pytest

from fl.partition import IID, PARTITIONS, DirichletByLabel
from fl.streams import stream
from fl.tasks import TASKS, Digits
from fl.tasks.digits import SHA256

SPLITS = ("public", "train", "test")


def test_the_shipped_file_is_the_one_that_was_checked():
    content = gzip.decompress(files("fl.tasks").joinpath("digits.csv.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() == SHA256


def test_the_images_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.load_digits()
    wanted = sorted(
        zip(map(bytes, theirs.data.astype("u1")), theirs.target, strict=True)
    )
    found = []
    for split in SPLITS:
        labels = Digits().labels(split)
        batch = Digits().batch(split, np.arange(len(labels)))
        pixels = (batch["pixel_values"].numpy() * 8 + 8).astype("u1").reshape(-1, 64)
        found += zip(map(bytes, pixels), labels, strict=True)
    assert sorted(found) == wanted


def test_splits_are_stratified_and_the_same_every_time():
    counts = {split: np.bincount(Digits().labels(split)) for split in SPLITS}
    total = sum(counts.values())
    assert total.sum() == 1797
    assert (counts["test"] == total // 4).all()
    assert (counts["public"] == total // 5).all()
    assert Digits().labels("test")[:12].tolist() == [3, 6, 9, 0, 1, 2, 6, 9, 5, 6, 1, 2]


def test_a_batch_holds_the_labels_asked_for():
    indices = np.array([5, 0, 5])
    batch = Digits().batch("train", indices)
    assert batch["pixel_values"].shape == (3, 1, 8, 8)
    assert batch["labels"].tolist() == Digits().labels("train")[indices].tolist()


def test_records_are_found_by_their_kind():
    for found in (TASKS, PARTITIONS):
        kinds = {k: record.model_fields["kind"].default for k, record in found.items()}
        assert kinds == {kind: kind for kind in found}


@pytest.mark.parametrize("num_clients", [1, 7, 100])
@pytest.mark.parametrize(
    "partition",
    [IID(), DirichletByLabel(alpha=0.05), DirichletByLabel(min_partition_size=9)],
)
def test_every_sample_is_used_once(partition, num_clients):
    labels = Digits().labels("train")
    shares = partition.split(labels, num_clients, stream(1, "partition"))
    assert len(shares) == num_clients
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(len(labels)))
    smallest = getattr(partition, "min_partition_size", len(labels) // num_clients)
    assert min(map(len, shares)) >= smallest
    assert all((np.diff(share) > 0).all() for share in shares)


@pytest.mark.parametrize("partition", [IID(), DirichletByLabel()])
def test_a_partition_follows_its_generator(partition):
    labels = Digits().labels("train")
    first, again, other = (
        partition.split(labels, 5, stream(seed, "partition")) for seed in (1, 1, 2)
    )
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_dirichlet_shares_have_the_stated_variance():
    labels = np.zeros(4_000, dtype=np.int64)
    rng = stream(0, "test")
    draws = np.array(
        [
            [len(share) for share in DirichletByLabel(alpha=2.0).split(labels, 4, rng)]
            for _ in range(2_000)
        ]
    )
    assert draws.mean(0) == pytest.approx(np.full(4, 1_000), rel=0.03)
    # Var of one share of Dirichlet(2, 2, 2, 2): (1/4)(3/4)/(8 + 1)
    assert (draws / 4_000).var(0) == pytest.approx(np.full(4, 1 / 48), rel=0.1)


@pytest.mark.parametrize(
    ("partition", "num_clients", "message"),
    [
        (IID(), 11, "11 clients of at least 1 samples each need 11, .* has 10"),
        (DirichletByLabel(min_partition_size=6), 2, "need 12"),
        (DirichletByLabel(), 0, "num_clients must be at least 1, got 0"),
    ],
)
def test_an_impossible_partition_is_refused(partition, num_clients, message):
    with pytest.raises(ValueError, match=message):
        partition.split(np.zeros(10, dtype=np.int64), num_clients, stream(0))
