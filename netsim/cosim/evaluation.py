"""What is measured and when: one section of a scenario for both halves."""

from __future__ import annotations

from fl.model.evaluation import EvaluationSettings
from netsim.learner.evaluation_schedule import Cadence


class Evaluation(EvaluationSettings, Cadence):
    """When evaluations are due on the network's clock, and what each measures."""

    def measurement(self) -> EvaluationSettings:
        """Return the part that decides the numbers."""
        names = EvaluationSettings.model_fields
        return EvaluationSettings(**{name: getattr(self, name) for name in names})
