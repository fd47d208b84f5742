"""Can the measurement be trusted: what follows from the evidence.

A run ends with one of INVALID > CLIENT-LIMITED > UNSTABLE > VALID, the worst that applies, with every reason in plain
words. The limits are in `evidence`, the checks in `run_checks` and `client_checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmbench import client_checks, remarks, run_checks
from llmbench.evidence import STATUSES, Facts

CHECKS = (*run_checks.SOUNDNESS, *client_checks.CHECKS, *run_checks.STATIONARITY)
"""In the order in which their evidence is listed."""


@dataclass(frozen=True)
class Verdict:
    """How far the numbers of a run can be trusted."""

    status: str
    reasons: tuple[str, ...] = ()
    """Why it is not VALID."""
    warnings: tuple[str, ...] = ()
    """What a reader should know although it does not change the status."""
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Each check by name: `value`, `limit`, `unit`, its `status` and `text`, and the numbers it was made of."""

    @property
    def valid(self) -> bool:
        return self.status == "VALID"

    def __str__(self) -> str:
        return self.status if not self.reasons else f"{self.status}: {'; '.join(self.reasons)}"

    def spoilt(self, reason: str) -> Verdict:
        """The same, and INVALID first of all for this."""
        return replace(self, status="INVALID", reasons=(reason, *self.reasons))

    def to_dict(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "evidence": {name: dict(line) for name, line in self.evidence.items()},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Verdict:
        return cls(
            status=str(stored.get("status", "not judged")),
            reasons=tuple(stored.get("reasons", ())),
            warnings=tuple(stored.get("warnings", ())),
            evidence=stored.get("evidence", {}),
        )


def judge(facts: Facts) -> Verdict:
    """Holds the evidence against the limits."""
    findings = [check(facts) for check in CHECKS]
    bad = sorted(
        (each for each in findings if each.status != "VALID"), key=lambda each: STATUSES.index(each.status)
    )
    return Verdict(
        status=bad[0].status if bad else "VALID",
        reasons=tuple(each.text for each in bad),
        warnings=tuple(remarks.of_run(facts)),
        evidence={each.name: each.to_dict() for each in findings},
    )
