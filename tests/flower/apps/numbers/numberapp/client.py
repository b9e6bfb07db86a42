"""A linear regression in numpy; each client keeps how often it was called."""

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
TRUTH = np.array([1.0, -2.0, 0.5, 3.0])


def data(client_id):
    rng = np.random.default_rng(client_id)
    x = rng.normal(size=(20 + client_id, 4))
    return x, x @ TRUTH + 0.1 * rng.normal(size=len(x))


def answer(message, loss, examples, **records):
    metrics = MetricRecord({"num-examples": examples, "eval_loss": float(loss)})
    return Message(RecordDict({"metrics": metrics, **records}), reply_to=message)


def fitted(weights, client_id):
    x, y = data(client_id)
    for _ in range(5):
        weights = weights - 0.05 * x.T @ (x @ weights - y) / len(y)
    return weights


@app.train()
def train(message, context):
    (weights,) = message.content["arrays"].to_numpy_ndarrays()
    client_id = context.node_config["partition-id"]
    counts = context.state.setdefault("counts", ConfigRecord({"calls": 0}))
    counts["calls"] += 1
    arrays = ArrayRecord([fitted(weights, client_id)])
    return answer(message, counts["calls"], 20 + client_id, arrays=arrays)


@app.evaluate()
def evaluate(message, context):
    (weights,) = message.content["arrays"].to_numpy_ndarrays()
    x, y = data(context.node_config["partition-id"])
    return answer(message, np.mean((x @ weights - y) ** 2), len(y))
