"""Kills a sweep at fifty random moments, lets it go on each time, and prints what was left of it after every kill.

    python tests/kill/run.py --kills 50

The sweep that goes on after one kill is the victim of the next, until it comes to its end: with all its results, no
process and no record. Then another one begins. The exit status is 1 where one did not end so. `make kills` calls this;
the tests take ten kills.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "python")]

from support.killed_sweep import Kill, KilledSweep  # noqa: E402 - found on the path set above

_EACH = 5
"""Kills of one sweep, at most: after that it is let go to its end."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill sweeps at random moments.")
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="in all (default 50)")
    parser.add_argument("--seed", type=int, help="of signals and moments (default: by chance, and told)")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)
    chance = random.Random(seed)

    kills = sweeps = failed = 0
    with tempfile.TemporaryDirectory(prefix="llmbench-kill-") as name:
        root = Path(name)
        (root / "alone").mkdir()
        span_s = KilledSweep(root / "alone").left_alone_s()
        print(f"seed {seed}; left alone, the sweep takes {span_s:.1f} s\n", flush=True)
        print("kill  sweep  signal   after s  exit  results  all gone after ms")

        def tell(kill: Kill) -> None:
            nonlocal kills
            kills += 1
            print(
                f"{kills:>4}  {sweeps:>5}  {kill.signum.name:<7}  {kill.moment_s:>7.2f}  {kill.exit_code:>4}  "
                f"{kill.results:>7}  {kill.gone_after_s * 1000:>17.0f}",
                flush=True,
            )

        while kills < options.kills:
            sweeps += 1
            directory = root / str(sweeps)
            directory.mkdir()
            before = kills
            try:
                KilledSweep(directory).chain(chance, span_s, min(_EACH, options.kills - kills), tell)
            except AssertionError as error:
                failed += 1
                kills = max(kills, before + 1)
                print(f"sweep {sweeps} FAILED: {error}", flush=True)
    kept = sweeps - failed
    print(
        f"\n{kept} of {sweeps} sweeps ended with all results, no process and no record, after {kills} kills"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
