import json

import numpy as np
import pytest

from fl.partition import (
    IID,
    ByColumn,
    DirichletByLabel,
    FromFile,
    PowerLaw,
    Shards,
    divide,
    label_counts,
)
from fl.streams import stream
from fl.tasks import Arithmetic, Digits, Instruct, Synthetic, Text

LABELS = Digits().labels("train")


def split(partition, num_clients, labels=LABELS, seed=0):
    return partition.split(labels, num_clients, stream(seed, "partition"))


@pytest.mark.parametrize("num_clients", [1, 7, 100])
@pytest.mark.parametrize(
    "partition",
    [
        IID(),
        DirichletByLabel(alpha=0.1, min_partition_size=5),
        Shards(min_partition_size=5),
        Shards(shards_per_client=1),
        PowerLaw(exponent=1.5, min_partition_size=5),
        PowerLaw(exponent=0.0),
    ],
)
def test_every_sample_is_used_once(partition, num_clients):
    shares = split(partition, num_clients)
    assert len(shares) == num_clients
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(len(LABELS)))
    assert min(map(len, shares)) >= partition.min_partition_size
    assert all((np.diff(share) > 0).all() for share in shares)
    again = split(partition, num_clients)
    assert all(map(np.array_equal, shares, again))
    if num_clients > 1:
        other = split(partition, num_clients, seed=1)
        assert not all(map(np.array_equal, shares, other))


def test_two_shards_give_at_most_two_labels():
    labels = np.repeat(np.arange(10), 60)
    counts = label_counts(labels, split(Shards(), 30, labels))
    assert (counts.sum(1) == 20).all()
    assert ((counts > 0).sum(1) <= 2).all()


def test_sizes_follow_the_power_law():
    partition = PowerLaw(exponent=1.0, min_partition_size=2)
    shares = split(partition, 4, np.zeros(33, dtype=np.int64))
    # 25 free samples in the proportions 12 : 6 : 4 : 3, and two for everyone
    assert sorted(map(len, shares)) == [5, 6, 8, 14]


def test_counts_are_a_table_of_clients_and_labels():
    labels = np.array([0, 2, 2, 0, 1])
    shares = [np.array([0, 1]), np.array([], dtype=np.int64), np.array([2, 3, 4])]
    assert label_counts(labels, shares).tolist() == [[1, 0, 1], [0, 0, 0], [1, 1, 1]]
    assert label_counts(labels, shares, 4).shape == (3, 4)
    assert label_counts(labels, [], 3).shape == (0, 3)


def test_the_minimum_is_taken_from_the_largest():
    labels = np.zeros(1_000, dtype=np.int64)
    shares = split(DirichletByLabel(alpha=0.02, min_partition_size=50), 10, labels)
    assert min(map(len, shares)) == 50
    assert sum(map(len, shares)) == 1_000


def test_a_column_keeps_its_values_together(tmp_path):
    users = ["ann", "bob", "ann", "cy", "bob", "dee"]
    path = tmp_path / "a.csv"
    rows = "".join(f"t{i},{i % 2},{user}\n" for i, user in enumerate(users))
    path.write_text(f"text,label,user\n{rows}")
    task = Text(train=path, test=path)
    own = divide(ByColumn(column="user"), task, 4, stream(0, "p"))
    assert sorted(map(tuple, own)) == [(0, 2), (1, 4), (3,), (5,)]
    two = divide(ByColumn(column="user"), task, 2, stream(0, "p"))
    for share in two:
        held = {users[i] for i in share}
        assert sum(user in held for user in users) == len(share)
    with pytest.raises(ValueError, match="'user' has 4 values, too few for 5 clients"):
        divide(ByColumn(column="user"), task, 5, stream(0, "p"))
    with pytest.raises(ValueError, match="no column 'users'; did you mean 'user'"):
        divide(ByColumn(column="users"), task, 2, stream(0, "p"))
    with pytest.raises(ValueError, match="task 'digits' has no column 'user'"):
        divide(ByColumn(column="user"), Digits(), 2, stream(0, "p"))


SIX = Synthetic(num_samples=6)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "sample,client\n0,1\n1,0\n2,0\n5,1\n4,0\n3,1\n"),
        ("a.csv", "client,sample\n1,0\n0,1\n0,2\n1,5\n0,4\n1,3\n"),
        ("a.json", json.dumps([1, 0, 0, 1, 0, 1])),
        ("a.json", json.dumps({"0": [1, 2, 4], "1": [5, 3, 0]})),
    ],
)
def test_a_file_says_who_holds_what(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    partition = FromFile.model_validate({"path": name}, context={"folder": tmp_path})
    shares = divide(partition, SIX, 2, stream(0, "p"))
    assert [share.tolist() for share in shares] == [[1, 2, 4], [0, 3, 5]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "sample,user\n0,1\n", r"line 1: must be 'sample,client', got \['sa"),
        ("a.csv", "sample,client\n0,x\n", "line 2: must be a whole number, got 'x'"),
        ("a.csv", "sample,client\n0,0\n6,0\n", "line 3: sample must be from 0 to 5"),
        ("a.csv", "sample,client\n0,-1\n", "line 2: client must be at least 0, got -1"),
        ("a.csv", "sample,client\n0,0\n0,1\n", "sample 0 is given to client 0 already"),
        ("a.json", "[0, 0, 1]", r"sample 3 has no client \(3 such samples\)"),
        ("a.json", "[0, 0, 1, 1, 0, 2]", "names client 2, but there are 2"),
        ("a.json", "[0, 0, 0, 0, 0, 0]", "client 1 must hold at least 1 samples, got"),
        ("a.json", "[0, 0,", r"a\.json, line 1: Expecting value"),
        ("a.json", '{"0": 3}', r"must be a list of clients or client: \[samples\]"),
        ("a.txt", "", r"must end in \.csv or \.json, got '\.txt'"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        divide(FromFile(path=tmp_path / name), SIX, 2, stream(0, "p"))


@pytest.mark.parametrize("partition", [DirichletByLabel(), Shards()])
def test_tasks_without_labels_are_not_divided_by_them(partition, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "a", "answer": "b"}\n' * 4)
    for task in (Arithmetic(), Instruct(train=path, test=path)):
        with pytest.raises(ValueError, match="divides by label and this task has none"):
            divide(partition, task, 2, stream(0, "p"))
        assert len(divide(IID(), task, 2, stream(0, "p"))) == 2


@pytest.mark.parametrize(
    "partition", [IID(min_partition_size=6), Shards(shards_per_client=6), PowerLaw()]
)
def test_too_few_samples_are_refused(partition):
    num_clients = 2 if partition != PowerLaw() else 11
    with pytest.raises(ValueError, match=r"need 1[12], but the training set has 10"):
        split(partition, num_clients, np.zeros(10, dtype=np.int64))
