import json
import math

import numpy as np
import pytest
import torch

from fl.backbones import FromConfig, read
from fl.model.adapters import LoraSettings
from fl.model.evaluation import evaluate, written
from fl.model.evaluation_settings import EvaluationSettings
from fl.model.lora_model import LoraModel
from fl.tasks import Instruct
from fl.tasks.instruct import final_answer
from tests.support.places import DATA

GSM8K = DATA / "gsm8k"
LLAMA = FromConfig(
    model_type="llama",
    config={
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 24,
    },
    vocab_size=400,
)
LORA = LoraSettings(r=2, target_modules=("q_proj", "v_proj"), modules_to_save=())
ROWS = [
    {"question": "How many?", "answer": "Two and two.\n#### 4"},
    {"question": "How many ducks are there?", "answer": "#### 1,200"},
    {"question": "And now?", "answer": "None.\n#### -3.5"},
]


@pytest.fixture
def task(tmp_path):
    return task_of(tmp_path)


def task_of(folder, **settings):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return Instruct(train=path, test=path, **settings)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("a\n#### 4", "4"),
        ("#### 3 or so #### 1,200 apples", "1200"),
        ("####-3.50.", "-3.50"),
        ("#### none", ""),
        (" 17\n", "17"),
    ],
)
def test_the_final_answer_is_what_follows_the_mark(reply, answer):
    assert final_answer(reply) == answer


def test_the_loss_counts_the_response_and_its_end_only(task):
    ready = read(task, LLAMA)
    batch = ready.batch("train", np.arange(3))
    words = ready.tokenizer
    for row, label, wanted in zip(
        batch["input_ids"].tolist(), batch["labels"].tolist(), ROWS, strict=True
    ):
        counted = [token for token in label if token != -100]
        assert words.decode(counted) == wanted["answer"]
        assert counted[-1] == words.end_id
        assert words.decode(row) == f"{wanted['question']}\n{wanted['answer']}"
        kept = [a for a, b in zip(row, label, strict=True) if b != -100]
        assert kept == counted
    assert batch["input_ids"].shape[1] == ready.lengths("train", np.arange(3)).max()


def test_long_texts_are_cut_at_the_prompt_first(tmp_path):
    ready = read(task_of(tmp_path, max_length=12), LLAMA)
    batch = ready.batch("train", np.arange(3))
    assert batch["input_ids"].shape == (3, 12)
    replies = (batch["labels"] != -100).sum(1)
    assert (replies >= 3).all()
    assert batch["labels"][:, -1].ne(-100).any()


def test_a_prompt_is_framed(tmp_path):
    framed = task_of(tmp_path, prompt_format="Q: {prompt}\nA: ")
    assert framed.prompt_replies("train", [0])[0].prompt == "Q: How many?\nA: "
    with pytest.raises(ValueError, match=r"must contain \{prompt\}"):
        task_of(tmp_path, prompt_format="Q:")
    with pytest.raises(ValueError, match="has no chat template"):
        read(task_of(tmp_path, chat=True), LLAMA).batch("train", np.arange(1))


def test_a_wrong_column_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no column 'prompt'.*columns: question, "):
        task_of(tmp_path, prompt_column="prompt").labels("train")


def lora_model_of(task):
    return LoraModel(LLAMA.load(task), LORA, seed=0)


def test_perplexity_is_that_of_every_response_token(task):
    ready, lora_model = read(task, LLAMA), lora_model_of(task)
    found = evaluate(lora_model, ready, "test")
    losses, right = [], []
    for index in range(3):
        batch = ready.batch("test", np.array([index]))
        labels = batch.pop("labels")[0]
        with torch.inference_mode():
            log_p = lora_model.model(**batch).logits[0].log_softmax(-1)
        for place in range(1, len(labels)):
            if labels[place] != -100:
                losses.append(-log_p[place - 1, labels[place]].item())
                right.append(log_p[place - 1].argmax() == labels[place])
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    assert found.accuracy == pytest.approx(np.mean(right))
    assert found.exact_match is None


def test_answers_do_not_depend_on_their_batch(task):
    ready, lora_model = read(task, LLAMA), lora_model_of(task)
    quiz = ready.quiz()
    together = written(lora_model, quiz, "test", np.arange(3), 5)
    alone = [written(lora_model, quiz, "test", np.array([i]), 5)[0] for i in range(3)]
    assert together == alone
    assert all(len(answer) <= 5 for answer in together)


def test_answers_are_marked_by_their_result(task):
    ready = read(task, LLAMA)
    replies = [e.reply for e in task.prompt_replies("test", [0, 1, 2])]
    right = [ready.tokenizer.encode([r], max_length=99)[0] for r in replies]
    assert ready.num_right("test", np.arange(3), right) == 3
    other = [f"so #### {final_answer(r)}" for r in replies[:2]] + ["#### 99"]
    mixed = [ready.tokenizer.encode([r], max_length=99)[0] for r in other]
    assert ready.num_right("test", np.arange(3), mixed) == 2


def test_exact_match_is_asked_for(task):
    settings = EvaluationSettings(exact_match=True, max_new_tokens=4)
    found = evaluate(lora_model_of(task), read(task, LLAMA), "test", settings)
    assert found.exact_match == 0.0


@pytest.mark.skipif(not GSM8K.is_dir(), reason="no gsm8k files")
def test_gsm8k_is_read_whole():
    task = Instruct(train=GSM8K / "train.jsonl", test=GSM8K / "test.jsonl")
    assert [len(task.labels(s)) for s in ("train", "test")] == [7_473, 1_319]
    replies = [e.reply for e in task.prompt_replies("test", range(1_319))]
    assert all(float(final_answer(reply)) is not None for reply in replies)
