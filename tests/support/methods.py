"""Rounds of one aggregation method, in `fl` alone and in whole runs."""

from fl.backbones import SmallViT
from fl.contract import Arrival, Job
from fl.federation.federation import Federation
from fl.model.adapters import LoraSettings
from fl.partition import IID
from fl.settings.federation import FederationSettings
from fl.settings.local_training import TrainingSettings
from netsim import load_run
from netsim.cosim.reading import read_scenario
from netsim.cosim.run import run_scenario
from netsim.cosim.shipped import find_scenario
from netsim.cosim.workers import Workers
from netsim.verify import verify

TINY = SmallViT(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    pretrain_steps=3,
)
TARGETS = ("q_proj", "fc1")  # 16 x 16 and 24 x 16
SEED, R, STEPS = 5, 4, 2


def federation(aggregation, workers=1, precision="float64", **learning):
    settings = {
        "backbone": TINY,
        "partition": IID(),
        "lora": LoraSettings(r=R, lora_alpha=6.0, target_modules=TARGETS),
        "training": TrainingSettings(learning_rate=0.05, optim="sgd"),
    }
    return Federation(
        FederationSettings(aggregation=aggregation, **{**settings, **learning}),
        num_clients=4,
        seed=SEED,
        precision=precision,
        executor=Workers(workers).executor,
    )


def play_round(fed, version, round_id, weights, *, rank=R):
    """Let clients 0, 1, 2 take part; return the new version and what was received."""
    jobs = [
        fed.submit(
            Job(
                client_id=client,
                start_index=round_id - 1,
                round_id=round_id,
                version=version,
                steps=STEPS,
                rank=rank,
            )
        )
        for client in range(len(weights))
    ]
    fed._runner.train(fed._book.cohorts(jobs))
    received = [fed._runner.received(name) for name in jobs]
    arrivals = [Arrival(*pair) for pair in zip(jobs, weights, strict=True)]
    return fed.merge(version, arrivals).version, received


SMALL = (
    "stop.rounds=3",
    "population.num_clients=3",
    "server.sampling=full",
    "learning.training.local_steps=2",
    "learning.lora={r: 4, lora_alpha: 8, target_modules: [q_proj, fc1]}",
)


def run(folder, *overrides):
    config = read_scenario(find_scenario("quickstart"), (*SMALL, *overrides))
    run_scenario(config, folder, reuse=False)
    assert verify(folder) == []
    return load_run(folder)
