"""A tiny Llama's configuration, without weights."""

import json

TINY_LLAMA = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
}


def write_config(folder):
    """Write a ``config.json`` with a vocabulary of 300; return the folder's path."""
    words = {"vocab_size": 300, "architectures": ["LlamaForCausalLM"]}
    values = {**TINY_LLAMA, **words, "model_type": "llama"}
    (folder / "config.json").write_text(json.dumps(values))
    return str(folder)
