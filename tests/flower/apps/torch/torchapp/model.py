"""The network, whole or with LoRA, and the numbers of it that travel."""

import torch


class Net(torch.nn.Module):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(16, 32), torch.nn.Linear(32, 2)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


def load(has_lora, arrays=None):
    torch.manual_seed(0)
    net = Net()
    if has_lora:
        from peft import LoraConfig, get_peft_model

        net = get_peft_model(net, LoraConfig(r=2, target_modules=["first"]))
    if arrays is not None:
        net.load_state_dict(arrays.to_torch_state_dict(), strict=False)
    return net


def parameters(net):
    return [one for one in net.parameters() if one.requires_grad]


def numbers(net):
    named = net.named_parameters()
    return {name: one.detach() for name, one in named if one.requires_grad}
