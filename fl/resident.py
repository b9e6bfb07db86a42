"""The one model in memory, whose adapter is exchanged by a single copy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from fl.adapters import Adapter, Layout, LoraSettings, Part
from fl.streams import forked

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel


class ResidentModel:
    """A frozen base with LoRA on it, and all trained numbers in one flat buffer.

    The parameters that PEFT made are views into that buffer, so that exchanging the
    adapter is one copy. The base stays in eval mode; only LoRA's dropout may act.
    """

    def __init__(
        self,
        base: PreTrainedModel,
        lora: LoraSettings,
        *,
        seed: int,
        precision: Literal["float32", "float64"] = "float32",
        device: str = "cpu",
    ) -> None:
        """Put fresh LoRA factors, drawn from ``seed``, on ``base``, in place."""
        import torch

        with forked(seed, "lora init"):
            model = _with_lora(base, lora)
        dtype = {"float32": torch.float32, "float64": torch.float64}[precision]
        self.model: nn.Module = model.to(device=device, dtype=dtype).eval()
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.parameters = [parameter for _, parameter in named]
        self.layout = Layout(tuple(_part(n, tuple(p.shape)) for n, p in named))
        _require_modules(self.layout, lora)
        self._flat = _flatten(self.parameters)

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the trained numbers."""
        return self._flat.dtype

    def read(self) -> Adapter:
        """Return a copy of the resident adapter."""
        return Adapter(self.layout, self._flat.to("cpu", copy=True))

    def write(self, adapter: Adapter) -> None:
        """Make ``adapter`` the resident one."""
        assert adapter.layout == self.layout
        self._flat.copy_(adapter.flat)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits of a batch that a task made."""
        inputs = {
            name: value.to(self._flat.device, self.dtype)
            if value.is_floating_point()
            else value.to(self._flat.device)
            for name, value in batch.items()
        }
        output = self.model(**inputs)
        return output.loss, output.logits

    @contextmanager
    def lora_dropout(self) -> Iterator[None]:
        """Let LoRA's dropout act, drawing from torch's global generator."""
        dropouts = [
            module
            for name, module in self.model.named_modules()
            if name.endswith(".lora_dropout")
        ]
        try:
            for module in dropouts:
                module.train()
            yield
        finally:
            for module in dropouts:
                module.eval()


def _with_lora(base: PreTrainedModel, lora: LoraSettings) -> nn.Module:
    from peft import get_peft_model

    from fl.checkpoint import peft_config

    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5 in the old way; not our user's business
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
        )
        return get_peft_model(base, peft_config(lora))


def _require_modules(layout: Layout, lora: LoraSettings) -> None:
    """Refuse a module that the model does not have: PEFT silently leaves it out."""
    adapted = layout.modules
    whole = [part.module for part in layout.parts if part.factor is None]
    for key, names, found in (
        ("target_modules", lora.target_modules, adapted),
        ("modules_to_save", lora.modules_to_save, whole),
    ):
        for name in names:
            if not any(f".{module}".endswith(f".{name}") for module in found):
                raise ValueError(f"lora.{key}: the model has no module {name!r}")


def _part(parameter: str, shape: tuple[int, ...]) -> Part:
    """Return the part of a parameter such as ``….q_proj.lora_A.default.weight``."""
    name = parameter.replace(".modules_to_save.default", "").replace(".default", "")
    module, _, _ = name.removeprefix("base_model.model.").rpartition(".")
    factor: Literal["A", "B"] | None = None
    if module.endswith((".lora_A", ".lora_B")):
        factor = "A" if module.endswith("A") else "B"
        module = module.rpartition(".")[0]
    return Part(name, shape, module, factor)


def _flatten(parameters: list[nn.Parameter]) -> Tensor:
    """Move the parameters into one buffer, each a view of its place, and return it."""
    import torch

    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    chunks = torch.split(flat, [parameter.numel() for parameter in parameters])
    for parameter, chunk in zip(parameters, chunks, strict=True):
        parameter.data = chunk.view_as(parameter)
    return flat
