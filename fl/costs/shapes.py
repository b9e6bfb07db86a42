"""Published models as transformers configuration values, to be counted, never loaded.

Values of each model's ``config.json`` on the hub that decide shapes; the tests hold the
resulting parameter counts against the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fl.memory.recipe import Json


def _decoder(
    family: str, *, hidden: int, mlp: int, layers: int, heads: int, groups: int
) -> dict[str, Json]:
    return {
        "architectures": [f"{family}ForCausalLM"],
        "model_type": family.lower(),
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
    }


def _llama(*, tied: bool, **sizes: int) -> dict[str, Json]:
    head_dim = sizes["hidden"] // sizes["heads"]
    words = {"vocab_size": 128_256, "max_position_embeddings": 131_072}
    return {
        **_decoder("Llama", **sizes),
        **words,
        "head_dim": head_dim,
        "tie_word_embeddings": tied,
    }


def _qwen2(*, tied: bool, vocab_size: int, **sizes: int) -> dict[str, Json]:
    return {
        **_decoder("Qwen2", **sizes),
        "vocab_size": vocab_size,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": tied,
    }


_ROBERTA_LARGE: dict[str, Json] = {
    "architectures": ["RobertaForSequenceClassification"],
    "model_type": "roberta",
    "vocab_size": 50_265,
    "hidden_size": 1_024,
    "intermediate_size": 4_096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}

_GEMMA_3_270M: dict[str, Json] = {
    **_decoder("Gemma3", hidden=640, mlp=2_048, layers=18, heads=4, groups=1),
    "model_type": "gemma3_text",
    "head_dim": 256,
    "sliding_window": 512,
    "vocab_size": 262_144,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
}

SHAPES: Mapping[str, Mapping[str, Json]] = MappingProxyType(
    {
        "roberta-large": _ROBERTA_LARGE,
        "gemma-3-270m": _GEMMA_3_270M,
        "llama-3.2-1b": _llama(
            hidden=2_048, mlp=8_192, layers=16, heads=32, groups=8, tied=True
        ),
        "llama-3.2-3b": _llama(
            hidden=3_072, mlp=8_192, layers=28, heads=24, groups=8, tied=True
        ),
        "llama-3.1-8b": _llama(
            hidden=4_096, mlp=14_336, layers=32, heads=32, groups=8, tied=False
        ),
        "qwen2.5-0.5b": _qwen2(
            hidden=896,
            mlp=4_864,
            layers=24,
            heads=14,
            groups=2,
            vocab_size=151_936,
            tied=True,
        ),
        "qwen2.5-7b": _qwen2(
            hidden=3_584,
            mlp=18_944,
            layers=28,
            heads=28,
            groups=4,
            vocab_size=152_064,
            tied=False,
        ),
    }
)
