"""`llmbench run` as a user runs it: output, files, exit codes, signals."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command import Command, environment
from support.scripted_server import Request, ScriptedServer, Step, answer, healthy, models, stream

import llmbench as lb

SMALL = ("--random-input-len", "5", "--random-output-len", "4")
SECRETS = ("sk-hidden-0123456789", "hidden-header-value", "hidden-cookie-value", "hidden-body-value")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(healthy, get=models("m")) as started:
        yield started


def slow(request: Request) -> Iterator[Step]:
    return stream((f" t{i}" for i in range(request.json["max_tokens"])), request, gap_s=0.1)


def every_other_fails(request: Request) -> Iterable[Step]:
    return answer(500, {"error": {"message": "it broke"}}) if request.number % 2 else healthy(request)


def run(command: Command, server: ScriptedServer, *arguments: str, **options: Any) -> Any:
    return command("run", "--base-url", server.url, *SMALL, *arguments, **options)


def test_the_report_and_the_files(command: Command, server: ScriptedServer, tmp_path: Path) -> None:
    done = run(
        command, server, "--num-prompts", "6", "--max-concurrency", "2", "--save-result", "--label", "a b"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] in ("VALID", "CLIENT-LIMITED")  # the machine that tests may be busy
    assert "6 completed, 0 failed" in done.stdout
    assert max(map(len, lines[:-2])) <= 80
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    kept = sorted((tmp_path / "results").iterdir())
    assert [str(path.relative_to(tmp_path)) for path in reversed(kept)] == lines[-2:]
    assert kept[0].name.startswith("a_b-openai-m-2")


def test_json(command: Command, server: ScriptedServer) -> None:
    done = run(
        command, server, "--num-prompts", "3", "--json", "--no-save", "--percentile-metrics", "ttft,e2el"
    )
    content = json.loads(done.stdout)
    assert content["completed"] == 3
    assert {"mean_ttft_ms", "p99_e2el_ms"} <= set(content)
    assert "mean_tpot_ms" not in content
    assert content["request_rate"] == "inf"
    assert not (command.directory / "results").exists()


def test_quiet_says_nothing(command: Command, server: ScriptedServer) -> None:
    done = run(command, server, "--num-prompts", "2", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_default_is_a_thousand_random_prompts(command: Command, server: ScriptedServer) -> None:
    done = run(command, server, "--dry-run", "--json")
    plan = json.loads(done.stdout)
    assert plan["num_requests"] == 1000
    assert plan["workload"]["prompts"] == 1000


def test_a_dry_run_sends_nothing(command: Command, server: ScriptedServer) -> None:
    done = run(command, server, "--dry-run", "--num-prompts", "7", "--request-rate", "3", "--model", "x")
    assert done.returncode == 0
    for told in (server.url, "Poisson, 3 requests/s, 7 requests", '"model": "x"', '"max_tokens": 4'):
        assert told in done.stdout
    assert server.connections == 0
    assert list(command.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "arguments", "code", "told"),
    [
        (healthy, (), 0, ""),
        (every_other_fails, (), 4, "it broke"),
        (every_other_fails, ("--max-error-rate", "0.5"), 0, "it broke"),
        (every_other_fails, ("--slo", "error_rate<=0.1"), 4, "SLO missed: error_rate<=0.1: it is 0.5"),
        (healthy, ("--slo", "p99_ttft_ms<=60000", "completed>=10"), 0, ""),
        (healthy, ("--slo", "p99.5_e2el_ms<0.0001"), 3, "SLO missed: p99.5_e2el_ms<0.0001: it is "),
        (healthy, ("--slo", "goodput_share>=1"), 3, "no such number"),
        (healthy, ("--slo", "goodput_share>=1", "--goodput", "e2el:60000"), 0, ""),
        (lambda request: answer(503, b"no"), (), 1, "http_503"),
    ],
)
def test_exit_codes(command: Command, script: Any, arguments: tuple[str, ...], code: int, told: str) -> None:
    with ScriptedServer(script, get=models("m")) as server:
        done = run(command, server, "--num-prompts", "10", "--max-concurrency", "1", *arguments)
    assert done.returncode == code, done.stderr
    assert told in done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["--quiet", "--json"])
@pytest.mark.parametrize(
    ("script", "told"),
    [
        (every_other_fails, "5 of 10 requests failed, mostly"),
        (lambda request: answer(503, b"no"), "10 of 10 requests failed, mostly http_503"),
    ],
)
def test_without_a_report_the_cause_is_told(command: Command, script: Any, told: str, mode: str) -> None:
    with ScriptedServer(script, get=models("m")) as server:
        done = run(command, server, "--num-prompts", "10", "--max-concurrency", "1", "--no-save", mode)
    assert done.stderr.startswith(f"llmbench run: {told}")
    assert done.stderr.count("\n") == 1


def test_strict_wants_a_valid_verdict(command: Command) -> None:
    with ScriptedServer(every_other_fails, get=models("m")) as server:
        loose = ("--num-prompts", "10", "--max-concurrency", "1", "--max-error-rate", "0.5", "--strict")
        done = run(command, server, *loose)
    verdict = done.stdout.splitlines()[0]
    assert done.returncode == (0 if verdict == "VALID" else 3)


def started(command: Command, server: ScriptedServer, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command.line("run", "--base-url", server.url, *SMALL, *arguments),
        cwd=command.directory,
        env=environment(OPENAI_API_KEY=SECRETS[0]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_requests(server: ScriptedServer, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(server.requests) < count:
        assert time.monotonic() < deadline, "no requests came"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_drains_and_reports(command: Command, number: signal.Signals, code: int) -> None:
    with ScriptedServer(slow, get=models("m")) as server:
        process = started(command, server, "--num-prompts", "500", "--max-concurrency", "2", "--save-result")
        wait_for_requests(server, 5)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        sent = len(server.requests)
    assert process.returncode == code, err
    assert "interrupted" in out.splitlines()[0]
    assert "0 failed" in out
    assert "Traceback" not in err
    assert sent < 50
    [kept] = (command.directory / "results").glob("*.json")
    assert json.loads(kept.read_text())["llmbench"]["status"] == "interrupted"


def test_two_signals_end_it_at_once(command: Command) -> None:
    with ScriptedServer(slow, get=models("m")) as server:
        process = started(
            command, server, "--num-prompts", "9", "--random-output-len", "600", "--drain", "600"
        )
        wait_for_requests(server, 2)
        # Signals that come close together are one; one that comes while Python ends kills it.
        for wait_s in (0.5, 10, 10):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
                break
        _, err = process.communicate()
    assert process.returncode == 130
    [kept] = (command.directory / "results").iterdir()
    assert err == f"llmbench run: interrupted: what was measured until then is in results/{kept.name}\n"


def secretive(request: Request) -> Iterable[Step]:
    """Half of the answers repeat every secret that came with the request."""
    if request.number % 2:
        return healthy(request)
    told = [*request.headers.values(), request.body.decode()]
    return answer(500, {"error": {"message": " ".join(told)}})


def test_secrets_are_in_no_output_file_or_process_argument(command: Command, tmp_path: Path) -> None:
    arguments = (
        *("--num-prompts", "6", "--max-concurrency", "1", "--save-result", "--save-detailed", "--save-text"),
        *("--header", f"X-Api-Key={SECRETS[1]}", f"Cookie={SECRETS[2]}", "X-Plain=seen"),
        *("--extra-body", json.dumps({"user_token": SECRETS[3]})),
    )
    with ScriptedServer(secretive, get=models("m")) as server:
        done = run(command, server, *arguments, env={"OPENAI_API_KEY": SECRETS[0]})
        dry = run(command, server, *arguments, "--dry-run", env={"OPENAI_API_KEY": SECRETS[0]})
    assert done.returncode == 4, done.stderr
    assert server.requests[0].headers["authorization"] == f"Bearer {SECRETS[0]}"
    assert server.requests[0].headers["x-api-key"] == SECRETS[1]
    assert server.requests[0].json["user_token"] == SECRETS[3]
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) == 2
    texts = [done.stdout, done.stderr, dry.stdout, dry.stderr]
    texts += [path.read_bytes().decode("latin-1") for path in kept]
    for secret in SECRETS:
        for text in texts:
            assert secret not in text
    assert "seen" in texts[-1] + texts[-2]


def test_a_key_from_the_environment_is_in_no_process_argument(command: Command) -> None:
    with ScriptedServer(slow, get=models("m")) as server:
        process = started(command, server, "--num-prompts", "4")
        wait_for_requests(server, 1)
        seen = []
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # a process that has ended meanwhile
                seen.append(line.read_bytes())
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert not any(SECRETS[0].encode() in line for line in seen)


def test_a_closed_pipe_is_no_error(command: Command, server: ScriptedServer) -> None:
    line = " ".join(command.line("run", "--help"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | head -1"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_full_disk_ends_the_run_and_the_summary_is_shown(command: Command) -> None:
    """A limit on file sizes stands in for the disk: the writer meets it in the middle of the run."""
    with ScriptedServer(healthy, get=models("m")) as server:
        done = run(
            command,
            server,
            *("--num-prompts", "20000", "--max-concurrency", "8", "--random-output-len", "30"),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        )
        sent = len(server.requests)
    assert done.returncode == 74, done.stderr
    assert "--result-dir" in done.stderr
    assert "completed" in done.stdout
    assert sent < 20_000


@pytest.mark.parametrize(
    ("backend", "pages", "read"),
    [("vllm", [], True), ("openai", ["{url}/metrics"], True), ("vllm", None, False)],
)
def test_the_servers_counters_are_held_against_the_result(
    command: Command, backend: str, pages: list[str] | None, read: bool
) -> None:
    with lb.sim.Server(ttft_ms=2, itl_ms=1) as simulated:
        asked = (
            () if pages is None else ("--scrape-metrics", *(page.format(url=simulated.url) for page in pages))
        )
        target = ("--base-url", simulated.url, "--backend", backend, "--shared-server")
        done = command("run", *target, *SMALL, "--num-prompts", "3", "--no-save", "--json", *asked)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["llmbench"]
    assert told["verdict"]["evidence"]["server_counters"]["value"] == (0 if read else None)
    assert told["config"]["shared_server"] is True
    if read:
        assert (told["server"]["counters"]["requests"], told["server"]["counters"]["shared"]) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--backend", "ollama", "--model", "m", "--scrape-metrics"),
            "the backend ollama has no metrics page: give the address",
        ),
        (("--scrape-metrics", "127.0.0.1:9/metrics"), "an address is http://host:port/path"),
        (("--duration", "5", "--cooldown-duration", "5"), "leaves nothing of a duration of 5 s"),
        (("--cooldown-duration", "-1"), "--cooldown-duration"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    command: Command, server: ScriptedServer, arguments: tuple[str, ...], told: str
) -> None:
    done = run(command, server, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert server.connections == 0
