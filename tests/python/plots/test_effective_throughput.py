"""Effective throughput: what meets an SLA, and how that is drawn."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes

from llmbench import cli
from llmbench.combination import Combination
from llmbench.errors import ConfigError, MissingExtraError
from llmbench.plots.effective_throughput import (
    JudgedPoint,
    Sla,
    effective_throughput,
    highest_average,
    slowest_pace,
)
from llmbench.sweep_file import ResponseDetail, read_json, write_json
from llmbench.sweep_point import SweepPoint

GOLDEN = Path(__file__).parents[2] / "golden" / "sweep"
TINY = Combination("acme/tiny-1b", 1, 768, 1, 100, 4, 1)
CheckPicture = Callable[[Axes, str], None]
MakeSweep = Callable[..., Path]


def point_of(directory: Path, *answers: tuple[Sequence[float], int], prompt_tokens: int = 100) -> SweepPoint:
    """A point of answers, each given by its token times and its number of tokens; it took 10 seconds."""
    details = [
        ResponseDetail(1e9, 1e9 + sum(times), prompt_tokens, tokens, times) for times, tokens in answers
    ]
    path = directory / TINY.file_name
    write_json(path, combination=TINY, args={}, details=details, llmbench={}, duration_s=10.0)
    return read_json(path)


@pytest.mark.parametrize(
    ("times", "tokens", "pace", "averages"),
    [
        pytest.param([9, 0.5, 0.5, 0.5], 4, 0.5, {1: 0.5, 16: 0.5}, id="even"),
        pytest.param([9, 0.1, 0.1, 0.7], 4, 0.3, {1: 0.7}, id="a pause after a head start"),
        pytest.param([9, 0.7, 0.1, 0.1], 4, 0.7, {1: 0.7, 16: 0.7}, id="a pause at once"),
        # α is 1/2: after the second gap (½ · 1 + 3) / (½ + 1).
        pytest.param([9, 1, 3], 3, 2.0, {1: 3.0, 3: 7 / 3}, id="weights"),
        pytest.param([9, 0.5, 0.5, 0.5], 8, 0.25, {1: 0.25, 16: 0.25}, id="two tokens an event"),
        pytest.param([9, 0.5, 0.5, 0.5], 2, 0.5, {1: 0.5}, id="fewer tokens than events"),
        pytest.param([9], 1, 0.0, {1: 0.0, 16: 0.0}, id="one token"),
    ],
)
def test_paces_by_hand(
    tmp_path: Path, times: list[float], tokens: int, pace: float, averages: dict[int, float]
) -> None:
    # Beside a longer answer, so that the shorter one ends in the middle of the table.
    point = point_of(tmp_path, (times, tokens), ([1, *[2.0] * 9], 10))
    assert slowest_pace(point) == pytest.approx([pace, 2.0])
    for span, wanted in averages.items():
        assert highest_average(point, span) == pytest.approx([wanted, 2.0])


@pytest.mark.parametrize(
    ("sla", "met"),
    [
        (Sla(100, 2, "cumulative", 16), 3),
        (Sla(100, 2.5, "cumulative", 16), 2),
        (Sla(100, 2, "ema", 1), 2),
        (Sla(1000, 2, "cumulative", 16), 1),
        (Sla(100, 100, "ema", 16), 1),
        (Sla(100, 0.01, "ema", 16), 3),
        (Sla(1e6, 0.01, "ema", 16), 0),
    ],
)
def test_a_request_counts_when_prompt_and_answer_came_in_time(tmp_path: Path, sla: Sla, met: int) -> None:
    point = point_of(
        tmp_path,
        ([1.0, 0.5, 0.5], 3),  # even
        ([0.5, 0.1, 0.1, 0.7], 4),  # a pause after a head start
        ([0.1], 1),  # no answer to judge but the first token
        ([1.5, 0.1], 2),  # late first token
    )
    judged = JudgedPoint(point, point.prompt_tokens, sla.prompt_rate, sla.ema_span)
    assert judged.effective_queries_per_s(sla) == met / 10


def effective_points(axes: Axes) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", None)]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]


class TestDrawing:
    def test_all_or_nothing(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep = make_sweep(tmp_path / "results_sim")
        points = sorted(
            (read_json(path) for path in sweep.iterdir()), key=lambda p: p.combination.num_clients
        )
        axes = effective_throughput(sweep, sla_gen_tokens_per_sec=1)
        assert effective_points(axes) == [(p.combination.num_clients, p.queries_per_s) for p in points]
        # 32 clients: a token each 12 ms + 32 × 1 ms.
        axes = effective_throughput(sweep, sla_gen_tokens_per_sec=25)
        assert [y > 0 for _, y in effective_points(axes)] == [True] * 5 + [False]
        assert axes.get_xlabel() == "Clients"
        assert axes.get_ylabel() == "Effective throughput (queries/s)"
        assert axes.get_title(loc="left") == "acme/tiny-1b"
        assert next(text.get_text() for text in axes.texts if "SLA" in text.get_text()) == (
            "Prompt: 2600 tokens · Generation: 60 tokens · TP: 1\n"
            "SLA: prompt ≥ 512 tokens/s, generation ≥ 25 tokens/s (moving average of 16 gaps)"
        )

    def test_the_prompt_must_be_in_time_too(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep = make_sweep(tmp_path / "results_sim", clients=(8,))
        # TTFT is 20 ms for 2600 tokens.
        for rate, met in ((129_000, True), (131_000, False)):
            ((_, y),) = effective_points(effective_throughput(sweep, sla_prompt_tokens_per_sec=rate))
            assert (y > 0) is met

    def test_judgements_differ(self, tmp_path: Path) -> None:
        point = point_of(tmp_path, ([0.1, 0.01, 0.01, 0.5], 4))
        for judgement, wanted in (("cumulative", 0.1), ("ema", 0.0)):
            axes = effective_throughput(point, judgement=judgement, sla_gen_tokens_per_sec=5, ema_span=2)  # type: ignore[arg-type]
            assert effective_points(axes) == [(1, wanted)]

    def test_old_files_count_the_mean_prompt_and_say_so(self) -> None:
        with pytest.warns(
            UserWarning, match=r"results_fastgen does not say .* the mean of 4; --model TOKENIZER"
        ):
            axes = effective_throughput(GOLDEN / "results_fastgen", sla_prompt_tokens_per_sec=6)
        # TTFT is 0.5 s and 0.75 s with one client, and a prompt of 4 tokens has 0.67 s.
        assert effective_points(axes)[0] == (1, 0.5)

    def test_a_tokenizer_counts_the_prompts_of_old_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Tokenizer:
            @staticmethod
            def from_file(path: str) -> Tokenizer:
                assert path == str(tmp_path / "tokenizer.json")
                return Tokenizer()

            @staticmethod
            def from_pretrained(name: str) -> Tokenizer:
                raise RuntimeError(f"404 {name}")

            def encode(self, text: str) -> SimpleNamespace:
                return SimpleNamespace(ids=text.split() * 3)

        monkeypatch.setitem(sys.modules, "tokenizers", SimpleNamespace(Tokenizer=Tokenizer))
        (tmp_path / "tokenizer.json").write_text("{}")
        for model in (tmp_path, tmp_path / "tokenizer.json"):
            axes = effective_throughput(
                GOLDEN / "results_fastgen", sla_prompt_tokens_per_sec=16, model=str(model)
            )
            assert effective_points(axes)[0] == (1, 1.0)
        with pytest.raises(ConfigError, match="--model acme/none: no tokenizer there"):
            effective_throughput(GOLDEN / "results_fastgen", model="acme/none")

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(MissingExtraError):
            effective_throughput(GOLDEN / "results_fastgen", model="acme/none")

    def test_what_was_not_streamed_is_left_out(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        with (
            pytest.raises(ConfigError, match="was measured without --stream"),
            pytest.warns(UserWarning, match="left out"),
        ):
            effective_throughput(GOLDEN / "results_aml")

    @pytest.mark.parametrize(
        "options",
        [
            {"judgement": "median"},
            {"sla_gen_tokens_per_sec": 0},
            {"sla_prompt_tokens_per_sec": -1},
            {"ema_span": 0},
        ],
    )
    def test_nonsense_is_refused(self, options: dict[str, object]) -> None:
        with pytest.raises(ConfigError):
            effective_throughput(GOLDEN / "results_fastgen", **options)  # type: ignore[arg-type]

    def test_plot_config(self, tmp_path: Path, make_sweep: MakeSweep) -> None:
        sweep = make_sweep(tmp_path / "results_sim")
        (sweep / "plot_config.yaml").write_text("label: Mine\npolyfit_degree: 0\nx_max: 10\n")
        axes = effective_throughput(sweep, sla_gen_tokens_per_sec=1)
        assert [x for x, _ in effective_points(axes)] == [1, 2, 4, 8]
        assert len(axes.get_lines()[0].get_xdata()) == 6

    def test_picture(self, tmp_path: Path, make_sweep: MakeSweep, check_picture: CheckPicture) -> None:
        clients = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32)
        sweeps = [
            make_sweep(tmp_path / "results_fastgen", clients=clients, step_s=0.010, slowdown_s=0.0007),
            make_sweep(tmp_path / "results_vllm", clients=clients, verdicts={32: "CLIENT-LIMITED"}),
        ]
        # The answers of one point differ from each other in pace.
        for path in (path for sweep in sweeps for path in sweep.iterdir()):
            data = json.loads(path.read_text())
            rows = data["response_details"]
            for row, factor in zip(rows, np.linspace(0.6, 1.6, len(rows)), strict=True):
                row["token_gen_time"] = [gap * factor for gap in row["token_gen_time"]]
            path.write_text(json.dumps(data))
        check_picture(effective_throughput(sweeps, sla_gen_tokens_per_sec=35), "effective_throughput")


class TestCommand:
    def test_a_figure_per_rate_and_judgement(
        self, tmp_path: Path, make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sweep, out = make_sweep(tmp_path / "results_sim", clients=(1, 2)), tmp_path / "out"
        make_sweep(sweep, clients=(2,), combination=Combination("acme/tiny-1b", 1, 768, 2, 2600, 60, 1))
        command = ["plot", "effective-throughput", "--data_dirs", str(sweep), "--out_dir", str(out)]
        assert cli.main([*command, "--sla_gen_tokens_per_sec", "1", "2.5", "--ema-span", "8"]) == 0
        stem = "acme_tiny-1b_SLAp512g{}_tp1_b768_p2600g60_{}"
        wanted = {
            stem.format(rate, tag) + end
            for rate in ("1", "2.5")
            for tag in ("cum", "ema8")
            for end in ("", "_r2")
        }
        assert {path.stem for path in out.glob("*.png")} == wanted
        assert {path.stem for path in out.glob("*.svg")} == wanted

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--backend", "aml"], "nothing here was measured with --stream"),
            (["--sla_gen_tokens_per_sec", "0"], "0 is not a number above 0"),
            (["--ema_span", "0"], "0 is not a whole number of at least 1"),
        ],
    )
    def test_errors(
        self,
        arguments: list[str],
        message: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        command = ["plot", "effective_throughput", "--log_dir", str(GOLDEN / "results"), *arguments]
        assert cli.main(command) == 2
        assert message in capsys.readouterr().err
