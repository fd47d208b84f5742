"""When a run was steady: the longest time in which requests in flight and the token rate only fluctuate.

Everything here is a function of one-second bins, and the bins are a function of the rows and the events. A
run's ramp-up and drain are left out because they differ from the rest, never because they are its first and
last per cent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llmbench.request_rows import ABSENT_NS, CUT, OK, WARMUP, Rows, where
from llmbench.request_times import streamed_ns

if TYPE_CHECKING:
    from llmbench.request_rows import Events

Series = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BIN_NS = 10**9
LEAST_BINS = 20
"""Of one second each: with fewer, nothing is said about steadiness."""
SIGNIFICANCE = 4.0
"""Standard deviations by which two parts of an interval must differ for it to be cut between them."""
NO_BINS = "no request was sent and came to an end within 48 days"
"""Why a run has no bins."""
TOLERANCE = 0.05
"""A difference of less than this share of the interval's mean is no change, however certain it is."""

_CHUNK = 1 << 22
"""Events looked at in one go."""
_MOST_BINS = 1 << 22
"""48 days, the core's own limit: what claims to have lasted longer is a damaged file."""


@dataclass(frozen=True, eq=False)
class Bins:
    """A run second by second, from the first measured request sent to the last end."""

    origin_ns: int
    """Where the first bin begins."""
    arrivals: Series
    """Requests sent in each bin."""
    completions: Series
    failures: Series
    in_flight: Series
    """Time-weighted mean in each bin, warm-up included; so are the next two."""
    waiting: Series
    """Of those in flight, how many had no token yet."""
    outstanding: Series
    """Requests in flight, and those whose time had come and which had not been sent."""
    tokens: Series
    """Output tokens that came in each bin."""
    ttft: Series
    """Median time from schedule to first token of the requests due in each bin, in seconds; NaN without one."""
    sending: int
    """The first this many bins lie before the last request that was sent or due."""
    filling: int
    """In the first this many, the first requests were still running, and the server was filling up."""

    def __len__(self) -> int:
        return len(self.in_flight)

    @property
    def seconds(self) -> Series:
        """The bins' middles, in seconds since the run's start."""
        middles: Series = np.asarray(self.origin_ns / 1e9 + np.arange(len(self)) + 0.5)
        return middles


@dataclass(frozen=True)
class SteadyState:
    """The bins [begin, end) in which a run was steady; or why there are none."""

    begin: int = 0
    end: int = 0
    absent_because: str = ""

    @property
    def found(self) -> bool:
        return self.end > self.begin


def bins(rows: Rows, events: Events | None = None, *, tokens: Sequence[float] | None = None) -> Bins | None:
    """The bins of a run from all of its rows, or None when nothing was sent and ended, or when its times are absurd.

    When tokens came is told by `tokens`, the core's `output_tokens_by_second`, or by `events`. Without either, they
    are spread evenly between a request's first token and its last.
    """
    measured = where(rows, rows["phase"] != WARMUP) if _has(rows, "phase") else rows
    sent = measured["sent_ns"][measured["sent_ns"] != ABSENT_NS]
    ended = where(measured, (measured["end_ns"] != ABSENT_NS) & (measured["sent_ns"] != ABSENT_NS))
    if not len(ended):
        return None
    origin = int(sent[0])  # the core's own
    count = max(1, -(-(int(ended["end_ns"].max()) - origin) // BIN_NS))
    if count > _MOST_BINS:
        return None
    due = measured["scheduled_ns"][measured["scheduled_ns"] != ABSENT_NS]
    last = max([int(sent.max()), *due[-1:].tolist()])
    outcome = ended["outcome"] if _has(rows, "outcome") else np.zeros(len(ended), np.int64)
    flown = where(rows, (rows["sent_ns"] != ABSENT_NS) & (rows["end_ns"] != ABSENT_NS))
    owed = where(rows, (rows["scheduled_ns"] != ABSENT_NS) & (rows["end_ns"] != ABSENT_NS))
    first = streamed_ns(flown, "first_token_ns") if _has(rows, "first_token_ns") else flown["end_ns"]
    first = np.where(first == ABSENT_NS, flown["end_ns"], first)
    arrived = None
    if tokens is not None:
        arrived = np.zeros(count)
        arrived[: len(tokens)] = tokens[:count]
    elif events is not None and len(events.offsets) == len(rows) + 1:
        arrived = _tokens_of_events(rows, events, origin, count)
    return Bins(
        origin_ns=origin,
        arrivals=_counted(sent, origin, count),
        completions=_counted(ended["end_ns"][outcome == OK], origin, count),
        failures=_counted(ended["end_ns"][outcome > CUT], origin, count),
        in_flight=_mean_level(flown["sent_ns"], flown["end_ns"], origin, count),
        waiting=_mean_level(flown["sent_ns"], first, origin, count),
        outstanding=_mean_level(owed["scheduled_ns"], owed["end_ns"], origin, count),
        tokens=_tokens(measured, origin, count) if arrived is None else arrived,
        ttft=_ttft(measured, origin, count),
        sending=min(count, (last - origin) // BIN_NS),
        filling=_filling(ended),
    )


def steady_state(found: Bins | None, *, open_loop: bool) -> SteadyState:
    """The longest interval in which neither requests in flight nor the token rate change.

    An interval is cut where two of its parts differ by more than chance and by more than `TOLERANCE`, until no
    part has such a change; neighbours that belong together after all are joined again. In an open loop the time in
    which the first requests run is no part of it: their number grows in any case.
    """
    if found is None:
        return SteadyState(absent_because=NO_BINS)
    # A closed loop is full at once, unless it ramps up, which shows.
    begin, end = found.filling if open_loop else 0, found.sending
    if end - begin < LEAST_BINS:
        seconds = "second" if end == 1 else "seconds"
        filling = f", and the server was filling up for {min(begin, end)} of them" if begin else ""
        # The second in which the last request is sent is never whole.
        return SteadyState(
            absent_because=f"stationarity not judged: from the first request to the last there are {end} whole "
            f"{seconds}{filling}; {LEAST_BINS} are needed: send for {begin + LEAST_BINS + 1} s"
        )
    piling = growth(found) if open_loop else None
    if piling is not None and piling.growing:
        return SteadyState(absent_because="requests piled up until the end: no interval was steady")
    series = _Series(found, open_loop)
    parts = _joined(series, list(_parts(series, begin, end)))
    begin, end = max(parts, key=lambda part: part[1] - part[0])
    if end - begin < LEAST_BINS or series.change(begin, end) is not None:
        return SteadyState(
            absent_because=f"requests in flight or the token rate changed so often that none of "
            f"{found.sending} seconds has {LEAST_BINS} steady ones in a row"
        )
    return SteadyState(begin, end)


# Growth

GROWTH_SHARE = 0.5
"""Growth over a run that is more than a queue's fluctuation, as a share of its mean."""


@dataclass(frozen=True)
class Growth:
    """A trend over the run: how certain, how much, and against which mean."""

    certainty: float
    """The slope in its standard deviations."""
    growth: float
    mean: float

    @property
    def share(self) -> float:
        """The growth as a share of the mean."""
        return self.growth / self.mean if self.mean > 0 else 0.0

    @property
    def growing(self) -> bool:
        return self.certainty > SIGNIFICANCE and self.share > GROWTH_SHARE


def growth(found: Bins) -> Growth | None:
    """Whether requests that were due and not answered kept piling up while requests came. None when there are too
    few bins to tell.

    The time in which the server fills up does not count: while the first requests run, their number grows in any
    case. A load that grows may take its requests in flight along.
    """
    return _growth(found, found.outstanding, least_mean=1.0)


def ttft_growth(found: Bins) -> Growth | None:
    """The same of the time from schedule to first token, in seconds."""
    return _growth(found, found.ttft)


def _growth(found: Bins, series: Series, least_mean: float = 0.0) -> Growth | None:
    arrivals = found.arrivals[found.filling : found.sending]
    values = series[found.filling : found.sending]
    values, arrivals = values[np.isfinite(values)], arrivals[np.isfinite(values)]
    if len(values) < LEAST_BINS:
        return None
    certainty, grown = trend(_thinned(values))
    mean = float(values.mean())
    more, by = trend(_thinned(arrivals))
    if more > SIGNIFICANCE:
        grown -= max(0.0, by / float(arrivals.mean())) * mean
    return Growth(certainty, grown, max(mean, least_mean))


def trend(values: Series) -> tuple[float, float]:
    """Theil-Sen's slope in its standard deviations, and times the length. Fluctuations around it are taken for an AR(1)
    process, for which a queue's are much like it.
    """
    n = len(values)
    i, j = np.triu_indices(n, 1)
    slope = float(np.median((values[j] - values[i]) / (j - i)))
    x = np.arange(n) - (n - 1) / 2
    residual = values - slope * x
    residual = residual - residual.mean()
    r = max(_correlation(residual), 0.0)
    deviation = max(float(residual.std()), _LEAST_DEVIATION * abs(float(values.mean())), 1e-300)
    return slope / (deviation * math.sqrt((1 + r) / (1 - r) / float(x @ x))), slope * (n - 1)


def _thinned(values: Series, most: int = 1000) -> Series:
    """At most `most` means of neighbouring values: pairs of all bins of a day would be billions."""
    width = -(-len(values) // most)
    return values if width == 1 else values[: len(values) // width * width].reshape(-1, width).mean(axis=1)


# Changes


class _Series:
    """The two series of a run that must not change, with their running sums."""

    def __init__(self, found: Bins, open_loop: bool) -> None:
        self.values = (found.in_flight, found.tokens)
        self.bins = found
        self.open_loop = open_loop

    def change(self, begin: int, end: int) -> int | None:
        """Where the interval is cut, or None when it is steady."""
        if end - begin < 2:
            return None
        most, where = SIGNIFICANCE, None
        least = self._least_noise(begin, end)
        for values in self.values:
            strength, at = _strongest_change(values[begin:end], least)
            if strength > most:
                most, where = strength, begin + at
        return where

    def _least_noise(self, begin: int, end: int) -> tuple[float, float]:
        """What requests that come at random do to the number in flight, however steady the server is: the
        standard deviation as a share of the mean, and the correlation from one bin to the next.
        """
        arrived = float(self.bins.arrivals[begin:end].mean())
        running = float(self.bins.in_flight[begin:end].mean())
        if not self.open_loop or arrived <= 0 or running <= 0:
            return 0.0, 0.0
        stay_bins = running / arrived  # Little's law
        return 1 / math.sqrt(max(running, 1.0)), math.exp(-1 / stay_bins)


def _strongest_change(values: Series, least: tuple[float, float]) -> tuple[float, int]:
    """The place where the means of what lies before and after differ by most of their standard deviations, and
    by how many; a slope counts too. Fluctuations are taken for an AR(1) process.
    """
    n = len(values)
    mean = float(values.mean())
    if mean <= 0:
        return 0.0, 0
    k = np.arange(1, n)
    sums = np.cumsum(values)[:-1]
    difference = np.abs(sums / k - (values.sum() - sums) / (n - k))
    residual = _fluctuation(values)
    r = min(max(_correlation(residual), least[1]), _MOST_CORRELATED)
    deviation = max(
        math.sqrt(float(residual @ residual) / max(n - _PARAMETERS, 1)),
        least[0] * mean,
        _LEAST_DEVIATION * mean,
    )
    variance = deviation**2 * (_variance_of_mean(k, r) + _variance_of_mean(n - k, r))
    strength = np.where(difference > TOLERANCE * mean, difference / np.sqrt(variance), 0.0)
    at = int(np.argmax(strength))
    strongest = float(strength[at])
    # Along a gentle slope no two parts differ much, and the ends do.
    x = np.arange(n) - (n - 1) / 2
    slope = abs(float(x @ values)) / float(x @ x)
    if slope * (n - 1) > 2 * TOLERANCE * mean:
        error = deviation * math.sqrt((1 + r) / (1 - r) / float(x @ x))
        strongest = max(strongest, slope / error)
    return strongest, 1 + at


_MOST_CORRELATED = 0.95
_LEAST_DEVIATION = 0.005
"""As a share of the mean: numbers that do not fluctuate at all have no change that is beyond chance."""


def _variance_of_mean(n: Integers, r: float) -> Series:
    """Of n neighbours of an AR(1) process with unit variance."""
    variance: Series = ((1 + r) / (1 - r) - 2 * r * (1 - r**n) / (n * (1 - r) ** 2)) / n
    return variance


def _correlation(residual: Series) -> float:
    """Of neighbours."""
    spread = float(residual @ residual)
    return min(float(residual[:-1] @ residual[1:]) / spread, _MOST_CORRELATED) if spread > 0 else 0.0


_PIECES = 3
"""A ramp, a plateau and a drain."""
_PARAMETERS = 3 * _PIECES - 1
"""Two for each line, and where they meet."""


def _fluctuation(values: Series) -> Series:
    """What is left of a series when up to three lines are drawn through it, where they fit best. They follow what
    changed for good; what comes and goes more often than that is left.
    """
    cuts = [0, len(values)]
    for _ in range(_PIECES - 1):
        gains = [_best_cut(values[begin:end]) for begin, end in itertools.pairwise(cuts)]
        most = max(range(len(gains)), key=lambda i: gains[i][0])
        if gains[most][0] <= 0:
            break
        cuts.insert(most + 1, cuts[most] + gains[most][1])
    return np.concatenate([_without_line(values[begin:end]) for begin, end in itertools.pairwise(cuts)])


def _best_cut(values: Series) -> tuple[float, int]:
    """Where two lines fit better than one, and by how much."""
    n = len(values)
    if n < 2 * _SHORTEST:
        return 0.0, 0
    centred = values - values.mean()
    left, right = _squares(centred), _squares(centred[::-1])
    k = np.arange(_SHORTEST, n - _SHORTEST + 1)
    gain = left[n] - left[k] - right[n - k]
    best = int(np.argmax(gain))
    return float(gain[best]), int(k[best])


_SHORTEST = 3
"""Bins of a line."""


def _squares(values: Series) -> Series:
    """By k: the squares left of the first k values around a line of their own."""
    n = np.arange(len(values) + 1, dtype=np.float64)
    x = n[:-1]

    def sums(each: Series) -> Series:
        return np.concatenate([[0.0], np.cumsum(each)])

    sx, sy, sxx, sxy, syy = sums(x), sums(values), sums(x * x), sums(x * values), sums(values * values)
    count = np.maximum(n, 1.0)
    across = sxx - sx * sx / count
    along = sxy - sx * sy / count
    left: Series = syy - sy * sy / count - along**2 / np.where(across > 0, across, 1.0)
    return np.maximum(left, 0.0)


def _without_line(values: Series) -> Series:
    n = len(values)
    x = np.arange(n) - (n - 1) / 2
    rest: Series = values - values.mean()
    return rest - x * float(x @ values) / float(x @ x) if n > 1 else rest


def _parts(series: _Series, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The interval, cut at its changes, in order."""
    pending = [(begin, end)]
    while pending:
        begin, end = pending.pop()
        at = series.change(begin, end) if end - begin >= LEAST_BINS else None
        if at is None:
            yield begin, end
        else:
            pending += [(at, end), (begin, at)]


def _joined(series: _Series, parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours made one where there is no change in the two together: a cut that another one made needless."""
    joined: list[tuple[int, int]] = []
    for part in parts:
        while joined and series.change(joined[-1][0], part[1]) is None:
            part = (joined.pop()[0], part[1])
        joined.append(part)
    return joined


# Bins


_FIRST = 10
"""Requests by which the time is judged that the server takes to fill up."""


def _filling(ended: Rows) -> int:
    """The bins that most of the first requests took."""
    known = ended["scheduled_ns"] != ABSENT_NS
    due, end = where(ended["scheduled_ns"], known), where(ended["end_ns"], known)
    if not len(due):
        return 0
    last = min(_FIRST, len(due)) - 1
    early = due < max(int(due.min()) + BIN_NS, int(np.partition(due, last)[last]) + 1)
    return math.ceil(float(np.percentile(end[early] - due[early], 90)) / BIN_NS)


def _ttft(rows: Rows, origin: int, count: int) -> Series:
    ttft = np.full(count, np.nan)
    if not _has(rows, "first_token_ns"):
        return ttft
    known = (streamed_ns(rows, "first_token_ns") != ABSENT_NS) & (rows["scheduled_ns"] >= origin)
    due = where(rows["scheduled_ns"], known)
    index = (due - origin) // BIN_NS
    order = np.argsort(index, kind="stable")
    starts = np.flatnonzero(np.diff(index[order], prepend=-1))
    values = (where(rows["first_token_ns"], known) - due)[order] / 1e9
    for some in np.split(np.arange(len(order)), starts[1:]):
        if len(some) and index[order[some[0]]] < count:
            ttft[index[order[some[0]]]] = np.median(values[some])
    return ttft


def _has(rows: Rows, column: str) -> bool:
    return column in (rows.dtype.names or ())


def _counted(times: Integers, origin: int, count: int) -> Series:
    index = (times - origin) // BIN_NS
    index = index[(index >= 0) & (index <= count)]
    # The run's very last instant belongs to its last bin.
    return np.bincount(np.minimum(index, count - 1), minlength=count).astype(np.float64)


def _mean_level(begins: Integers, ends: Integers, origin: int, count: int) -> Series:
    """How many of the intervals [begin, end) hold at a time, on average over each bin."""
    edges = np.arange(count + 1, dtype=np.float64)
    level: Series = np.diff(_time_since(begins, origin, edges) - _time_since(ends, origin, edges))
    return np.maximum(level, 0.0)  # rounding


def _time_since(times: Integers, origin: int, edges: Series) -> Series:
    """Σ max(0, edge − time), in bins."""
    at = np.sort((times - origin) / BIN_NS)
    sums = np.concatenate([[0.0], np.cumsum(at)])
    before = np.searchsorted(at, edges)
    found: Series = before * edges - sums[before]
    return found


def _has_tokens(rows: Rows) -> npt.NDArray[np.bool_]:
    ended = (rows["outcome"] <= CUT) & (rows["first_token_ns"] != ABSENT_NS)
    counted: npt.NDArray[np.bool_] = ended & (rows["output_tokens"] > 0)
    return counted


def _tokens_of_events(rows: Rows, events: Events, origin: int, count: int) -> Series:
    """Output tokens by the bin they came in, of measured requests that are ok or cut. Those of a request are spread
    over its events by the counts these carry, else evenly.
    """
    counted = _has_tokens(rows) & (rows["phase"] != WARMUP)
    wanted = np.where(counted, rows["output_tokens"], 0).astype(np.float64)
    lengths = np.diff(events.offsets)
    total = np.zeros(count + 1)
    first = 0
    while first < len(rows):
        # As many requests as fill a chunk of events, one at least.
        most = events.offsets[first] + _CHUNK
        last = max(first + 1, int(np.searchsorted(events.offsets, most, "right")) - 1)
        chunk = slice(int(events.offsets[first]), int(events.offsets[last]))
        owner = np.repeat(np.arange(last - first), lengths[first:last])
        weight = events.tokens[chunk].astype(np.float64)
        known = np.bincount(owner, weight > 0, last - first) == lengths[first:last]
        weight[~known[owner]] = 1.0
        each = wanted[first:last] / np.maximum(np.bincount(owner, weight, last - first), 1.0)
        index = np.clip((events.times_ns[chunk] - origin) // BIN_NS, -1, count - 1)
        total += np.bincount(index + 1, weight * each[owner], count + 1)
        first = last
    return total[1:]


def _tokens(rows: Rows, origin: int, count: int) -> Series:
    """Each request's tokens evenly from its first to its last."""
    if not _has(rows, "output_tokens"):
        return np.zeros(count)
    rows = rows[_has_tokens(rows)]
    edges = np.arange(count + 1, dtype=np.float64)
    begins = (rows["first_token_ns"] - origin) / BIN_NS
    ends = np.maximum((rows["last_token_ns"] - origin) / BIN_NS, begins + 1e-6)
    rate = rows["output_tokens"] / (ends - begins)

    def since(times: Series) -> Series:
        order = np.argsort(times)
        rates = np.concatenate([[0.0], np.cumsum(rate[order])])
        sums = np.concatenate([[0.0], np.cumsum(rate[order] * times[order])])
        before = np.searchsorted(times[order], edges)
        found: Series = rates[before] * edges - sums[before]
        return found

    tokens: Series = np.maximum(np.diff(since(begins) - since(ends)), 0.0)
    return tokens
