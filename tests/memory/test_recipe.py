import json
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from fl.aggregation import FedIT
from fl.contract import Arrival, Job
from fl.memory import recipe
from fl.model.adapters import LoraSettings
from fl.record import Record
from fl.settings.local_training import TrainingSettings

JOB = Job(
    version="v0", client_id=3, start_index=1, round_id=2, rank=8, steps=10, state="s"
)
TREATED = {
    "task": "digits",
    "samples": recipe.samples_digest(np.array([4, 5, 6])),
    "training": {"learning_rate": 0.1},
    "payload": {"precision": "float32"},
    "seed": 7,
    "treatment": {"trains": ["B", "A"]},
}


class Strategy(Record):
    kind: str = "named"
    strength: float = 0.5


def test_digests_are_these():
    assert recipe.digest("x", {"b": 1, "a": [0.1, None, "é"]}) == (
        "ed51a784436fce45c3d6fb6581fd2075f9ecbd961d035ad6a83307257ee5bccf"
    )
    assert recipe.job_digest(JOB, **TREATED) == (
        "5d5c8371ecbd152f0a3cf62c69d405a61d45a6cea4947e45a259d3212a4dfa6e"
    )
    assert recipe.merged_version(
        Strategy(), "v0", [Arrival("j", 0.25)], cohorts=[], server=Strategy()
    ) == ("6710c5f45c8289c8eae2ea549492c0acbd21edce1aa3a52a212ae8922a002095")
    assert recipe.initial_version(base="b", lora=Strategy(), seed=1) == (
        "0370882d6763aa5cfb77d1cf7604952b948881da6015bb007ea1741f7b3b8c16"
    )


def test_every_field_of_a_job_counts():
    """The state counts as a part of the treatment."""
    named = [field.name for field in fields(JOB) if field.name != "state"]
    found = {recipe.job_digest(JOB, **TREATED)}
    for name in named:
        changed = replace(JOB, **{name: {"other": 1}})
        found.add(recipe.job_digest(changed, **TREATED))
    for name in TREATED:
        found.add(recipe.job_digest(JOB, **{**TREATED, name: {"other": 1}}))
    assert len(found) == 1 + len(named) + len(TREATED)


def test_order_weights_method_and_history_of_a_merge_count():
    def version(
        strength=0.5, previous="v0", arrivals=(("a", 0.5), ("b", 0.5)), step=1.0
    ):
        return recipe.merged_version(
            Strategy(strength=strength),
            previous,
            [Arrival(*pair) for pair in arrivals],
            cohorts=["c"],
            server=Strategy(strength=step),
        )

    versions = {
        version(),
        version(strength=0.6),
        version(previous="v1"),
        version(step=0.5),
        version(arrivals=(("b", 0.5), ("a", 0.5))),
        version(arrivals=(("a", 0.5), ("b", np.nextafter(0.5, 1)))),
    }
    assert len(versions) == 6
    assert version() == version(arrivals=[("a", np.float64(0.5)), ("b", 0.5)])


def test_numbers_that_json_cannot_say_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        recipe.digest("x", {"loss": float("nan")})


def test_the_environment_is_a_part_of_the_store_key_only():
    one, two = (
        recipe.Environment.here(device="cpu", threads=threads, precision="float32")
        for threads in (1, 2)
    )
    assert recipe.store_key("r", one) != recipe.store_key("r", two)
    assert recipe.store_key("r", one) == recipe.store_key("r", one)
    assert one.torch.startswith("2.")


def test_records_take_lists_and_refuse_nonsense():
    assert LoraSettings(target_modules=["q_proj"]).target_modules == ("q_proj",)
    for wrong in ({"r": 0}, {"r": 8.0}, {"target_modules": []}, {"rank": 8}):
        with pytest.raises(ValueError, match="1 validation error"):
            LoraSettings(**wrong)
    with pytest.raises(ValueError, match="learning_rate"):
        TrainingSettings(learning_rate=float("nan"))
    assert json.loads(json.dumps(recipe.settings(FedIT()))) == {"kind": "fedit"}


WITHOUT_TORCH = """
import sys
from fl.costs import known_costs
from fl.contract import Job
from fl.federation.federation import Federation
from fl.settings.federation import FederationSettings
from fl.memory.recipe import Environment

learning = FederationSettings()
federation = Federation(learning, num_clients=4, seed=0)
version = federation.initial_version
job = federation.submit(
    Job(client_id=0, start_index=0, round_id=0, version=version, steps=1, rank=8)
)
assert len(federation.num_samples) == 4 and len(version) == len(job) == 64
assert federation.merge(version, []).version == version
known_costs(learning.task, learning.backbone, lora=learning.lora,
            training=learning.training)
Environment.here(device="cpu", threads=1, precision="float32")
heavy = {"torch", "peft", "transformers", "safetensors", "sklearn", "simpy", "netsim"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_settings_jobs_and_known_facts_need_no_torch():
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_TORCH], check=True)
