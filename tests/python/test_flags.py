"""The command line: spelling, values, and what is built from them."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pytest

from llmbench.cli import flags, main
from llmbench.cli import run as run_command
from llmbench.errors import ConfigError


def parsed(*arguments: str) -> argparse.Namespace:
    namespace: argparse.Namespace = run_command.parser().parse_args(list(arguments))
    return namespace


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--request-rte", "5"], "unknown flag --request-rte: did you mean --request-rate?"),
        (["--max_concurency=3"], "did you mean --max-concurrency?"),
        (["--zzzzzzzzz"], "unknown flag --zzzzzzzzz "),
        (["--until-si", "ttft_p99:3%"], "unknown flag --until-si: did you mean --until-ci?"),
        (["--until-ci", "ttft_p99"], "NUMBER:PERCENT% is wanted"),
        (["--until-ci", "ttfb_p99:3%"], "unknown number 'ttfb_p99'"),
        (["stray"], "unexpected argument 'stray'"),
        (["--num"], "unknown flag --num"),
        (["--num-prompts"], "expected one argument"),
        (["--num-prompts", "0"], "--num-prompts: 0 is not a whole number of at least 1"),
        (["--num-prompts", "2.5"], "'2.5' is not a whole number of at least 1"),
        (["--request-rate", "0"], "above 0"),
        (["--request-rate", "-3"], "above 0"),
        (["--request-rate", "nan"], "above 0"),
        (["--max-concurrency", "0"], "at least 1"),
        (["--burstiness", "0"], "above 0"),
        (["--port", "99999"], "a port from 1 to 65535"),
        (["--duration", "0"], "above 0"),
        (["--duration", "inf"], "above 0"),
        (["--drain", "-1"], "0 or more"),
        (["--max-error-rate", "1.5"], "a share from 0 to 1"),
        (["--random-range-ratio", "1"], "below 1"),
        (["--metric-percentiles", "50,x"], "not a list of percentiles"),
        (["--metric-percentiles", "0,50"], "above 0 and below 100"),
        (["--metric-percentiles", "100"], "above 0 and below 100"),
        (["--percentile-metrics", "ttft,tttp"], "unknown metric 'tttp'"),
        (["--goodput", "ttft"], "METRIC:MILLISECONDS"),
        (["--goodput", "ttft:0"], "METRIC:MILLISECONDS"),
        (["--goodput", "itl:5"], "unknown metric 'itl'"),
        (["--slo", "p99_ttft_ms"], "KEY<=NUMBER"),
        (["--slo", "p99_ttft_ms=<3"], "KEY<=NUMBER"),
        (["--extra-body", "{"], "not JSON"),
        (["--extra-body", "[1]"], "a JSON object"),
        (["--header", "X-Api-Key: hidden"], "KEY=VALUE is wanted"),
        (["--connect", "often"], "invalid choice"),
        (["--ramp-up-strategy", "steep"], "invalid choice"),
    ],
)
def test_bad_flags(arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(*arguments)
    assert told in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "spelling", ["--num-prompts=7", "--num_prompts=7", "--num-prompts 7", "--num_prompts 7"]
)
def test_dashes_and_underscores_are_alike(spelling: str) -> None:
    assert parsed(*spelling.split()).num_prompts == 7


def test_underscores_in_values_stay() -> None:
    args = parsed("--label", "--a_b".replace("--", ""), "--extra_body", '{"min_p": 1}', "--header", "X_A=b_c")
    assert (args.label, args.extra_body, args.header) == ("a_b", {"min_p": 1}, [("X_A", "b_c")])


def test_flags_declared_with_underscores_take_dashes() -> None:
    parser = flags.Parser(prog="x")
    parser.add_argument("--num_clients", type=flags.count)
    assert parser.parse_args(["--num-clients", "3"]).num_clients == 3
    assert parser.parse_args(["--num_clients", "3"]).num_clients == 3
    with pytest.raises(ConfigError, match="did you mean --num_clients"):
        parser.parse_args(["--num-client", "3"])


def test_defaults_are_those_of_vllms_bench_serve() -> None:
    args = parsed()
    assert math.isinf(args.request_rate)
    assert (args.random_input_len, args.random_output_len, args.burstiness, args.seed) == (1024, 128, 1.0, 0)
    assert flags.num_prompts(args) == 1000
    assert flags.endpoint_from(args).origin == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "burst"),
        ("--max-concurrency 8", "closed loop, 8 in flight"),
        ("--request-rate inf --max-concurrency 8", "closed loop, 8 in flight"),
        ("--request-rate 5", "Poisson, 5 requests/s"),
        ("--request-rate 5 --max-concurrency 8", "Poisson, 5 requests/s, at most 8 in flight"),
        ("--request-rate 5 --burstiness 0.5", "gamma (burstiness 0.5), 5 requests/s"),
        ("--request-rate 5 --arrival gamma --burstiness 2", "gamma (burstiness 2), 5 requests/s"),
        ("--request-rate 5 --arrival constant", "constant, 5 requests/s"),
        (
            "--ramp-up-strategy linear --ramp-up-start-rps 1 --ramp-up-end-rps 9",
            "Poisson, 1 to 9 requests/s, linear ramp",
        ),
    ],
)
def test_loads(arguments: str, words: str) -> None:
    assert flags.load_from(parsed(*arguments.split())).describe() == words


def test_a_file_of_arrivals(tmp_path: Path) -> None:
    file = tmp_path / "times"
    file.write_text("0\n1\n")
    assert flags.load_from(parsed("--arrival", str(file))).describe() == "trace of 2 arrivals"
    assert flags.load_from(parsed("--arrival", "trace", "--dataset-path", str(file))).num_requests == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--arrival constant", "finite --request-rate"),
        ("--burstiness 2", "finite --request-rate"),
        ("--request-rate 5 --arrival constant --burstiness 2", "goes with --arrival gamma"),
        ("--arrival trace", "--dataset-path"),
        ("--arrival nonesuch", "neither poisson"),
        ("--arrival trace --request-rate 5", "its own times"),
        ("--ramp-up-strategy linear", "needs --ramp-up-start-rps"),
        ("--ramp-up-start-rps 1", "need --ramp-up-strategy"),
        (
            "--ramp-up-strategy linear --ramp-up-start-rps 1 --ramp-up-end-rps 2 --request-rate 3",
            "instead of",
        ),
    ],
)
def test_loads_that_cannot_be(arguments: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        flags.load_from(parsed(*arguments.split()))


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert flags.endpoint_from(parsed()).key() is None
    with pytest.raises(ConfigError, match="MY_KEY: this environment variable is not set"):
        flags.endpoint_from(parsed("--api-key-env", "MY_KEY"))
    monkeypatch.setenv("OPENAI_API_KEY", "one")
    monkeypatch.setenv("MY_KEY", "two")
    assert flags.endpoint_from(parsed()).key() == "one"
    endpoint = flags.endpoint_from(parsed("--api-key-env", "MY_KEY"))
    assert (endpoint.key(), endpoint.api_key_name) == ("two", "MY_KEY")


def test_keys_come_from_files_and_commands(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-hidden\n")
    endpoint = flags.endpoint_from(parsed("--api-key-file", str(file)))
    assert (endpoint.key(), endpoint.api_key_name) == ("sk-hidden", str(file))
    for text in ("", "one\ntwo"):
        file.write_text(text)
        with pytest.raises(ConfigError, match="one line with the key"):
            flags.endpoint_from(parsed("--api-key-file", str(file)))
    with pytest.raises(ConfigError, match="No such file"):
        flags.endpoint_from(parsed("--api-key-file", "/no/such/file"))
    assert flags.endpoint_from(parsed("--auth-command", "print-token")).auth_command == "print-token"
    with pytest.raises(ConfigError, match="--api-key-env and --auth-command both give the key"):
        flags.endpoint_from(parsed("--api-key-env", "A", "--auth-command", "print-token"))


def test_a_key_goes_only_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hidden-1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "hidden-2")
    assert flags.endpoint_from(parsed("--backend", "vllm")).key() == "hidden-1"
    assert flags.endpoint_from(parsed("--backend", "anthropic")).key() == "hidden-2"
    for name in ("ollama", "aml", "triton", "fastgen", "jetstream"):
        assert flags.endpoint_from(parsed("--backend", name)).key() is None


def test_addresses_follow_the_backend(tmp_path: Path) -> None:
    assert flags.endpoint_from(parsed("--backend", "tgi")).origin == "http://127.0.0.1:3000"
    assert flags.endpoint_from(parsed("--backend", "ollama", "--port", "9")).origin == "http://127.0.0.1:9"
    assert flags.endpoint_from(parsed("--backend", "aml", "--host", "h")).origin == "https://h:443"
    file = tmp_path / "t.json"
    file.write_text('{"url": "http://there:81/x", "body": {"q": "${prompt}"}, "text": "/a"}')
    described = flags.endpoint_from(parsed("--template", str(file)))
    assert described.display_url == "http://there:81/x"
    assert described.preset.name == "template"
    elsewhere = flags.endpoint_from(parsed("--template", str(file), "--port", "82"))
    assert elsewhere.display_url == "http://127.0.0.1:82/x"
    with pytest.raises(ConfigError, match="leave --backend vllm out"):
        flags.endpoint_from(parsed("--template", str(file), "--backend", "vllm"))


def test_what_a_backend_is_told() -> None:
    endpoint = flags.endpoint_from(
        parsed(
            *("--backend", "openai-chat", "--max-tokens-field", "max_tokens", "--deployment", "d"),
            *("--wire-rules", '{"text_mode": "cumulative"}', "--api-key-header", "api-key"),
        )
    )
    assert endpoint.preset.max_tokens_field == "max_tokens"
    assert (endpoint.deployment, endpoint.api_key_header) == ("d", "api-key")
    assert endpoint.wire_rules == {"text_mode": "cumulative"}
    with pytest.raises(ConfigError, match="--max-tokens-field: the backend tgi"):
        flags.endpoint_from(parsed("--backend", "tgi", "--max-tokens-field", "n"))


def test_targets() -> None:
    endpoint = flags.endpoint_from(
        parsed(
            "--host",
            "::1",
            "--port",
            "9",
            "--endpoint",
            "/x",
            "--header",
            "A=b=c",
            "D=",
            "--backend",
            "vllm-chat",
        )
    )
    assert endpoint.display_url == "http://[::1]:9/x"
    assert endpoint.headers == {"A": "b=c", "D": ""}
    assert endpoint.preset.name == "vllm-chat"
    with pytest.raises(ConfigError, match="no such file"):
        flags.endpoint_from(parsed("--ca-file", "/no/such/file"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--dataset-name sharegpt", "needs --dataset-path"),
        ("--dataset-name random --dataset-path x", "not random"),
        ("--dataset-path absent.json", "no file absent.json"),
    ],
)
def test_workloads_that_cannot_be(arguments: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        flags.workload_from(parsed(*arguments.split()))


def test_workloads(tmp_path: Path) -> None:
    workload = flags.workload_from(
        parsed("--num-prompts", "5", "--random-input-len", "9", "--warmup-requests", "2")
    )
    assert len(workload) == 7
    paced = ("--request-rate", "10", "--warmup-duration", "3")
    assert len(flags.workload_from(parsed("--num-prompts", "5", *paced))) == 5 + 33
    file = tmp_path / "a.jsonl"
    file.write_text('{"prompt": "x"}\n' * 3)
    workload = flags.workload_from(
        parsed("--dataset-path", str(file), "--num-prompts", "3", "--output-len", "5")
    )
    assert (workload.name, workload.output_tokens.tolist()) == ("custom", [5, 5, 5])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--num-prompts 20 --duration 9", 20),
        ("--duration 10 --request-rate 500", 5600),
        ("--duration 10 --request-rate 1", 1000),
        ("--duration 10 --max-concurrency 4", 5000),
        ("--duration 100000 --request-rate 500", 50_000),
    ],
)
def test_prompts_enough_for_the_duration(arguments: str, expected: int) -> None:
    assert flags.num_prompts(parsed(*arguments.split())) == expected


def test_sampling() -> None:
    assert flags.sampling_from(parsed()) == {}
    assert flags.sampling_from(parsed("--temperature", "0.5", "--top-k", "-1")) == {
        "temperature": 0.5,
        "top_k": -1,
    }


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        ([], 2, "usage: llmbench COMMAND"),
        (["--help"], 0, "usage: llmbench COMMAND"),
        (["--version"], 0, "llmbench "),
        (["rn"], 2, "did you mean run?"),
        (["run", "--help"], 0, "--request-rate"),
        (["run", "--nmu-prompts", "3"], 2, "did you mean --num-prompts?"),
        (["run", "--slo", "p99_tttf_ms<=3"], 2, "did you mean p99_ttft_ms?"),
    ],
)
def test_main(argv: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == code
    said: Any = capsys.readouterr()
    assert told in said.out + said.err
