"""Who holds how many samples of which label: a scenario's partition as a table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fl.partition import label_counts
from netsim.cosim.input_errors import as_input_error
from netsim.cosim.scenario import Scenario
from netsim.errors import InputError


def partition_table(scenario: Scenario) -> pa.Table:
    """Return one row per client and label that it holds: ``client_id``, ``label`` and
    ``num_samples``; a task without labels has one row per client."""
    learning = scenario.learning.federated
    if learning is None:
        raise InputError("learning: nothing is divided among clients without it")
    with as_input_error("learning"):
        task = learning.task
        shares = learning.shares(scenario.population.num_clients, scenario.seed)
        labels = task.labels("train")
    num_labels = task.num_labels
    if not num_labels:
        labels, num_labels = np.zeros(len(labels), np.int64), 1
    counts = label_counts(labels, shares, num_labels)
    clients, held = np.nonzero(counts)
    return pa.table(
        {"client_id": clients, "label": held, "num_samples": counts[clients, held]}
    )
