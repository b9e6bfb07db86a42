"""FedAvg of whatever travels."""

from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from torchapp.model import load, numbers

app = ServerApp()


@app.main()
def main(grid, context):
    arrays = ArrayRecord(numbers(load(context.run_config["lora"])))
    FedAvg().start(grid, arrays, num_rounds=context.run_config["rounds"])
