"""Outputs of the frozen layers below the first trained one, kept per sample."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from fl.tasks.tokens import text_lengths

if TYPE_CHECKING:
    from torch import Tensor, nn

LIMIT_BYTES = 2**30  # of a process; the oldest go first, and are computed again


class NothingFrozen(ValueError):
    """No layers come before everything that is trained, or they cannot be left out."""


class _Reached(Exception):
    """The rest of the model is not needed."""


class FrozenLayers:
    """The layers of a model that come before everything that is trained.

    A sample's output is computed by itself, without padding, so that it does not depend
    on which samples came before. It equals that of a batch up to rounding.
    """

    def __init__(self, model: nn.Module, sample: Mapping[str, Tensor]) -> None:
        """Find the layers with a batch of one sample; raises ``NothingFrozen``."""
        self._model = model
        self._layers = frozen_layers(model, _inputs(sample))
        self._outputs: OrderedDict[bytes, Tensor] = OrderedDict()
        self._num_bytes = 0
        if not self._layers:
            raise NothingFrozen("no layer comes before the first trained one")
        self._require_equal(sample)

    @contextmanager
    def cached(self, batch: Mapping[str, Tensor]) -> Iterator[None]:
        """Make the layers return what they did before for the samples of a batch."""
        samples = _samples(batch)
        if not samples:
            yield
            return
        outputs = [self._output(sample) for sample in samples]
        try:
            for layer in self._layers:
                layer.forward = partial(_given, _padded(outputs, batch))
            yield
        finally:
            for layer in self._layers:
                vars(layer).pop("forward", None)

    def _output(self, sample: Mapping[str, Tensor]) -> Tensor:
        """Return the last layer's output for a batch of one sample, [length, width]."""
        import torch

        device = next(iter(sample.values())).device.type
        key = _digest(sample, torch.is_autocast_enabled(device))
        if key in self._outputs:
            self._outputs.move_to_end(key)
            return self._outputs[key]
        output = self._outputs[key] = self._computed(sample)
        self._num_bytes += output.nbytes
        while self._num_bytes > LIMIT_BYTES and len(self._outputs) > 1:
            self._num_bytes -= self._outputs.popitem(last=False)[1].nbytes
        return output

    def _require_equal(self, sample: Mapping[str, Tensor]) -> None:
        """Refuse a model that computes something else without these layers."""
        import torch

        with torch.no_grad():
            whole = self._model(**_inputs(sample)).logits
            with self.cached(sample):
                found = self._model(**_inputs(sample)).logits
        if not torch.allclose(whole, found, rtol=1e-4, atol=1e-5):
            raise NothingFrozen("this model's layers do not simply follow each other")

    def _computed(self, sample: Mapping[str, Tensor]) -> Tensor:
        import torch

        found: list[Tensor] = []

        def stop(layer: nn.Module, given: object, output: Tensor) -> None:
            found.append(output[0])
            raise _Reached

        hook = self._layers[-1].register_forward_hook(stop)
        try:
            # an evaluation's output must serve a training, too
            with torch.inference_mode(False), torch.no_grad():
                self._model(**{name: one.clone() for name, one in sample.items()})
        except _Reached:
            return found[0]
        finally:
            hook.remove()
        raise AssertionError("the model has these layers")


def frozen_layers(model: nn.Module, sample: Mapping[str, Tensor]) -> list[nn.Module]:
    """Return the layers of a PEFT model that a batch passes before anything trained.

    They are the first entries of one list of modules, each of which returns a tensor.
    """
    from torch import nn

    lists = [one for one in model.modules() if isinstance(one, nn.ModuleList)]
    layers = [layer for one in lists for layer in one]
    passed = _passed_before_training(model, sample, layers)
    first = [list(takewhile(passed.__contains__, one)) for one in lists]
    return next(filter(None, first), [])


def _passed_before_training(
    model: nn.Module, sample: Mapping[str, Tensor], layers: Sequence[nn.Module]
) -> list[nn.Module]:
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    passed: list[nn.Module] = []

    def reach(module: nn.Module, given: object) -> None:
        raise _Reached

    def note(module: nn.Module, given: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            passed.append(module)

    hooks = [layer.register_forward_hook(note) for layer in layers]
    for module in model.modules():
        if isinstance(module, BaseTunerLayer | ModulesToSaveWrapper):
            hooks.append(module.register_forward_pre_hook(reach))
    try:
        with torch.no_grad(), suppress(_Reached):
            model(**sample)
    finally:
        for hook in hooks:
            hook.remove()
    return passed


def _inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


def _samples(batch: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return each sample as a batch of one without padding; none where a text's own
    length is unknown."""
    inputs = _inputs(batch)
    if "input_ids" not in inputs:
        size = len(batch["labels"])
        return [{n: t[i : i + 1] for n, t in inputs.items()} for i in range(size)]
    lengths = text_lengths(batch)
    if lengths is None:
        return []
    width = inputs["input_ids"].shape[1]
    return [
        {
            name: value[row : row + 1, :length]
            if value.dim() >= 2 and value.shape[1] == width
            else value[row : row + 1]
            for name, value in inputs.items()
        }
        for row, length in enumerate(lengths.tolist())
    ]


def _digest(sample: Mapping[str, Tensor], is_autocast: bool) -> bytes:
    found = hashlib.blake2b(bytes([is_autocast]), digest_size=16)
    for name, value in sample.items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        found.update(value.cpu().numpy().tobytes())
    return found.digest()


def _padded(outputs: Sequence[Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    """Return the outputs as those of one batch; padding is zero."""
    first = outputs[0]
    length = batch["input_ids"].shape[1] if "input_ids" in batch else len(first)
    result = first.new_zeros(len(outputs), length, *first.shape[1:])
    for row, output in zip(result, outputs, strict=True):
        row[: len(output)] = output
    return result


def _given(output: Tensor, *args: object, **more: object) -> Tensor:
    return output
