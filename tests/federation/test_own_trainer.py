"""Somebody's own trainer in a federation: Hugging Face's, on the PEFT model."""

import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch

from fl.aggregation import FedSB
from fl.contract import Arrival
from fl.local import Demands, Plain
from fl.memory.store import Store
from fl.model.lora_model import LoraModel
from fl.record import Record
from fl.settings.conflicts import conflicts
from fl.settings.federation import FederationSettings
from fl.tasks import Digits
from tests.support.federations import SEED, TINY, federation, submit

STEPS = 3


class HuggingFace(Record):
    """``transformers.Trainer`` on all of a client's samples at once."""

    kind: ClassVar[str] = "hugging-face"
    demands: ClassVar = Demands(is_alone=True)
    learning_rate: float = 0.05

    def train(self, cohort):
        from transformers import Trainer, TrainingArguments

        for client in cohort.one_by_one():
            settings = TrainingArguments(
                max_steps=client.steps,
                per_device_train_batch_size=len(client.samples),
                learning_rate=self.learning_rate,
                optim="sgd",
                lr_scheduler_type="constant",
                max_grad_norm=0.0,
                seed=client.seed,
                use_cpu=True,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
            )
            trainer = Trainer(
                client.model,
                settings,
                train_dataset=client.samples.tolist(),
                data_collator=lambda rows, task=client.task: task.batch(
                    "train", np.array(rows)
                ),
            )
            client.loss = trainer.train().training_loss


def merged(fed):
    jobs = [submit(fed, client, fed.initial_version) for client in range(2)]
    return fed.merge(fed.initial_version, [Arrival(job, 0.5) for job in jobs])


def alone(fed, client):
    """Return a client's adapter and mean loss after steps on all its samples."""
    model = LoraModel(
        TINY.load(Digits()), fed.learning.lora, seed=SEED, precision="float64"
    )
    batch, values = Digits().batch("train", fed._shares[client]), model.read().flat
    losses = []
    for _ in range(STEPS):
        model.write_flat(values)
        loss, _ = model.forward(batch)
        found = torch.autograd.grad(loss, model.parameters)
        values = values - 0.05 * torch.cat([one.flatten() for one in found])
        losses.append(float(loss.detach()))
    return values, np.mean(losses)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_hugging_faces_trainer_keeps_store_and_merges(tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    own, store = pickle.loads(pickle.dumps(HuggingFace())), Store(tmp_path / "store")
    fed = federation(num_clients=12, store=store, trainer=own)
    made = merged(fed)
    assert fed.steps_trained == 2 * STEPS
    ends = [alone(fed, client) for client in range(2)]
    found = fed._versions.model(made.version).adapter.flat
    torch.testing.assert_close(found, (ends[0][0] + ends[1][0]) / 2, rtol=0, atol=1e-7)
    assert made.losses == pytest.approx([loss for _, loss in ends], abs=1e-4)
    model = fed._model.lora_model
    assert not model.model.training
    assert all(one.requires_grad and one.grad is None for one in model.parameters)
    again = federation(num_clients=12, store=store, trainer=own)
    assert merged(again).version == made.version
    assert (again.steps_trained, again.steps_reused) == (0, 2 * STEPS)
    faster = HuggingFace(learning_rate=1.0)
    other = federation(num_clients=12, store=store, trainer=faster)
    plain = federation(num_clients=12, store=store, trainer=Plain())
    versions = {merged(one).version for one in (other, plain)}
    assert len(versions | {made.version}) == 3


def test_a_core_has_no_place_in_pefts_layers():
    learning = FederationSettings(aggregation=FedSB(), local_training=HuggingFace())
    reasons = [reason for _, reason in conflicts(learning)]
    assert any("PEFT's own layers have no core" in reason for reason in reasons)
