"""The one model in memory, whose adapter is exchanged by a single copy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

import numpy as np

from fl.model.adapters import ALL_LINEAR, Adapter, Layout, LoraSettings, Part
from fl.model.layers import AdaptedLinear, WholeModule
from fl.streams import forked

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel


class LoraModel:
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
        self.model: nn.Module = model.to(device=device).eval()
        # keys and values are kept for writing on; ``generate`` asks for that itself
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
        places = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        self.linears = _adapted_linears(self.model, places)
        self.wholes = _whole_modules(self.model, places)
        self.width: int = getattr(base.config, "hidden_size", 256)
        self.positions_per_image = _positions_per_image(base.config)

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the trained numbers."""
        return self._flat.dtype

    @property
    def device(self) -> torch.device:
        """Return where the model computes."""
        return self._flat.device

    @property
    def pad_token_id(self) -> int:
        """Return the token that fills up a text: the model's own, or any."""
        own: int | None = getattr(self.model.config, "pad_token_id", None)
        return 0 if own is None else own

    @property
    def is_stackable(self) -> bool:
        """Return whether all that is trained is plain LoRA or a whole module.

        Other client layers, such as DoRA's, compute one client at a time.
        """
        known = [p for site in self.linears for p in (site.part_a, site.part_b)]
        known += [p for site in self.wholes for p in site.parts.values()]
        return len(known) == len(self.parameters)

    def read(self) -> Adapter:
        """Return a copy of the adapter."""
        return Adapter(self.layout, self._flat.to("cpu", copy=True))

    def write(self, adapter: Adapter) -> None:
        """Exchange the adapter."""
        assert adapter.layout == self.layout
        self.write_flat(adapter.flat)

    def fold(self, matrices: Mapping[str, Tensor]) -> None:
        """Compute with these matrices, times the LoRA scale, added to the frozen base;
        with none of them the base is as it was loaded."""
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
        """Return a layer's weight as one to write; as loaded it may be shared."""
        from torch import nn

        if module not in self._unfolded:
            loaded: Tensor = layer.weight  # type: ignore[assignment]
            self._unfolded[module] = loaded.detach()
            layer.weight = nn.Parameter(loaded.detach().clone(), requires_grad=False)
        weight: Tensor = layer.weight  # type: ignore[assignment]
        return weight

    def write_flat(self, flat: Tensor) -> None:
        """Exchange the adapter's numbers."""
        self._flat.copy_(flat)

    def placed(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch that a task made, where and as the model computes."""
        return {
            name: value.to(self.device, self.dtype)
            if value.is_floating_point()
            else value.to(self.device)
            for name, value in batch.items()
        }

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits of a batch that a task made."""
        output = self.model(**self.placed(batch))
        return output.loss, output.logits

    def logits(self, batch: Mapping[str, Tensor], *, bf16: bool = False) -> Tensor:
        """Return the logits of a placed batch, whose labels are left out, in the type
        of the trained numbers."""
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        with self.autocast(bf16):
            logits: Tensor = self.model(**inputs).logits
        return logits.to(self.dtype)

    def autocast(self, is_on: bool) -> AbstractContextManager[object]:
        """Let matrix products be computed in bfloat16, or as they are."""
        import torch

        if not is_on:
            return nullcontext()
        return torch.autocast(device_type=self.device.type, dtype=torch.bfloat16)

    @contextmanager
    def lora_dropout(self) -> Iterator[None]:
        """Let LoRA's dropout act, drawing from torch's global generator."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [m for m in self.model.modules() if isinstance(m, BaseTunerLayer)]
        try:
            for layer in layers:
                layer.training = True  # DoRA asks this; the base under it stays calm
                _dropouts(layer).train()
            yield
        finally:
            for layer in layers:
                layer.training = False
                _dropouts(layer).eval()


def _dropouts(layer: nn.Module) -> nn.Module:
    """Return the dropout of one of PEFT's layers: nothing where it has none."""
    from torch import nn

    found = [m for n, m in layer.named_children() if n.endswith("_dropout")]
    return nn.ModuleList(found)


def _adapted_linears(
    model: nn.Module, places: Mapping[int, int]
) -> list[AdaptedLinear]:
    """Return the layers that are a frozen matrix and plain LoRA, nothing more."""
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
            part_a=places[id(layer.lora_A["default"].weight)],
            part_b=places[id(layer.lora_B["default"].weight)],
        )
        for layer in model.modules()
        if type(layer) is Linear
        and type(layer.base_layer) in (nn.Linear, Conv1D)
        and not layer.lora_variant
    ]


def _whole_modules(model: nn.Module, places: Mapping[int, int]) -> list[WholeModule]:
    """Return the modules that are trained whole."""
    from peft.utils import ModulesToSaveWrapper

    return [
        WholeModule(
            wrapper=wrapper,
            module=wrapper.modules_to_save["default"],
            parts={
                name: places[id(parameter)]
                for name, parameter in wrapper.modules_to_save[
                    "default"
                ].named_parameters()
            },
        )
        for wrapper in model.modules()
        if isinstance(wrapper, ModulesToSaveWrapper)
    ]


def _with_lora(base: PreTrainedModel, lora: LoraSettings) -> nn.Module:
    from peft import get_peft_model

    from fl.model.checkpoint import peft_config

    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5 in the old way; not our user's business
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
        )
        # and sets by itself what GPT-2's Conv1D needs
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False", UserWarning)
        return get_peft_model(base, peft_config(lora))


def _positions_per_image(config: PretrainedConfig) -> int:
    """Return the number of patches of an image and one more; 1 for other models."""
    image = getattr(config, "image_size", None)
    patch = getattr(config, "patch_size", None)
    if image is None or patch is None:
        return 1
    sides = np.broadcast_to(image, 2) // np.broadcast_to(patch, 2)
    return int(sides.prod()) + 1


def _require_modules(layout: Layout, lora: LoraSettings) -> None:
    """Refuse a module that the model does not have: PEFT silently leaves it out."""
    adapted = layout.modules
    whole = [  # a head may be made of several layers: classifier.dense
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
    """Move the parameters into one buffer, each a view of its place, and return it."""
    import torch

    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    chunks = torch.split(flat, [parameter.numel() for parameter in parameters])
    for parameter, chunk in zip(parameters, chunks, strict=True):
        parameter.data = chunk.view_as(parameter)
    return flat
