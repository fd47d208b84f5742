"""The command line of the sweep: spelling, defaults, refusals, and the server left running by `start`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmbench import (
    launchers,
    postprocess_results,
    run_benchmark,
    server_records,
    sweep_measurement,
    sweeping,
)
from llmbench.cli import execute
from llmbench.combination import Combination
from llmbench.endpoint import Endpoint
from llmbench.errors import ConfigError
from llmbench.launchers.launcher import Replica
from llmbench.servers import ServerCommand
from llmbench.sweep_file import ResponseDetail, write_json
from llmbench.sweep_plan import SweepSpec
from llmbench.sweep_result import SweepResult

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def scripted(replica: Replica) -> ServerCommand:
        return replica.command(sys.executable, "-c", SERVER, replica.port)

    launcher = dataclasses.replace(launchers.LAUNCHERS["sim"], command=scripted)
    monkeypatch.setitem(launchers.LAUNCHERS, "sim", launcher)
    monkeypatch.setenv(server_records.STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    for record in server_records.records():
        record.end(grace_s=0)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[SweepSpec, list[Endpoint], dict[str, Any]]]:
    """What would have been carried out."""
    calls: list[tuple[SweepSpec, list[Endpoint], dict[str, Any]]] = []

    def note(spec: SweepSpec, endpoints: list[Endpoint], **options: Any) -> SweepResult:
        calls.append((spec, endpoints, options))
        return SweepResult(spec, ())

    monkeypatch.setattr(sweeping, "execute", note)
    return calls


def command(*words: str) -> int:
    return execute("run_benchmark", run_benchmark.main, words)


Executed = list[tuple[SweepSpec, list[Endpoint], dict[str, Any]]]


def test_a_bare_command_measures_the_simulator_and_says_so(
    executed: Executed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    ((spec, endpoints, _),) = executed
    assert endpoints == []
    assert spec == SweepSpec.of()
    assert capsys.readouterr().out == "no --backend given: measuring the simulated server (--backend sim)\n"


def test_every_flag_of_old_in_both_spellings(executed: Executed, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--tp_size",
        "1",
        "2",
        "--max_ragged_batch_size",
        "512",
        "768",
        "--num_replicas",
        "1",
        "2",
        "--fp6",
        "--mean_prompt_length",
        "500",
        "600",
        "--mean_max_new_tokens",
        "32",
        "64",
        "--num_clients",
        "1",
        "2",
        "--num_requests",
        "7",
        "--max_prompt_length",
        "3000",
        "--prompt_length_var",
        "0.1",
        "--max_new_tokens_var",
        "0.2",
        "--warmup",
        "3",
        "--stream",
        "--use_thread",
        "--out_json_dir",
        "./r/",
        "--backend",
        "sim",
        "--model",
        "m",
        "--deployment_name",
        "d",
        "--overwrite_results",
        "--seed",
        "1",
        "--temperature",
        "0.5",
        "--top_p",
        "0.8",
        "--n",
        "2",
        "--ignore_eos",
    ]
    assert command(*words) == 0
    assert command(*(word.replace("_", "-") for word in words)) == 0
    assert (
        executed[0][0]
        == executed[1][0]
        == SweepSpec.of(
            tp_size=[1, 2],
            max_ragged_batch_size=[512, 768],
            num_replicas=[1, 2],
            fp6=True,
            mean_prompt_length=[500, 600],
            mean_max_new_tokens=[32, 64],
            num_clients=[1, 2],
            num_requests=7,
            max_prompt_length=3000,
            prompt_length_var=0.1,
            max_new_tokens_var=0.2,
            warmup=3,
            stream=True,
            out_json_dir="./r/",
            model="m",
            deployment_name="d",
            overwrite_results=True,
            seed=1,
            temperature=0.5,
            top_p=0.8,
            n=2,
            ignore_eos=True,
        )
    )
    assert "--use_thread changes nothing" in capsys.readouterr().out


def test_zero_is_a_value(executed: Executed) -> None:
    command("--warmup", "0", "--temperature", "0", "--seed", "0", "--prompt_length_var", "0")
    spec = executed[0][0]
    assert (spec.warmup, spec.temperature, spec.seed, spec.prompt_length_var) == (0, 0.0, 0, 0.0)


@pytest.mark.parametrize(
    ("words", "url", "path"),
    [
        (["--openai_api_url", "http://h:9"], "http://h:9", "/v1/completions"),
        (["--base-url", "http://h:9/v1"], "http://h:9/v1", "/v1/completions"),
        (["--openai_api_url", "http://h:9/v1/completions"], "http://h:9", "/v1/completions"),
        (
            ["--openai_api_url", "http://h:9/proxy/v1/chat/completions/"],
            "http://h:9/proxy",
            "/proxy/v1/chat/completions",
        ),
        (["--port", "9"], "http://127.0.0.1:9", "/v1/completions"),
        ([], "http://127.0.0.1:8000", "/v1/completions"),
        (["--backend", "tgi", "--host", "h"], "http://h:3000", "/generate_stream"),
        (["--backend", "mii-generate"], "http://127.0.0.1:8000", "/generate"),
    ],
)
def test_a_running_server(executed: Executed, words: list[str], url: str, path: str) -> None:
    assert command("--backend", "openai", "--model", "m", *words) == 0
    spec, [endpoint], _ = executed[0]
    assert (endpoint.url, endpoint.request_path) == (url, path)
    assert spec.client_only


def test_several_addresses_are_replicas(executed: Executed) -> None:
    urls = ["http://h:1/v1/chat/completions", "http://h:2/v1/chat/completions", "http://h:3"]
    command("--backend", "openai-chat", "--model", "m", "--openai_api_key", "secret", "--base-url", *urls)
    command(
        "--backend", "vllm", "--model", "m", "--base-url", "http://h:1", "http://h:2", "--num_replicas", "8"
    )
    (first, endpoints, _), (second, others, _) = executed
    assert [each.url for each in endpoints] == ["http://h:1", "http://h:2", "http://h:3"]
    assert {each.request_path for each in endpoints} == {"/v1/chat/completions"}
    assert {each.key() for each in endpoints} == {"secret"}
    assert first.num_replicas == (3,)
    assert len(others) == 2
    assert second.num_replicas == (8,)  # each address may be a balancer's


def test_options_of_the_engine_reach_it(executed: Executed, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr(sweep_measurement, "measure_with", options.update)
    command(
        "--idle-timeout",
        "9",
        "--balancing",
        "least-in-flight",
        "--goodput",
        "ttft:200",
        "tpot:50",
        "--server_args=--gpu 'H100 SXM'",
    )
    assert options["idle_timeout"] == 9
    assert options["balancing"] == "least-in-flight"
    assert options["goodput"] == {"ttft": 200, "tpot": 50}
    assert executed[0][2]["launch_options"].args == ("--gpu", "H100 SXM")


def test_a_key_is_kept_out_of_sight(executed: Executed, capsys: pytest.CaptureFixture[str]) -> None:
    command("--backend", "openai", "--model", "m", "--openai_api_key", "sk-secret-value")
    [endpoint] = executed[0][1]
    assert endpoint.key() == "sk-secret-value"
    shown = capsys.readouterr()
    assert "sk-secret" not in repr(endpoint) + repr(executed[0][0]) + shown.out + shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_client", "4"], "unknown flag --num_client: did you mean --num_clients?"),
        (["--num_clients", "0"], "--num_clients: 0 is not a whole number of at least 1"),
        (["--num_clients", "four"], "--num_clients: 'four' is not a whole number"),
        (["--num_clients"], "--num_clients: expected at least one argument"),
        (["launch"], "unknown action 'launch': there are start, stop and restart"),
        (["--backend", "vlm"], "unknown backend 'vlm': did you mean vllm?"),
        (["--backend", "openai", "--model", "m", "--tp_size", "1", "2"], "--tp_size 1 2: a server that is"),
        (["--backend", "openai", "--model", "m", "--server_args=--x"], "--server_args are for a server"),
        (["--mean_prompt_length", "9000"], "--mean_prompt_length 9000 is over --max_prompt_length 4000"),
        (["--backend", "openai", "start"], "the backend openai needs the address of a running server (--base-url"),
        (["start", "--tp_size", "1", "2"], "`start` starts one server, and these settings make 2"),
        (["--preset", "run_aml"], "the backend aml needs the address of the endpoint: --aml_api_url URL"),
        (["--backend", "azure-maas"], "the backend azure-maas needs the address of the endpoint: --base-url URL"),
        (["--server_args", "'open"], "is no list of arguments: No closing quotation"),
    ],
)  # fmt: skip
def test_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*words) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_a_directory_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert command("--out_json_dir", "file/results") == 74
    assert "file/results_sim: Not a directory; choose another --out_json_dir" in capsys.readouterr().err


def test_the_plan_is_shown_and_nothing_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--dry-run", "--tp_size", "1", "2", "--num_clients", "1", "4") == 0
    shown = capsys.readouterr().out
    assert shown.count("start a server") == 2
    assert "prompt 2600, generation 60, 4 clients, 4 + 48 requests" in shown
    assert not Path("results_sim").exists()


def test_nothing_is_shown_when_quiet(executed: Executed, capsys: pytest.CaptureFixture[str]) -> None:
    command("--quiet", "--use_thread")
    assert capsys.readouterr() == ("", "")


def test_start_use_restart_and_stop(
    executed: Executed, capsys: pytest.CaptureFixture[str], until: Callable[[Callable[[], bool]], None]
) -> None:
    assert command("start", "--model", "m", "--tp_size", "2", "--deployment_name", "d") == 0
    (first,) = server_records.running("d")
    assert f"d is ready at {first.url}" in capsys.readouterr().out

    assert command("start", "--deployment_name", "d") == 2
    assert "running at " in capsys.readouterr().err

    assert command("--client_only", "--deployment_name", "d") == 0
    spec, [endpoint], _ = executed[0]
    assert endpoint.url == first.url
    assert (spec.model, spec.tp_size, spec.client_only) == ("m", (2,), True)
    capsys.readouterr()

    assert command("--client_only", "--deployment_name", "d", "--tp_size", "4") == 2
    assert "--tp_size 4: the running server of d has 2" in capsys.readouterr().err

    assert command("restart", "--deployment_name", "d") == 0
    (second,) = server_records.running("d")
    assert second.pgid != first.pgid
    assert first.processes() == []

    assert command("stop", "--deployment_name", "other") == 0
    assert second.processes() != []
    assert command("stop", "--deployment_name", "d") == 0
    until(lambda: second.processes() == [])
    assert server_records.records() == []
    capsys.readouterr()

    assert command("--client_only", "--deployment_name", "d") == 1
    assert "no server of the deployment d is running: start one" in capsys.readouterr().err


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    def wait(condition: Callable[[], bool]) -> None:
        import time

        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    return wait


def result_file(directory: Path, *, streamed: bool = True) -> Path:
    combination = Combination("m/x", 1, 768, 1, 500, 32, 4)
    path = directory / combination.file_name
    write_json(
        path,
        combination=combination,
        args={"deployment_name": "d"},
        details=[ResponseDetail(10, 12, 500, 3, [1.0, 0.5, 0.5] if streamed else []) for _ in range(8)],
        llmbench={
            "verdict": {"status": "UNSTABLE", "reasons": ["the queue was still growing"]},
            "errors": {"http_5xx": 2},
        },
        duration_s=4.0,
    )
    return path


@pytest.mark.parametrize("front_end", ["postprocess_results", "run_benchmark"])
def test_a_saved_result_is_shown_again(
    front_end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(result_file(tmp_path))
    if front_end == "run_benchmark":
        assert command("--show", path) == 0
    else:
        assert execute("postprocess", postprocess_results.main, ["-i", path]) == 0
    shown = capsys.readouterr().out
    assert shown == (
        "Deployment: d, Clients: 4, Prompt (mean): 500 tokens, Generation (mean): 32 tokens, "
        "Query throughput: 2.00 queries/s, Token throughput (total): 1006 tokens/s, Query latency: 2.00 s, "
        "Token generation latency: 0.500 s/token, First token received: 1.00 s\n"
        "UNSTABLE, 2 of 10 requests failed\n"
        "  the queue was still growing\n"
    )


def test_what_was_not_measured_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute("postprocess", postprocess_results.main, ["-i", str(result_file(tmp_path, streamed=False))])
    shown = capsys.readouterr().out
    assert "Query latency" in shown
    assert "First token" not in shown
    assert "Token generation" not in shown


def test_showing_what_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute("postprocess", postprocess_results.main, ["-i", str(tmp_path / "absent.json")]) == 74
    assert "absent.json: No such file" in capsys.readouterr().err
    assert execute("postprocess", postprocess_results.main, []) == 2


def test_help_needs_neither_numpy_nor_pydantic() -> None:
    import subprocess

    script = (
        "import sys\nfrom llmbench.cli import execute\nfrom llmbench import run_benchmark\n"
        "code = execute('x', run_benchmark.main, ['--help'])\n"
        "print(code, {'numpy', 'pydantic', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    assert done.stdout.endswith("0 set()\n")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_spec_that_cannot_be_is_refused_in_python_too() -> None:
    with pytest.raises(ConfigError):
        sweeping.sweep(num_clients=0)


def test_a_named_sweep_runs_all_of_its_sweeps_with_the_flags_on_top(
    executed: Executed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--preset", "run_all", "--num_clients", "1", "--backend", "vllm", "--seed", "3") == 0
    specs = [spec for spec, _, _ in executed]
    assert len(specs) == 8
    assert {spec.backend for spec in specs} == {"vllm"}
    assert {spec.num_clients for spec in specs} == {(1,)}
    assert {spec.seed for spec in specs} == {3}
    assert specs[-1].mean_max_new_tokens == (150, 500, 1024)
    assert "run_all 8/8: mistralai/Mixtral-8x7B-v0.1 on vllm" in capsys.readouterr().out


def test_a_named_sweep_of_another_backend(executed: Executed) -> None:
    assert command("--preset", "run_example", "--backend", "sim", "--mean_prompt_length", "100") == 0
    [(spec, _, _)] = executed
    assert (spec.backend, spec.model, spec.mean_prompt_length) == ("sim", "meta-llama/Llama-2-7b-hf", (100,))
    assert spec.stream


def test_a_named_sweep_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--preset", "run_exampel") == 2
    assert "did you mean run_example?" in capsys.readouterr().err
