"""The work in Flower's simulation engine: FedAvg over Ray actors of one CPU each.

A client process keeps its model from one message to the next, which Flower leaves to
the client; without that each message would load the model again.
"""

from client import work
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

NUM_CPUS = 2
client_app, server_app = ClientApp(), ServerApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Answer with what a client sends after its local steps."""
    own, client = work(), int(context.node_config["partition-id"])
    state = message.content["arrays"].to_torch_state_dict()
    start = int(message.content["config"]["server-round"]) - 1
    sent = own.train_from(state, client, start)
    metrics = MetricRecord({"num-examples": own.num_samples[client]})
    answer = RecordDict({"arrays": ArrayRecord(sent), "metrics": metrics})
    return Message(content=answer, reply_to=message)


def evaluate(round_id: int, arrays: ArrayRecord) -> MetricRecord:
    """Return how good the server's adapter is."""
    state = arrays.to_torch_state_dict()
    return MetricRecord({"accuracy": work().evaluate(state, round_id)})


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    """Average, with all clients in every round."""
    own = work()
    FedAvg(fraction_evaluate=0.0, min_available_nodes=own.clients).start(
        grid=grid,
        initial_arrays=ArrayRecord(own.state()),
        num_rounds=own.rounds,
        evaluate_fn=evaluate,
    )


def main() -> None:
    run_simulation(
        server_app=server_app,
        client_app=client_app,
        num_supernodes=work().clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": NUM_CPUS, "include_dashboard": False},
        },
    )


if __name__ == "__main__":
    main()
