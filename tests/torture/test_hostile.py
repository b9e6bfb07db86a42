"""Folders of a stranger are read, or refused by name."""

import json
import shutil
import struct

import pytest

from fl.backbones import FromPretrained
from fl.tasks import Synthetic
from netsim.core.files import write_atomically
from tests.torture import hostile

pytestmark = pytest.mark.slow

TASK = Synthetic(num_samples=60, num_test=20, num_public=60)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stranger") / "model"
    hostile.write_model(folder)
    return folder


def settings(**changed):
    def change(content):
        return json.dumps({**json.loads(content), **changed}).encode()

    return change


def header(text):
    return lambda content: struct.pack("<Q", len(text)) + text


HOSTILE = {
    "a text for a truth": ("config.json", settings(add_cross_attention="yes")),
    "half a layer": ("config.json", settings(num_hidden_layers=1.5)),
    "no head": ("config.json", settings(num_attention_heads=0)),
    "less than nothing": ("config.json", settings(hidden_size=-16)),
    "an endless list": ("config.json", lambda content: b"[" * 9_000),
    "a list": ("config.json", lambda content: b"[]"),
    "an empty header": ("model.safetensors", header(b"")),
    "a header that lies": ("model.safetensors", header(b'{"a": 0.1}')),
    "a header of exabytes": ("model.safetensors", lambda content: b"\xff" * 40),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_strangers_model_is_refused_by_name(case, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    name, change = HOSTILE[case]
    write_atomically(folder / name, change((folder / name).read_bytes()))
    with pytest.raises(ValueError, match=str(folder)):
        FromPretrained(path=str(folder)).load(TASK)


@pytest.mark.parametrize(
    "content",
    [b"[" * 9_000, b"[]", b'{"model": 1}', b'{"version": "1.0", "model": {}}'],
)
def test_a_strangers_tokenizer_is_refused_by_name(content, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    write_atomically(folder / "tokenizer.json", content)
    with pytest.raises(ValueError, match=str(folder)):
        _ = FromPretrained(path=str(folder)).tokenizer(TASK).loaded
