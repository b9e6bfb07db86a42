"""From what goes wrong in learning to the setting that a user can change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fl.model.device import is_out_of_memory
from netsim.errors import InputError


def _places() -> dict[type[Exception], str]:
    """Return the setting that each failure of learning is about."""
    # imported after a failure: a check of a scenario needs none of what trains
    from fl.federation.divergence import MergeDiverged
    from fl.federation.warm_start import DoesNotFit
    from fl.model.device import Unusable
    from fl.model.frozen_layers import NothingFrozen
    from fl.training.local_training import Diverged
    from fl.workers.executor import NoCluster, WorkerDied

    return {
        Diverged: "learning.training",
        MergeDiverged: "learning.aggregation",
        DoesNotFit: "learning.start",
        NothingFrozen: "learning.training.cache_frozen_layers",
        Unusable: "learning.device",
        WorkerDied: "workers",
        NoCluster: "--ray",
    }


@contextmanager
def failures_as_input_errors() -> Iterator[None]:
    """Translate learning failures into InputError with the setting's path."""
    try:
        yield
    except Exception as error:
        place = _places().get(type(error))
        if place is not None:
            raise InputError(f"{place}: {error}") from error
        if not is_out_of_memory(error):
            raise
        raise InputError(
            "learning.cohort_size: training needs more memory than there is; lower it, "
            "or learning.training.per_device_train_batch_size, or --workers"
        ) from error


@contextmanager
def as_input_error(path: str) -> Iterator[None]:
    """Translate ValueError into InputError with the setting's path."""
    try:
        yield
    except InputError:
        raise  # it names its own place
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
