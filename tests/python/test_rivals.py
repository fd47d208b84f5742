"""The pure parts of the comparison with other clients: true times, reports, rungs, rules, and the page."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
for name in ("benchmarks", "python"):
    if str(ROOT / name) not in sys.path:
        sys.path.append(str(ROOT / name))

from rivals import clients, compare, measures, page, reports  # noqa: E402 - found on the path set above
from rivals.clients import CLIENTS, Load  # noqa: E402
from rivals.measures import Plan, Step  # noqa: E402
from truth_server import Times, Written, read_log  # noqa: E402

MS = 1_000_000


# True times


def test_times_of_what_was_written() -> None:
    times = Times.of(
        [
            Written(0, (50 * MS, 60 * MS, 72 * MS)),
            Written(500 * MS, (554 * MS,)),
            Written(1000 * MS, (1052 * MS,)),
        ]
    )
    assert (times.requests, times.events, times.rate) == (3, 5, 2.0)
    assert (times.ttft_mean, times.itl_mean, times.itl_request_p99) == (52, 11, 11)
    assert times.ttft_p99 == pytest.approx(np.percentile([50, 54, 52], 99))
    assert times.itl_p99 == pytest.approx(np.percentile([10, 12], 99))
    assert times.e2el_mean == pytest.approx((72 + 54 + 52) / 3)


def test_times_of_nothing_are_null() -> None:
    told = Times.of([]).to_dict()
    assert (told["requests"], told["ttft_mean"], told["itl_p99"], told["rate"]) == (0, None, None, None)
    assert Times.of([Written(0, (MS,))]).to_dict()["itl_mean"] is None


def test_only_answers_that_came_to_their_end_are_read(tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    rows = [
        {"request_id": "", "received_ns": 1, "complete": True, "event_ns": [5, 6], "tokens": [1, 1]},
        {"request_id": "", "received_ns": 2, "complete": False, "event_ns": [7], "tokens": [1]},
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_log(log) == [Written(1, (5, 6))]


def test_requests_that_a_client_sends_first_to_try_the_server_are_left_out() -> None:
    written = [Written(i * 1000 * MS, ((i * 1000 + 10 * i) * MS,)) for i in range(4)]
    assert measures.own_times(written, 2).ttft_mean == 25


# Reports


def test_vllm_report() -> None:
    keys = {
        "mean_ttft_ms": 51.1,
        "p99_ttft_ms": 54.1,
        "mean_itl_ms": 10,
        "p99_itl_ms": 13.8,
        "mean_e2el_ms": 680.9,
    }
    report = reports.vllm({"completed": 500, "failed": 2, "total_output_tokens": 32000, **keys})
    assert report == reports.Report(500, 2, 32000.0, 51.1, 54.1, 10.0, 13.8, 680.9)


def test_aiperf_report_takes_gaps_for_its_inter_token_latency() -> None:
    report = reports.aiperf(
        {
            "request_count": {"avg": 40.0, "unit": "requests"},
            "error_request_count": {"avg": 3.0},
            "time_to_first_token": {"avg": 80.8, "p99": 169.9},
            "inter_token_latency": {"avg": 10.3, "p99": 11.7},
            "inter_chunk_latency": {"avg": 10.3, "p99": 41.6},
            "request_latency": {"avg": 731.6},
        }
    )
    assert report == reports.Report(40, 3, None, 80.8, 169.9, 10.3, 41.6, 731.6)


def test_aiperf_report_without_a_success() -> None:
    assert reports.aiperf({"error_request_count": {"avg": 40.0}}) == reports.Report(
        0, 40, None, None, None, None, None, None
    )


def _guidellm(successful: int) -> dict[str, Any]:
    def of(mean: float, p99: float) -> dict[str, Any]:
        return {
            "successful": {"count": successful, "mean": mean, "total_sum": 64, "percentiles": {"p99": p99}}
        }

    return {
        "benchmarks": [
            {
                "metrics": {
                    "request_totals": {"successful": successful, "errored": 1, "incomplete": 1},
                    "time_to_first_token_ms": of(75.9, 122.7),
                    "inter_token_latency_ms": of(9.9, 10.5),
                    "request_latency": of(0.714, 0.77),
                    "output_token_count": of(64, 64),
                }
            }
        ]
    }


def test_guidellm_report() -> None:
    report = reports.guidellm(_guidellm(1))
    assert report == reports.Report(1, 2, 64.0, 75.9, 122.7, 9.9, 10.5, 714.0, itl_of="request")
    assert reports.guidellm(_guidellm(0)).ttft_mean is None


# What clients are told


@pytest.mark.parametrize("name", CLIENTS)
def test_a_closed_loop_names_its_streams_and_an_open_one_its_rate(name: str, tmp_path: Path) -> None:
    def command(load: Load) -> str:
        return " ".join(CLIENTS[name].command(tmp_path / name, load, "http://127.0.0.1:9", tmp_path))

    closed = command(Load(321, 17, streams=45))
    assert re.search(r"(concurrency |streams=)45\b", closed)
    assert not re.search(r"rate[ =]", closed)
    opened = command(Load(321, 17, rate=6789))
    assert re.search(r"rate[ =]6789\b", opened)
    assert not re.search(r"concurrency |streams=", opened)
    for each in (closed, opened):
        assert re.search(r"(prompts |request-count |count=)321\b", each)
        assert "http://127.0.0.1:9" in each
        assert "chat" not in each
    assert "chat" in command(Load(1, 1, streams=1, chat=True))


def test_no_proxy_comes_between_client_and_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for client in CLIENTS.values():
        assert not [key for key in clients.environment(client) if key.lower().endswith("_proxy")]


@pytest.mark.parametrize(
    ("required", "kept"),
    [
        ("numpy", True),
        ("torch==2.13.0", False),
        ("torchcodec ; platform_machine == 'x86_64'", False),
        ("torch-c-dlpack-ext", True),
        ("fastapi[standard]>=0.115.0", True),
        ('pandas ; extra == "bench"', False),
    ],
)
def test_requirements_of_a_wheel_less_some(required: str, kept: bool) -> None:
    metadata = f"Metadata-Version: 2.4\nName: x\nRequires-Dist: {required}\n\nRequires-Dist: in the text\n"
    found = clients.requirements(metadata.split("\n\n")[0], without=("torch", "torchcodec"))
    assert found == ([required] if kept else [])


def test_a_client_that_cannot_be_installed_is_said_with_the_reason(tmp_path: Path) -> None:
    def install(home: Path) -> None:
        raise clients.InstallError("no wheel for this machine")

    client = CLIENTS["aiperf"]
    broken = clients.Client(
        "x", "X", "1", install, client.size, client.command, client.report, requests_per_s=1
    )
    with pytest.raises(clients.InstallError, match="no wheel"):
        broken.prepare(tmp_path)
    done: list[Path] = []
    whole = clients.Client(
        "x", "X", "1", done.append, client.size, client.command, client.report, requests_per_s=1
    )
    whole.prepare(tmp_path)
    whole.prepare(tmp_path)
    assert done == [tmp_path / "x"]  # once, although what the broken one left was there


# Rungs and rules


@pytest.mark.parametrize("highest", [None, 10, 20, 30, 40, 50])
def test_search_finds_the_highest_rung_that_holds(highest: int | None) -> None:
    tried: list[int] = []

    def holds(rung: int) -> bool:
        tried.append(rung)
        return highest is not None and rung <= highest

    assert measures.search((10, 20, 30, 40, 50), holds) == highest
    assert len(tried) == len(set(tried)) <= 3


def test_search_of_nothing() -> None:
    assert measures.search((), lambda rung: True) is None


@pytest.mark.parametrize(
    ("ok", "completed", "rate", "held"),
    [
        (True, 1000, 1000.0, True),
        (True, 990, 990.0, True),
        (True, 1000, 989.0, False),
        (True, 989, 1000.0, False),
        (False, 1000, 1000.0, False),
    ],
)
def test_a_rate_is_held_within_a_percent(ok: bool, completed: int, rate: float, held: bool) -> None:
    run = {"ok": ok, "load": {"rate": 1000, "requests": 1000}, "true": {"rate": rate}}
    assert measures.rate_held({**run, "reported": {"completed": completed}}) is held


@pytest.mark.parametrize(
    ("latency", "held"), [(1500.0, True), (1514.0, True), (1516.0, False), (1480.0, False), (None, False)]
)
def test_streams_are_held_when_latency_is_within_a_percent(latency: float | None, held: bool) -> None:
    reported = {"completed": 100, "e2el_mean": latency}
    run = {"ok": True, "load": {"requests": 100}, "reported": reported, "true": {"e2el_mean": 1500.0}}
    assert measures.streams_held(run) is held
    assert not measures.streams_held({**run, "reported": {**reported, "completed": 98}})
    assert not measures.streams_held({**run, "ok": False, "reported": None})


@pytest.mark.parametrize(
    ("completed", "answered", "said"),
    [
        (400, 400, None),
        (400, 401, None),  # it tried the server out
        (360, 400, None),  # the page says it
        (359, 400, "reports 359 of 400"),
        (401, 400, "reports 401 of 400"),
        (400, 399, "the server answered 399 of 400"),
    ],
)
def test_counts_that_do_not_add_up_are_said(completed: int, answered: int, said: str | None) -> None:
    found = measures.amiss(Load(400, 1, streams=1), completed, answered)
    assert found is None if said is None else (found or "").startswith(said)


def test_a_full_plan_ends_with_200_000_events_and_a_quick_one_is_smaller() -> None:
    full, quick = Plan(), Plan.quick()
    assert max(full.streams.items())[1] * measures.TOKENS == 200_000
    assert set(full.streams) == {1, 100, 500, 1000}
    assert full.repeats == 3
    assert sum(quick.streams.values()) * quick.repeats < sum(full.streams.values())
    assert set(quick.rates) <= set(full.rates)
    assert set(quick.held) <= set(full.held)
    for streams in full.held:
        load = measures.held_step(streams, full).load
        assert load.requests * load.tokens == pytest.approx(150_000)


class FakeBench:
    """Notes what is run; clients hold up to a rate and a number of streams of their own."""

    def __init__(self) -> None:
        self.limits = {"llmbench": (10_000, 1000), "vllm-rust": (0, 0)}

    def run(self, client: Any, step: Step, repeat: int = 0) -> dict[str, Any]:
        rate, streams = self.limits[client.name]
        load = step.load
        good = (load.rate or 0) <= rate and not (step.measure == "held" and (load.streams or 0) > streams)
        return made(
            client.name,
            step.measure,
            repeat,
            load,
            rate=(load.rate or 1) * (1 if good else 0.5),
            e2el=100 if good else 200,
        )


def made(
    client: str,
    measure: str,
    repeat: int,
    load: Load,
    *,
    error_ms: float = 0.5,
    rate: float = 100.0,
    e2el: float = 100.0,
    cpu_s: float = 1.0,
    ok: bool = True,
    **reported: Any,
) -> dict[str, Any]:
    """A run as the JSON has it."""
    true = Times(load.requests, load.requests * load.tokens, 50, 52, 10, 11, 10, 100, rate)
    report = reports.Report(load.requests, 0, None, 50 + error_ms, 52 + error_ms, 10, 11 + error_ms, e2el)
    return {
        "client": client,
        "measure": measure,
        "repeat": repeat,
        "load": vars(load),
        "server": {},
        "ok": ok,
        "error": None if ok else "exit code 1: no",
        "wall_s": 2.0,
        "cpu_s": cpu_s,
        "peak_mb": 80.0,
        "reported": {**report.to_dict(), **reported} if ok else None,
        "true": true.to_dict(),
        "served": {},
    }


def session(
    measures_: Sequence[str], plan: Plan, done: Callable[[Any], None] = lambda run: None
) -> list[Any]:
    pair = [CLIENTS["llmbench"], CLIENTS["vllm-rust"]]
    return list(measures.session(FakeBench(), pair, plan, measures_, done))  # type: ignore[arg-type]


def test_clients_take_turns_and_the_first_changes_with_every_repeat() -> None:
    plan = Plan(repeats=2, streams={1: 6, 100: 500})
    noted: list[Any] = []
    runs = session(["start", "accuracy", "requests"], plan, noted.append)
    assert noted == runs
    assert [run["client"] for run in runs] == ["llmbench", "vllm-rust"] * 5 + ["vllm-rust", "llmbench"] * 5
    assert [run["measure"] for run in runs[::2]] == ["start", "base", "accuracy", "accuracy", "requests"] * 2
    assert [run["repeat"] for run in runs] == [0] * 10 + [1] * 10


def test_rungs_and_traps_are_measured_once() -> None:
    results = {"runs": session(["rate", "held", "traps"], Plan(repeats=2))}

    def highest(client: str, measure: str, key: str, held: Callable[[Any], bool]) -> tuple[Any, Any]:
        return page.highest(results, client, measure, key, held)

    assert highest("llmbench", "rate", "rate", measures.rate_held) == (10_000, 20_000)
    assert highest("vllm-rust", "rate", "rate", measures.rate_held) == (None, 100)
    assert highest("llmbench", "held", "streams", measures.streams_held) == (1000, 2000)
    traps = [run["measure"] for run in results["runs"] if run["measure"].startswith("trap")]
    assert traps == [f"trap-{trap}" for trap in measures.TRAPS for _ in range(2)]


def test_what_a_command_used_and_how_it_failed() -> None:
    core = os.sched_getaffinity(0)
    good = measures.spend([sys.executable, "-c", "sum(range(3_000_000))"], {}, core, 60)
    assert good.error is None
    assert 0 < good.cpu_s < 30
    assert good.peak_mb > 1
    bad = measures.spend([sys.executable, "-c", "print('dear me'); raise SystemExit(3)"], {}, core, 60)
    assert bad.error == "exit code 3: dear me"
    late = measures.spend([sys.executable, "-c", "import time; time.sleep(60)"], {}, core, 0.2)
    assert late.error == "not done after 0.2 s"


# The page


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [
        (0, False, "0"),
        (0.0004, True, "0.000"),
        (-0.0004, True, "0.000"),
        (0.0031, True, "+0.003"),
        (-0.07, True, "−0.070"),
        (5.456, False, "5.46"),
        (-112.3, True, "−112"),
        (27_123.4, False, "27 123"),
        (float("nan"), False, "–"),
    ],
)
def test_numbers(value: float, signed: bool, shown: str) -> None:
    assert page.number(value, signed) == shown


@pytest.mark.parametrize(
    ("values", "shown"), [([], "–"), ([1.5], "1.50"), ([3.0, 1.0, 2.0], "2.00 (1.00 to 3.00)")]
)
def test_cells(values: list[float], shown: str) -> None:
    assert page.cell(values) == shown


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ((None, None), "–"),
        ((None, 100), "under 100"),
        ((5000, 10_000), "5 000"),
        ((5000, None), "5 000 or more"),
    ],
)
def test_rungs(found: tuple[Any, Any], shown: str) -> None:
    assert page.rung(found, "") == shown


def results(**changes: Any) -> dict[str, Any]:
    runs = []
    for repeat in range(3):
        for client, scale in (("llmbench", 1), ("guidellm", 100)):
            start = made(client, "start", repeat, Load(1, 1, streams=1), cpu_s=0.2 * scale)
            runs.append(start)
            runs.append(made(client, "base", repeat, Load(64, 1, streams=64), cpu_s=0.3 * scale))
            for streams, requests in ((1, 6), (1000, 1000)):
                load = Load(requests, 64, streams=streams)
                error_ms = 0.01 * scale * streams * (repeat + 1)
                runs.append(
                    made(client, "accuracy", repeat, load, error_ms=error_ms, cpu_s=(0.3 + 0.32) * scale)
                )
            load = Load(1000, 1, streams=64)
            runs.append(
                made(client, "requests", repeat, load, cpu_s=(0.3 + 0.01) * scale, ok=client == "llmbench")
            )
    runs.append(made("llmbench", "trap-error", 0, Load(40, 16, streams=8, chat=True), completed=0))
    return {
        "date": "2026-01-02",
        "machine": {
            "description": "a machine",
            "cores": {"server": [0], "client": [1]},
            "python": "3.11.7",
        },
        "note": "",
        "quick": False,
        "repeats": 3,
        "clients": [
            {"name": "llmbench", "title": "llmbench", "version": "1", "bytes": 262_000_000},
            {"name": "aiperf", "title": "aiperf", "version": "2", "skipped": "no network"},
            {"name": "guidellm", "title": "guidellm", "version": "3", "bytes": 1_560_000_000},
        ],
        "runs": runs,
        **changes,
    }


def test_the_table() -> None:
    table = page.main_table(results()).splitlines()
    assert table[0] == "|  | llmbench 1 | guidellm 3 |"
    rows = {line.split(" | ")[0][2:]: line.removesuffix(" |").split(" | ")[1:] for line in table[2:]}
    assert rows["mean TTFT, reported − true, 1 stream, ms"] == [
        "+0.020 (+0.010 to +0.030)",
        "+2.00 (+1.00 to +3.00)",
    ]
    assert rows["CPU per event, µs"] == ["5.00 (5.00 to 5.00)", "500 (500 to 500)"]
    assert rows["CPU per request of one token, µs"] == ["10.0 (10.0 to 10.0)", "–"]
    assert rows["size on disk"] == ["262 MB", "1.6 GB"]
    assert not any("rate" in title for title in rows)  # nobody measured it


def test_percentiles_over_requests_are_compared_with_the_same() -> None:
    run = made("guidellm", "accuracy", 0, Load(1, 64, streams=1), error_ms=0, itl_p99=10.25, itl_of="request")
    run["true"]["itl_request_p99"] = 10.0
    assert page.errors({"runs": [run]}, "guidellm", 1, "itl_p99", "itl_p99") == [0.25]


def test_what_gave_nothing_is_said() -> None:
    assert page.failures(results()) == [
        "aiperf was left out: no network",
        "guidellm, requests, 64 streams: exit code 1: no",
    ]
    short = made("guidellm", "base", 0, Load(64, 1, streams=64), completed=61)
    assert page.failures(results(runs=[short]))[1:] == [
        "guidellm, base, 64 streams: 61 of 64 requests are in its report"
    ]


def test_the_page_and_its_figures_come_from_the_results_alone(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    page.write(results(), file)
    text = file.read_text()
    for name in re.findall(r"\]\((images/[^)]+)\)", text):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert text.count("](images/") == 2
    assert "a machine" in text
    assert "| 0 of 40 | – |" in text
    assert "guidellm, requests, 64 streams" in text
    assert not re.search(r"\{\w*\}|nan", text)


def test_the_page_is_written_again_from_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, file = tmp_path / "results.json", tmp_path / "docs" / "benchmarks.md"
    file.parent.mkdir()
    compare.save(results(), kept)
    assert json.loads(kept.read_text()) == results()
    assert len(kept.read_text().splitlines()) < 100  # a line per run, to be read in a diff
    monkeypatch.setattr(sys, "argv", ["compare.py", "--render", "--json", str(kept), "--page", str(file)])
    assert compare.main() == 0
    assert file.read_text() == page.render(
        results(), ["images/benchmarks/ttft_error.png", "images/benchmarks/cpu.png"]
    )


def test_clients_that_cannot_be_had_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(home: Path) -> None:
        raise clients.InstallError("no network")

    def client(name: str, install: Callable[[Path], None]) -> clients.Client:
        return replace(CLIENTS["aiperf"], name=name, title=name, install=install, size=lambda home: 7)

    made_up = {"good": client("good", lambda home: None), "bad": client("bad", refuse)}
    monkeypatch.setattr(compare, "CLIENTS", made_up)
    monkeypatch.setattr(compare, "tokenizer", lambda cache: cache)
    had, told = compare.prepare(["good", "bad"], tmp_path)
    assert [each.name for each in had] == ["good"]
    assert [each.get("bytes") or each["skipped"] for each in told] == [7, "no network"]


def test_a_quick_session_says_so() -> None:
    text = page.render(results(quick=True, repeats=1, note="The machine was busy."))
    assert "a quick session" in text
    assert "The machine was busy." in text
    assert "Each was measured once." in text


def test_the_page_of_the_documentation_is_that_of_the_kept_runs() -> None:
    kept = json.loads((ROOT / "benchmarks" / "rivals" / "results.json").read_text())
    images = sorted(
        path.relative_to(ROOT / "docs").as_posix()
        for path in (ROOT / "docs" / "images" / "benchmarks").iterdir()
    )
    text = page.PAGE.read_text()
    assert sorted(re.findall(r"\]\((images/[^)]+)\)", text)) == images
    assert text == page.render(kept, re.findall(r"\]\((images/[^)]+)\)", text))


def test_the_sentence_of_the_readme() -> None:
    said = page.claim(results())
    assert said.startswith(
        "at 1000 streams on one core the mean TTFT it reports is off by 20.0 ms, that of the nearest other client "
        "(guidellm) by 2 000 ms; an event costs it 5.00 µs"
    )
    assert "a request" not in said  # no other client's was measured
    readme = f"before\n{page.BEGIN}old\n{page.END}after\n"
    written = page.with_claim(readme, results())
    assert written.startswith(f"before\n{page.BEGIN}Beside one other client,")
    assert written.endswith(f"µs.\n{page.END}after\n")
    assert page.with_claim(written, results()) == written
    assert page.with_claim("no marks", results()) == "no marks"
    for nothing in (results(runs=[]), results(quick=True)):
        assert page.with_claim(readme, nothing) == f"before\n{page.BEGIN}{page.END}after\n"


def test_the_readme_has_the_sentence_of_the_kept_runs() -> None:
    kept = json.loads((ROOT / "benchmarks" / "rivals" / "results.json").read_text())
    readme = (ROOT / "README.md").read_text()
    assert page.BEGIN in readme
    assert page.with_claim(readme, kept) == readme
