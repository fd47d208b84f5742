"""The sweep's flow on scripted servers and measurements: what is started, skipped, reported and left behind."""

from __future__ import annotations

import dataclasses
import http.server
import io
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmbench import launchers, server_records, servers, sweeping
from llmbench.combination import Combination
from llmbench.endpoint import Endpoint
from llmbench.errors import (
    ClientLimitError,
    ConfigError,
    LlmbenchError,
    NoRequestSucceededError,
    ResultsError,
    ServerUnreachableError,
)
from llmbench.launchers import LaunchOptions
from llmbench.launchers.launcher import Replica
from llmbench.servers import ServerCommand
from llmbench.sweep_display import SweepDisplay
from llmbench.sweep_file import ResponseDetail, read_json, write_json
from llmbench.sweep_measurement import PointInterruptedError, Target, result_path
from llmbench.sweep_plan import PlannedPoint, ServerSettings, SweepSpec
from llmbench.sweep_point import SweepPoint
from llmbench.sweep_result import SweepPlots, SweepResult
from llmbench.sweeping import execute

SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            print("out of memory", flush=True)
            os._exit(9)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
print("up with", *sys.argv[2:], flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Measurement:
    """Stands in for the engine: writes a plausible result, or does what `script` says for a number of clients."""

    def __init__(self, script: Mapping[int, Callable[[Endpoint], None]] | None = None) -> None:
        self.script = dict(script or {})
        self.measured: list[Combination] = []
        self.urls: list[str] = []

    def __call__(
        self,
        spec: SweepSpec,
        point: PlannedPoint,
        target: Target,
        on_progress: Callable[[Mapping[str, Any]], None],
    ) -> SweepPoint:
        (endpoint,) = target.endpoints
        self.measured.append(point.combination)
        self.urls.append(endpoint.url)
        on_progress({"planned": point.num_requests, "completed": 1, "failed": 0, "phase": "measure"})
        if act := self.script.get(point.combination.num_clients):
            act(endpoint)
        return store(spec, point)


def store(spec: SweepSpec, point: PlannedPoint, *, errors: Mapping[str, int] | None = None) -> SweepPoint:
    path = result_path(spec, point)
    clients = point.combination.num_clients
    write_json(
        path,
        combination=point.combination,
        args=spec.args() | {"num_requests": point.num_requests},
        details=[
            ResponseDetail(100.0 + i, 101.0 + i, 10, 3, [0.5, 0.25, 0.25] if spec.stream else [])
            for i in range(point.num_requests)
        ],
        llmbench={"verdict": {"status": "VALID", "reasons": []}, "errors": dict(errors or {})},
        duration_s=point.num_requests / clients,
    )
    return read_json(path)


def raises(error: BaseException) -> Callable[[Endpoint], None]:
    def act(_: Endpoint) -> None:
        raise error

    return act


def kill_server(endpoint: Endpoint) -> None:
    """The server ends in the middle of a point, and every request fails."""
    servers._answer_of(endpoint.url + "/die")
    (record,) = server_records.records()
    while record.processes():
        os.sched_yield()
    raise NoRequestSucceededError("no request succeeded")


@pytest.fixture(autouse=True)
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ServerSettings]]:
    """Scripted servers in place of the simulator; yields the settings of those started. None may be left at the end."""
    started: list[ServerSettings] = []

    start = servers.Deployment.start

    def noting(commands: Any, *rest: Any, settings: dict[str, Any], **options: Any) -> servers.Deployment:
        started.append(ServerSettings(**settings))
        return start(commands, *rest, settings=settings, **options)

    monkeypatch.setattr(servers.Deployment, "start", noting)
    launch_with(monkeypatch, scripted_command)
    monkeypatch.setenv(server_records.STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    yield started
    left = server_records.records()
    for record in left:
        record.end(grace_s=0)
    assert not left


def scripted_command(replica: Replica) -> ServerCommand:
    return replica.command(sys.executable, "-c", SERVER, replica.port, f"tp{replica.settings.tp_size}")


def launch_with(monkeypatch: pytest.MonkeyPatch, command: Callable[[Replica], ServerCommand]) -> None:
    """Starts this instead of the simulator."""
    launcher = dataclasses.replace(launchers.LAUNCHERS["sim"], command=command)
    monkeypatch.setitem(launchers.LAUNCHERS, "sim", launcher)


def spec_of(**given: Any) -> SweepSpec:
    return SweepSpec.of(**{"model": "m", "num_clients": [1, 2], "num_requests": 4} | given)


def run(
    spec: SweepSpec, measure: Measurement, endpoint: Endpoint | None = None, **options: Any
) -> tuple[SweepResult, str]:
    """The result of a sweep and what it showed."""
    shown = io.StringIO()
    display = SweepDisplay(console=Console(file=shown, width=80, highlight=False, force_terminal=False))
    result = execute(spec, [endpoint] if endpoint else [], measure=measure, display=display, **options)
    return result, shown.getvalue()


def states(result: SweepResult) -> list[str]:
    return [point.state for point in result.points]


def test_a_server_is_started_once_per_server_setting(scripted: list[ServerSettings]) -> None:
    measure = Measurement()
    result, shown = run(
        spec_of(tp_size=[1, 2], num_replicas=[1, 2]), measure, launch_options=LaunchOptions(args=("--x", "y"))
    )
    assert [(each.tp_size, each.num_replicas) for each in scripted] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert len(set(measure.urls)) == 4
    assert states(result) == ["measured"] * 8
    assert result.exit_code == 0
    assert sorted(path.name for path in Path("results_sim").glob("*.json"))[0] == (
        "m-tp1-bs768-replicas1-prompt2600-gen60-clients1.json"
    )
    assert Path("results_sim/server-m-tp2-bs768-replicas1.log").read_text() == "up with tp2 --x y\n"
    assert "[8/8] Deployment: benchmark-deployment, Clients: 2, Prompt (mean): 2600 tokens" in shown
    assert "Query throughput: 2.00 queries/s, Token throughput (total): 26.0 tokens/s" in shown
    assert "First token received" not in shown


def test_streamed_points_show_token_times() -> None:
    result, shown = run(spec_of(stream=True), Measurement())
    assert "Token generation latency: 0.250 s/token, First token received: 0.500 s" in shown
    assert result.points[0].summary["ttft_s"] == pytest.approx(0.5)
    assert "TTFT" in result.table()
    assert "\nper GPU\n" in result.table()  # no price was given


def test_existing_results_are_skipped_and_no_server_is_started_for_them(
    scripted: list[ServerSettings],
) -> None:
    run(spec_of(tp_size=1), Measurement())
    scripted.clear()
    measure = Measurement()
    result, shown = run(spec_of(tp_size=[1, 2]), measure)
    assert states(result) == ["existing", "existing", "measured", "measured"]
    assert [each.tp_size for each in scripted] == [2]
    assert shown.count("exists, skipped") == 2
    assert all(point.result is not None for point in result.points)
    assert result.points[0].verdict == "VALID"


def test_a_skipped_result_of_another_kind_is_pointed_out() -> None:
    run(spec_of(), Measurement())
    _, shown = run(spec_of(num_requests=5, stream=True), Measurement())
    assert "measured with num_requests 4, now 5; stream False, now True; --overwrite_results" in shown


def test_overwrite_measures_again() -> None:
    run(spec_of(), Measurement())
    measure = Measurement()
    result, _ = run(spec_of(overwrite_results=True), measure)
    assert len(measure.measured) == 2
    assert states(result) == ["measured", "measured"]


def test_a_damaged_result_is_measured_again() -> None:
    result, _ = run(spec_of(), Measurement())
    result.points[0].path.write_text("{")
    result, shown = run(spec_of(), Measurement())
    assert states(result) == ["measured", "existing"]
    assert "is not JSON" in shown


def test_a_server_that_died_fails_its_point_and_is_started_again_for_the_next(
    scripted: list[ServerSettings],
) -> None:
    result, shown = run(spec_of(num_clients=[1, 2, 4]), Measurement({2: kill_server}))
    assert states(result) == ["measured", "failed", "measured"]
    assert len(scripted) == 2
    assert not result.points[1].path.exists()
    assert "the server ended with code 9; the last lines of" in shown
    assert "out of memory" in shown
    assert "1 of 3 points have no result; the same command tries them again" in shown
    assert result.exit_code == 1


def test_a_result_measured_while_the_server_died_does_not_count() -> None:
    def die_unnoticed(endpoint: Endpoint) -> None:
        with pytest.raises(NoRequestSucceededError):
            kill_server(endpoint)

    result, _ = run(spec_of(), Measurement({1: die_unnoticed}))
    assert states(result) == ["failed", "measured"]
    assert not result.points[0].path.exists()


def test_a_server_that_does_not_start_fails_its_points_and_the_next_one_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def command(replica: Replica) -> ServerCommand:
        broken = (sys.executable, "-c", "print('needs 2 GPUs'); raise SystemExit(3)")
        works = scripted_command(replica)
        return dataclasses.replace(works, argv=broken) if replica.settings.tp_size == 2 else works

    launch_with(monkeypatch, command)
    result, shown = run(spec_of(tp_size=[2, 1]), Measurement())
    assert states(result) == ["failed", "failed", "measured", "measured"]
    assert "ended with code 3 before it was ready" in shown
    assert shown.count("needs 2 GPUs") == 1
    assert result.exit_code == 1


def test_what_is_impossible_on_this_machine_is_skipped_with_one_reason(
    monkeypatch: pytest.MonkeyPatch, scripted: list[ServerSettings]
) -> None:
    def command(replica: Replica) -> ServerCommand:
        if replica.settings.tp_size > 2:
            raise ClientLimitError(
                f"--tp_size {replica.settings.tp_size} needs 4 GPUs and this machine has 2"
            )
        return scripted_command(replica)

    launch_with(monkeypatch, command)
    result, shown = run(spec_of(tp_size=[1, 4]), Measurement())
    assert states(result) == ["measured", "measured", "skipped", "skipped"]
    assert [each.tp_size for each in scripted] == [1]
    assert "gen 60, 1 client: skipped: --tp_size 4 needs 4 GPUs and this machine has 2" in shown
    assert "gen 60, 2 clients: skipped: as above" in shown
    assert "2 of 4 points are impossible on this machine" in shown
    assert "the same command" not in shown
    assert result.exit_code == 0


def test_each_sweep_of_several_counts_its_own_points() -> None:
    shown = io.StringIO()
    display = SweepDisplay(console=Console(file=shown, width=80, highlight=False, force_terminal=False))
    for model in ("m", "other"):
        execute(spec_of(model=model), measure=Measurement(), display=display)
    assert [line[:5] for line in shown.getvalue().splitlines() if line.startswith("[")] == [
        "[1/2]",
        "[2/2]",
    ] * 2


@pytest.mark.parametrize(
    ("error", "rest", "exit_code"),
    [
        (NoRequestSucceededError("no request succeeded: 4 × http_5xx"), "measured", 1),
        (ClientLimitError("too few file descriptors"), "measured", 2),
        (ServerUnreachableError("connection refused"), "measured", 1),
        (LlmbenchError("something else"), "measured", 1),
        (ConfigError("the server has no model 'm'; it has a, b"), "not run", 2),
        (ResultsError("cannot write: no space left"), "not run", 74),
    ],
)
def test_a_failed_point_ends_the_sweep_only_if_its_cause_concerns_all(
    error: LlmbenchError, rest: str, exit_code: int
) -> None:
    result, shown = run(spec_of(), Measurement({1: raises(error)}))
    assert states(result) == ["failed", rest]
    assert result.exit_code == exit_code
    assert shown.count(str(error)) == 1
    assert (f"stopped: {error}" in shown) == (rest == "not run")


def test_an_unreachable_server_that_is_not_ours_ends_the_sweep() -> None:
    endpoint = Endpoint("http://127.0.0.1:1", backend="openai", model="m")
    error = ServerUnreachableError("no server at http://127.0.0.1:1")
    result, _ = run(spec_of(backend="openai"), Measurement({1: raises(error)}), endpoint)
    assert states(result) == ["failed", "not run"]
    assert result.exit_code == 1


def test_what_keeps_every_point_from_being_measured_is_raised_in_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = ConfigError("the server has no model 'm'")
    monkeypatch.setattr(sweeping, "measure_with", lambda *_: Measurement({2: raises(error)}))
    with pytest.raises(ConfigError, match="no model"):
        sweeping.sweep(num_clients=2, quiet=True)
    result = sweeping.sweep(num_clients=[1, 2], quiet=True)
    assert states(result) == ["measured", "failed"]
    assert result.error is error
    assert repr(result).startswith("<SweepResult ")
    assert "1 of 2 points done" in repr(result)


def test_errors_are_told_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    measure = Measurement({1: raises(LlmbenchError("odd")), 2: raises(ConfigError("wrong"))})
    result = execute(spec_of(), measure=measure, display=SweepDisplay(quiet=True))
    assert states(result) == ["failed", "failed"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.rpartition(": ")[2] for line in shown.err.splitlines()] == ["odd", "wrong"]


def test_the_load_goes_to_all_replicas_of_a_running_server() -> None:
    targets: list[Target] = []

    def measure(spec: SweepSpec, point: PlannedPoint, target: Target, on_progress: Any) -> SweepPoint:
        targets.append(target)
        return store(spec, point)

    endpoints = [Endpoint(f"http://127.0.0.1:{port}", backend="vllm") for port in (1, 2)]
    display = SweepDisplay(quiet=True)
    execute(spec_of(backend="vllm", client_only=True), endpoints, measure=measure, display=display)
    assert [[each.url for each in target.endpoints] for target in targets] == [
        ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    ] * 2
    assert {each.model for target in targets for each in target.endpoints} == {"m"}
    assert all(target.metrics is True for target in targets)  # where the backend has them


def test_a_running_server_is_only_used(scripted: list[ServerSettings]) -> None:
    endpoint = Endpoint("http://127.0.0.1:1", backend="openai")
    measure = Measurement()
    result, _ = run(spec_of(backend="openai", tp_size=4), measure, endpoint)
    assert measure.urls == ["http://127.0.0.1:1"] * 2
    assert scripted == []
    assert result.points[0].path.parent.name == "results_openai"
    assert "-tp4-" in result.points[0].path.name
    assert result.exit_code == 0


def test_more_failed_requests_than_allowed() -> None:
    class Failing(Measurement):
        def __call__(self, spec: SweepSpec, point: PlannedPoint, *rest: Any) -> SweepPoint:
            super().__call__(spec, point, *rest)
            return store(spec, point, errors={"http_5xx": 1})

    result, shown = run(spec_of(), Failing())
    assert result.exit_code == 4
    assert states(result) == ["measured", "measured"]
    assert "VALID, 1 of 5 requests failed" in shown
    assert run(spec_of(overwrite_results=True), Failing(), max_error_rate=0.2)[0].exit_code == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PointInterruptedError()])
def test_an_interrupted_point_does_not_count_and_the_sweep_goes_on_from_it(error: BaseException) -> None:
    result, shown = run(spec_of(num_clients=[1, 2, 4]), Measurement({2: raises(error)}))
    assert states(result) == ["measured", "interrupted", "not run"]
    assert result.interrupted
    assert result.exit_code == 130
    assert "interrupted with 1 of 3 points done; the same command goes on from there" in shown
    assert server_records.records() == []
    measure = Measurement()
    result, _ = run(spec_of(num_clients=[1, 2, 4]), measure)
    assert states(result) == ["existing", "measured", "measured"]


@pytest.mark.parametrize(
    ("signum", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_signals_end_a_sweep_and_its_server(signum: signal.Signals, exit_code: int) -> None:
    def act(_: Endpoint) -> None:
        os.kill(os.getpid(), signum)
        threading.Event().wait(20)

    result, shown = run(spec_of(), Measurement({1: act}))
    assert result.exit_code == exit_code
    assert ("interrupted" if signum is signal.SIGINT else f"ended by {signum.name}") in shown
    assert server_records.records() == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_while_a_server_starts_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    launch_with(
        monkeypatch,
        lambda replica: dataclasses.replace(
            scripted_command(replica), ready_urls=("http://127.0.0.1:1/never",)
        ),
    )

    def interrupt() -> None:
        while not server_records.records():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    result, _ = run(spec_of(), Measurement())
    assert states(result) == ["not run", "not run"]
    assert result.exit_code == 130


def test_a_directory_that_cannot_be_written_is_found_before_anything_is_started(
    scripted: list[ServerSettings],
) -> None:
    Path("results_sim").write_text("a file")
    with pytest.raises(ResultsError, match="results_sim: File exists; choose another --out_json_dir"):
        run(spec_of(), Measurement())
    assert scripted == []


def test_an_error_of_ours_still_stops_the_server() -> None:
    with pytest.raises(ZeroDivisionError):
        run(spec_of(), Measurement({1: raises(ZeroDivisionError())}))
    assert server_records.records() == []


def test_the_result_as_rows_table_and_html() -> None:
    result, _ = run(spec_of(tp_size=[1, 2], stream=True), Measurement({2: raises(LlmbenchError("odd"))}))
    rows = result.rows()
    assert [(row["tp_size"], row["num_clients"], row["state"]) for row in rows] == [
        (1, 1, "measured"),
        (1, 2, "failed"),
        (2, 1, "measured"),
        (2, 2, "failed"),
    ]
    assert rows[0]["queries_per_s"] == pytest.approx(1.0)
    text = result.table(80)
    assert max(map(len, text.splitlines())) <= 80
    assert "batch 768" in text.splitlines()[0]
    assert "VALID" in text
    html = result._repr_html_()
    assert html.count("<tr>") == 5
    assert "[green]" not in html


def test_every_column_fits_eighty_characters() -> None:
    spec = spec_of(
        tp_size=[1, 2],
        max_ragged_batch_size=[512, 768],
        num_replicas=[1, 2],
        mean_prompt_length=[1200, 2600],
        mean_max_new_tokens=[60, 128],
        num_clients=[1, 128],
        stream=True,
    )
    result, _ = run(spec, Measurement())
    lines = result.table(80).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_the_json_holds_the_old_keys() -> None:
    result, _ = run(spec_of(stream=True), Measurement())
    data = json.loads(result.points[0].path.read_text())
    assert {"args", "time", "response_details", "llmbench"} <= data.keys()
    assert data["args"]["num_requests"] == 4
    assert data["args"]["mean_prompt_length"] == 2600


def test_sweep_refuses_what_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="backend 'vllm' is not the endpoint's, which is 'openai'"):
        sweeping.sweep(Endpoint("http://127.0.0.1:1", backend="openai", model="m"), backend="vllm")
    with pytest.raises(ConfigError, match="openai needs the address of a running server"):
        sweeping.sweep(backend="openai")
    with pytest.raises(ConfigError, match="unknown sweep setting 'clients'"):
        sweeping.sweep(clients=4)


def test_a_sweeps_plots_are_the_sweep_figures() -> None:
    from llmbench.plots import SWEEP_FIGURES

    plots = SweepPlots(SweepResult.__new__(SweepResult))
    assert dir(plots) == sorted(SWEEP_FIGURES)
    with pytest.raises(AttributeError, match="no figure 'pie' of a sweep, but effective_throughput"):
        plots.pie  # noqa: B018


def test_repeats_have_directories_of_their_own_and_resume() -> None:
    measurement = Measurement()
    spec = spec_of(num_clients=[1, 2], repeats=2)
    result, _ = run(spec, measurement)
    assert states(result) == ["measured"] * 4
    assert [point.repeat for point in result.points] == [1, 1, 2, 2]
    assert (spec.result_dir / "repeat2" / result.points[0].path.name).exists()
    assert len(result.worths) == 2
    result.points[3].path.unlink()
    again, _ = run(spec, measurement)
    assert states(again) == ["existing", "existing", "existing", "measured"]
    assert len(measurement.measured) == 5


def test_points_of_a_random_order_are_told_in_the_order_of_the_flags() -> None:
    measurement = Measurement()
    clients = [1, 2, 4, 8, 16]
    result, _ = run(spec_of(num_clients=clients, order="random"), measurement)
    assert [point.combination.num_clients for point in result.points] == clients
    assert [each.num_clients for each in measurement.measured] != clients


@pytest.mark.parametrize(("status", "state"), [(200, "measured"), (404, "failed")])
def test_caches_are_emptied_before_each_point(tmp_path: Path, status: int, state: str) -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}", backend="sglang", model="m")
            spec = spec_of(backend="sglang", num_clients=[1, 2], reset_cache=True, client_only=True)
            result, _ = run(spec, Measurement(), endpoint)
        finally:
            server.shutdown()
            thread.join()
    assert set(asked) == {"/flush_cache"}
    assert states(result)[0] == state
    if status == 200:
        assert len(asked) == 2
    else:
        assert "answered 404, the cache was not emptied" in result.points[0].reason


def test_a_notebook_gets_a_bar_plain_lines_and_no_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars: list[tuple[float, str]] = []
    monkeypatch.setattr("llmbench.sweep_display.in_notebook", lambda: True)
    monkeypatch.setattr(
        "llmbench.progress.NotebookBar.show", lambda _, share, head: bars.append((share, head.strip()))
    )
    result = execute(spec_of(), measure=Measurement(), display=SweepDisplay())
    shown = capsys.readouterr().out
    assert "[2/2] Deployment: " in shown
    assert "queries/s" in shown
    assert result.table().splitlines()[0] not in shown
    assert bars[-1] == (1.0, "2/2")
    bars.clear()
    execute(spec_of(num_clients=[4]), measure=Measurement(), display=SweepDisplay(quiet=True))
    assert bars == []
    assert capsys.readouterr().out == ""


def test_the_bar_leaves_room_for_what_a_terminal_echoes() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=60, force_terminal=True, color_system=None)
    display = SweepDisplay(console=console)
    with display.running(spec_of(), 3):
        display.progress({"planned": 4, "completed": 2, "failed": 0})
        assert display._bar is not None
        display._bar.refresh()
    bars = [line for line in re.split(r"\x1b\[2K|\n|\r", shown.getvalue()) if "0/3" in line]
    assert bars
    assert max(map(len, bars)) == 60 - len("^C^C")


def test_tables_in_a_log_have_no_trailing_spaces() -> None:
    lines = run(spec_of(), Measurement())[1].splitlines()
    assert any(line.endswith("verdict") for line in lines)
    assert [line for line in lines if line != line.rstrip()] == []
