"""The end of a run: its rows completed, judged and stored, and the result that is handed back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmbench import _core, evaluation, preflight, result_paths, result_storage, retokenizing, secrecy
from llmbench.errors import ResultsError
from llmbench.results import Result
from llmbench.run_plan import RunPlan

_UNREADABLE = {
    "schema",
    "bad_event",
    "content_type",
    "empty_stream",
    "truncated_no_done",
    "protocol",
    "http_4xx",
    "http_status",
}
"""Failures that a server of another kind would cause."""


def conclude(
    plan: RunPlan,
    path: Path,
    stored: dict[str, Any],
    client: dict[str, Any],
    signum: int | None,
    failure: ResultsError | None,
    digest: _core.RunDigest | None = None,
) -> Result:
    """The result of the rows at `path` and of what the engine reported. `stored` is the `run` row so far, `failure`
    why not all rows could be kept: then the error is raised, with the result where there is one. `digest` is made of
    the rows as they were stored; without it they are read back."""
    config, save = stored["config"], plan.options.save
    client = secrecy.scrub(client, plan.secrets())
    try:
        if plan.tokenizer is not None:
            client["retokenized"] = retokenizing.compare_counts(path, plan.tokenizer)
            retokenizing.count_answers(path, plan.tokenizer, keep_texts=plan.options.save_text)
            digest = None
        if result_storage.blank_secrets(path, plan.secrets()):
            digest = None
        # Without a file the rows stay in memory, events and all.
        table = None if save else result_storage.load_table(path)
        summary, verdict, messages = evaluation.evaluate(
            table if table is not None else digest or path, config, client, plan.notes(client)
        )
        if window := summary.get("measure_window"):
            result_storage.mark_cooldown(path, window["end_s"])
            table = None if save else result_storage.load_table(path)
    except ResultsError as error:
        raise failure or error from None
    if not summary["completed"] and summary["errors"].keys() & _UNREADABLE:
        messages = _explained(plan, messages, summary["errors"])
    interrupted = signum is not None or bool(client.get("interrupted"))
    stored |= {
        "status": "interrupted" if interrupted else "finished",
        "interrupted_by": signum,
        "start_unix_ns": client.get("start_unix_ns", stored["start_unix_ns"]),
        "summary": summary,
        "verdict": verdict.to_dict(),
        "client": client,
        "error_messages": messages,
    }
    result = Result(
        path=path if save else None,
        config=config,
        summary=result_storage.finite(summary),
        verdict=verdict,
        client=client,
        environment=stored["environment"],
        status=stored["status"],
        interrupted_by=signum,
        start_unix_ns=stored["start_unix_ns"],
        error_messages=stored["error_messages"],
        table=table,
    )
    try:
        _keep(plan, result, path, stored, failure)
    except ResultsError as error:
        error.result = result
        raise
    return result


def _keep(
    plan: RunPlan, result: Result, path: Path, stored: dict[str, Any], failure: ResultsError | None
) -> None:
    if failure is not None:
        raise failure
    if plan.options.save:
        result_storage.write_run(path, stored)
    if plan.options.save_result:
        result.save_json(
            result_paths.json_beside(path), detailed=plan.options.save_detailed, texts=plan.options.save_text
        )


def _explained(plan: RunPlan, messages: dict[str, str], errors: Iterable[str]) -> dict[str, str]:
    """The messages of a run without any success, which failed by these classes, with what answered instead of the
    server that was named."""
    reason = preflight.explain_answers(
        plan.endpoint, plan.endpoint.path_for(plan.streamed, plan.server.model), plan.first_body
    )
    if reason is None:
        return messages
    reason = secrecy.scrub(reason, plan.secrets())
    return {
        name: f"{reason} ({said})" if name in _UNREADABLE and said else said or reason
        for name, said in (dict.fromkeys(errors, "") | messages).items()
    }
