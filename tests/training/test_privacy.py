"""The epsilon of DP-SGD, by the accountant itself and in the trace."""

import pytest

from fl.aggregation import FedIT
from fl.contract import Arrival
from fl.local import dp_sgd, privacy
from fl.local.dp_sgd import DPSGD
from fl.local.privacy import epsilon
from fl.settings.conflicts import conflicts
from fl.settings.federation import FederationSettings
from tests.support.federations import federation, submit


def test_without_the_accountant_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(dp_sgd, "is_there", lambda: False)
    how = DPSGD(max_norm=0.5, noise_multiplier=2.0, delta=1e-4)
    learning = FederationSettings(aggregation=FedIT(), local_training=how)
    assert list(conflicts(learning)) == [(("local_training",), privacy.LACKS)]
    assert "extra 'privacy'" in privacy.LACKS


def test_a_clients_starts_spend_what_the_accountant_says():
    """Known: 100 steps of a tenth of the samples at noise 1 cost 7.90 at 1e-5."""
    event = pytest.importorskip("dp_accounting").dp_event
    from dp_accounting.rdp import RdpAccountant

    epsilon.cache_clear()
    assert epsilon(0.1, 1.0, 100, 1e-5) == pytest.approx(7.9038502, abs=1e-6)
    how = DPSGD(max_norm=0.5, noise_multiplier=2.0, delta=1e-4)
    fed = federation(num_clients=30, local_training=how)
    version = fed.initial_version
    for index in range(2):
        jobs = [submit(fed, client, version, index) for client in (0, 1)]
        made = fed.merge(version, [Arrival(job, 0.5) for job in jobs])
        for client, found in enumerate(made.epsilons):
            own = RdpAccountant()
            rate = min(1.0, 16 / fed.num_samples[client])
            step = event.GaussianDpEvent(2.0)
            own.compose(event.PoissonSampledDpEvent(rate, step), 3 * (index + 1))
            assert found == own.get_epsilon(1e-4)
        version = made.version
