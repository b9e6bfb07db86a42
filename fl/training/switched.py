"""Training of one client at a time through PEFT's own layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from fl.local.strategy import Loss
from fl.model.adapters import Adapter
from fl.model.sketch import Sketch
from fl.training.grouping import ONE_CLIENT_PER_PASS

if TYPE_CHECKING:
    from torch import Tensor

    from fl.model.lora_model import LoraModel


class Switched:
    """The adapter of one client, for layers that are not plain LoRA."""

    rule = ONE_CLIENT_PER_PASS
    bf16 = False

    def __init__(
        self,
        lora_model: LoraModel,
        start: Adapter,
        sketch: Sketch | None,
        dropout: AbstractContextManager[None],
    ) -> None:
        if sketch is not None and not sketch.is_whole:
            raise ValueError("only plain LoRA can be sketched, not DoRA or HiRA")
        self._lora_model = lora_model
        self._layout = start.layout
        self._dropout = dropout
        self.values = start.flat.to(lora_model.device, lora_model.dtype).unsqueeze(0)
        self.values = self.values.clone()
        self.gradients = self.values.new_zeros(self.values.shape)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Activate dropout, drawn from this client's stream."""
        with self._dropout, self._lora_model.lora_dropout():
            yield

    def differentiated(
        self,
        rows: Sequence[int],
        batches: Sequence[Mapping[str, Tensor]],
        num_items: Sequence[int],
        loss: Loss,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of the client's batch, and its gradient."""
        import torch

        lora_model = self._lora_model
        lora_model.write_flat(self.values[0])
        batch = lora_model.placed(batches[0])
        losses = loss(
            lora_model.logits(batch, bf16=self.bf16),
            batch["labels"],
            self.values.new_tensor(num_items),
        )
        gradients = torch.autograd.grad(losses.sum(), lora_model.parameters)
        flat = torch.cat([g.flatten() for g in gradients])
        return losses.detach(), flat.unsqueeze(0)

    def own(self, row: int, numbers: Tensor) -> list[Tensor]:
        """Return the client's own numbers of a row, all of them, as views."""
        return list(self._layout.views(numbers).values())

    def replace(self, row: int, adapter: Adapter) -> None:
        """Take the numbers of an adapter for the client's."""
        self.values[row] = adapter.flat.to(self.values)

    def trained(self, row: int, *, gain: float) -> Adapter:
        """Return the client's adapter."""
        return Adapter(self._layout, self.values[row].to("cpu", copy=True))
