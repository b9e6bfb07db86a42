"""What the classes of learning must return, where they are a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fl.aggregation.components import LayerComponents, MergedLayer
from netsim.learner.learner import Learner
from netsim.scenario.plug_ins import Answer, Answers, guard, is_ours, is_whole


def _is_digest(answer: str, *_: object) -> bool:
    return isinstance(answer, str) and bool(answer.strip())


def _is_bits(answer: tuple[int, int], *_: object) -> bool:
    return len(answer) == 2 and all(map(is_whole, answer))


LEARNER: Answers = {
    "initial_version": Answer("a digest that is not empty", _is_digest),
    "num_samples": Answer(
        "whole numbers of samples, at least 1 for every client",
        lambda answer: all(is_whole(one, 1) for one in answer),
    ),
    "bits_down": Answer("two whole numbers of bits, at least 0", _is_bits),
    "bits_up": Answer(
        "a whole number of bits, at least 0", lambda answer, job: is_whole(answer)
    ),
    "flop": Answer(
        "a whole number of FLOP, at least 0", lambda answer, job: is_whole(answer)
    ),
    "submit": Answer("a ticket that is not empty", _is_digest),
    "merge": Answer(
        "what was merged, of a version that is not empty",
        lambda answer, *_: _is_digest(answer.version),
    ),
}


def _is_guarded(answer: Learner, *_: object, **__: object) -> bool:
    """Let the learner of a user's class be asked in turn."""
    if not is_ours(type(answer)):
        guard(type(answer), LEARNER)
    return True


LEARNING: Answers = {"learner": Answer("a learner", _is_guarded)}

TASK: Answers = {
    "digest": Answer("a digest that is not empty", _is_digest),
    "num_labels": Answer("a whole number of at least 0", is_whole),
}

BACKBONE: Answers = {"digest": Answer("a digest that is not empty", _is_digest)}


def _is_partition(
    answer: Sequence[Sequence[int]],
    groups: Sequence[int],
    num_clients: int,
    rng: object,
) -> bool:
    all_samples = np.concatenate([np.asarray(share) for share in answer])
    return (
        len(answer) == num_clients
        and np.issubdtype(all_samples.dtype, np.integer)
        and len(np.unique(all_samples)) == len(all_samples)
        and bool(((all_samples >= 0) & (all_samples < len(groups))).all())
    )


PARTITION: Answers = {
    "split": Answer(
        "each client's samples, whole numbers below the number of samples, each once",
        _is_partition,
    ),
}


def _fits(merged: MergedLayer, layer: LayerComponents) -> bool:
    """Return whether a merged pair has the shape and the dtype of what was merged."""
    (lora_b, lora_a), (model_b, model_a) = merged.pair, layer.pairs[0]
    return (
        lora_b.shape[0] == model_b.shape[0]
        and lora_a.shape[1] == model_a.shape[1]
        and lora_b.shape[1] == lora_a.shape[0]
        and (lora_b.dtype, lora_a.dtype) == (model_b.dtype, model_a.dtype)
    )


def _is_merged(
    answer: Mapping[str, MergedLayer], layers: Mapping[str, LayerComponents]
) -> bool:
    return list(answer) == list(layers) and all(
        _fits(answer[name], layer) for name, layer in layers.items()
    )


METHOD: Answers = {
    "merge": Answer(
        "every layer in the order given, with factors B [m, r] and A [r, n] of the "
        "components' dtype",
        _is_merged,
    ),
    "merge_layer": Answer(
        "factors B [m, r] and A [r, n] of the components' dtype",
        lambda answer, layer, norms: _fits(answer, layer),
    ),
}
