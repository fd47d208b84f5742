"""The JSON file of one point of a sweep: written whole or not at all, and read back, also those of old.

The file holds `args` (keys redacted), `time` and one entry of `response_details` per completed request, as the
DeepSpeed-FastGen scripts wrote them, and beside these an object `llmbench` with what they did not know: the verdict,
intervals, and the token counts `input_lens` and `output_lens`. Old files, which lack it, read the same way.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmbench.combination import ARG_NAMES, Combination
from llmbench.errors import ResultsError
from llmbench.request_rows import OK, measured
from llmbench.secrecy import REDACTED, redact
from llmbench.sweep_point import Ints, SweepPoint

__all__ = ["ResponseDetail", "read_json", "response_details", "write_json"]


@dataclass(frozen=True)
class ResponseDetail:
    """One completed request. Times in seconds, start and end as Unix time."""

    start_time: float
    end_time: float
    prompt_tokens: int = -1
    """Tokens of the prompt; -1: unknown."""
    output_tokens: int = -1
    """Tokens generated; -1: unknown."""
    token_gen_time: Sequence[float] = ()
    """Time to the first event with output, then the gap before each later one. Empty without streaming."""
    prompt: str = ""
    generated_tokens: Sequence[str] | None = None
    """Texts of the tokens. None: empty strings, as many as there are tokens, are written."""


def response_details(
    requests: npt.NDArray[np.void],
    event_offsets: Ints,
    event_times_ns: Ints,
    *,
    start_unix_ns: int,
    streamed: bool = True,
    prompts: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
) -> list[ResponseDetail]:
    """The completed requests of a measurement's table, warm-up and cool-down left out, in the order they were sent.

    `prompts` are the workload's, found by each row's `workload` index; `texts` are one per row.
    """
    rows = np.flatnonzero((requests["outcome"] == OK) & measured(requests))
    rows = rows[np.argsort(requests["sent_ns"][rows], kind="stable")]
    details = []
    for row in rows.tolist():
        request = requests[row]
        sent_ns, output_tokens = int(request["sent_ns"]), int(request["output_tokens"])
        times: list[float] = []
        if streamed:
            events = event_times_ns[event_offsets[row] : event_offsets[row + 1]]
            times = (np.diff(events, prepend=sent_ns) / 1e9).tolist()
        text = texts[row] if texts else None
        item = int(request["workload"])
        details.append(
            ResponseDetail(
                start_time=(start_unix_ns + sent_ns) / 1e9,
                end_time=(start_unix_ns + int(request["end_ns"])) / 1e9,
                prompt_tokens=int(request["prompt_tokens"]),
                output_tokens=output_tokens,
                token_gen_time=times,
                prompt=prompts[item] if prompts is not None and 0 <= item < len(prompts) else "",
                # The whole text stands first, so that the number of entries stays the number of tokens.
                generated_tokens=[text] + [""] * (output_tokens - 1) if text and output_tokens > 0 else None,
            )
        )
    return details


def write_json(
    path: str | os.PathLike[str],
    *,
    combination: Combination,
    args: Mapping[str, Any],
    details: Iterable[ResponseDetail],
    llmbench: Mapping[str, Any],
    duration_s: float,
    time: dt.datetime | None = None,
) -> None:
    """Writes one result so that it exists whole or not at all.

    `args` are the settings it was made with; secrets in them are redacted here, and the combination's own
    values are added. `llmbench` is the object of the result's summary; `duration`, `input_lens` and
    `output_lens` are added to it. Raises ResultsError when the file cannot be written.
    """
    path = Path(path)
    details = list(details)
    merged = {**args, **combination.to_args(), "out_json_dir": str(path)}
    extra = {
        **llmbench,
        "duration": duration_s,
        "input_lens": [detail.prompt_tokens for detail in details],
        "output_lens": [detail.output_tokens for detail in details],
    }
    head = _dumps(_redacted(merged), indent=2), _dumps(str(time or dt.datetime.now()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f'{{\n"args": {head[0]},\n"time": {head[1]},\n"response_details": [')
                for number, detail in enumerate(details):
                    file.write((",\n" if number else "\n") + _dumps(_old_detail(detail)))
                file.write(f'\n],\n"llmbench": {_dumps(extra)}\n}}\n')
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ResultsError(
            f"cannot write the result {path}: {error.strerror or error}; "
            "make room there or choose another --out_json_dir"
        ) from error


def read_json(
    path: str | os.PathLike[str], *, count_tokens: Callable[[str], int] | None = None
) -> SweepPoint:
    """Reads one result of a sweep, ours or of old.

    Token counts come from our own `input_lens` and `output_lens`; in a file of old from its list of tokens,
    else from `count_tokens` over its texts, else from its token times, and are unknown otherwise. Raises
    ResultsError, naming the file and the key, when something needed is missing or is not what it should be.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise ResultsError(f"cannot read the result {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ResultsError(
            f"{path} is not JSON ({error}); remove it and run that combination again"
        ) from error
    if not isinstance(data, dict):
        raise ResultsError(f"{path} is not a sweep's result: it holds a {type(data).__name__}, not an object")
    args = _get(path, data, "args", dict)
    details = _get(path, data, "response_details", list)
    extra = data.get("llmbench", {})
    if not isinstance(extra, dict):
        raise ResultsError(f"{path}: the key 'llmbench' holds a {type(extra).__name__}, not an object")
    if not details:
        raise ResultsError(f"{path}: 'response_details' is empty: no request completed")

    named = Combination.parse(path)
    if named is None:
        missing = [key for key in ARG_NAMES.values() if key not in args]
        if missing:
            raise ResultsError(
                f"{path}: 'args' lacks {missing[0]!r}, and the name is not of the form "
                "MODEL-tp#-bs#-replicas#-prompt#-gen#-clients#.json"
            )
        named = Combination("", 0, 0, 0, 0, 0, 0)

    count = len(details)
    start, end = np.empty(count), np.empty(count)
    prompt_tokens, output_tokens = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    offsets = np.zeros(count + 1, np.int64)
    times: list[float] = []
    for row, detail in enumerate(details):
        where = f"response_details[{row}]"
        if not isinstance(detail, dict):
            raise ResultsError(f"{path}: {where} holds a {type(detail).__name__}, not an object")
        start[row] = _get(path, detail, "start_time", (int, float), where)
        end[row] = _get(path, detail, "end_time", (int, float), where)
        if end[row] < start[row]:
            raise ResultsError(f"{path}: {where} ends before it starts ({end[row]} < {start[row]})")
        gaps = detail.get("token_gen_time") or []
        if not isinstance(gaps, list) or not all(isinstance(gap, (int, float)) for gap in gaps):
            raise ResultsError(f"{path}: 'token_gen_time' in {where} is not a list of seconds")
        times.extend(gaps)
        offsets[row + 1] = len(times)
        output_tokens[row] = _count_generated(detail.get("generated_tokens"), len(gaps), count_tokens)
        prompt = detail.get("prompt")
        if count_tokens is not None and isinstance(prompt, str) and prompt:
            prompt_tokens[row] = count_tokens(prompt)
    prompt_tokens = _lengths(path, extra, "input_lens", prompt_tokens)
    output_tokens = _lengths(path, extra, "output_lens", output_tokens)

    return SweepPoint(
        path=path,
        combination=Combination.from_args(args, named),
        args=args,
        time=str(data.get("time", "")),
        start_s=start,
        end_s=end,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        token_times_s=np.array(times, dtype=np.float64),
        token_offsets=offsets,
        llmbench=extra,
    )


def _umask() -> int:
    # There is no way to ask for it but to set it; mkstemp's 0600 would keep others from reading shared
    # results.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _old_detail(detail: ResponseDetail) -> dict[str, Any]:
    # Exactly the keys of old: their reader passes them on as keyword arguments and fails on any other.
    tokens = detail.generated_tokens
    return {
        "generated_tokens": [""] * max(detail.output_tokens, 0) if tokens is None else list(tokens),
        "prompt": detail.prompt,
        "start_time": detail.start_time,
        "end_time": detail.end_time,
        "model_time": 0,
        "token_gen_time": [round(float(value), 9) for value in detail.token_gen_time],
    }


def _dumps(value: Any, indent: int | None = None) -> str:
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, indent=indent)


def _plain(value: Any) -> Any:
    """The value in JSON's own types; NaN and infinity, which JSON lacks, become null, paths and dates text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value)


# What secrecy.redact, which goes by names, does not see: `--header` values, and secrets inside a command
# line.
_HEADERS_NAME = re.compile(r"(^|_)headers?$", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(
    r"(--[\w-]*(?:key|token|secret|password)(?:=|\s+)|\bBearer\s+)(?!-)\S+", re.IGNORECASE
)


def _redacted(args: Mapping[str, Any]) -> dict[str, Any]:
    blanked: dict[str, Any] = {}
    for name, value in redact(args).items():
        if _HEADERS_NAME.search(name) and value:
            headers = [value] if isinstance(value, str) else list(value)
            blanked[name] = [f"{re.split('[=:]', str(header))[0].strip()}={REDACTED}" for header in headers]
        elif isinstance(value, str):
            blanked[name] = _SECRET_IN_TEXT.sub(rf"\g<1>{REDACTED}", value)
        else:
            blanked[name] = value
    return blanked


def _count_generated(generated: Any, events: int, count_tokens: Callable[[str], int] | None) -> int:
    if isinstance(generated, list):
        return len(generated)
    if isinstance(generated, str) and count_tokens is not None:
        return count_tokens(generated)
    return events or -1


def _lengths(path: Path, extra: Mapping[str, Any], key: str, otherwise: Ints) -> Ints:
    values = extra.get(key)
    if values is None:
        return otherwise
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise ResultsError(f"{path}: {key!r} in 'llmbench' is not a list of whole numbers")
    if len(values) != len(otherwise):
        raise ResultsError(
            f"{path}: {key!r} in 'llmbench' has {len(values)} entries, "
            f"'response_details' has {len(otherwise)}"
        )
    return np.array(values, dtype=np.int64)


def _get(path: Path, data: Mapping[str, Any], key: str, kind: Any, where: str = "") -> Any:
    place = f" in {where}" if where else ""
    if key not in data:
        raise ResultsError(f"{path}: the key {key!r}{place} is missing")
    value = data[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = {dict: "an object", list: "a list"}.get(kinds[0], "a number")
        raise ResultsError(f"{path}: the key {key!r}{place} holds {value!r:.40}, not {wanted}")
    return value
