import gzip
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fl.backbones import FromConfig, read
from fl.tasks import Text
from fl.tasks.data_files import file_digest
from tests.support.places import DATA

ROWS = [("good", "a fine film"), ("bad", 'dull, "flat"'), ("good", "warm and wise")]
WORDS = FromConfig(model_type="bert", vocab_size=300)


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return str(path)


def in_format(folder, suffix):
    """Return the three rows as a file of one format."""
    path = folder / f"rows{suffix}"
    if suffix == ".parquet":
        labels, texts = zip(*ROWS, strict=True)
        pq.write_table(pa.table({"label": labels, "text": texts}), path)
        return str(path)
    content = {
        ".csv": 'label,text\ngood,a fine film\nbad,"dull, ""flat"""\n\n'
        "good,warm and wise\n",
        ".tsv": 'label\ttext\ngood\ta fine film\nbad\tdull, "flat"\n'
        "good\twarm and wise\n",
        ".jsonl": '{"label": "good", "text": "a fine film"}\n'
        '{"label": "bad", "text": "dull, \\"flat\\""}\n'
        '{"label": "good", "text": "warm and wise", "extra": 1}\n',
    }
    if suffix == ".csv.gz":
        path.write_bytes(gzip.compress(content[".csv"].encode()))
        return str(path)
    return write(path, content[suffix])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    path = in_format(tmp_path, suffix)
    task = Text(train=path, test=path)
    assert task.num_labels == 2
    assert task.labels("train").tolist() == [1, 0, 1]
    assert task.texts("train", [0, 1, 2]) == [text for _, text in ROWS]
    assert task.labels("public").tolist() == []
    order = task.texts("test", [0, 1, 2])
    assert sorted(order) == sorted(text for _, text in ROWS)
    by_text = {text: label == "good" for label, text in ROWS}
    assert task.labels("test").tolist() == [by_text[text] for text in order]


def test_columns_are_numbered_where_there_is_no_header(tmp_path):
    path = write(tmp_path / "a.tsv", "1\tfine\tann\n0\tdull\tbob\n")
    task = Text(train=path, test=path, text_column=1, label_column=0, header=False)
    assert task.texts("train", [0, 1]) == ["fine", "dull"]
    assert task.labels("train").tolist() == [1, 0]
    assert task.column("2").tolist() == ["ann", "bob"]
    with pytest.raises(ValueError, match="text_column must be a number where header"):
        Text(train=path, test=path, header=False, label_column=0)


def test_numbered_columns_skip_a_header_that_differs_between_files(tmp_path):
    train = write(tmp_path / "a.tsv", "label\tsentence\n1\tfine\n0\tdull\n")
    test = write(tmp_path / "b.tsv", "label\tcontent\n0\tflat\n")
    task = Text(train=train, test=test, text_column=1, label_column=0, header=True)
    assert task.texts("test", [0]) == ["flat"]


def test_numbered_columns_need_a_word_on_the_header(tmp_path):
    path = write(tmp_path / "rows.csv", "good,fine\nbad,dull\n")
    with pytest.raises(ValueError, match="`header` must be given: false where"):
        Text(train=path, test=path, text_column=1, label_column=0)


def test_labels_are_sorted_by_size_or_by_name(tmp_path):
    numbers = write(tmp_path / "n.csv", "text,label\na,10\nb,9\nc,-1\n")
    assert Text(train=numbers, test=numbers).labels("train").tolist() == [2, 1, 0]
    names = write(tmp_path / "t.csv", "text,label\na,x10\nb,x9\nc,b\n")
    assert Text(train=names, test=names).labels("train").tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,labels\na,1\n", "line 2: no column 'label'; did you mean 'lab"),
        ("a.csv", "text,label\na,1\nb\n", "line 3: must have 2 cells.*, got 1"),
        ("a.csv", "text,label\na,1\n ,0\n", "line 3: column 'text' must be text"),
        ("a.csv", 'text,label\na,1\n"b,0\n', r"a\.csv, line 3: unexpected end"),
        ("a.csv", "text,label\n", "holds no rows"),
        ("a.csv", "text,label\na,1\nb,1\n", "at least two labels, got only '1'"),
        ("a.jsonl", '{"text": "a"\n', "line 1: not JSON"),
        ("a.jsonl", "[1]\n", r"line 1: must be an object, got \[1\]"),
        ("a.jsonl", '\n{"text": null, "label": 1}\n', "line 2: column 'text' must be"),
        ("a.parquet", "no", "cannot be read as Parquet"),
        ("a.xlsx", "no", r"a table ends in \.csv, .*, got '\.xlsx'"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(
    tmp_path, name, content, message
):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message):
        Text(train=path, test=path).labels("train")


def test_a_line_is_counted_through_quoted_line_ends(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"a\nb",1\nc,2\n ,3\n')
    with pytest.raises(ValueError, match="line 5: column 'text'"):
        Text(train=path, test=path).labels("train")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\na,1\n\xff,2\n")
    path = str(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="line 3: is not UTF-8"):
        Text(train=path, test=path).labels("train")


def test_an_unknown_label_of_the_test_is_refused(tmp_path):
    train = write(tmp_path / "a.csv", "text,label\na,card_lost\nb,top_up\n")
    test = write(tmp_path / "b.csv", "text,label\na,top_up\nb,card_last\n")
    message = r"b\.csv, line 3: label 'card_last' does not occur.*mean 'card_lost'"
    with pytest.raises(ValueError, match=message):
        Text(train=train, test=test).labels("test")


def test_paths_are_seen_from_the_scenario(tmp_path):
    write(tmp_path / "train.csv", "text,label\na,1\nb,2\n")
    context = {"folder": tmp_path}
    fields = {"train": "train.csv", "test": "./train.csv"}
    task = Text.model_validate(fields, context=context)
    assert task.train == task.test == str(tmp_path / "train.csv")
    for wrong, message in (
        ("trian.csv", "no such file, got .*; did you mean 'train.csv'"),
        ("far/train.csv", "no such file and no such folder"),
        (".", "must be a file, got the folder"),
        ("hf://datasets/x", "a hub file is written hf://datasets/OWNER/NAME"),
    ):
        with pytest.raises(ValueError, match=message):
            Text.model_validate({**fields, "test": wrong}, context=context)
    with pytest.raises(ValueError, match="no such file"):
        Text(train="nowhere.csv", test="nowhere.csv").labels("train")


def test_a_file_of_the_hub_is_read_from_its_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = tmp_path / "datasets--someone--films" / "snapshots" / ("d" * 40)
    (commit / "data").mkdir(parents=True)
    shutil.copy(in_format(tmp_path, ".parquet"), commit / "data" / "train.parquet")
    place = f"hf://datasets/someone/films@{'d' * 40}/data/train.parquet"
    task = Text(train=place, test=place)
    assert task.labels("train").tolist() == [1, 0, 1]
    absent = Text(train="hf://datasets/some/one/a.csv", test=place)
    with pytest.raises(ValueError, match=r"not in the cache.*HF_HUB_OFFLINE is"):
        absent.labels("train")


def test_a_digest_follows_content_and_reading_but_no_path(tmp_path):
    path = in_format(tmp_path, ".csv")
    copy = shutil.copy(path, tmp_path / "copy.csv")
    task = Text(train=path, test=path)
    assert task.digest == Text(train=copy, test=path).digest
    assert task.digest != Text(train=copy, test=path, max_length=8).digest
    write(tmp_path / "copy.csv", "text,label\na,1\nb,2\n")
    assert task.digest != Text(train=copy, test=path).digest


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "a.csv"
    task = Text(train=write(path, "text,label\na,1\nb,2\n"), test=str(path))
    before = task.digest, len(task.labels("train"))
    write(path, "text,label\na,1\nb,2\nc,3\n")
    os.utime(path, ns=(1, 1))
    assert (task.digest, len(task.labels("train"))) != before
    assert task.num_labels == 3


def test_a_large_file_is_hashed_once(tmp_path, monkeypatch):
    import fl.tasks.data_files as data_files

    monkeypatch.setattr(data_files, "LARGE_BYTES", 4)
    path = tmp_path / "large"
    path.write_bytes(b"12345")
    young = data_files.file_state(path)
    assert young != data_files.file_state(path)  # it may change at the same tick
    monkeypatch.setattr(data_files, "YOUNG_NS", 0)
    digest = file_digest(path)
    data_files._file_digest.cache_clear()
    monkeypatch.setattr("hashlib.file_digest", None)  # it must not be needed again
    assert file_digest(path) == digest


def test_a_batch_is_as_wide_as_its_longest_text(tmp_path):
    rows = "".join(f"{'word ' * (i + 1)},{i % 2}\n" for i in range(30))
    path = write(tmp_path / "a.csv", f"text,label\n{rows}")
    task = read(Text(train=path, test=path, max_length=16), WORDS)
    lengths = task.lengths("train", np.arange(30))
    assert lengths.min() < 8
    assert lengths.max() == 16
    batch = task.batch("train", np.array([4, 0, 2]))
    assert batch["input_ids"].shape == (3, lengths[4])
    assert batch["attention_mask"].sum(1).tolist() == lengths[[4, 0, 2]].tolist()
    assert batch["labels"].tolist() == [0, 0, 0]
    pad = task.tokenizer.pad_id
    assert (batch["input_ids"][batch["attention_mask"] == 0] == pad).all()


def test_a_limit_keeps_a_fixed_part_of_the_training_file(tmp_path):
    rows = "".join(f"t{i},{i % 2}\n" for i in range(100))
    path = write(tmp_path / "a.csv", f"text,label\n{rows}")
    task = Text(train=path, test=path, limit=20)
    texts = task.texts("train", range(20))
    numbers = [int(text[1:]) for text in texts]
    assert len(task.labels("train")) == 20
    assert numbers == sorted(set(numbers))
    assert numbers != list(range(20))
    assert task.labels("train").tolist() == [n % 2 for n in numbers]
    assert len(task.labels("test")) == 100


@pytest.mark.skipif(not (DATA / "banking77").is_dir(), reason="no banking77 files")
def test_banking77_is_read_whole():
    folder = DATA / "banking77"
    files = {name: str(folder / f"{name}.csv") for name in ("train", "test")}
    task = Text(**files, label_column="category")
    assert task.num_labels == 77
    assert [len(task.labels(s)) for s in ("train", "test")] == [10_003, 3_080]
    # the file is sorted by label; the first samples of the test stand for all of it
    assert len(set(task.labels("test")[:300].tolist())) > 60


@pytest.mark.skipif(not (DATA / "sst2").is_dir(), reason="no sst2 files")
def test_sst2_is_read_whole():
    files = {"train": DATA / "sst2" / "train.tsv", "test": DATA / "sst2" / "dev.tsv"}
    task = Text(
        **{split: str(path) for split, path in files.items()},
        text_column=1,
        label_column=0,
        header=True,
    )
    assert task.num_labels == 2
    assert [len(task.labels(s)) for s in ("train", "test")] == [67_349, 872]
