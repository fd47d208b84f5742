"""Effective throughput: the requests per second that a server answers well enough, against the clients.

    python -m llmbench.plots.effective_throughput --log_dir ./results --backend vllm fastgen

A request counts when its prompt was processed at 512 tokens a second or faster, so TTFT ≤ prompt tokens / 512, and its
answer came at the asked rate or faster. That is judged in two ways, each in figures of its own:

- cumulative: token i was there i / rate after the first token, for every i. A pause is forgiven where tokens came
  early before it, as to a reader with a text before him.
- ema: the exponential moving average of the gaps (span 16) never rose above 1 / rate. A pause counts when it comes.

A figure per setting of (model, TP, ragged batch, replicas, prompt, generation), rate and judgement goes into
./plots/effective_throughput; a series per result directory. The dashed line is a fit, the thin one is the throughput
of all completed requests. Where events carry several tokens each, every event of an answer counts for the answer's
mean. Results without token times are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

from llmbench.errors import ConfigError
from llmbench.plots import style
from llmbench.plots.load_curve import fit_over_clients
from llmbench.plots.result_sets import (
    CountTokens,
    ResultSet,
    Series,
    Sources,
    Warn,
    file_name,
    is_sound,
    load_result_sets,
    result_set,
    streamed_only,
    verdict_note,
    warn_in_python,
    warn_on_stderr,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from llmbench.sweep_point import SweepPoint

Floats = npt.NDArray[np.float64]
Judgement = Literal["cumulative", "ema"]
JUDGEMENTS: dict[Judgement, str] = {"cumulative": "cum", "ema": "ema{span}"}
"""The two judgements, and how file names spell them."""

DEFAULT_DEGREE = 4
GEN_RATES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)


def effective_throughput(
    results: Sources,
    ax: Axes | None = None,
    *,
    sla_prompt_tokens_per_sec: float = 512,
    sla_gen_tokens_per_sec: float = 4,
    judgement: Judgement = "ema",
    ema_span: int = 16,
    model: str | None = None,
    **select: Any,
) -> Axes:
    """Draws one setting, rate and judgement, and returns the Axes.

    `results` and `select` are those of `throughput_latency`. `model`: a tokenizer.json, its directory or a model's
    name on the hub, to count the prompts of old results, which do not say how long they are.
    """
    if judgement not in ("cumulative", "ema"):
        raise ConfigError(f"judgement is {judgement!r}; it must be cumulative or ema")
    if not sla_prompt_tokens_per_sec > 0 or not sla_gen_tokens_per_sec > 0 or ema_span < 1:
        raise ConfigError("sla_prompt_tokens_per_sec, sla_gen_tokens_per_sec and ema_span must be above 0")
    found = result_set(results, select, count_tokens=_token_counter(model))
    streamed = streamed_only(found, warn_in_python)
    if streamed is None:
        raise ConfigError(f"{found.stem} was measured without --stream: it has no token times to judge")
    judged = _judged(streamed, sla_prompt_tokens_per_sec, ema_span, warn_in_python)
    return _draw(
        judged, streamed, ax, Sla(sla_prompt_tokens_per_sec, sla_gen_tokens_per_sec, judgement, ema_span)
    )


@dataclass(frozen=True)
class Sla:
    """What one figure asks of a request; rates are tokens per second."""

    prompt_rate: float
    gen_rate: float
    judgement: Judgement
    ema_span: int

    def __str__(self) -> str:
        how = f"moving average of {self.ema_span} gaps" if self.judgement == "ema" else "cumulative"
        return f"SLA: prompt ≥ {self.prompt_rate:g} tokens/s, generation ≥ {self.gen_rate:g} tokens/s ({how})"


class JudgedPoint:
    """What the requests of one point could be asked for at most."""

    def __init__(
        self, point: SweepPoint, prompt_tokens: npt.NDArray[Any], prompt_rate: float, span: int
    ) -> None:
        self.point = point
        self._prompt_met = point.first_token_s <= prompt_tokens / prompt_rate
        # A request without gaps has no pace to judge: 0.
        self._pace_s = {"cumulative": slowest_pace(point), "ema": highest_average(point, span)}

    def effective_queries_per_s(self, sla: Sla) -> float:
        met = self._prompt_met & (self._pace_s[sla.judgement] <= 1 / sla.gen_rate)
        return float(np.count_nonzero(met)) / self.point.duration_s


def slowest_pace(point: SweepPoint) -> Floats:
    """Of each request, the most seconds per token that were taken from the first token up to any later one."""
    gaps, per_event = _gaps(point)
    tokens = np.arange(1, gaps.shape[1] + 1) * per_event[:, None]
    pace: Floats = np.cumsum(gaps, axis=1) / tokens
    return np.asarray(np.nan_to_num(pace).max(axis=1, initial=0.0))


def highest_average(point: SweepPoint, span: int) -> Floats:
    """Of each request, the highest value of the exponential moving average of its gaps, in seconds per token.

    The average after gap i is Σ (1 − α)^(i − j) gap_j / Σ (1 − α)^(i − j) with α = 2 / (span + 1), so that it is
    unbiased from the first gap on.
    """
    gaps, per_event = _gaps(point)
    keep = 1 - 2 / (span + 1)
    total, weight = np.zeros(len(gaps)), 0.0
    highest = np.zeros(len(gaps))
    for gap in gaps.T:
        total, weight = keep * total + gap, keep * weight + 1
        highest = np.fmax(highest, total / weight)
    return highest / per_event


def _gaps(point: SweepPoint) -> tuple[Floats, Floats]:
    """The gaps as rows of requests, NaN behind the last, and the tokens that each event of a request stands for."""
    events = np.diff(point.token_offsets)
    gaps = np.full((len(events), max(int(events.max(initial=0)) - 1, 0)), np.nan)
    for request, row in enumerate(gaps):
        of_request = point.gaps_of(request)
        row[: len(of_request)] = of_request
    return gaps, np.maximum(point.output_tokens / np.maximum(events, 1), 1.0)


def _judged(
    results: ResultSet, prompt_rate: float, span: int, warn: Warn
) -> list[tuple[Series, list[JudgedPoint]]]:
    judged = []
    for series in results.series:
        unknown = False
        points = []
        for point in series.points:
            tokens = point.prompt_tokens
            if (tokens < 0).any():
                unknown = True
                tokens = np.where(tokens < 0, point.combination.prompt_length, tokens)
            points.append(JudgedPoint(point, tokens, prompt_rate, span))
        if unknown:
            warn(
                f"{series.label} does not say how many tokens its prompts have: each counts as the mean of "
                f"{results.combination.prompt_length}; --model TOKENIZER counts them"
            )
        judged.append((series, points))
    return judged


def _draw(
    judged: Sequence[tuple[Series, Sequence[JudgedPoint]]],
    results: ResultSet,
    ax: Axes | None,
    sla: Sla,
    *,
    shown: bool = True,
) -> Axes:
    with style.look():
        axes = style.new_axes(shown=shown) if ax is None else ax
        handles: list[Artist] = []
        for (series, points), (color, marker) in zip(judged, style.colors_and_markers(), strict=False):
            handles.append(_draw_series(axes, series, points, sla, color, marker))
        style.from_zero(axes)
        # Markers at zero shall be seen whole.
        axes.set_ylim(-0.025 * axes.get_ylim()[1], axes.get_ylim()[1])
        axes.set_xlabel("Clients")
        axes.set_ylabel("Effective throughput (queries/s)")
        style.title(axes, results.model, f"{results.detail()}\n{sla}")
        style.legend(axes, handles, [series.label for series, _ in judged])
        parts = ["Queries/s that meet the SLA", "thin: all queries", verdict_note(results.points)]
        style.caption(axes, " · ".join(filter(None, parts)))
    return axes


def _draw_series(
    axes: Axes,
    series: Series,
    judged: Sequence[JudgedPoint],
    sla: Sla,
    color: str,
    marker: str,
) -> Artist:
    config = series.config
    color, marker = config.color or color, config.marker or marker
    linestyle: Any = config.linestyle or "--"
    degree = DEFAULT_DEGREE if config.polyfit_degree is None else config.polyfit_degree
    clients = np.array([point.combination.num_clients for point in series.points])
    effective = np.array([each.effective_queries_per_s(sla) for each in judged])
    everything = [point.queries_per_s for point in series.points]
    x_max = np.inf if config.x_max is None else config.x_max
    y_max = np.inf if config.y_max is None else config.y_max

    shown = (clients <= x_max) & (effective <= y_max)
    line_x, line_y = fit_over_clients(clients, effective, degree)
    outside = (line_x > x_max) | (line_y > y_max)
    axes.plot(np.where(outside, np.nan, line_x), line_y, linestyle=linestyle, color=color, zorder=2.2)
    all_y = np.where((clients > x_max) | (np.array(everything) > y_max), np.nan, everything)
    axes.plot(clients, all_y, color=color, linewidth=0.8, alpha=0.55, zorder=2)
    sound = np.array([is_sound(point) for point in series.points])
    style.points(axes, clients[shown], effective[shown], sound[shown], color=color, marker=marker)
    return Line2D([], [], color=color, marker=marker, linestyle=linestyle)


def _token_counter(model: str | None) -> CountTokens | None:
    """Counts tokens with a tokenizer.json, its directory, or the tokenizer of a model on the hub."""
    if model is None:
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError:
        from llmbench.errors import MissingExtraError

        raise MissingExtraError("tokenizers", "--model") from None
    path = Path(model)
    try:
        if path.exists():
            tokenizer = Tokenizer.from_file(str(path / "tokenizer.json" if path.is_dir() else path))
        else:
            tokenizer = Tokenizer.from_pretrained(model)
    except Exception as error:
        raise ConfigError(
            f"--model {model}: no tokenizer there ({error}); give a tokenizer.json, its directory, "
            "or a model's name on the hub"
        ) from error
    return lambda text: len(tokenizer.encode(text).ids)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m llmbench.plots.effective_throughput ARGV…`; returns the exit code, raises LlmbenchError."""
    from llmbench.cli import flags
    from llmbench.plots.source_flags import directories, save_all, sweep_parser

    parser = sweep_parser(
        "effective_throughput", "Requests per second that meet an SLA, a figure per rate and way to judge it."
    )
    group = parser.add_argument_group("SLA")
    group.add_argument(
        "--sla_prompt_tokens_per_sec",
        type=flags.positive,
        default=512.0,
        metavar="X",
        help="the prompt's rate: TTFT ≤ prompt tokens / X (default 512)",
    )
    group.add_argument(
        "--sla_gen_tokens_per_sec",
        type=flags.positive,
        nargs="+",
        default=list(GEN_RATES),
        metavar="X",
        help="the answer's rates (default 1 2 3 4 6 8)",
    )
    group.add_argument(
        "--ema_span", type=flags.count, default=16, metavar="N", help="span of the moving average, in gaps"
    )
    group.add_argument(
        "--model",
        metavar="TOKENIZER",
        help="tokenizer.json, its directory or a hub name: counts prompts of old results",
    )
    args = parser.parse_args(argv)
    sets = load_result_sets(directories(args), warn_on_stderr, count_tokens=_token_counter(args.model))
    streamed = [kept for results in sets if (kept := streamed_only(results, warn_on_stderr)) is not None]
    if not streamed:
        raise ConfigError("nothing here was measured with --stream: there are no token times to judge")

    def figures() -> Iterator[tuple[Axes, str]]:
        for results in streamed:
            judged = _judged(results, args.sla_prompt_tokens_per_sec, args.ema_span, warn_on_stderr)
            for rate in args.sla_gen_tokens_per_sec:
                for judgement, tag in JUDGEMENTS.items():
                    sla = Sla(args.sla_prompt_tokens_per_sec, rate, judgement, args.ema_span)
                    pattern = (
                        f"{{model}}_SLAp{sla.prompt_rate:g}g{rate:g}_tp{{tp_size}}_b{{max_ragged_batch_size}}"
                        f"_p{{prompt_length}}g{{gen_length}}_{tag.format(span=args.ema_span)}"
                    )
                    yield (
                        _draw(judged, results, None, sla, shown=False),
                        file_name(pattern, results, streamed),
                    )

    return save_all(figures(), args.out_dir)


if __name__ == "__main__":
    from llmbench.cli import execute

    sys.exit(execute("python -m llmbench.plots.effective_throughput", main))
