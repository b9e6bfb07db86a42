"""The work in pfl-research: FederatedAveraging on its simulated backend, in-process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from client import AT_ONCE, Work, work
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel


class Learner(torch.nn.Module):
    """The model with its loss and metrics, as pfl asks for them."""

    def __init__(self, own: Work) -> None:
        super().__init__()
        self.inner, self._work = own.model, [own]

    def loss(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self._work[0].loss(pixels, labels)

    @torch.inference_mode()
    def metrics(self, pixels: torch.Tensor, labels: torch.Tensor) -> dict:
        loss = self.loss(pixels, labels).item()
        return {"loss": Weighted(loss * len(labels), len(labels))}


class Share(Dataset):
    """A client's data, in the mini-batches of its next start."""

    def __init__(self, own: Work, client: int) -> None:
        pixels, labels = own.train
        size = own.num_samples[client]  # the weight is all that pfl takes from it
        super().__init__((pixels[:size], labels[:size]), user_id=str(client))
        self._work, self._client, self._start = own, client, 0

    def iter(self, batch_size: int | None) -> Iterator[tuple[torch.Tensor, ...]]:
        if batch_size != self._work.batch:  # an evaluation of theirs, before round one
            yield self.raw_data
            return
        yield from self._work.batches(self._client, self._start)
        self._start += 1


class Marks(TrainingProcessCallback):
    """Evaluates after every round."""

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        own = work()
        own.evaluate(own.state(), central_iteration + 1)
        return False, Metrics()


def main() -> None:
    own = work()
    own.evaluate(own.state(), 0)
    shares = [Share(own, client) for client in range(own.clients)]
    data = FederatedDataset(
        shares.__getitem__, itertools.cycle(range(own.clients)).__next__
    )
    model = PyTorchModel(
        Learner(own),
        lambda parameters, lr: torch.optim.AdamW(
            [p for p in parameters if p.requires_grad], lr=lr, weight_decay=own.decay
        ),
        torch.optim.SGD(own.trained.values(), lr=1.0),
    )
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=own.rounds,
            evaluation_frequency=own.rounds + 1,
            train_cohort_size=own.clients,
            val_cohort_size=None,
        ),
        backend=SimulatedBackend(data, data, [WeightByDatapoints()]),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_batch_size=own.batch,
            local_num_epochs=None,
            local_num_steps=own.samples.shape[2],
            local_learning_rate=own.rate,
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=AT_ONCE),
        callbacks=[Marks()],
        send_metrics_to_platform=False,
    )


if __name__ == "__main__":
    main()
