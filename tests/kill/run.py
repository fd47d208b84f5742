"""Kills a sweep at fifty random moments, lets it go on each time, and prints what was left of it after every kill.

    python tests/kill/run.py --chains 10 --kills 5

A chain is one sweep: what goes on after one kill is the victim of the next, and after the last it must end with all its
results, no process and no record. The exit status is 1 where one did not. `make kills` calls this; the tests do two
chains of it.
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


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a sweep at random moments.")
    parser.add_argument("--chains", type=int, default=10, metavar="N", help="sweeps (default 10)")
    parser.add_argument("--kills", type=int, default=5, metavar="N", help="of each (default 5)")
    parser.add_argument("--seed", type=int, help="of signals and moments (default: by chance, and told)")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)

    failed = 0
    with tempfile.TemporaryDirectory(prefix="llmbench-kill-") as name:
        root = Path(name)
        (root / "alone").mkdir()
        span_s = KilledSweep(root / "alone").left_alone_s()
        print(f"seed {seed}; left alone, the sweep takes {span_s:.1f} s\n", flush=True)
        print("chain  signal   after s  exit  results  all gone after ms")
        for chain in range(options.chains):

            def tell(kill: Kill, chain: int = chain) -> None:
                print(
                    f"{chain + 1:>5}  {kill.signum.name:<7}  {kill.moment_s:>7.2f}  {kill.exit_code:>4}  "
                    f"{kill.results:>7}  {kill.gone_after_s * 1000:>17.0f}",
                    flush=True,
                )

            directory = root / str(chain)
            directory.mkdir()
            try:
                KilledSweep(directory).chain(seed + chain, span_s, options.kills, tell)
            except AssertionError as error:
                failed += 1
                print(f"chain {chain + 1} FAILED: {error}", flush=True)
    kept = options.chains - failed
    print(f"\n{kept} of {options.chains} sweeps ended with all results, no process and no record")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
