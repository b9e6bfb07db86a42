"""A federation of a few clients around a tiny model."""

from fl.aggregation import FedIT
from fl.backbones import SmallViT
from fl.contract import Arrival, Job
from fl.federation.federation import Federation
from fl.model.adapters import LoraSettings
from fl.partition import IID
from fl.settings.federation import FederationSettings
from fl.settings.local_training import TrainingSettings
from netsim.cosim.workers import Workers

TINY = SmallViT(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    pretrain_steps=3,
)
SEED = 5


def federation(
    num_clients=3, precision="float64", workers=1, store=None, trainer=None, **learning
):
    settings = {
        "backbone": TINY,
        "partition": IID(),
        "lora": LoraSettings(r=2, lora_alpha=6.0),
        "training": TrainingSettings(learning_rate=0.05, optim="sgd"),
        "aggregation": FedIT(),
    }
    return Federation(
        FederationSettings(**{**settings, **learning}),
        num_clients=num_clients,
        seed=SEED,
        precision=precision,
        executor=Workers(workers).executor,
        store=store,
        trainer=trainer,
    )


def submit(fed, client, version, start_index=0, steps=3):
    return fed.submit(
        Job(
            client_id=client,
            start_index=start_index,
            round_id=0,
            version=version,
            steps=steps,
            rank=2,
        )
    )


def numbers(fed, version, folder):
    """Return a version's tensors as anyone can read them."""
    from safetensors.torch import load_file

    fed.export(version, folder)
    return load_file(folder / "adapter_model.safetensors")


def two_rounds():
    """Return what two rounds of five clients come to: version, adapter and metrics."""
    backbone = TINY.model_copy(update={"num_hidden_layers": 1})
    learning = FederationSettings(backbone=backbone)
    fed = Federation(learning, num_clients=6, seed=3)
    version = fed.initial_version
    for index in range(2):
        jobs = [submit(fed, client, version, index, steps=4) for client in range(5)]
        merged = fed.merge(version, [Arrival(job, 0.3) for job in jobs])
        version = merged.version
    return version, fed.adapter_digest(version), fed.evaluate(version)
