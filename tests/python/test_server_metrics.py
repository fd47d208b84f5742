"""Prometheus' text format, what servers call things, and the difference of two readings."""

from __future__ import annotations

import http.client
import http.server
import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from llmbench import run_checks, server_metrics, verdict
from llmbench.errors import ResultsError
from llmbench.server_metrics import KINDS, Names, Reading, Sample, Watch, fetch, parse, store


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up 1", Sample("up", {}, 1.0)),
        ("a:b_total{} 2.5e3 1700000000000", Sample("a:b_total", {}, 2500.0)),
        ('x{le="+Inf",engine="0"} 7', Sample("x", {"le": "+Inf", "engine": "0"}, 7.0)),
        ('x{m="a\\"b\\\\c\\nd",} 1', Sample("x", {"m": 'a"b\\c\nd'}, 1.0)),
        ('x{ m = "a b } c" } -0.5', Sample("x", {"m": "a b } c"}, -0.5)),
        ("x +Inf", Sample("x", {}, math.inf)),
        ("llamacpp:prompt_tokens_seconds inf", Sample("llamacpp:prompt_tokens_seconds", {}, math.inf)),
        ('x_bucket{le="1"} 3 # {trace="a"} 0.9', Sample("x_bucket", {"le": "1"}, 3.0)),
    ],
)
def test_a_line(line: str, expected: Sample) -> None:
    assert parse(f"# HELP x text\n# TYPE x counter\n\n{line}\n# EOF\n") == [expected]


@pytest.mark.parametrize(
    "line", ["", "# x 1", "x", "x one", 'x{a="b} 1', "x{a=b} 1", "{} 1", '"x" 1', "<html>"]
)
def test_what_is_no_sample_is_passed_over(line: str) -> None:
    assert parse(f"{line}\ny 1") == [Sample("y", {}, 1.0)]


def test_nan_is_read_and_not_reported() -> None:
    (sample,) = parse("vllm:num_requests_running NaN")
    assert math.isnan(sample.value)
    reading = Reading.of([sample], 0)
    assert reading is not None
    assert reading.values == {}


def page(kind: str, **values: float) -> str:
    names = KINDS[kind]
    return "".join(f'{getattr(names, what)[0]}{{engine="0"}} {value}\n' for what, value in values.items())


@pytest.mark.parametrize("kind", ["vllm", "sglang", "tgi", "llamacpp", "jetstream"])
def test_each_kind_is_known_by_its_names(kind: str) -> None:
    reading = Reading.of(parse(page(kind, prompt_tokens=5, output_tokens=3)), 9)
    assert reading is not None
    assert (reading.kind, reading.unix_ns) == (kind, 9)
    assert reading.values == {"prompt_tokens": 5, "output_tokens": 3}


def test_sums_over_labels_and_over_names_but_not_over_meanings() -> None:
    text = """
vllm:request_success_total{finished_reason="stop",engine="0"} 3
vllm:request_success_total{finished_reason="length",engine="0"} 4
vllm:request_success_created{finished_reason="stop",engine="0"} 1.7e9
vllm:prompt_tokens_total{engine="0"} 10
vllm:prompt_tokens_total{engine="1"} 20
vllm:prompt_tokens_cached_total{engine="0"} 5
vllm:prompt_tokens_by_source_total{source="local_compute"} 30
vllm:kv_cache_usage_perc{engine="0"} 0.5
"""
    reading = Reading.of(parse(text), 0)
    assert reading is not None
    assert reading.values == {"requests": 7, "prompt_tokens": 35, "kv_usage": 0.5}


def test_triton_has_one_name_for_several_things() -> None:
    text = """
nv_trt_llm_request_metrics{model="m",request_type="waiting"} 3
nv_trt_llm_request_metrics{model="m",request_type="active"} 8
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used"} 700
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"} 0.7
"""
    reading = Reading.of(parse(text), 0)
    assert reading is not None
    assert reading.values == {"running": 8, "kv_usage": 0.7}


def test_a_page_of_something_else() -> None:
    assert Reading.of(parse("go_goroutines 5\nprocess_cpu_seconds_total 3"), 0) is None
    own = Names("my_", output_tokens=("my_tokens",))
    reading = Reading.of(parse("my_tokens 5"), 0, own)
    assert reading is not None
    assert reading.values == {"output_tokens": 5}


class Pages:
    """Answers /metrics with a page after another, and then with the last one again."""

    def __init__(self, *pages: str) -> None:
        self.pages = list(pages)
        self.asked = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = outer.pages[min(outer.asked, len(outer.pages) - 1)]
                outer.asked += 1
                self.send_response(200 if text else 404)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/metrics"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def pages() -> Iterator[list[Pages]]:
    made: list[Pages] = []
    yield made
    for each in made:
        each.server.shutdown()
        each.server.server_close()


def test_what_was_counted_in_between(pages: list[Pages]) -> None:
    busy = page("vllm", requests=8, prompt_tokens=80, output_tokens=30, running=1)
    server = Pages(
        page("vllm", requests=5, prompt_tokens=50, output_tokens=10, running=0),
        busy,  # the last answer is out and not yet counted
        page("vllm", requests=9, prompt_tokens=90, output_tokens=40, running=0),
    )
    pages.append(server)
    with Watch([server.url], period_s=60) as watch:
        pass
    assert watch.counted() == {
        "kind": "vllm",
        "urls": [server.url],
        "reset": False,
        "requests": 4,
        "prompt_tokens": 40,
        "output_tokens": 30,
    }
    rows = watch.samples(start_unix_ns=0)
    assert ("server", "output_tokens", 30.0) in [row[1:] for row in rows]
    assert all(row[0] > 0 for row in rows)


@pytest.mark.parametrize(
    ("before", "after", "busy"), [(0, 0, False), (3, 0, True), (0, 1, True)], ids=["idle", "before", "after"]
)
def test_a_server_that_others_may_use(
    pages: list[Pages], monkeypatch: pytest.MonkeyPatch, before: int, after: int, busy: bool
) -> None:
    monkeypatch.setattr(server_metrics, "_SETTLE_S", 0.1)
    pages.append(Pages(page("vllm", requests=5, running=before), page("vllm", requests=9, running=after)))
    with Watch([pages[0].url], shared=True) as watch:
        pass
    counted = watch.counted()
    assert counted is not None
    assert (counted["requests"], counted["shared"], counted["busy"]) == (4, True, busy)


def test_pages_are_asked_for_as_requests_go(pages: list[Pages]) -> None:
    pages.append(Pages(page("vllm", requests=5)))
    asked: list[str] = []

    def connect(url: str) -> http.client.HTTPConnection:
        asked.append(url)
        return http.client.HTTPConnection("127.0.0.1", pages[0].server.server_address[1])

    with Watch(["http://gpu-7:8002/metrics"], connect=connect) as watch:
        pass
    counted = watch.counted()
    assert counted is not None
    assert counted["requests"] == 0
    assert set(asked) == {"http://gpu-7:8002/metrics"}


def test_replicas_are_added_up_and_sampled_apart(pages: list[Pages]) -> None:
    for base in (0, 100):
        pages.append(
            Pages(page("llamacpp", output_tokens=base, running=0), page("llamacpp", output_tokens=base + 7))
        )
    with Watch([each.url for each in pages]) as watch:
        pass
    counted = watch.counted()
    assert counted is not None
    assert counted["output_tokens"] == 14
    assert {row[1] for row in watch.samples(0)} == {"server-0", "server-1"}


def test_samples_are_taken_during_the_run(pages: list[Pages]) -> None:
    server = Pages(
        page("vllm", running=0), *[page("vllm", running=n) for n in (3, 4)], page("vllm", running=0)
    )
    pages.append(server)
    with Watch([server.url], period_s=0.01) as watch:
        while server.asked < 3:
            threading.Event().wait(0.005)
    assert [value for _, _, name, value in watch.samples(0) if name == "running"][:2] == [3, 4]


def test_a_server_that_started_anew_says_nothing_about_the_run(pages: list[Pages]) -> None:
    server = Pages(page("vllm", output_tokens=50), page("vllm", output_tokens=3))
    pages.append(server)
    with Watch([server.url]) as watch:
        pass
    counted = watch.counted()
    assert counted is not None
    assert counted["reset"] is True


@pytest.mark.parametrize(("text", "told"), [("", "answered 404"), ("go_x 1", "no metrics of a server")])
def test_a_page_that_cannot_be_used(pages: list[Pages], text: str, told: str) -> None:
    server = Pages(text)
    pages.append(server)
    with Watch([server.url]) as watch:
        pass
    counted = watch.counted()
    assert counted is not None
    assert told in counted["absent"]
    assert watch.samples(0) == []


def test_no_server_at_all() -> None:
    with Watch(["http://127.0.0.1:1/metrics"]) as watch:
        pass
    counted = watch.counted()
    assert counted is not None
    assert "refused" in counted["absent"]
    with Watch([]) as nothing:
        pass
    assert nothing.counted() is None


def test_an_error_in_the_block_is_not_delayed_by_a_reading(pages: list[Pages]) -> None:
    server = Pages(page("vllm", running=1))
    pages.append(server)
    with pytest.raises(ZeroDivisionError), Watch([server.url], period_s=60):
        raise ZeroDivisionError
    assert server.asked == 1


def test_headers_are_sent(pages: list[Pages]) -> None:
    server = Pages("x 1")
    pages.append(server)
    assert fetch(server.url, {"Authorization": "Bearer k"}) == (200, "x 1")


def test_rows_are_added_to_a_result(tmp_path: Path) -> None:
    path = tmp_path / "a.llmbench"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE sample(t_ns INTEGER, source TEXT, name TEXT, value REAL)")
    store(path, [(5, "server", "running", 2.0)])
    store(path, [])
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM sample").fetchall() == [(5, "server", "running", 2.0)]
    with pytest.raises(ResultsError, match="cannot write"):
        store(tmp_path / "absent" / "b.llmbench", [(5, "server", "running", 2.0)])


def facts(counters: dict[str, object] | None, *, failed: int = 0, told: int = 1) -> verdict.Facts:
    """Four requests of ten prompt tokens, two of them cached, and five output tokens; the first ones failed."""
    fields = ("outcome", "token_source", "prompt_tokens", "cached_tokens", "output_tokens")
    rows = np.zeros(4, dtype=[(name, "i8") for name in fields])
    rows["outcome"][:failed] = 3
    rows["token_source"], rows["prompt_tokens"], rows["cached_tokens"], rows["output_tokens"] = told, 10, 2, 5
    return verdict.Facts(
        requests=rows,
        all_requests=rows,
        summary={},
        client={"server_counters": counters},
        open_loop=False,
        rate=None,
        max_concurrency=1,
    )


def shared(*, kind: str = "vllm", busy: bool = False, **counted: int) -> dict[str, object]:
    return {"kind": kind, "shared": True, "busy": busy, **counted}


@pytest.mark.parametrize(
    ("counters", "options", "status", "told"),
    [
        (None, {}, "VALID", "were not read"),
        ({"absent": "answered 404"}, {}, "VALID", "answered 404"),
        ({"kind": "vllm", "reset": True}, {}, "VALID", "count anew"),
        ({"kind": "vllm", "requests": 4, "prompt_tokens": 40, "output_tokens": 20}, {}, "VALID", ""),
        ({"kind": "vllm", "requests": 8, "prompt_tokens": 40, "output_tokens": 20}, {}, "VALID", ""),
        (
            {"kind": "vllm", "requests": 5},
            {},
            "INVALID",
            "counted 5 requests and this client 4: others used it",
        ),
        ({"kind": "vllm", "output_tokens": 21}, {}, "INVALID", "counted 21 output tokens and this client 20"),
        ({"kind": "vllm", "prompt_tokens": 32}, {}, "INVALID", "counted 32 prompt tokens and this client 40"),
        ({"kind": "llamacpp", "prompt_tokens": 32, "output_tokens": 20}, {}, "VALID", ""),
        ({"kind": "vllm", "output_tokens": 18}, {"failed": 1}, "VALID", ""),
        ({"kind": "vllm", "output_tokens": 14}, {"failed": 1}, "INVALID", "counted 14 output tokens"),
        (
            {"kind": "vllm", "output_tokens": 99},
            {"told": 3},
            "VALID",
            "counts nothing that this client counts",
        ),
        ({"kind": "sglang", "output_tokens": 21}, {}, "VALID", "counted 21 output tokens"),
        # A server that others may use: what they can have done is a note,
        (shared(requests=4, prompt_tokens=40, output_tokens=20), {}, "VALID", ""),
        (shared(requests=5, output_tokens=25), {}, "VALID", "shared server, these numbers are under"),
        (shared(requests=8, output_tokens=25), {}, "VALID", "counted 25 output tokens and this client 20"),
        (shared(requests=4, output_tokens=25, busy=True), {}, "VALID", "shared server"),
        (shared(kind="llamacpp", output_tokens=25), {}, "VALID", "shared server"),
        (shared(requests=2, output_tokens=10), {}, "VALID", "behind a balancer"),
        # and what they cannot have done is none.
        (shared(requests=4, output_tokens=25), {}, "INVALID", "counted 25 output tokens and this client 20"),
        (shared(requests=4, output_tokens=19), {}, "INVALID", "counted 19 output tokens"),
    ],
)
def test_the_servers_counters_against_the_rows(
    counters: dict[str, object] | None, options: dict[str, int], status: str, told: str
) -> None:
    finding = run_checks.server_counters(facts(counters, **options))
    assert finding.status == status
    assert told in finding.text
    assert bool(finding.text) == bool(told)
