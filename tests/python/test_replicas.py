"""Several endpoints: which one a request goes to, what each did, and how uneven they were."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmbench as lb
from llmbench import _core, preflight, replicas, report, results
from llmbench.cli.run import main
from llmbench.errors import ConfigError, ServerUnreachableError
from llmbench.request_rows import ABSENT_NS

MS = 1_000_000
POLICIES = ("round-robin", "random", "least-in-flight", "sticky")


def rows(*entries: tuple[int, str, int, int, int]) -> np.ndarray[Any, Any]:
    """(endpoint, outcome, sent, first token, end) in ms."""
    names = ("endpoint", "outcome", "sent_ns", "first_token_ns", "end_ns", "output_tokens")
    table = np.zeros(len(entries), dtype=[(name, np.int64) for name in names])
    for row, (endpoint, outcome, sent, first, end) in zip(table, entries, strict=True):
        row["endpoint"], row["outcome"] = endpoint, _core.OUTCOMES.index(outcome)
        row["sent_ns"], row["end_ns"] = sent * MS, end * MS
        row["first_token_ns"] = first * MS if first >= 0 else ABSENT_NS
        row["output_tokens"] = 10 if outcome == "ok" else -1
    return table


def test_each_replica_has_its_numbers() -> None:
    found = replicas.compare(
        rows(
            (0, "ok", 0, 10, 100),
            (0, "ok", 100, 130, 300),
            (1, "ok", 0, 20, 500),
            (1, "connect_refused", 0, -1, 0),
            (0, "cut", 300, -1, 400),
        ),
        {"http://a": 0, "http://b": 1},
        balancing="random",
        duration_s=0.5,
    )
    assert found is not None
    one, two = found["endpoints"]
    assert (one["requests"], one["completed"], one["failed"], one["cut"]) == (3, 2, 0, 1)
    assert (two["requests"], two["completed"], two["failed"], two["cut"]) == (2, 1, 1, 0)
    assert (one["share"], two["share"]) == (0.6, 0.4)
    assert (one["output_tokens"], one["output_throughput"], one["request_throughput"]) == (20, 40.0, 4.0)
    assert one["in_flight_mean"] == pytest.approx((100 + 200 + 100) / 500)
    assert two["in_flight_mean"] == pytest.approx(500 / 500)
    assert one["latency_ms"]["ttft"] == {"n": 2, "mean": 20.0, "p50": 20.0, "p99": pytest.approx(29.8)}
    assert two["latency_ms"]["e2el"]["p50"] == 500.0
    assert one["intervals"]["p99_ttft_ms"]["supported"] is False
    assert found["balancing"] == "random"


def test_imbalance_is_largest_over_mean_and_variation() -> None:
    found = replicas.compare(
        rows((0, "ok", 0, 10, 100), (1, "ok", 0, 30, 300)),
        {"a": 0, "b": 1},
        balancing="sticky",
        duration_s=1.0,
    )
    assert found is not None
    assert found["imbalance"]["requests"] == {"max_over_mean": 1.0, "cv": 0.0}
    assert found["imbalance"]["in_flight_mean"] == {
        "max_over_mean": pytest.approx(1.5),
        "cv": pytest.approx(0.5),
    }
    assert found["imbalance"]["p50_ttft_ms"]["max_over_mean"] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], {"max_over_mean": None, "cv": None}),
        ([(0, "ok", 0, 10, 100)], {"max_over_mean": None, "cv": None}),  # the other one answered nothing
    ],
)
def test_what_cannot_be_compared_is_none(entries: list[Any], expected: dict[str, None]) -> None:
    found = replicas.compare(rows(*entries), {"a": 0, "b": 1}, balancing="random", duration_s=None)
    assert found is not None
    assert found["imbalance"]["p50_ttft_ms"] == expected
    assert found["endpoints"][1]["latency_ms"]["ttft"] == {"n": 0, "mean": None, "p50": None, "p99": None}


def test_a_single_endpoint_is_not_compared() -> None:
    assert replicas.compare(rows(), {"a": 0}, balancing="random", duration_s=1.0) is None


# End to end


@pytest.fixture(scope="module")
def servers() -> Iterator[list[str]]:
    with lb.sim.Server(replicas=3, ttft_ms=5, itl_ms=1) as server:
        yield list(server.urls)


def measure(urls: list[str], **changes: Any) -> lb.Result:
    return lb.run(
        [lb.Endpoint(url) for url in urls],
        lb.workloads.random(input_tokens=6, output_tokens=3, n=60, seed=1),
        changes.pop("load", None) or lb.load.closed(6),
        **{"save": False, "progress": False, **changes},
    )


def chosen(result: lb.Result) -> Any:
    """The place of each request's endpoint among those given."""
    given = [each["name"] for each in result.config["endpoints"]]
    places = np.array([given.index(name) for name in result.table.endpoints])
    return places[result.requests["endpoint"]]


def counts(result: lb.Result) -> list[int]:
    return np.bincount(chosen(result), minlength=3).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("balancing", POLICIES)
def test_every_request_is_in_one_replica(servers: list[str], balancing: str) -> None:
    result = measure(servers, balancing=balancing)
    assert result.summary.completed == 60
    assert result.replicas is not None
    assert [each.url for each in result.replicas] == servers
    assert [each.requests for each in result.replicas] == counts(result)
    assert sum(each.output_tokens for each in result.replicas) == result.summary.output_tokens == 180
    assert result.replicas.balancing == balancing
    assert sum(each.in_flight_mean or 0 for each in result.replicas) == pytest.approx(
        result.summary.concurrency_mean, rel=0.01
    )
    if balancing == "round-robin":
        assert counts(result) == [20, 20, 20]
        assert result.replicas.imbalance["requests"].max_over_mean == 1.0
    if balancing == "sticky":
        assert chosen(result)[:6].tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("balancing", ["round-robin", "random", "sticky"])
def test_two_workers_choose_as_one(servers: list[str], balancing: str) -> None:
    # In a closed loop the order of ends decides which request a slot gets next: the plan of an open loop is fixed.
    burst = lb.load.burst(60)
    one, two = (
        measure(servers, load=burst, balancing=balancing, workers=workers, seed=5) for workers in (1, 2)
    )
    assert chosen(one).tolist() == chosen(two).tolist()
    assert min(counts(one)) > 0
    if balancing == "sticky":
        assert (chosen(one) == one.requests["workload"] % 3).all()
    if balancing == "random":
        other = measure(servers, load=burst, balancing=balancing, seed=6)
        assert chosen(one).tolist() != chosen(other).tolist()


def test_a_slow_replica_gets_less_from_least_in_flight() -> None:
    with ExitStack() as stack:
        delays = (5, 5, 100)
        started = [stack.enter_context(lb.sim.Server(ttft_ms=ttft, itl_ms=1)) for ttft in delays]
        result = measure([server.url for server in started], balancing="least-in-flight")
    assert result.summary.completed == 60
    first, second, slow = counts(result)
    assert slow < min(first, second) / 2
    assert result.replicas is not None
    assert (result.replicas.imbalance["p50_ttft_ms"].max_over_mean or 0) > 2


def dead_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("balancing", POLICIES)
def test_a_dead_replica_fails_alone(
    servers: list[str], balancing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [servers[0], f"http://127.0.0.1:{dead_port()}", servers[2]]
    with pytest.raises(ServerUnreachableError, match=urls[1]):
        measure(urls, balancing=balancing)  # it is asked before the run
    dies_later(monkeypatch, urls[1])
    result = measure(urls, balancing=balancing, max_error_rate=1.0)
    assert result.replicas is not None
    alive, dead, other = result.replicas
    assert alive.failed == other.failed == 0
    assert dead.completed == 0
    assert dead.failed == dead.requests > 0
    assert alive.completed
    assert other.completed
    assert result.errors == {"connect_refused": dead.failed}
    assert dead["ttft"].median is None
    if balancing == "round-robin":
        assert counts(result) == [20, 20, 20]


def dies_later(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The server of this address was there when it was asked."""
    check = preflight.check

    def there(endpoint: lb.Endpoint, **options: Any) -> Any:
        if endpoint.url == url:
            return preflight.ServerFacts(endpoint.model)
        return check(endpoint, **options)

    monkeypatch.setattr("llmbench.preflight.check", there)


def test_files_keep_the_replicas(servers: list[str], tmp_path: Path) -> None:
    result = measure(servers, save=True, result_dir=tmp_path, result_filename="r", save_result=True)
    assert sorted(_core.RecordTable.load(str(tmp_path / "r.llmbench")).endpoints) == [
        f"{url}/v1/completions" for url in sorted(servers)
    ]
    for name in ("r.llmbench", "r.json"):
        loaded = results.load_result(tmp_path / name)
        assert loaded.replicas == result.replicas
        assert loaded.replicas is not None
        assert result.replicas is not None
        assert loaded.replicas.imbalance == result.replicas.imbalance
    stored = result.to_json()["llmbench"]
    assert [each["url"] for each in stored["replicas"]["endpoints"]] == servers
    assert "replicas" not in stored["summary"]
    assert [each["url"] for each in result.config["endpoints"]] == servers


def test_the_report_has_a_table_of_replicas(servers: list[str]) -> None:
    several, single = measure(servers), measure(servers[:1])
    text = report.text(several)
    assert max(map(len, text.splitlines())) <= 80
    assert "replica" in text
    assert "max / mean" in text
    for url in servers:
        assert url.removeprefix("http://") in text
    assert "max / mean" not in report.text(single)
    assert single.replicas is None
    assert "max / mean" in report.html(several)


def test_the_command_takes_several_urls(
    servers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--base-url", *servers, "--num-prompts", "9", "--random-output-len", "3", "--quiet"]
    arguments += ["--max-concurrency", "3", "--balancing", "sticky", "--result-dir", str(tmp_path)]
    assert main([*arguments, "--result-filename", "r"]) == 0
    loaded = results.load_result(tmp_path / "r.llmbench")
    assert loaded.replicas is not None
    assert len(loaded.replicas) == 3
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "sticky" in shown
    assert all(url in shown for url in servers)


@pytest.mark.parametrize(
    ("endpoints", "says"),
    [
        ([], "needs an endpoint"),
        (["http://a"], "an Endpoint is wanted"),
        ("http://a", "an Endpoint is wanted, not 'http://a'"),
        ([lb.Endpoint("http://a"), lb.Endpoint("http://a")], "http://a:80/v1/completions was given twice"),
        ([lb.Endpoint("http://a"), lb.Endpoint("http://b", backend="openai-chat")], "another backend"),
        ([lb.Endpoint("http://a", model="m"), lb.Endpoint("http://b", model="n")], "another model"),
        ([lb.Endpoint("http://a"), lb.Endpoint("http://b", extra_body={"x": 1})], "another extra body"),
    ],
)
def test_endpoints_of_a_run_are_replicas(endpoints: list[Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        lb.run(endpoints, lb.workloads.random(n=1, input_tokens=2, output_tokens=2), lb.load.closed(1))


def test_an_unknown_balancing_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are round-robin, random, least-in-flight, sticky"):
        lb.run(
            lb.Endpoint("http://a"),
            lb.workloads.random(n=1, input_tokens=2, output_tokens=2),
            lb.load.closed(1),
            balancing="weighted",
        )
