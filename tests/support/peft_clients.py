"""Clients' adapters, made and saved by plain ``peft`` on tiny models."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from fl.peft_folders import apply_base_delta

WEIGHTS = (0.5, 0.3, 0.2)
TOKENS = torch.arange(24).view(2, 12) % 50


def bert():
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_labels=3,
            pad_token_id=0,
        )
    )


def gpt2():
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=50, n_positions=16, n_embd=16, n_inner=24, n_layer=1, n_head=2
        )
    )


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


def base_of(make, dtype=torch.float64):
    """The one frozen base that all clients have."""
    torch.manual_seed(0)
    return make().to(dtype).eval()


def lora(**changes):
    options = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear"}
    return LoraConfig(**{**options, **changes})


def is_factor(name, factor):
    return f"_{factor}." in name


def save(folder, make, config, seed, *, dtype=torch.float64, common=None):
    """Save a client's adapter with random factors; those of ``common`` are alike."""
    model = get_peft_model(base_of(make, dtype), config).to(dtype)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            own = 0 if common and is_factor(name, common) else seed
            generator = torch.Generator().manual_seed(own)
            drawn = torch.randn(parameter.shape, generator=generator) * 0.2
            if "magnitude" in name:
                drawn = parameter.detach() * (1 + drawn.abs())
            parameter.data.copy_(drawn)
    model.save_pretrained(folder)
    return folder


def clients(tmp_path, make=llama, config=lora, num=3, **options):
    return [
        save(tmp_path / f"client{n}", make, config(), n + 1, **options)
        for n in range(num)
    ]


def loaded(folder, make, dtype=torch.float64):
    """The merged model: base, what is folded into it, and the adapter."""
    base = base_of(make, dtype)
    apply_base_delta(base, folder)
    return PeftModel.from_pretrained(base, folder).to(dtype).eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


def averaged(folders, make, weights):
    """The model whose every trained weight is the weighted sum of the clients'."""
    merged = base_of(make)
    wanted = [
        PeftModel.from_pretrained(base_of(make), folder)
        .to(torch.float64)
        .merge_and_unload()
        .state_dict()
        for folder in folders
    ]
    mean = {
        name: sum(w * state[name] for w, state in zip(weights, wanted, strict=True))
        if tensor.is_floating_point()
        else tensor
        for name, tensor in merged.state_dict().items()
    }
    merged.load_state_dict(mean)
    return merged.eval()


def distance(one, other):
    return float((one - other).norm() / other.norm())


def moved(one, make):
    return distance(logits(one), logits(base_of(make)))


def only_pickle(folder):
    """Give an adapter's weights the name of a pickle."""
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
