"""Files of sweep points: ours and those of old, and the numbers read from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmbench.combination import Combination
from llmbench.errors import ResultsError
from llmbench.sweep_file import ResponseDetail, read_json, response_details, write_json

GOLDEN = Path(__file__).parents[1] / "golden" / "sweep"
LLAMA = Combination("meta-llama/Llama-2-7b-hf", 1, 768, 1, 2600, 60, 8)
NAME = LLAMA.file_stem()


def details() -> list[ResponseDetail]:
    return [
        ResponseDetail(1000.0, 1001.0, 10, 3, [0.5, 0.25, 0.25]),
        ResponseDetail(1001.0, 1003.0, 12, 1, [2.0]),
    ]


def write(directory: Path, combination: Combination = LLAMA, **changes: Any) -> Path:
    path = directory / combination.file_name
    given: dict[str, Any] = {
        "combination": combination,
        "args": {"backend": "sim", "stream": True},
        "details": details(),
        "llmbench": {
            "schema_version": 1,
            "verdict": {"status": "VALID"},
            "intervals": {"mean_e2el_ms": {"low": 1200.0, "high": 1800.0, "n_eff": 2}},
        },
        "duration_s": 4.0,
    }
    write_json(path, **{**given, **changes})
    return path


class TestOurFiles:
    def test_comes_back_as_written(self, tmp_path: Path) -> None:
        point = read_json(write(tmp_path / "results_sim"))
        assert point.combination == LLAMA
        assert point.completed == 2
        assert point.backend == "sim"
        assert point.verdict == "VALID"
        assert point.interval("mean_e2el_ms") == (1200.0, 1800.0)
        assert point.interval("p99_ttft_ms") is None
        assert point.prompt_tokens.tolist() == [10, 12]
        assert point.output_tokens.tolist() == [3, 1]
        assert point.latency_s.tolist() == [1.0, 2.0]
        assert point.first_token_s.tolist() == [0.5, 2.0]
        assert point.gaps_s.tolist() == [0.25, 0.25]
        assert point.gaps_of(0).tolist() == [0.25, 0.25]
        assert point.gaps_of(1).tolist() == []

    def test_rates_are_over_wall_time(self, tmp_path: Path) -> None:
        point = read_json(write(tmp_path))
        assert point.queries_per_s == 2 / 4.0
        assert point.tokens_per_s == (10 + 12 + 3 + 1) / 4.0
        assert point.output_tokens_per_s == 1.0
        assert point.mean_latency_s == 1.5
        assert point.mean_ttft_s == 1.25
        assert point.mean_tpot_s == 0.25  # one token has no time per token, and that is not 0

    def test_old_readers_find_what_they_need(self, tmp_path: Path) -> None:
        data = json.loads(write(tmp_path).read_text())
        assert list(data) == ["args", "time", "response_details", "llmbench"]
        assert data["args"]["mean_prompt_length"] == 2600
        assert data["args"]["mean_max_new_tokens"] == 60
        # Their reader passes these on as keyword arguments: one key too many and it fails.
        keys = {"generated_tokens", "prompt", "start_time", "end_time", "model_time", "token_gen_time"}
        assert [set(detail) for detail in data["response_details"]] == [keys, keys]
        assert data["response_details"][0]["generated_tokens"] == ["", "", ""]
        assert data["response_details"][0]["prompt"] == ""

    def test_without_streaming(self, tmp_path: Path) -> None:
        point = read_json(write(tmp_path, details=[ResponseDetail(1.0, 2.0, 5, 6)]))
        assert not point.streamed
        assert point.mean_ttft_s is None
        assert point.mean_tpot_s is None
        assert np.isnan(point.first_token_s).all()

    def test_secrets_do_not_reach_the_file(self, tmp_path: Path) -> None:
        secret = "sk-hush-0123456789"
        args = {
            "api_key": secret,
            "aml_api_key": secret,
            "openai_api_key": None,
            "openai_api_url": f"https://user:{secret}@host/v1?api_key={secret}",
            "header": [f"X-Auth: {secret}", f"Authorization=Bearer {secret}"],
            "server_command": f"serve --api-key {secret} --port 1",
            "extra": {"password": secret},
            "deployment_name": "d",
            "out": Path("x"),
        }
        path = write(tmp_path, args=args)
        assert secret not in path.read_text()
        kept = json.loads(path.read_text())["args"]
        assert kept["openai_api_key"] is None
        assert kept["deployment_name"] == "d"
        assert kept["out"] == "x"
        assert kept["server_command"].endswith("--port 1")
        assert [line.partition("=")[0] for line in kept["header"]] == ["X-Auth", "Authorization"]

    def test_what_json_lacks_becomes_null(self, tmp_path: Path) -> None:
        extra = {"a": float("nan"), "b": np.float64("inf"), "c": np.arange(2), "d": (np.int64(1),)}
        point = read_json(write(tmp_path, llmbench=extra))
        assert {key: point.llmbench[key] for key in extra} == {"a": None, "b": None, "c": [0, 1], "d": [1]}

    def test_is_whole_or_not_there(self, tmp_path: Path) -> None:
        class Broken(dict[str, Any]):
            def items(self) -> Any:
                raise RuntimeError("half way")

        with pytest.raises(RuntimeError, match="half way"):
            write(tmp_path, llmbench={"x": Broken(a=1)})
        assert list(tmp_path.iterdir()) == []
        write(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.json"]

    def test_says_where_it_cannot_write(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ResultsError, match="--out_json_dir") as caught:
            write(tmp_path / "file")
        assert NAME in str(caught.value)
        assert caught.value.exit_code == 74


def test_details_of_a_measurement() -> None:
    names = ("sent_ns", "end_ns", "prompt_tokens", "output_tokens", "workload", "outcome", "phase")
    rows = np.array(
        [
            (100, 900, 7, 2, 0, 0, 0),  # warm-up
            (3_000_000_000, 4_000_000_000, 8, 2, 1, 0, 1),
            (2_000_000_000, 4_500_000_000, 9, 3, 0, 0, 1),
            (2_500_000_000, 2_600_000_000, -1, -1, 0, 12, 1),  # failed
        ],
        dtype=[(name, np.int64) for name in names],
    )
    offsets = np.array([0, 1, 3, 5, 5])
    times = np.array([500, 3_500_000_000, 3_750_000_000, 2_250_000_000, 4_250_000_000])
    found = response_details(
        rows, offsets, times, start_unix_ns=10**18, prompts=["p0", "p1"], texts=["", "t1", "t2", ""]
    )
    assert [detail.prompt for detail in found] == ["p0", "p1"]
    assert [detail.start_time for detail in found] == [1e9 + 2, 1e9 + 3]
    assert [detail.end_time for detail in found] == [1e9 + 4.5, 1e9 + 4]
    assert [detail.token_gen_time for detail in found] == [[0.25, 2.0], [0.5, 0.25]]
    assert [detail.generated_tokens for detail in found] == [["t2", "", ""], ["t1", ""]]
    plain = response_details(rows, offsets, times, start_unix_ns=0, streamed=False)
    assert [(detail.token_gen_time, detail.generated_tokens, detail.prompt) for detail in plain] == [
        ([], None, "")
    ] * 2


class TestOldFiles:
    def test_streamed_lists(self) -> None:
        stem = "acme_tiny-1b-tp1-bs768-replicas1-prompt4-gen3-clients2"
        point = read_json(GOLDEN / "results_fastgen" / f"{stem}.json")
        assert point.combination == Combination("acme/tiny-1b", 1, 768, 1, 4, 3, 2)
        assert point.output_tokens.tolist() == [3, 3, 1, 4]
        assert point.queries_per_s == 4 / 5  # the old scripts: 2 clients / mean latency 1.875 s = 1.07
        assert point.mean_latency_s == 1.875
        assert point.mean_ttft_s == 1.0
        assert point.mean_tpot_s == 0.5
        assert point.verdict is None
        assert point.tokens_per_s is None  # nobody counted the prompts
        assert point.output_tokens_per_s == 11 / 5

    def test_text_instead_of_tokens(self) -> None:
        stem = "acme_tiny-1b-tp1-bs768-replicas1-prompt4-gen3-clients1"
        point = read_json(GOLDEN / "results" / "vllm" / f"{stem}.json")
        assert point.output_tokens.tolist() == [3, 2]
        counted = read_json(point.path, count_tokens=lambda text: len(text.split()))
        assert counted.output_tokens.tolist() == [3, 2]
        assert counted.prompt_tokens.tolist() == [4, 4]
        assert counted.tokens_per_s == 13 / 3.5

    def test_not_streamed(self) -> None:
        (file,) = (GOLDEN / "results_aml").glob("*.json")
        point = read_json(file)
        assert point.combination.tp_size == 1  # null in the arguments, so the name tells
        assert point.output_tokens.tolist() == [-1, -1]
        assert point.output_tokens_per_s is None
        assert point.queries_per_s == 2 / 5
        assert point.mean_latency_s == 2.5
        assert point.mean_ttft_s is None


GOOD: dict[str, Any] = {
    "args": {"backend": "sim"},
    "response_details": [
        {"generated_tokens": ["a"], "start_time": 1.0, "end_time": 2.0, "token_gen_time": [1.0]}
    ],
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ('{"args": {', "is not JSON"),
        ("[]", "holds a list"),
        ({**GOOD, "args": 3}, "'args' holds 3, not an object"),
        ({"response_details": []}, "'args' is missing"),
        ({"args": {}}, "'response_details' is missing"),
        ({**GOOD, "response_details": []}, "no request completed"),
        ({**GOOD, "response_details": [5]}, r"response_details\[0\] holds a int"),
        ({**GOOD, "response_details": [{"end_time": 1}]}, r"'start_time' in response_details\[0\] is missing"),
        ({**GOOD, "response_details": [{"start_time": "1", "end_time": 1}]}, "'start_time' .* holds '1', not a number"),
        ({**GOOD, "response_details": [{"start_time": 2, "end_time": 1}]}, "ends before it starts"),
        ({**GOOD, "response_details": [{"start_time": 1, "end_time": 2, "token_gen_time": 3}]}, "'token_gen_time'"),
        ({**GOOD, "llmbench": 1}, "'llmbench' holds a int"),
        ({**GOOD, "llmbench": {"input_lens": [1, 2]}}, "'input_lens' .* has 2 entries, 'response_details' has 1"),
        ({**GOOD, "llmbench": {"output_lens": ["x"]}}, "'output_lens' .* not a list of whole numbers"),
    ],
)  # fmt: skip
def test_errors_name_file_and_key(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / f"{NAME}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ResultsError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_other_keys_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.json"
    path.write_text(json.dumps(GOOD))
    point = read_json(path)
    assert point.combination.model == "meta-llama_Llama-2-7b-hf"
    assert point.combination.num_clients == 8
    renamed = path.rename(tmp_path / "mine.json")
    with pytest.raises(ResultsError, match="'args' lacks 'model'"):
        read_json(renamed)
    renamed.write_text(json.dumps({**GOOD, "args": LLAMA.to_args()}))
    assert read_json(renamed).combination == LLAMA
