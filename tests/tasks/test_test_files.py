"""A fault of a test file is one message, as a fault of a training file is."""

import gzip

import pytest

from tests.support.command import netsim
from tests.support.places import ROOT

TRAIN = "label,text\ngood,a fine film\nbad,dull\ngood,warm and wise\nbad,no\n"
FAULTS = {
    "unknown label": ("test.csv", b"label,text\nworse,dull\n", "line 2: label 'worse'"),
    "empty": ("test.csv", b"", "holds no rows"),
    "header alone": ("test.csv", b"label,text\n", "holds no rows"),
    "not UTF-8": ("test.csv", b"label,text\ngood,caf\xe9\n", "line 2: is not UTF-8"),
    "missing column": ("test.csv", b"label,words\ngood,fine\n", "no column 'text'"),
    "short row": ("test.csv", b"label,text\ngood\n", "line 2: must have 2 cells"),
    "open quote": ("test.csv", b'label,text\ngood,"fine\n', "unexpected end of data"),
    "blank text": ("test.csv", b"label,text\ngood, \n", "must be text, got ' '"),
    "damaged gzip": ("test.csv.gz", gzip.compress(b"label")[:9], "is damaged"),
    "not JSON": ("test.jsonl", b"{'label': 1}\n", "line 1: not JSON"),
    "no object": ("test.jsonl", b"[1, 2]\n", "line 1: must be an object"),
    "not Parquet": ("test.parquet", b"PAR1", "cannot be read as Parquet"),
    "unknown suffix": ("test.txt", b"good,fine\n", "a table ends in .csv"),
}


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_message(fault, command, tmp_path, capsys):
    name, content, told = FAULTS[fault]
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / name).write_bytes(content)
    files = f"train: {tmp_path}/train.csv, test: {tmp_path}/{name}"
    where = ("--out", tmp_path / "run", "--quiet") if command == "run" else ()
    code = netsim(
        command,
        ROOT / "scenarios/quickstart.yaml",
        "--set",
        f"learning.task={{kind: text, {files}}}",
        "--set",
        "learning.backbone={kind: config, model_type: bert, vocab_size: 300}",
        "--set",
        "learning.lora.target_modules=[query, value]",
        "--set",
        "population.num_clients=2",
        *where,
    )
    message = capsys.readouterr().err
    assert code == 2
    assert f"{tmp_path}/{name}" in message
    assert told in message
    assert message.startswith("learning.task: ")
    assert message.count("\n") == 1
