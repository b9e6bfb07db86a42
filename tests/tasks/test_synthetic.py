import numpy as np
import pytest

from fl.backbones import FromConfig, read
from fl.partition import ByColumn, divide, label_counts
from fl.streams import stream
from fl.tasks import Arithmetic, Synthetic
from fl.tasks.generated import uniform
from fl.tasks.synthetic import SYLLABLES


def word_index(word):
    return SYLLABLES.index(word[:2]) + len(SYLLABLES) * SYLLABLES.index(word[2:])


def test_counted_numbers_are_uniform_and_made_alone():
    found = uniform(3, "a", np.arange(100_000))
    assert found.min() >= 0
    assert found.max() < 1
    assert found.mean() == pytest.approx(0.5, abs=0.004)
    assert found.var() == pytest.approx(1 / 12, rel=0.02)
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.01
    assert uniform(3, "a", np.array([77])) == found[77]
    assert uniform(3, "b", np.array([77])) != found[77]
    assert uniform(4, "a", np.array([77])) != found[77]


def test_any_sample_is_made_without_the_others():
    large = Synthetic(num_samples=10**9)
    few = large.texts("train", [999_999_999, 5])
    assert few == large.texts("train", [5, 999_999_999])[::-1]
    assert few[1] == Synthetic(num_samples=10).texts("train", [5])[0]
    assert large.texts("test", [5]) != [few[1]]


def test_without_difficulty_every_word_betrays_the_label():
    task = Synthetic(num_samples=300, num_labels=7, num_words=40, difficulty=0)
    for text, label in zip(
        task.texts("train", range(300)), task.labels("train"), strict=True
    ):
        words = text.split()
        assert 6 <= len(words) <= 12
        assert {word_index(word) % 7 for word in words} == {label}
        assert all(word_index(word) < 40 for word in words)


def test_difficulty_is_the_share_of_any_words():
    task = Synthetic(num_samples=4_000, num_labels=10, difficulty=0.6)
    texts = task.texts("train", range(4_000))
    own = [
        word_index(word) % 10 == label
        for text, label in zip(texts, task.labels("train"), strict=True)
        for word in text.split()
    ]
    assert np.mean(own) == pytest.approx(0.4 + 0.6 / 10, abs=0.01)


@pytest.mark.parametrize(("heterogeneity", "share"), [(0.0, 0.1), (0.8, 0.82)])
def test_heterogeneity_is_how_often_users_have_their_favourite(heterogeneity, share):
    task = Synthetic(num_samples=20_000, num_users=20, heterogeneity=heterogeneity)
    shares = divide(ByColumn(column="user"), task, 20, stream(0, "p"))
    counts = label_counts(task.labels("train"), shares, task.num_labels)
    assert (counts.sum(1) == 1_000).all()
    assert (counts.max(1) / 1_000).mean() == pytest.approx(share, abs=0.02)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="num_words must be at least num_labels"):
        Synthetic(num_words=5, num_labels=6)
    with pytest.raises(ValueError, match="max_words must be at least min_words"):
        Synthetic(min_words=9, max_words=8)
    for task in (Synthetic(), Arithmetic()):
        with pytest.raises(ValueError, match=r"no column 'writer' \(it has: user"):
            task.column("writer")


def test_sums_are_right_and_no_pair_is_in_two_splits():
    task = Arithmetic(num_samples=5_000, num_test=2_000, num_public=2_000)
    pairs = {}
    for split in ("train", "test", "public"):
        samples = task.prompt_replies(split, range(2_000))
        for prompt, reply in samples:
            first, second = prompt.removesuffix("=").split("+")
            assert int(first) + int(second) == int(reply)
        pairs[split] = {prompt for prompt, _ in samples}
    assert not pairs["train"] & pairs["test"]
    assert not pairs["train"] & pairs["public"]
    assert not pairs["public"] & pairs["test"]


def test_users_have_their_own_range_of_first_numbers():
    def first_numbers(heterogeneity):
        task = Arithmetic(num_samples=5_000, heterogeneity=heterogeneity, num_users=10)
        prompts = [p for p, _ in task.prompt_replies("train", range(3, 5_000, 10))]
        assert set(task.column("user")[3:5_000:10]) == {"3"}
        return [int(prompt.split("+")[0]) for prompt in prompts]

    assert set(first_numbers(1.0)) <= set(range(29, 41))
    assert np.mean(first_numbers(0.0)) == pytest.approx(49.5, abs=4)


def test_a_sum_fits_its_stated_length():
    task = Arithmetic(num_samples=100, num_digits=3)
    ready = read(task, FromConfig(model_type="gpt2", vocab_size=300))
    assert ready.lengths("train", np.arange(100)).max() <= task.max_length
    batch = ready.batch("train", np.arange(100))
    ended = (batch["labels"] == ready.end_id).sum(1)
    assert (ended == 1).all()
