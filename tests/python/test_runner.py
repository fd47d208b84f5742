"""`run` end to end, against scripted and simulated servers."""

from __future__ import annotations

import asyncio
import inspect
import json
import multiprocessing
import os
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import tls
from support.scripted_server import STALL, Request, ScriptedServer, Step, answer, healthy, models, stream

import llmbench as lb
from llmbench import _core, evaluation, options, result_storage, running
from llmbench.errors import ClientLimitError, ConfigError, EngineError, ResultsError, ServerUnreachableError


def words(n: int = 8, output_tokens: int = 4) -> lb.Workload:
    return lb.workloads.random(input_tokens=6, output_tokens=output_tokens, n=n, seed=1)


def measure(url: str, tmp_path: Path, workload: lb.Workload | None = None, **changes: Any) -> lb.Result:
    load = changes.pop("load", None) or lb.load.closed(2)
    endpoint = lb.Endpoint(url, model="m", **changes.pop("endpoint", {}))
    return lb.run(
        endpoint, workload or words(), load, **{"result_dir": tmp_path, "progress": False, **changes}
    )


def slow(request: Request) -> Iterator[Step]:
    """Ten tokens a second, for as long as asked."""
    return stream((f" t{i}" for i in range(request.json["max_tokens"])), request, gap_s=0.1)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(healthy, get=models("m")) as started:
        yield started


def test_the_signature_of_run_is_its_options() -> None:
    given = inspect.signature(lb.run).parameters
    fields = options.RunOptions.__dataclass_fields__
    assert list(given)[:3] == ["endpoint", "workload", "load"]
    assert list(given)[3:] == list(fields)
    plain = options.RunOptions()
    for name in fields:
        assert (given[name].default or None) == (getattr(plain, name) or None), name


class Letters:
    """A tokenizer whose tokens are characters."""

    def encode_batch(self, texts: list[str], add_special_tokens: bool) -> list[Any]:
        return [SimpleNamespace(ids=list(text)) for text in texts]


@pytest.mark.parametrize("save_text", [True, False])
def test_a_tokenizer_that_disagrees_with_the_server_is_named(
    server: ScriptedServer, tmp_path: Path, save_text: bool
) -> None:
    result = measure(server.url, tmp_path, tokenizer=Letters(), save_text=save_text)
    assert result.summary.token_sources == {"usage": 8}
    told = [warning for warning in result.verdict.warnings if "the tokenizer counts" in warning]
    if not save_text:
        assert told == []
        return
    assert result.client["retokenized"] == {
        "requests": 8,
        "server": 32,
        "tokenizer": sum(map(len, result.texts)),
    }
    assert len(told) == 1
    assert "and the server 32" in told[0]


@pytest.mark.parametrize(
    ("failing", "changes", "source"),
    [
        (False, {}, _core.RunDigest),
        (True, {}, _core.RunDigest),
        # A tokenizer counts in the file.
        (False, {"tokenizer": Letters(), "save_text": True}, Path),
    ],
)
def test_a_summary_from_memory_is_that_of_the_file(
    tmp_path: Path, failing: bool, changes: dict[str, Any], source: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[Any] = []
    evaluate = evaluation.evaluate

    def remembered(source: Any, *others: Any) -> Any:
        sources.append(source)
        return evaluate(source, *others)

    def script(request: Request) -> Iterator[Step]:
        if failing and request.number % 3 == 0:
            return answer(500, "you sent sk-hidden")
        return healthy(request)

    monkeypatch.setattr(evaluation, "evaluate", remembered)
    with ScriptedServer(script, get=models("m")) as server:
        result = measure(
            server.url, tmp_path, words(40), endpoint={"api_key": "sk-hidden"}, warmup_requests=3, **changes
        )
    assert isinstance(sources[0], source)
    assert result.path is not None
    summary, verdict, messages = evaluate(result.path, result.config, result.client)
    assert result_storage.finite(summary) == result.summary.to_dict()
    assert verdict.evidence == result.verdict.evidence
    assert messages == result.error_messages
    assert failing == any("you sent ***" in message for message in messages.values())


def test_a_digest_is_made_when_the_rows_are_stored(server: ScriptedServer, tmp_path: Path) -> None:
    seen: list[Any] = []
    finish = running.Running.finish

    def finished(self: running.Running) -> Any:
        with pytest.raises(ValueError, match="when it has finished"):
            self._prepared.digest()
        found = finish(self)
        kept = self.digest()
        seen.append((kept, self.digest()))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running.Running, "finish", finished)
        result = measure(server.url, tmp_path)
    [(kept, again)] = seen
    assert kept is not None
    assert again is None
    read = _core.RunDigest(str(result.path))
    assert kept.rows.requests.tobytes() == read.rows.requests.tobytes()
    assert kept.rows.endpoints == read.rows.endpoints
    assert kept.summarize() == read.summarize()
    assert len(kept.rows.requests) == 8


def test_what_connections_took_is_told(server: ScriptedServer, tmp_path: Path) -> None:
    result = measure(server.url, tmp_path, connect="new")
    assert result.client["connections"] == 8
    assert 0 < result.client["connect_ms"]["mean"] <= result.client["connect_ms"]["max"]
    assert result.client["tls_ms"] == {"mean": 0, "max": 0}
    assert (result.summary.reuse_share, result.summary.retried_share) == (0, 0)
    assert 0 < result.summary.achieved_concurrency <= 1


def test_a_run(server: ScriptedServer, tmp_path: Path) -> None:
    result = measure(server.url, tmp_path, save_result=True, label="my run", metadata={"rack": "7"})
    assert result.summary.completed == 8
    assert result.summary.failed == 0
    assert result.summary.output_tokens == 32
    assert result.errors == {}
    assert result.status == "finished"
    assert result.client["stopped_because"] == "count"
    assert result.path is not None
    assert result.path.name.startswith("my_run-openai-m-2")
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".llmbench"]
    assert result.to_json()["rack"] == "7"
    assert lb.load_result(result.path).to_json() == result.to_json()
    asked = [request.json for request in server.requests]
    assert {body["model"] for body in asked} == {"m"}
    assert sorted(body["prompt"] for body in asked) == sorted(words().prompts)
    assert {request.path for request in server.requests} == {"/v1/completions"}
    assert len({request.id for request in server.requests}) == 8


def test_the_model_is_the_servers_first_when_none_is_named(tmp_path: Path) -> None:
    with ScriptedServer(healthy, get=models("org/first", "second")) as server:
        result = lb.run(
            lb.Endpoint(server.url), words(), lb.load.burst(), result_dir=tmp_path, progress=False
        )
    assert {request.json["model"] for request in server.requests} == {"org/first"}
    assert result.config["model"] == "org/first"
    assert result.path is not None
    assert result.path.name.startswith("openai-org_first-")


def test_chat(server: ScriptedServer, tmp_path: Path) -> None:
    with ScriptedServer(lambda request: answer(200, {"choices": []}), get=models("m")) as chat:
        measure(chat.url, tmp_path, endpoint={"backend": "vllm-chat"})
    assert {request.path for request in chat.requests} == {"/v1/chat/completions"}
    assert chat.requests[0].json["messages"][0]["role"] == "user"


def test_names_never_collide_and_explicit_ones_are_replaced(server: ScriptedServer, tmp_path: Path) -> None:
    paths = {measure(server.url, tmp_path, words(1)).path for _ in range(3)}
    assert len(paths) == 3
    first = measure(server.url, tmp_path, words(1), result_filename="a.json", save_result=True)
    second = measure(server.url, tmp_path, words(2), result_filename="a.llmbench")
    assert first.path == second.path == tmp_path / "a.llmbench"
    assert lb.load_result(tmp_path / "a.llmbench").summary.completed == 2
    assert not (tmp_path / "a.json").exists()  # it told of the file that is gone


def test_nothing_is_kept_without_save(server: ScriptedServer, tmp_path: Path) -> None:
    result = measure(server.url, tmp_path / "absent", save=False)
    assert result.path is None
    assert len(result.requests) == 8
    assert result.summary.completed == 8
    assert not (tmp_path / "absent").exists()


def test_texts_are_kept_only_when_asked_for(server: ScriptedServer, tmp_path: Path) -> None:
    plain = measure(server.url, tmp_path, words(1), save_result=True, save_detailed=True)
    assert json.loads(plain.json_path.read_text())["generated_texts"] == [""]  # type: ignore[union-attr]
    kept = measure(server.url, tmp_path, words(1), save_result=True, save_detailed=True, save_text=True)
    assert kept.texts == [" t0 t1 t2 t3"]
    assert json.loads(kept.json_path.read_text())["generated_texts"] == [" t0 t1 t2 t3"]  # type: ignore[union-attr]


def test_warmup_is_sent_and_not_counted(server: ScriptedServer, tmp_path: Path) -> None:
    result = measure(server.url, tmp_path, words(8), num_requests=6, warmup_requests=2)
    assert len(server.requests) == 8
    assert len({request.json["prompt"] for request in server.requests}) == 8
    assert result.summary.completed == 6
    assert (result.requests["phase"] == 0).sum() == 2
    assert result.verdict.warnings == ()
    again = measure(server.url, tmp_path, words(8), warmup_requests=2)
    assert any("2 prompts of the warm-up were measured again" in each for each in again.verdict.warnings)


def test_by_duration(server: ScriptedServer, tmp_path: Path) -> None:
    result = measure(server.url, tmp_path, words(3), duration=0.5)
    assert result.summary.completed > 3
    assert result.client["stopped_because"] == "duration"
    assert any("3 prompts were sent" in each for each in result.verdict.warnings)


def test_a_burst_and_a_trace(server: ScriptedServer, tmp_path: Path) -> None:
    assert measure(server.url, tmp_path, load=lb.load.burst(5)).summary.completed == 5
    (tmp_path / "times").write_text("0\n0.05\n0.1\n")
    assert measure(server.url, tmp_path, load=lb.load.trace(tmp_path / "times")).summary.completed == 3


def test_sampling_ignore_eos_and_extra_fields(server: ScriptedServer, tmp_path: Path) -> None:
    measure(
        server.url,
        tmp_path,
        words(1),
        sampling={"temperature": 0.5},
        ignore_eos=True,
        endpoint={"extra_body": {"min_tokens": 4}, "headers": {"X-Team": "a"}},
    )
    body = server.requests[0].json
    assert (body["temperature"], body["ignore_eos"], body["min_tokens"]) == (0.5, True, 4)
    assert server.requests[0].headers["x-team"] == "a"


def test_goodput(server: ScriptedServer, tmp_path: Path) -> None:
    assert measure(server.url, tmp_path, goodput={"e2el": 60_000}).summary.goodput_share == 1.0
    assert measure(server.url, tmp_path).summary.get("goodput") is None


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []
    with ScriptedServer(slow, get=models("m")) as server:
        measure(server.url, tmp_path, words(4, output_tokens=6), on_progress=seen.append)
    assert len(seen) >= 3
    assert seen[-1]["completed"] == 4
    assert seen[-1]["planned"] == 4
    assert {"elapsed_s", "in_flight", "failed", "output_events", "phase", "worker_busy"} <= set(seen[-1])


def test_failures_are_counted_and_named(tmp_path: Path) -> None:
    with ScriptedServer(
        lambda request: answer(500, {"error": {"message": "it broke"}}), get=models("m")
    ) as server:
        result = measure(server.url, tmp_path)
    assert result.summary.completed == 0
    assert result.errors == {"http_5xx": 8}
    assert "it broke" in result.error_messages["http_5xx"]
    assert result.verdict.status == "INVALID"
    assert "none of 8 requests succeeded" in result.verdict.reasons[0]


def test_a_unix_socket_and_tls_reach_the_engine(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    with ScriptedServer(healthy, tls=tls.server_context(ca_file), get=models("m")) as server:
        result = measure(server.url, tmp_path, endpoint={"ca_file": str(ca_file)})
        assert result.summary.completed == 8
        insecure = measure(server.url, tmp_path, endpoint={"insecure": True})
    assert any("not verified" in each for each in insecure.verdict.warnings)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_requests": 0}, "num_requests must be at least 1"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"duration": 0}, "duration must be more than 0"),
        ({"drain": -1}, "drain must be 0 or more"),
        ({"connect": "often"}, "unknown connect"),
        ({"connect": "sticky", "load": lb.load.poisson(1)}, "needs a closed loop"),
        ({"percentiles": (0,)}, "percentiles must be"),
        ({"percentile_metrics": ("tttf",)}, "unknown metric"),
        ({"goodput": {"itl": 5}}, "unknown goodput metric"),
        ({"goodput": {"ttft": 0}}, "above 0 ms"),
        ({"itl": "word"}, "token or chunk"),
        ({"duration": "5"}, "duration must be a number, not '5'"),
        ({"num_requests": "5"}, "num_requests must be a number"),
        ({"percentiles": 99}, r"percentiles must be numbers such as \(50, 99\), not 99"),
        ({"goodput": ["ttft:200"]}, "goodput must be limits in ms"),
        ({"goodput": {"ttft": "200"}}, "goodput must be limits in ms"),
        ({"metadata": {"run": object()}}, "metadata must be a mapping of values that JSON can hold"),
        ({"load": 5}, "a Load is wanted, as llmbench.load makes them, not 5"),
        ({"workload": ["hi"]}, r"a Workload is wanted, as llmbench.workloads makes them, not \['hi'\]"),
        ({"max_error_rate": 2}, "from 0 to 1"),
        ({"gpu_cost_per_hour": 2.0}, "number of GPUs"),
        ({"save": False, "save_result": True}, "--no-save"),
        ({"endpoint": {"ca_file": "/no/such/file"}}, "no CA file"),
    ],
)
def test_what_cannot_be_is_said_before_any_request(
    server: ScriptedServer, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        measure(server.url, tmp_path, **changes)
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachableError):
        measure("http://127.0.0.1:1", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_result_directory_that_cannot_be(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot write results to"):
        measure(server.url, tmp_path / "file" / "x")
    assert server.requests == []


def test_the_file_limit_is_raised_or_named(server: ScriptedServer, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        measure(server.url, tmp_path, words(64), load=lb.load.closed(64))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100
        with pytest.raises(ClientLimitError, match=r"ulimit -n \d+"):
            measure(server.url, tmp_path, load=lb.load.closed(10**8))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def stalling(tokens: int = 3) -> Any:
    """A few tokens, then nothing more."""

    def script(request: Request) -> Iterator[Step]:
        steps = stream((f" t{i}" for i in range(tokens)), request)
        for _ in range(1 + tokens):
            yield next(steps)
        yield STALL

    return script


def test_the_first_signal_gives_a_result(tmp_path: Path) -> None:
    """Sending stops at once, what runs is waited for, and what was measured comes back."""
    with ScriptedServer(slow, get=models("m")) as server:
        fired = threading.Event()

        def interrupt(snapshot: Mapping[str, Any]) -> None:
            if snapshot["completed"] >= 2 and not fired.is_set():
                fired.set()
                os.kill(os.getpid(), signal.SIGINT)

        result = measure(server.url, tmp_path, words(500, output_tokens=3), on_progress=interrupt)
    assert result.interrupted
    assert result.interrupted_by == signal.SIGINT
    assert 2 <= result.summary.completed < 100
    assert result.summary.cut == 0
    assert lb.load_result(result.path).interrupted  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_drain_ends_and_what_still_runs_is_cut(tmp_path: Path) -> None:
    with ScriptedServer(stalling(), get=models("m")) as server:
        begun = time.monotonic()
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        result = measure(server.url, tmp_path, drain=0.3)
        assert time.monotonic() - begun < 20
    assert result.interrupted_by == signal.SIGTERM
    assert result.summary.cut == 2
    assert (result.requests["events"] == 3).all()


def test_the_second_signal_raises_and_the_file_is_valid(tmp_path: Path) -> None:
    with ScriptedServer(stalling(), get=models("m")) as server:
        for delay in (0.5, 0.9):
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt, match=r"what was measured until then is in .*a\.llmbench"):
            measure(server.url, tmp_path, drain=60, result_filename="a")
    loaded = lb.load_result(tmp_path / "a.llmbench")
    assert loaded.status == "unfinished"
    assert loaded.summary.cut == 2
    with sqlite3.connect(tmp_path / "a.llmbench") as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    opened.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_keyboard_interrupt_of_somebody_elses_is_the_first(tmp_path: Path) -> None:
    """A notebook's own handler raises; here a callback does."""
    fired: list[int] = []

    def interrupt(snapshot: Mapping[str, Any]) -> None:
        if not fired:
            fired.append(1)
            raise KeyboardInterrupt

    with ScriptedServer(slow, get=models("m")) as server:
        result = measure(server.url, tmp_path, words(500, output_tokens=3), on_progress=interrupt)
    assert result.interrupted


def test_in_another_thread(server: ScriptedServer, tmp_path: Path) -> None:
    found: list[lb.Result] = []
    thread = threading.Thread(target=lambda: found.append(measure(server.url, tmp_path)))
    thread.start()
    thread.join(60)
    assert found[0].summary.completed == 8


def test_inside_a_running_loop(server: ScriptedServer, tmp_path: Path) -> None:
    async def blocking() -> lb.Result:
        return measure(server.url, tmp_path)

    assert asyncio.run(blocking()).summary.completed == 8


def test_arun_lets_the_loop_go_on(tmp_path: Path) -> None:
    async def both() -> tuple[lb.Result, int]:
        running = asyncio.ensure_future(
            lb.arun(
                lb.Endpoint(server.url, model="m"),
                words(4),
                lb.load.closed(2),
                result_dir=tmp_path,
                progress=False,
            )
        )
        turns = 0
        while not running.done():
            await asyncio.sleep(0.01)
            turns += 1
        return await running, turns

    with ScriptedServer(slow, get=models("m")) as server:
        result, turns = asyncio.run(both())
    assert result.summary.completed == 4
    assert turns > 10


def test_arun_is_interrupted_like_run(tmp_path: Path) -> None:
    async def interrupted() -> lb.Result:
        asyncio.get_running_loop().call_later(0.6, os.kill, os.getpid(), signal.SIGINT)
        return await lb.arun(
            lb.Endpoint(server.url, model="m"),
            words(500, output_tokens=3),
            lb.load.closed(2),
            result_dir=tmp_path,
            progress=False,
        )

    with ScriptedServer(slow, get=models("m")) as server:
        result = asyncio.run(interrupted())
    assert result.interrupted_by == signal.SIGINT


def test_a_cancelled_task_ends_the_run(tmp_path: Path) -> None:
    async def cancelled() -> None:
        await asyncio.wait_for(
            lb.arun(
                lb.Endpoint(server.url, model="m"),
                words(500, output_tokens=50),
                lb.load.closed(2),
                result_dir=tmp_path,
                progress=False,
                drain=60,
            ),
            0.7,
        )

    with ScriptedServer(slow, get=models("m")) as server:
        begun = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(cancelled())
        assert time.monotonic() - begun < 20


def _run_in_child(url: str, directory: str, queue: Any) -> None:
    try:
        queue.put(measure(url, Path(directory)).summary.completed)
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("method", "told"), [("fork", "EngineError: the engine cannot be used in a forked child"), ("spawn", 8)]
)
def test_other_processes(server: ScriptedServer, tmp_path: Path, method: str, told: Any) -> None:
    assert callable(lb.run)  # loaded here, before the fork
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_run_in_child, args=(server.url, str(tmp_path), queue))
    child.start()
    found = queue.get(timeout=60)
    child.join(60)
    assert found == told or str(found).startswith(str(told))


def test_the_engines_errors_are_ours() -> None:
    from llmbench import _core

    for code, kind in (("config", ConfigError), ("results", ResultsError), ("internal", EngineError)):
        error = _core.CoreError("you sent sk-hidden-1")
        error.code = code
        with (
            pytest.raises(kind, match=r"you sent \*+$"),
            running.core_errors(("sk-hidden-1",)),
        ):
            raise error


def test_the_plan_does_not_depend_on_workers(tmp_path: Path) -> None:
    with lb.sim.Server(ttft_ms=5, itl_ms=1) as server:
        runs = [
            measure(server.url, tmp_path, words(60), load=lb.load.poisson(200), workers=workers, seed=3)
            for workers in (1, 3)
        ]
    one, three = ([row["scheduled_ns"], row["workload"]] for row in (run.requests for run in runs))
    assert one[0].tolist() == three[0].tolist()
    assert one[1].tolist() == three[1].tolist()
    assert len(runs[1].client["workers"]) == 3


def test_against_the_simulated_server(tmp_path: Path) -> None:
    with lb.sim.Server(ttft_ms=50, itl_ms=10) as server:
        result = lb.run(
            lb.Endpoint(server.url, backend="vllm", model="m"),
            lb.workloads.random(input_tokens=16, output_tokens=8, n=40, seed=7),
            lb.load.poisson(rate=100),
            goodput={"ttft": 1000, "tpot": 500},
            result_dir=tmp_path,
            progress=False,
        )
    summary = result.summary
    assert summary.completed == 40
    assert summary.output_tokens == 320
    assert summary.input_tokens == 40 * 16
    assert summary.token_sources == {"usage": 40}
    assert summary["ttft"].median == pytest.approx(50, rel=0.5)
    assert summary["itl"].median == pytest.approx(10, rel=0.5)
    assert summary["itl"].n == 280
    assert summary.goodput_share == 1.0
    assert result.events.offsets[-1] == 320
