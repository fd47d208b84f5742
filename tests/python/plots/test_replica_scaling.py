"""Throughput against replicas: which points are compared, and with what ideal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from llmbench import cli
from llmbench.combination import Combination
from llmbench.errors import ConfigError
from llmbench.plots.replica_scaling import replica_scaling
from llmbench.sweep_file import ResponseDetail, read_json, write_json

CheckPicture = Callable[[Axes, str], None]
TINY = Combination("acme/tiny-1b", 2, 768, 1, 500, 60, 1)


def sweep(
    directory: Path,
    clients: Mapping[int, Sequence[int]],
    *,
    share: Sequence[float] = (1.0,) * 9,
    streamed: bool = False,
    bs: int = 768,
) -> Path:
    """Results by replicas and clients: each replica answers a query a second per client at `share`[replicas]."""
    for replicas, counts in clients.items():
        for count in counts:
            latency = 1 / share[replicas]
            details = [
                ResponseDetail(1e9, 1e9 + latency, 500, 60, [latency / 60] * 60 if streamed else [])
            ] * count
            named = replace(TINY, max_ragged_batch_size=bs, num_replicas=replicas, num_clients=count)
            rate = count / latency
            interval = {"low": 0.95 * rate, "high": 1.05 * rate}
            write_json(
                directory / named.file_name,
                combination=named,
                args={"backend": "sim"},
                details=details,
                llmbench={"verdict": {"status": "VALID"}, "intervals": {"request_throughput": interval}},
                duration_s=latency,
            )
    return directory


def points(axes: Axes) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", None)]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]


def line(axes: Axes, linestyle: str) -> list[tuple[float, float]]:
    (found,) = [line for line in axes.get_lines() if line.get_linestyle() == linestyle]
    return [(float(x), float(y)) for x, y in found.get_xydata()]


class TestDrawing:
    def test_the_load_per_replica_is_the_same(self, tmp_path: Path) -> None:
        results = sweep(
            tmp_path / "results_sim", {1: (4, 9), 2: (8, 9, 18), 3: (12, 13)}, share=(0, 1, 0.9, 0.8)
        )
        axes = replica_scaling(results)
        assert points(axes) == [(1, 4), (2, pytest.approx(7.2)), (3, pytest.approx(9.6))]
        assert line(axes, ":") == [(1, 4), (3, 12)]
        assert line(axes, "--") == [(1, pytest.approx(4.1333333)), (3, pytest.approx(9.7333333))]
        assert "80%" in [text.get_text() for text in axes.texts]
        assert axes.texts[-1].get_text() == (
            "Prompt: 500 tokens · Generation: 60 tokens · TP: 2 · 4 clients per replica"
        )
        assert axes.figure.get_supxlabel().endswith("bars: 95 % interval · all VALID")

    def test_old_files(self, tmp_path: Path) -> None:
        results = sweep(tmp_path / "results_fastgen", {1: (1,), 2: (2,)})
        for path in results.iterdir():
            data = json.loads(path.read_text())
            del data["llmbench"]
            path.write_text(json.dumps(data))
        assert points(replica_scaling(results)) == [(1, 1), (2, 2)]

    def test_the_ideal_starts_at_the_fewest_replicas(self, tmp_path: Path) -> None:
        results = sweep(tmp_path / "results_sim", {2: (8,), 4: (16,)})
        assert line(replica_scaling(results), ":") == [(2, 8), (4, 16)]

    def test_a_load_that_is_not_everywhere_must_be_asked_for(self, tmp_path: Path) -> None:
        results = sweep(tmp_path / "results_sim", {1: (1, 4, 8), 2: (2, 8, 16), 4: (4, 32)})
        with pytest.raises(ConfigError, match=r"every number of replicas: 1, 8"):
            replica_scaling(results)
        with pytest.warns(UserWarning, match="nothing at 4 clients per replica with 4 replicas"):
            assert len(points(replica_scaling(results, clients_per_replica=4))) == 2
        with (
            pytest.raises(ConfigError, match="nothing was measured at 3 clients"),
            pytest.warns(UserWarning, match="no two numbers of replicas at 3 clients"),
        ):
            replica_scaling(results, clients_per_replica=3)

    def test_one_number_of_replicas_is_no_scaling(self, tmp_path: Path) -> None:
        results = sweep(tmp_path / "results_sim", {1: (1, 2)})
        with pytest.raises(ConfigError, match="at every number of replicas: none"):
            replica_scaling(results)

    def test_one_setting_is_chosen(self, tmp_path: Path) -> None:
        results = sweep(tmp_path / "results_sim", {1: (1,), 2: (2,)})
        sweep(results, {1: (1,), 2: (2,)}, bs=256)
        assert len(points(replica_scaling(results, max_ragged_batch_size=256))) == 2
        with pytest.raises(ConfigError, match="a figure shows one setting, and 2 fit"):
            replica_scaling(results)

    def test_points_already_read(self, tmp_path: Path) -> None:
        results = sweep(tmp_path / "results_sim", {1: (1,), 2: (2,)})
        assert points(replica_scaling(map(read_json, results.iterdir()))) == [(1, 1), (2, 2)]

    def test_picture(self, tmp_path: Path, check_picture: CheckPicture) -> None:
        loads = {count: (16 * count,) for count in (1, 2, 3, 4)}
        sweeps = [
            sweep(tmp_path / "results_fastgen", loads, share=(0, 0.3, 0.29, 0.27, 0.26)),
            sweep(tmp_path / "results_vllm", loads, share=(0, 0.2, 0.16, 0.12, 0.1), streamed=True),
        ]
        check_picture(replica_scaling(sweeps), "replica_scaling")


class TestCommand:
    def test_a_figure_per_load(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        a = sweep(tmp_path / "results_a", {1: (2, 4, 8), 2: (4, 8)})
        b = sweep(tmp_path / "results_b", {1: (2, 4), 2: (4,)})
        out = tmp_path / "out"
        command = ["plot", "plot_repl_scale", "--data_dirs", str(a), str(b), "--out_dir", str(out)]
        assert cli.main(command) == 0
        stem = "repl_scale_acme_tiny-1b_tp2_p500g60_c_per_r{}"
        assert {path.stem for path in out.glob("*.png")} == {stem.format(load) for load in (2, 4)}
        assert (
            "results_b: left out, it has no two numbers of replicas at 4 clients per replica"
            in capsys.readouterr().err
        )

        sweep(a, {1: (2, 8), 2: (4, 16)}, bs=256)
        assert cli.main([*command, "--clients_per_replica", "8"]) == 0
        assert (out / f"{stem.format(8)}.png").exists()

    def test_ragged_batches_do_not_overwrite_each_other(self, tmp_path: Path) -> None:
        results, out = tmp_path / "results_sim", tmp_path / "out"
        for bs in (256, 768):
            sweep(results, {1: (2,), 2: (4,)}, bs=bs)
        command = ["plot", "replica_scaling", "--data_dirs", str(results), "--out_dir", str(out)]
        assert cli.main(command) == 0
        assert {path.stem for path in out.glob("*.png")} == {
            f"repl_scale_acme_tiny-1b_tp2_p500g60_c_per_r2_b{bs}" for bs in (256, 768)
        }

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "at two numbers of replicas with the same clients per replica at each of them"),
            (["--clients_per_replica", "4", "8"], "at two numbers of replicas with 4 8 clients per replica"),
            (["--clients_per_replica", "0"], "0 is not a whole number of at least 1"),
        ],
    )
    def test_errors(
        self, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        results = sweep(tmp_path / "results_sim", {1: (4,)})
        assert cli.main(["plot", "replica_scaling", "--data_dirs", str(results), *arguments]) == 2
        assert message in capsys.readouterr().err
