"""What a reader should know although it does not change the verdict."""

from __future__ import annotations

from llmbench import run_checks
from llmbench.evidence import LIMITS, Facts
from llmbench.request_rows import HTTP10


def of_run(facts: Facts) -> list[str]:
    found = list(facts.notes)
    counters = run_checks.server_counters(facts)
    if counters.value and counters.status == "VALID":
        found.append(counters.text)
    elif counters.value is None and facts.client.get("server_counters"):
        found.append(f"the server's counters were not held against the rows: {counters.text}")
    rows, summary = facts.requests, facts.summary
    sent = int((rows["attempts"] > 0).sum())
    retried = int((rows["attempts"] > 1).sum())
    if sent and retried / sent > LIMITS.retried_share:
        found.append(
            f"{retried} requests ({retried / sent:.1%}) were written again because the server had closed "
            "an idle connection: its keep-alive time is short"
        )
    cached, prompt = summary.get("cached_tokens") or 0, summary.get("input_tokens") or 0
    if prompt and cached / prompt > LIMITS.cached_share and not facts.prefix_asked:
        found.append(
            f"the server took {cached / prompt:.0%} of prompt tokens from its prefix cache: "
            "they were not computed, which shortens times to first token"
        )
    if facts.distinct_prompts is not None and sent > facts.distinct_prompts:
        found.append(
            f"{facts.distinct_prompts} prompts were sent {sent} times in all: a prefix cache may have helped "
            "(--num-prompts makes more)"
        )
    sources = summary.get("token_sources") or {}
    if sources.get("events"):
        found.append(
            f"the server did not count the tokens of {sources['events']} requests: their output tokens are events"
        )
    retokenized = facts.client.get("retokenized") or {}
    if retokenized.get("server"):
        difference, counted = retokenized["tokenizer"] - retokenized["server"], retokenized["server"]
        if abs(difference) > LIMITS.retokenized * counted:
            found.append(
                f"the tokenizer counts {retokenized['tokenizer']} tokens in {retokenized['requests']} answers and the "
                f"server {retokenized['server']} ({difference / counted:+.1%}): it is another tokenizer, or end tokens "
                "and markup count; numbers per token are by the server's count"
            )
    if summary.get("length_mismatched"):
        found.append(
            f"{summary['length_mismatched']} answers did not have the asked length although ignore_eos was asked for"
        )
    if summary.get("ended_early"):
        found.append(
            f"{summary['ended_early']} of {summary['completed']} answers ended before the asked length: to compare "
            "servers or models, --ignore-eos makes answers equally long where the backend can ask for that"
        )
    if int(((rows["flags"] & HTTP10) != 0).sum()):
        found.append("the server speaks HTTP/1.0: every request opened a connection")
    if summary.get("cut"):
        found.append(
            f"{summary['cut']} requests were still running at the end and were cut; they are in no percentile"
        )
    return found
