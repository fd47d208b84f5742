"""Workloads: lengths, uniqueness, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmbench import backends, workloads
from llmbench.errors import ConfigError
from llmbench.vocabulary import WORDS
from llmbench.workloads import Workload


def words(workload: Workload) -> list[list[str]]:
    return [str(prompt).split(" ") for prompt in workload.prompts]


def test_the_vocabulary_is_a_table() -> None:
    assert len(WORDS) == len(set(WORDS)) == 256
    assert {len(word) for word in WORDS} == {4}


def test_random_has_the_asked_lengths() -> None:
    workload = workloads.random(input_tokens=12, output_tokens=7, n=600, seed=3)
    assert len(workload) == 600
    assert {len(each) for each in words(workload)} == {12}
    assert set(workload.prompt_tokens.tolist()) == {12}
    assert set(workload.output_tokens.tolist()) == {7}
    assert {word for each in words(workload) for word in each} <= set(WORDS)


def test_range_ratio() -> None:
    workload = workloads.random(input_tokens=100, output_tokens=40, n=2000, range_ratio=0.5)
    assert workload.prompt_tokens.min() == 50
    assert workload.prompt_tokens.max() == 150
    assert workload.output_tokens.min() == 20
    assert workload.output_tokens.max() == 60
    assert [len(each) for each in words(workload)] == workload.prompt_tokens.tolist()


@pytest.mark.parametrize("length", [2, 3, 4, 50])
def test_prompts_differ_from_their_first_words_on(length: int) -> None:
    prompts = words(workloads.random(input_tokens=length, n=5000))
    assert len({tuple(each[:2]) for each in prompts}) == 5000


def test_a_shared_prefix_is_shared_and_the_rest_is_not() -> None:
    workload = workloads.random(input_tokens=6, n=1000, prefix_len=10)
    prompts = words(workload)
    assert len({tuple(each[:10]) for each in prompts}) == 1
    assert len({tuple(each[10:12]) for each in prompts}) == 1000
    assert set(workload.prompt_tokens.tolist()) == {16}


def test_the_seed_decides() -> None:
    one, same, other = (workloads.random(n=50, seed=seed) for seed in (1, 1, 2))
    assert list(one.prompts) == list(same.prompts)
    assert not set(one.prompts) & set(other.prompts)


def test_many_long_prompts_cost_little() -> None:
    """The bound is generous: at one microsecond a word this would take ten seconds."""
    import time

    begun = time.process_time()
    bodies = workloads.random(1024, 128, 10_000).bodies(backends.get("vllm"), model="m")
    assert time.process_time() - begun < 5
    assert len(bodies) == 10_000
    assert len(json.loads(bodies[-1])["prompt"].split()) == 1024


def test_normal_lengths() -> None:
    workload = workloads.normal(200, 60, 20_000, max_input=260, seed=42)
    assert workload.prompt_tokens.max() == 260
    assert workload.prompt_tokens.min() >= 1
    assert workload.output_tokens.mean() == pytest.approx(60, rel=0.02)
    assert workload.output_tokens.std() == pytest.approx(18, rel=0.05)


def test_normal_lengths_never_fall_below_one() -> None:
    workload = workloads.normal(3, 3, 2000, input_var=3, output_var=3)
    assert workload.prompt_tokens.min() == 1
    assert workload.output_tokens.min() == 1


def test_one_mean_leaves_the_other_lengths_alone() -> None:
    a, b = workloads.normal(50, 10, 100), workloads.normal(80, 10, 100)
    assert a.output_tokens.tolist() == b.output_tokens.tolist()


def test_synthetic_takes_any_lengths() -> None:
    workload = workloads.synthetic([1, 5, 600], [2, 3, 4])
    assert [len(each) for each in words(workload)] == [1, 5, 600]


def test_from_prompts() -> None:
    prompts: list[Any] = ["a text of some length", [1, 2, 3], [{"role": "user", "content": "eight by"}]]
    workload = workloads.from_prompts(prompts, output_tokens=[4, -1, 6])
    assert workload.prompt_tokens.tolist() == [5, 3, 2]
    assert workload.output_tokens.tolist() == [4, -1, 6]
    assert workloads.from_prompts(["x"], 5, prompt_tokens=[9]).prompt_tokens.tolist() == [9]


def test_bodies_ask_for_each_length() -> None:
    bodies = workloads.from_prompts(["a", "b"], [4, -1]).bodies(backends.get("openai"), model="m")
    assert [json.loads(body).get("max_tokens") for body in bodies] == [4, None]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: workloads.random(input_tokens="5"),
            "input_tokens must be a whole number of at least 1, not '5'",
        ),
        (lambda: workloads.random(input_tokens=0), "input_tokens"),
        (lambda: workloads.random(output_tokens=0), "output_tokens"),
        (lambda: workloads.random(n=0), "n must"),
        (lambda: workloads.random(range_ratio=1.0), "range_ratio"),
        (lambda: workloads.random(prefix_len=-1), "prefix_len"),
        (lambda: workloads.random(seed=-1), "seed"),
        (lambda: workloads.normal(0, 5, 3), "mean_input"),
        (lambda: workloads.normal(5, 5, 3, input_var=-1), "input_var"),
        (lambda: workloads.normal(5, 5, 3, max_input=0), "max_input"),
        (lambda: workloads.synthetic([0], [1]), "at least 1 token"),
        (lambda: workloads.synthetic([1, 2], [1]), "1 entries for 2 prompts"),
        (lambda: workloads.from_prompts([]), "no prompts"),
        (lambda: workloads.from_prompts(["a"], 0), "not 0"),
        (lambda: workloads.from_prompts(["a"], order="sorted"), "unknown order"),
        (lambda: workloads.random(n=1, tokenizer="/no/such/place"), "no tokenizer at"),
    ],
)
def test_what_cannot_be(make: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make()


def conversation(question: str, answer: str, *more: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "x", "conversations": turns + [{"from": "human", "value": each} for each in more]}


@pytest.fixture
def sharegpt(tmp_path: Path) -> Path:
    file = tmp_path / "sharegpt.json"
    good = [conversation("q" * (40 + i), "a" * (80 + 4 * i)) for i in range(10)]
    odd = [
        conversation("short", "a" * 100),
        conversation("q" * 100, "no"),
        conversation("q" * 9000, "a" * 100),
        conversation("q" * 100, "a" * 20_000),
        {"conversations": [{"from": "human", "value": "alone"}]},
        {"conversations": [{"from": "human", "value": None}, {"from": "gpt", "value": "x"}]},
        {"other": 1},
        conversation("m" * 60, "a" * 80, "and then?"),
    ]
    file.write_text(json.dumps(good + odd))
    return file


def test_sharegpt(sharegpt: Path) -> None:
    workload = workloads.sharegpt(sharegpt, seed=1)
    assert workload.parameters["distinct"] == 11
    assert workload.parameters["dropped"] == 4
    by_prompt = dict(zip(workload.prompts, workload.output_tokens.tolist(), strict=True))
    assert by_prompt["q" * 40] == 20
    assert by_prompt["m" * 60] == 20
    assert workloads.sharegpt(sharegpt, 5, seed=1).prompts == workload.prompts[:5]
    assert workloads.sharegpt(sharegpt, seed=2).prompts != workload.prompts
    assert set(workloads.sharegpt(sharegpt, output_tokens=33).output_tokens.tolist()) == {33}


def test_sharegpt_starts_over_when_it_is_short(sharegpt: Path) -> None:
    workload = workloads.sharegpt(sharegpt, 25)
    assert len(workload) == 25
    assert workload.prompts[11:22] == workload.prompts[:11]


def test_custom(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(
        '{"prompt": "one\\u2028two", "output_tokens": 9}\n\n"three"\n'
        '{"messages": [{"role": "user", "content": "four"}], "prompt_tokens": 77}\n{"prompt": [1, 2]}\n'
    )
    workload = workloads.custom(file)
    assert workload.prompts[:2] == ["one\u2028two", "three"]
    assert workload.output_tokens.tolist() == [9, 256, 256, 256]
    assert workload.prompt_tokens.tolist()[2:] == [77, 2]
    assert workloads.custom(file, 6, output_tokens=5).output_tokens.tolist() == [5] * 6
    assert len(workloads.custom(file, 2)) == 2


@pytest.mark.parametrize(
    ("reader", "content", "told"),
    [
        (workloads.custom, "{", "line 1: not JSON"),
        (workloads.custom, '{"text": "x"}', 'line 1: neither "prompt" nor "messages"'),
        (workloads.custom, '{"prompt": "x", "output_tokens": 0}', "line 1: output_tokens"),
        (workloads.custom, "\n\n", "no prompts"),
        (workloads.sharegpt, "{}", "a JSON list"),
        (workloads.sharegpt, "[1]", "no conversation of two turns"),
        (workloads.sharegpt, "[", "not JSON"),
        (workloads.sharegpt, json.dumps([conversation("a", "b")]), "none of 1 conversations"),
    ],
)
def test_bad_files(tmp_path: Path, reader: Any, content: str, told: str) -> None:
    file = tmp_path / "data"
    file.write_text(content)
    with pytest.raises(ConfigError, match=told):
        reader(file)
    with pytest.raises(ConfigError, match="no file"):
        reader(tmp_path / "absent")
    with pytest.raises(ConfigError, match="cannot read"):
        reader(tmp_path)


class WordTokenizer:
    """Two tokens for every word with an e in it, one for the others, and one at the start."""

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        return 1

    def encode_batch(self, texts: list[str]) -> list[Any]:
        return [Encoding([0] * (1 + sum(1 + ("e" in word) for word in text.split(" ")))) for text in texts]


class Encoding:
    def __init__(self, ids: list[int]) -> None:
        self.ids = ids


def test_with_a_tokenizer_lengths_are_what_it_counts() -> None:
    """A length that no choice of whole words gives may be missed, but the count is right all the same."""
    tokenizer = WordTokenizer()
    workload = workloads.random(input_tokens=50, n=300, range_ratio=0.4, tokenizer=tokenizer)
    counted = [len(each.ids) for each in tokenizer.encode_batch([str(prompt) for prompt in workload.prompts])]
    assert workload.prompt_tokens.tolist() == counted
    asked = workloads.random(input_tokens=50, n=300, range_ratio=0.4).prompt_tokens
    assert np.abs(workload.prompt_tokens - asked).max() <= 1
    assert (workload.prompt_tokens == asked).mean() > 0.9


def test_a_real_tokenizer_file(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: i for i, word in enumerate(["?", *WORDS])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        workload = workloads.random(input_tokens=9, n=5, tokenizer=path)
        assert set(workload.prompt_tokens.tolist()) == {9}
        assert workload.tokenizer == str(path)


def test_what_a_result_keeps_of_it() -> None:
    workload = workloads.random(input_tokens=12, output_tokens=7, n=600, seed=3)
    stored = workload.to_dict()
    assert stored["mean_prompt_tokens"] == 12
    assert stored["parameters"]["seed"] == 3
    assert str(workload.prompts[0]) not in json.dumps(stored)
    assert repr(workload) == "Workload('random', 600 prompts, 12.0 tokens in, 7.0 out)"
