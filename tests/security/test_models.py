"""Adapters and models whose configuration asks for time or code."""

import re
import time

import pytest
from pydantic import ValidationError

from fl.backbones import FromPretrained
from fl.backbones.families import name_attention
from fl.peft_folders.patterns import matches

MODULE = "base_model.model.model.layers.11.self_attn.q_proj"


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|a)*b",
        "(.*)*x",
        ".*.*.*.*.*.*x",
        "(.|.)" * 30 + "!",
        "((a?){1,30})!",
        "a?" * 40 + "b",
        r"(a)\1",
        "(?=a+)+",
        "(",
        "x" * 5_000,
    ],
)
def test_a_pattern_that_may_hang_is_refused_at_once(pattern):
    start = time.perf_counter()
    with pytest.raises(ValueError, match="pattern"):
        matches(pattern, "a" * 60)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "pattern",
    [
        "q_proj",
        "v_proj",
        r"self_attn\.q_proj",
        "^" + re.escape(MODULE),
        ".*self_attn.*q_proj",
        r"layers\.(10|11|12)\.self_attn\.[qkv]_proj",
        r"layers\.\d+\.self_attn\.q_proj",
        "roj",
    ],
)
def test_usual_patterns_mean_what_they_mean_in_peft(pattern):
    peft = re.match(rf"(.*\.)?({pattern})$", MODULE) is not None
    assert matches(pattern, MODULE) == peft


def test_no_model_names_its_kernels():
    from transformers import BertConfig

    config = BertConfig.from_dict(
        {"_attn_implementation": "evil/kernel", "attn_implementation": "evil/kernel"}
    )
    config._experts_implementation = "evil/kernel"
    name_attention(config, None)
    assert config._attn_implementation is None
    assert config._experts_implementation is None


def test_a_model_folder_is_data(tmp_path):
    with pytest.raises(ValidationError, match="trust_remote_code"):
        FromPretrained(path="owner/name", trust_remote_code=True)
