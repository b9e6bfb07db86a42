"""A server with a strategy of Flower's, or with one of its own."""

import numpy as np
from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp import ServerApp, strategy

app = ServerApp()


class Doubled(strategy.FedAvg):
    """Averages, and doubles."""

    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        doubled = [2 * one for one in arrays.to_numpy_ndarrays()]
        return ArrayRecord(doubled), metrics


def evaluate(server_round, arrays):
    return MetricRecord({"accuracy": 1 / (1 + np.abs(arrays["0"].numpy()).sum())})


@app.main()
def main(grid, context):
    config = context.run_config
    kind = {"Doubled": Doubled}.get(config["strategy"])
    kind = kind or getattr(strategy, config["strategy"])
    kind(
        fraction_train=config["fraction-train"],
        fraction_evaluate=config["fraction-evaluate"],
    ).start(
        grid,
        ArrayRecord([np.zeros(4)]),
        num_rounds=config["rounds"],
        timeout=config["timeout"],
        evaluate_fn=evaluate,
    )
