import json
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from fl.aggregation import FedIT
from fl.aggregation.compression import TopK
from fl.aggregation.ffa_lora import FFALora
from fl.aggregation.flora_stacking import FloraStacking
from fl.aggregation.hetlora import HetLora
from fl.contract import Arrival, Job
from fl.federation.jobs import ticket_of
from fl.memory import recipe
from fl.model.adapters import LoraSettings
from fl.model.payload import Payload
from fl.record import Record
from fl.settings.federation import FederationSettings
from fl.settings.local_training import TrainingSettings
from fl.tasks import Synthetic

JOB = Job(
    version="v0", client_id=3, start_index=1, round_id=2, rank=8, steps=10, state="s"
)
LEARNING = FederationSettings(aggregation=FedIT())
SHARES = [np.array([4, 5, 6])] * 9


def ticket(job=JOB, shares=SHARES, seed=7, code="c", **settings):
    return ticket_of(job, replace(LEARNING, **settings), shares, seed, code=code)


class Strategy(Record):
    kind: str = "named"
    strength: float = 0.5


def test_digests_are_these():
    assert recipe.digest("x", {"b": 1, "a": [0.1, None, "é"]}) == (
        "ed51a784436fce45c3d6fb6581fd2075f9ecbd961d035ad6a83307257ee5bccf"
    )
    assert recipe.merged_version(
        Strategy(), "v0", [Arrival("j", 0.25)], cohorts=[], server=Strategy(), code=""
    ) == ("b2ce7908d639eeba1906a8318d480ea840d26aaeb0158864c7dbb169ea6aac27")
    assert recipe.initial_version(base="b", lora=Strategy(), seed=1, code="") == (
        "7260ab99c22524a25f912e38f524823729706146a3b32dbc5f9afc3e848afcd3"
    )


def test_all_that_decides_a_job_counts():
    others = {
        "version": "v1",
        "client_id": 4,
        "start_index": 2,
        "round_id": 3,
        "rank": 4,
        "steps": 11,
        "state": "t",
        "after_round_id": 1,
    }
    assert {field.name for field in fields(JOB)} == set(others)
    fewer = [SHARES[0][:2]] * 9
    found = [ticket(), ticket(seed=8), ticket(code="d"), ticket(shares=fewer)]
    found += [ticket(replace(JOB, **{name: value})) for name, value in others.items()]
    found += [
        ticket(task=Synthetic()),
        ticket(training=TrainingSettings(learning_rate=0.1)),
        ticket(payload=Payload(precision="int8")),
        ticket(compression=TopK(share=0.5)),
        ticket(aggregation=FFALora()),
        ticket(low_rank="truncated", job=replace(JOB, rank=4)),
    ]
    assert len(set(found)) == len(found)


def test_the_rounding_of_what_is_sent_names_a_job():
    """FLoRA sends nothing of the version before, HetLoRA rounds nothing of it."""
    for precision, count in (("float32", 1), ("bfloat16", 2)):
        payload = Payload(precision=precision)
        methods = (FedIT(), FloraStacking(), HetLora())
        found = {ticket(payload=payload, aggregation=one) for one in methods}
        assert len(found) == count


def test_order_weights_method_and_history_of_a_merge_count():
    def version(
        strength=0.5,
        previous="v0",
        arrivals=(("a", 0.5), ("b", 0.5)),
        step=1.0,
        code="c",
    ):
        return recipe.merged_version(
            Strategy(strength=strength),
            previous,
            [Arrival(*pair) for pair in arrivals],
            cohorts=["c"],
            server=Strategy(strength=step),
            code=code,
        )

    versions = {
        version(),
        version(strength=0.6),
        version(previous="v1"),
        version(step=0.5),
        version(code="d"),
        version(arrivals=(("b", 0.5), ("a", 0.5))),
        version(arrivals=(("a", 0.5), ("b", np.nextafter(0.5, 1)))),
    }
    assert len(versions) == 7
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
