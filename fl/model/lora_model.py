"""The model in memory, whose adapter is replaced by a single copy."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

import numpy as np

from fl.model.adapters import ALL_LINEAR, Adapter, Layout, LoraSettings, Part
from fl.model.frozen_layers import FrozenLayers
from fl.model.layers import AdaptedLinear, WholeModule
from fl.model.payload import PartName
from fl.streams import forked

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel


class LoraModel:
    """A frozen base with LoRA, and all trained numbers in one flat buffer.

    PEFT's parameters are views into that buffer, so that replacing the adapter is one
    copy. The base stays in eval mode; only LoRA's dropout can be active.
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
        """Add LoRA factors, initialised from ``seed``, to ``base`` in place."""
        import torch

        with forked(seed, "lora init"):
            model = _with_lora(base, lora)
        self.model: nn.Module = model.to(device=device).eval()
        # the cache is for generation, and ``generate`` turns it on itself
        base.config.use_cache = False
        if precision == "float64":
            self.model.double()
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        for name, parameter in named:
            if parameter.dtype not in (torch.float32, torch.float64):
                raise ValueError(
                    f"{name} would be trained in {parameter.dtype}: leave it out of "
                    "lora.modules_to_save, or load the base in float32"
                )
        self.parameters = [parameter for _, parameter in named]
        self.layout = Layout(tuple(_part(n, tuple(p.shape)) for n, p in named))
        _require_modules(self.layout, lora)
        self._flat = _flatten(self.parameters)
        self._unfolded: dict[str, Tensor] = {}  # weights as loaded, once folded
        indices = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        self.linears = _adapted_linears(self.model, indices)
        self.wholes = _whole_modules(self.model, indices)
        self._frozen: FrozenLayers | None = None
        self.width: int = getattr(base.config, "hidden_size", 256)
        self.positions_per_image = _positions_per_image(base.config)

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the trained numbers."""
        return self._flat.dtype

    @property
    def device(self) -> torch.device:
        """Return the device of the model."""
        return self._flat.device

    @property
    def pad_token_id(self) -> int:
        """Return the id of the padding token, or 0 if the model has none."""
        own: int | None = getattr(self.model.config, "pad_token_id", None)
        return 0 if own is None else own

    @property
    def is_stackable(self) -> bool:
        """Return whether only plain LoRA and whole modules are trained.

        Other layers, such as DoRA's, compute one client at a time.
        """
        known = [p for site in self.linears for p in (site.part_a, site.part_b)]
        known += [p for site in self.wholes for p in site.parts.values()]
        return len(known) == len(self.parameters)

    def read(self) -> Adapter:
        """Return a copy of the model's adapter."""
        return Adapter(self.layout, self._flat.to("cpu", copy=True))

    def write(self, adapter: Adapter) -> None:
        """Replace the model's adapter."""
        assert adapter.layout == self.layout
        self.write_flat(adapter.flat)

    def fold(self, matrices: Mapping[str, Tensor]) -> None:
        """Add these matrices, times the LoRA scale, to the base as it was loaded."""
        import torch

        if not matrices and not self._unfolded:
            return
        sites = {self.layout.parts[site.part_a].module for site in self.linears}
        assert matrices.keys() <= sites, "only plain LoRA's base can be folded into"
        with torch.no_grad():
            for site in self.linears:
                module = self.layout.parts[site.part_a].module
                weight = self._own_weight(module, site.base)
                weight.copy_(self._unfolded[module])
                if module in matrices:
                    added = matrices[module] if site.is_upright else matrices[module].T
                    weight.add_(added.to(weight), alpha=site.scale)

    def _own_weight(self, module: str, layer: nn.Module) -> Tensor:
        """Return a layer's weight for writing; the first call copies a shared one."""
        from torch import nn

        if module not in self._unfolded:
            loaded: Tensor = layer.weight  # type: ignore[assignment]
            self._unfolded[module] = loaded.detach()
            layer.weight = nn.Parameter(loaded.detach().clone(), requires_grad=False)
        weight: Tensor = layer.weight  # type: ignore[assignment]
        return weight

    def write_flat(self, flat: Tensor) -> None:
        """Replace the numbers of the model's adapter."""
        self._flat.copy_(flat)

    def placed(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch on the model's device and in its dtype."""
        return {
            name: value.to(self.device, self.dtype)
            if value.is_floating_point()
            else value.to(self.device)
            for name, value in batch.items()
        }

    def cache_frozen_layers(self, batch: Mapping[str, Tensor]) -> None:
        """From now on compute what comes before the first trained layer once for each
        sample; a task's batch finds these layers. Raises ``NothingFrozen``."""
        self._frozen = FrozenLayers(self.model, self.placed(batch))

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits of a task's batch."""
        placed = self.placed(batch)
        with self._cached(placed):
            output = self.model(**placed)
        return output.loss, output.logits

    def logits(self, batch: Mapping[str, Tensor], *, bf16: bool = False) -> Tensor:
        """Return the logits of a placed batch, in the dtype of the trained numbers."""
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        with self.autocast(bf16), self._cached(batch):
            logits: Tensor = self.model(**inputs).logits
        return logits.to(self.dtype)

    def _cached(self, batch: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        return nullcontext() if self._frozen is None else self._frozen.cached(batch)

    def autocast(self, is_on: bool) -> AbstractContextManager[object]:
        """Return a context with bfloat16 matrix products, or without effect."""
        import torch

        if not is_on:
            return nullcontext()
        if self.device.type == "meta":
            from fl.model.meta_autocast import MetaAutocast

            return MetaAutocast()
        return torch.autocast(device_type=self.device.type, dtype=torch.bfloat16)

    @contextmanager
    def training_only(self, factors: Collection[PartName]) -> Iterator[None]:
        """Let a trainer change these factors and what is trained outside LoRA; then the
        model is in eval mode again, without gradients."""
        try:
            for parameter, part in zip(self.parameters, self.layout.parts, strict=True):
                parameter.requires_grad_(part.factor is None or part.factor in factors)
            yield
        finally:
            self.model.eval()
            for parameter in self.parameters:
                parameter.requires_grad_(True)
                parameter.grad = None

    @contextmanager
    def lora_dropout(self) -> Iterator[None]:
        """Activate LoRA's dropout, drawn from torch's global generator."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [m for m in self.model.modules() if isinstance(m, BaseTunerLayer)]
        try:
            for layer in layers:
                layer.training = True  # DoRA reads it; the base stays in eval mode
                _dropouts(layer).train()
            yield
        finally:
            for layer in layers:
                layer.training = False
                _dropouts(layer).eval()


def _dropouts(layer: nn.Module) -> nn.Module:
    from torch import nn

    found = [m for n, m in layer.named_children() if n.endswith("_dropout")]
    return nn.ModuleList(found)


def _adapted_linears(
    model: nn.Module, indices: Mapping[int, int]
) -> list[AdaptedLinear]:
    """Return the layers with a frozen matrix and plain LoRA."""
    from peft.tuners.lora import Linear
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return [
        AdaptedLinear(
            layer=layer,
            base=layer.base_layer,
            scale=layer.scaling["default"],
            is_upright=type(layer.base_layer) is nn.Linear,
            dropout=getattr(layer.lora_dropout["default"], "p", 0.0),
            part_a=indices[id(layer.lora_A["default"].weight)],
            part_b=indices[id(layer.lora_B["default"].weight)],
        )
        for layer in model.modules()
        if type(layer) is Linear
        and type(layer.base_layer) in (nn.Linear, Conv1D)
        and not layer.lora_variant
    ]


def _whole_modules(model: nn.Module, indices: Mapping[int, int]) -> list[WholeModule]:
    from peft.utils import ModulesToSaveWrapper

    found = []
    for wrapper in model.modules():
        if isinstance(wrapper, ModulesToSaveWrapper):
            module = wrapper.modules_to_save["default"]
            parts = {n: indices[id(p)] for n, p in module.named_parameters()}
            found.append(WholeModule(wrapper, module, parts))
    return found


def _with_lora(base: PreTrainedModel, lora: LoraSettings) -> nn.Module:
    from peft import get_peft_model

    from fl.model.checkpoint import peft_config

    with warnings.catch_warnings():
        # peft 0.21 uses a deprecated name of transformers 5
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
        )
        # peft corrects this itself for GPT-2's Conv1D
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False", UserWarning)
        return get_peft_model(base, peft_config(lora))


def _positions_per_image(config: PretrainedConfig) -> int:
    """Return the patches of an image plus one; 1 for other models."""
    image = getattr(config, "image_size", None)
    patch = getattr(config, "patch_size", None)
    if image is None or patch is None:
        return 1
    sides = np.broadcast_to(image, 2) // np.broadcast_to(patch, 2)
    return int(sides.prod()) + 1


def _require_modules(layout: Layout, lora: LoraSettings) -> None:
    """Raise ``ValueError`` for a missing module, which PEFT would ignore."""
    adapted = layout.modules
    whole = [  # a head may have several layers: classifier.dense
        ".".join(names[: place + 1])
        for names in (p.module.split(".") for p in layout.parts if p.factor is None)
        for place in range(len(names))
    ]
    for key, names, found in (
        ("target_modules", lora.target_modules, adapted),
        ("modules_to_save", lora.modules_to_save, whole),
    ):
        for name in names if names != ALL_LINEAR else ():
            if not any(f".{module}".endswith(f".{name}") for module in found):
                raise ValueError(f"lora.{key}: the model has no module {name!r}")


_FACTORS: dict[str, Literal["A", "B"]] = {
    "lora_A": "A",
    "lora_B": "B",
    "hira_A": "A",
    "hira_B": "B",
}


def _part(parameter: str, shape: tuple[int, ...]) -> Part:
    """Return the part of a parameter such as ``….q_proj.lora_A.default.weight``."""
    name = parameter.replace(".modules_to_save.default", "").replace(".default", "")
    name = name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
    module, _, last = name.removeprefix("base_model.model.").rpartition(".")
    if module.endswith((".lora_A", ".lora_B")):
        module, _, last = module.rpartition(".")
    return Part(name, shape, module, _FACTORS.get(last))


def _flatten(parameters: list[nn.Parameter]) -> Tensor:
    """Return one buffer of all parameters, which become views into it."""
    import torch

    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    chunks = torch.split(flat, [parameter.numel() for parameter in parameters])
    for parameter, chunk in zip(parameters, chunks, strict=True):
        parameter.data = chunk.view_as(parameter)
    return flat
