"""What the classes of learning must return, where they are a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fl.aggregation.components import LayerComponents, MergedLayer, Pair
from fl.aggregation.compression import FACTS
from fl.aggregation.context import NAMES as MERGE_FACTS
from fl.aggregation.method import Contract, Exchange
from fl.aggregation.server_optimiser import Moments
from fl.contract import Merged, Score, Work
from fl.local import Demands
from fl.tasks import Objective
from netsim.learner.learner import Learner
from netsim.scenario.plug_ins import Answer, Answers, is_whole


def _is_digest(answer: str, *_: object) -> bool:
    return isinstance(answer, str) and bool(answer.strip())


def _is_bits(answer: tuple[int, int], *_: object) -> bool:
    return len(answer) == 2 and all(map(is_whole, answer))


def _is_count(answer: object, *_: object) -> bool:
    return is_whole(answer)


def _is_version(answer: Merged, *_: object, **__: object) -> bool:
    return _is_digest(answer.version)


LEARNER: Answers = {
    "initial_version": Answer("a digest that is not empty", _is_digest),
    "num_samples": Answer(
        "whole numbers of samples, at least 1 for every client",
        lambda answer: all(is_whole(one, 1) for one in answer),
    ),
    "rank": Answer(
        "a whole rank of at least 1, or None",
        lambda answer: answer is None or is_whole(answer, 1),
    ),
    "memory_at": Answer("a whole number of bytes, at least 0", _is_count),
    "bits_down": Answer("two whole numbers of bits, at least 0", _is_bits),
    "bits_up": Answer("a whole number of bits, at least 0", _is_count),
    "work": Answer(
        "work (fl.contract.Work) of whole numbers, at least 0",
        lambda answer, _: (
            isinstance(answer, Work) and all(map(is_whole, astuple(answer)))
        ),
    ),
    "submit": Answer("a ticket that is not empty", _is_digest),
    "merge": Answer("what was merged, of a version that is not empty", _is_version),
    "join": Answer("what was merged, of a version that is not empty", _is_version),
    "evaluate": Answer(
        "scores",
        lambda answer, version: all(isinstance(one, Score) for one in answer),
    ),
    "export": Answer("a text", lambda answer, *_: isinstance(answer, str)),
    "steps_trained": Answer("a whole number of steps", is_whole),
    "steps_reused": Answer("a whole number of steps", is_whole),
}


def _is_learner(answer: Learner, *_: object, **__: object) -> bool:
    return callable(answer.submit) and callable(answer.merge)


LEARNING: Answers = {
    "learner": Answer("a learner", _is_learner, then=LEARNER),
    "known_learner": Answer(
        "a learner, or None",
        lambda answer, *_, **__: answer is None or _is_learner(answer),
        then=LEARNER,
    ),
}


def _are_whole(answer: NDArray[np.int64], *_: object) -> bool:
    return answer.ndim == 1 and np.issubdtype(answer.dtype, np.integer)


TASK_READ: Answers = {  # ready for training
    "batch": Answer(
        "the model's arguments by name, with `labels` of as many samples",
        lambda answer, split, indices: len(answer["labels"]) == len(indices),
    ),
    "lengths": Answer(
        "the whole number of tokens of every sample",
        lambda answer, split, indices: (
            _are_whole(answer) and len(answer) == len(indices)
        ),
    ),
}
TASK: Answers = {
    "digest": Answer("a digest that is not empty", _is_digest),
    "objective": Answer(
        f"one of {', '.join(get_args(Objective))}",
        lambda answer: answer in get_args(Objective),
    ),
    "num_labels": Answer("a whole number of at least 0", is_whole),
    "max_length": Answer("a whole number of tokens, at least 0", is_whole),
    "labels": Answer("a whole number for every sample, as an array", _are_whole),
    "read_by": Answer(
        "a task with `batch` and `lengths`",
        lambda answer, tokenizer: callable(answer.batch) and callable(answer.lengths),
        then=TASK_READ,
    ),
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
        and all(bool((np.diff(share) > 0).all()) for share in answer)
        and np.issubdtype(all_samples.dtype, np.integer)
        and len(np.unique(all_samples)) == len(all_samples)
        and bool(((all_samples >= 0) & (all_samples < len(groups))).all())
    )


PARTITION: Answers = {
    "groups": Answer("a whole number for every sample, as an array", _are_whole),
    "split": Answer(
        "each client's samples in ascending order, whole numbers below the number of "
        "samples, each once",
        _is_partition,
    ),
}


def _fits(merged: MergedLayer, layer: LayerComponents) -> bool:
    """Return whether a merged pair, and what is folded, has the shape and the dtype of
    what was merged, and at least the rank of the adapter before it."""
    least = 0 if layer.previous is None else layer.previous.lora_a.shape[0]
    has_rank = merged.pair.lora_a.shape[0] >= least
    return has_rank and all(_is_like(pair, layer.pairs[0]) for pair in merged.sent)


def _is_like(pair: Pair, model: Pair) -> bool:
    (lora_b, lora_a), (model_b, model_a) = pair, model
    return (
        lora_b.shape[0] == model_b.shape[0]
        and lora_a.shape[1] == model_a.shape[1]
        and lora_b.shape[1] == lora_a.shape[0]
        and (lora_b.dtype, lora_a.dtype) == (model_b.dtype, model_a.dtype)
    )


def _is_merged(
    answer: Mapping[str, MergedLayer],
    layers: Mapping[str, LayerComponents] | None = None,
    **others: object,
) -> bool:
    return layers is None or (
        list(answer) == list(layers)
        and all(_fits(answer[name], layer) for name, layer in layers.items())
    )


_RANK = "r at least the adapter's"
METHOD: Answers = {
    "contract": Answer("a contract", lambda answer: isinstance(answer, Contract)),
    "exchange": Answer(
        "the parts that are exchanged",
        lambda answer, round_index: isinstance(answer, Exchange),
    ),
    "merge": Answer(
        "every layer in the order given, with factors B [m, r] and A [r, n] of the "
        f"components' dtype, {_RANK}",
        _is_merged,
        names=MERGE_FACTS,
    ),
    "merge_layer": Answer(
        f"factors B [m, r] and A [r, n] of the components' dtype, {_RANK}",
        lambda answer, layer, norms: _fits(answer, layer),
    ),
}


def _is_flat(answer: Any, model: Any) -> bool:  # tensors, which have no type here
    return bool(answer.shape == model.shape and answer.dtype == model.dtype)


COMPRESSION: Answers = {
    "has_memory": Answer("true or false", lambda answer: isinstance(answer, bool)),
    "deliver": Answer(
        "what is received, and what is kept back or None, of the upload's shape and "
        "dtype",
        lambda answer, trained=None, **others: (
            _is_flat(answer.received, trained)
            and (answer.kept_back is None or _is_flat(answer.kept_back, trained))
        ),
        names=FACTS,
    ),
    "bits": Answer("a whole number of bits, at least 0", _is_count),
}

LOCAL: Answers = {
    "demands": Answer(
        "demands (fl.local.Demands)", lambda answer: isinstance(answer, Demands)
    ),
    "train": Answer("nothing", lambda answer, cohort: answer is None),
}

OPTIMISER: Answers = {
    "step": Answer(
        "the next adapter, of the shape and dtype of the one before, and moments",
        lambda answer, before, merged, moments: (
            _is_flat(answer[0], before) and isinstance(answer[1], Moments)
        ),
    ),
}
