"""A small network, or LoRA on it, trained by torch for three steps."""

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from torchapp.model import load, numbers, parameters

app = ClientApp()


def data(client_id):
    generator = torch.Generator().manual_seed(client_id)
    x = torch.randn(8, 16, generator=generator)
    return x, (x[:, :1] > 0).long().flatten()


@app.train()
def train(message, context):
    net = load(context.run_config["lora"], message.content["arrays"])
    x, y = data(context.node_config["partition-id"])
    optimiser = torch.optim.SGD(parameters(net), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    content = RecordDict(
        {
            "arrays": ArrayRecord(numbers(net)),
            "metrics": MetricRecord({"num-examples": len(y)}),
        }
    )
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message, context):
    net = load(context.run_config["lora"], message.content["arrays"])
    x, y = data(context.node_config["partition-id"])
    with torch.no_grad():
        logits = net(x)
    metrics = {
        "num-examples": len(y),
        "eval_acc": float((logits.argmax(1) == y).float().mean()),
    }
    content = RecordDict({"metrics": MetricRecord(metrics)})
    return Message(content, reply_to=message)
