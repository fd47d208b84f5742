"""One point of a sweep: its name, its JSON file, and the numbers read back from it.

A combination is one setting of the server and of its clients. Its result is a JSON file named after it,

    meta-llama_Llama-2-7b-hf-tp1-bs768-replicas1-prompt2600-gen60-clients8.json

in a directory per backend: `<out_json_dir>_<backend>/`, formerly `<log_dir>/<backend>/`. The file holds
`args` (keys redacted), `time` and one entry of `response_details` per completed request, as the
DeepSpeed-FastGen scripts wrote them, and beside these an object `llmbench` with what they did not know: the
verdict, intervals, and the token counts `input_lens` and `output_lens`. Old files, which lack it, read the
same way.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmbench.errors import ConfigError, ResultsError
from llmbench.secrecy import REDACTED, redact

__all__ = [
    "Combination",
    "ResponseDetail",
    "ResultFile",
    "SweepPoint",
    "find_points",
    "read_json",
    "response_details",
    "result_dirs",
    "write_json",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_STEM = re.compile(
    r"(?P<model>.+)-tp(?P<tp_size>\d+)-bs(?P<max_ragged_batch_size>\d+)-replicas(?P<num_replicas>\d+)"
    r"-prompt(?P<prompt_length>\d+)-gen(?P<gen_length>\d+)-clients(?P<num_clients>\d+)"
)


@dataclass(frozen=True, order=True)
class Combination:
    """One setting of server and clients. Lengths are means, in tokens."""

    model: str
    tp_size: int
    max_ragged_batch_size: int
    num_replicas: int
    prompt_length: int
    gen_length: int
    num_clients: int

    def set_stem(self) -> str:
        """The name without the clients: what one throughput-latency curve is about."""
        return (
            f"{self.model.replace('/', '_')}-tp{self.tp_size}-bs{self.max_ragged_batch_size}"
            f"-replicas{self.num_replicas}-prompt{self.prompt_length}-gen{self.gen_length}"
        )

    def file_stem(self) -> str:
        return f"{self.set_stem()}-clients{self.num_clients}"

    @property
    def file_name(self) -> str:
        return f"{self.file_stem()}.json"

    @classmethod
    def parse(cls, name: str | os.PathLike[str]) -> Combination | None:
        """The combination a file is named after, or None for any other file.

        The name does not tell a `/` of the model from a `_`: the model comes back as it stands in the name.
        """
        name = Path(name).name
        match = _STEM.fullmatch(name.removesuffix(".json"))
        if match is None:
            return None
        fields = match.groupdict()
        return cls(fields.pop("model"), **{key: int(value) for key, value in fields.items()})

    def to_args(self) -> dict[str, Any]:
        """The seven settings under the names the command line and the files give them."""
        return {key: getattr(self, name) for name, key in _ARG_NAMES.items()}

    @classmethod
    def from_args(cls, args: Mapping[str, Any], fallback: Combination) -> Combination:
        """The settings in a file's `args`; what is missing or not one value there comes from its name."""
        values = dataclasses.asdict(fallback)
        for name, key in _ARG_NAMES.items():
            value = args.get(key)
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if name == "model":
                if isinstance(value, str) and value:
                    values[name] = value
            elif isinstance(value, int) and not isinstance(value, bool):
                values[name] = value
        return cls(**values)


_ARG_NAMES = {
    "model": "model",
    "tp_size": "tp_size",
    "max_ragged_batch_size": "max_ragged_batch_size",
    "num_replicas": "num_replicas",
    "prompt_length": "mean_prompt_length",
    "gen_length": "mean_max_new_tokens",
    "num_clients": "num_clients",
}


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
    """The completed requests of a measurement's table, warm-up left out, in the order they were sent.

    `prompts` are the workload's, found by each row's `workload` index; `texts` are one per row.
    """
    rows = np.flatnonzero((requests["outcome"] == 0) & (requests["phase"] != 0))
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


@dataclass(frozen=True, eq=False)
class SweepPoint:
    """One result as columns, a row per completed request, and the numbers made from them."""

    path: Path
    combination: Combination
    args: Mapping[str, Any]
    time: str
    start_s: Floats
    end_s: Floats
    prompt_tokens: Ints
    """-1 where nobody counted."""
    output_tokens: Ints
    """-1 where nobody counted."""
    token_times_s: Floats
    """Of all requests, one after another: time to the first event with output, then the gaps."""
    token_offsets: Ints
    """Request i has `token_times_s[token_offsets[i]:token_offsets[i + 1]]`; none without streaming."""
    llmbench: Mapping[str, Any] = field(default_factory=dict)
    """What our own files add: verdict, intervals, errors; empty for files of old."""

    @property
    def completed(self) -> int:
        return len(self.start_s)

    @property
    def backend(self) -> str | None:
        value = self.args.get("backend")
        return value if isinstance(value, str) else None

    @property
    def streamed(self) -> bool:
        return len(self.token_times_s) > 0

    @cached_property
    def latency_s(self) -> Floats:
        """End-to-end latency of each request."""
        return self.end_s - self.start_s

    @cached_property
    def first_token_s(self) -> Floats:
        """Time to first token of each request, NaN where none was seen."""
        first = np.full(self.completed, np.nan)
        streamed = np.diff(self.token_offsets) > 0
        first[streamed] = self.token_times_s[self.token_offsets[:-1][streamed]]
        return first

    @cached_property
    def gaps_s(self) -> Floats:
        """Every gap between two events with output, of all requests, first-token times left out."""
        keep = np.ones(len(self.token_times_s), dtype=bool)
        keep[self.token_offsets[:-1][np.diff(self.token_offsets) > 0]] = False
        return self.token_times_s[keep]

    def gaps_of(self, request: int) -> Floats:
        """The gaps of one request."""
        return self.token_times_s[self.token_offsets[request] : self.token_offsets[request + 1]][1:]

    @cached_property
    def tpot_s(self) -> Floats:
        """(last token − first token) / (tokens − 1) of each request, NaN where undefined."""
        last = np.concatenate(([0.0], np.cumsum(self.token_times_s)))
        span = last[self.token_offsets[1:]] - last[self.token_offsets[:-1]] - self.first_token_s
        defined = (np.diff(self.token_offsets) > 1) & (self.output_tokens > 1)
        tpot = np.full(self.completed, np.nan)
        tpot[defined] = span[defined] / (self.output_tokens[defined] - 1)
        return tpot

    @cached_property
    def duration_s(self) -> float:
        """First request sent to last request ended, failed ones included where the file says."""
        value = self.llmbench.get("duration")
        if isinstance(value, (int, float)) and value > 0:
            return float(value)
        return float(self.end_s.max() - self.start_s.min())

    @cached_property
    def queries_per_s(self) -> float:
        """Completed requests over wall time; clients over mean latency would forget every idle moment."""
        return self.completed / self.duration_s

    @cached_property
    def tokens_per_s(self) -> float | None:
        """Prompt and generated tokens over wall time; None when a count is unknown."""
        if (self.prompt_tokens < 0).any() or (self.output_tokens < 0).any():
            return None
        return float(self.prompt_tokens.sum() + self.output_tokens.sum()) / self.duration_s

    @cached_property
    def output_tokens_per_s(self) -> float | None:
        if (self.output_tokens < 0).any():
            return None
        return float(self.output_tokens.sum()) / self.duration_s

    @cached_property
    def mean_latency_s(self) -> float:
        return float(self.latency_s.mean())

    @cached_property
    def mean_tpot_s(self) -> float | None:
        """None without streaming."""
        values = self.tpot_s[np.isfinite(self.tpot_s)]
        return float(values.mean()) if len(values) else None

    @cached_property
    def mean_ttft_s(self) -> float | None:
        """None without streaming."""
        values = self.first_token_s[np.isfinite(self.first_token_s)]
        return float(values.mean()) if len(values) else None

    @property
    def verdict(self) -> str | None:
        """VALID, UNSTABLE, CLIENT-LIMITED or INVALID; None for a file of old, which nobody judged."""
        verdict = self.llmbench.get("verdict")
        status = verdict.get("status") if isinstance(verdict, Mapping) else None
        return status if isinstance(status, str) else None

    def interval(self, key: str) -> tuple[float, float] | None:
        """The 95 % interval of one key of the summary, such as `mean_e2el_ms`, in that key's unit."""
        intervals = self.llmbench.get("intervals")
        entry = intervals.get(key) if isinstance(intervals, Mapping) else None
        if not isinstance(entry, Mapping):
            return None
        low, high = entry.get("low"), entry.get("high")
        if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
            return None
        return float(low), float(high)

    def is_supported(self, key: str) -> bool:
        """False where the file says that too few requests tell this percentile."""
        intervals = self.llmbench.get("intervals")
        entry = intervals.get(key) if isinstance(intervals, Mapping) else None
        return not (isinstance(entry, Mapping) and entry.get("supported") is False)

    def summary_line(self) -> str:
        """The console line of one combination; what was not measured is left out rather than given as 0."""
        combination = self.combination
        parts = [
            f"Deployment: {self.args.get('deployment_name') or self.backend or combination.model}",
            f"Clients: {combination.num_clients}",
            f"Prompt (mean): {combination.prompt_length} tokens",
            f"Generation (mean): {combination.gen_length} tokens",
            f"Query throughput: {self.queries_per_s:.3f} queries/s",
        ]
        if self.tokens_per_s is not None:
            parts.append(f"Token throughput (total): {self.tokens_per_s:.3f} tokens/s")
        parts.append(f"Query latency: {self.mean_latency_s:.3f} s")
        if self.mean_tpot_s is not None:
            parts.append(f"Token generation latency: {self.mean_tpot_s:.3f} s/token")
        if self.mean_ttft_s is not None:
            parts.append(f"First token received: {self.mean_ttft_s:.3f} s")
        return ", ".join(parts)


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
        missing = [key for key in _ARG_NAMES.values() if key not in args]
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


@dataclass(frozen=True, order=True)
class ResultFile:
    """A result that was found and not yet read; the model stands as in the file's name."""

    directory: Path
    combination: Combination

    @property
    def path(self) -> Path:
        return self.directory / self.combination.file_name

    def read(self, *, count_tokens: Callable[[str], int] | None = None) -> SweepPoint:
        return read_json(self.path, count_tokens=count_tokens)


def find_points(directories: Iterable[str | os.PathLike[str]]) -> list[ResultFile]:
    """The results lying in the given directories, by directory as given, then by combination.

    Other files are passed over. Raises ConfigError for a directory that does not exist or cannot be listed.
    """
    found: list[ResultFile] = []
    for directory in directories:
        directory = Path(directory)
        found.extend(sorted(ResultFile(directory, combination) for combination in _combinations(directory)))
    return found


def _combinations(directory: Path) -> list[Combination]:
    try:
        names = [entry.name for entry in directory.iterdir()]
    except OSError as error:
        raise ConfigError(
            f"cannot list the result directory {directory}: {error.strerror or error}"
        ) from error
    parsed = (Combination.parse(name) for name in names if name.endswith(".json"))
    return [combination for combination in parsed if combination is not None]


def result_dirs(
    log_dir: str | os.PathLike[str] = "./results",
    *,
    backends: Sequence[str] = (),
    data_dirs: Sequence[str | os.PathLike[str]] = (),
) -> list[Path]:
    """Where the results to plot are.

    `backends` are looked for as `<log_dir>_<backend>/` and, older, `<log_dir>/<backend>/`; `data_dirs` are
    taken as they are, or under `log_dir`. With neither, every directory of these forms that holds a result is
    taken, and `log_dir` itself. Raises ConfigError when something named is not there, or when there is
    nothing at all.
    """
    log_dir = Path(log_dir)
    found: list[Path] = []
    for data_dir in data_dirs:
        candidates = [Path(data_dir), log_dir / data_dir]
        existing = [path for path in candidates if path.is_dir()]
        if not existing:
            raise ConfigError(f"--data_dirs: there is no directory {candidates[0]} (nor {candidates[1]})")
        found.append(existing[0])
    for backend in backends:
        candidates = [log_dir.with_name(f"{log_dir.name}_{backend}"), log_dir / backend]
        existing = [path for path in candidates if path.is_dir()]
        if not existing:
            present = ", ".join(map(str, _all_result_dirs(log_dir))) or "none"
            raise ConfigError(
                f"--backend {backend}: there is no {candidates[0]}/ nor {candidates[1]}/; "
                f"result directories here: {present}"
            )
        found.extend(existing)
    if not data_dirs and not backends:
        found = _all_result_dirs(log_dir)
        if not found:
            raise ConfigError(
                f"no results under {log_dir}_*/, {log_dir}/*/ or {log_dir}/; "
                "name their directories with --data_dirs, or run python -m llmbench.run_benchmark first"
            )
    return list(dict.fromkeys(found))


def _all_result_dirs(log_dir: Path) -> list[Path]:
    beside = log_dir.parent.glob(f"{_glob_escape(log_dir.name)}_*") if log_dir.name else []
    inside = log_dir.iterdir() if log_dir.is_dir() else []
    candidates = [*sorted(beside), log_dir, *sorted(inside)]
    return [path for path in candidates if path.is_dir() and os.access(path, os.R_OK) and _combinations(path)]


def _glob_escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
