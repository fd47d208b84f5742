"""What the machine tells of itself: the limits of control groups, in both versions and at every level."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmbench import environment


@pytest.mark.parametrize(
    ("said", "files", "throttled", "cpus"),
    [
        ("0::/a/b", {}, None, None),
        ("0::/", {"v2/cpu.stat": "nr_periods 9\nnr_throttled 3", "v2/cpu.max": "max 100000"}, 3, None),
        ("0::/a/b", {"v2/a/b/cpu.stat": "nr_throttled 0", "v2/a/b/cpu.max": "150000 100000"}, 0, 1.5),
        # The limit of a slice above stops what is in it.
        (
            "0::/a/b",
            {
                "v2/a/b/cpu.stat": "nr_throttled 1",
                "v2/a/b/cpu.max": "max 100000",
                "v2/a/cpu.stat": "nr_throttled 4",
                "v2/a/cpu.max": "200000 100000",
            },
            5,
            2.0,
        ),
        (
            "3:cpu,cpuacct:/x\n0::/",
            {
                "v1/x/cpu.stat": "nr_throttled 7",
                "v1/x/cpu.cfs_quota_us": "50000",
                "v1/x/cpu.cfs_period_us": "100000",
                "v1/cpu.cfs_quota_us": "-1",
                "v1/cpu.cfs_period_us": "100000",
            },
            7,
            0.5,
        ),
        # A container is told a path that it cannot see.
        ("3:cpu:/docker/1f\n2:memory:/y", {"v1/cpu.stat": "nr_throttled 2"}, 2, None),
    ],
)
def test_control_groups(
    said: str,
    files: dict[str, str],
    throttled: int | None,
    cpus: float | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    read = environment._read
    monkeypatch.setattr(environment, "CGROUPS", tmp_path / "v2")
    monkeypatch.setattr(environment, "CGROUPS_V1", tmp_path / "v1")
    monkeypatch.setattr(
        environment, "_read", lambda path: said if path == "/proc/self/cgroup" else read(path)
    )
    assert environment._throttled_periods() == throttled
    assert environment._cgroup_cpus() == cpus


@pytest.mark.parametrize(("before", "after", "told"), [(None, 3, None), (2, 5, 3), (2, None, None)])
def test_throttled_periods_are_those_of_the_run(
    before: int | None, after: int | None, told: int | None
) -> None:
    first = environment.CpuCounters(before, steal_ticks=10, total_ticks=1000)
    last = environment.CpuCounters(after, steal_ticks=15, total_ticks=1500)
    assert last.since(first) == {"throttled_periods": told, "steal_share": 0.01}
    assert first.since(first)["steal_share"] is None
