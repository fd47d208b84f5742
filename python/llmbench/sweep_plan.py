"""What a sweep will do, worked out before it does anything: flags → `SweepSpec` → `plan`. No input or output here."""

from __future__ import annotations

import dataclasses
import math
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from llmbench import backends
from llmbench.combination import Combination
from llmbench.errors import ConfigError
from llmbench.sweep_presets import DEFAULT_MODEL, preset_of

STARTED_BACKENDS = (
    "sim",
    "vllm",
    "vllm-chat",
    "vllm-generate",
    "fastgen",
    "fastgen-grpc",
    "fastgen-rest",
    "sglang",
    "tgi",
    "tensorrt_llm_triton",
    "llamacpp",
)
"""The backends whose server llmbench starts and stops itself, unless the address of a running one is given."""


ORDERS = ("grid", "random")

RESET_PATHS = {"vllm": "/reset_prefix_cache", "vllm-chat": "/reset_prefix_cache", "sglang": "/flush_cache"}
"""What a POST to makes a server of that backend forget its prefixes (vLLM: started with VLLM_SERVER_DEV_MODE=1)."""


@dataclass(frozen=True)
class SweepSpec:
    """Every setting of a sweep, complete and checked. `SweepSpec.of` fills in defaults and presets.

    The fields bear the names of the flags. Lengths are tokens; the variances are shares of the mean, used as standard
    deviation.
    """

    backend: str
    model: str
    tp_size: tuple[int, ...]
    max_ragged_batch_size: tuple[int, ...]
    num_replicas: tuple[int, ...]
    mean_prompt_length: tuple[int, ...]
    mean_max_new_tokens: tuple[int, ...]
    num_clients: tuple[int, ...]
    max_prompt_length: int
    fp6: bool = False
    """The server's weights in 6 bits."""
    num_requests: int | None = None
    """None: clients × 4 + 32."""
    prompt_length_var: float = 0.3
    max_new_tokens_var: float = 0.3
    warmup: int = 1
    """Requests per client before the measured ones."""
    stream: bool = False
    seed: int = 42
    temperature: float = 1.0
    top_p: float = 0.9
    n: int = 1
    ignore_eos: bool = False
    deployment_name: str = "benchmark-deployment"
    out_json_dir: str = "./results/"
    overwrite_results: bool = False
    client_only: bool = False
    """The server is already running: its settings only label the results."""
    order: str = "grid"
    """grid: as the flags have it, clients fastest; random: servers, and the points of each, in an order of chance, so
    that what drifts meanwhile (heat, a neighbour) is not taken for an effect of the load."""
    repeats: int = 1
    """How often each point is measured. All points of a server come before the next round of them."""
    reset_cache: bool = False
    """Ask the server to empty its prefix cache before each point."""

    @classmethod
    def of(
        cls, *, backend: str = "sim", model: str | None = None, served_model: str | None = None, **given: Any
    ) -> SweepSpec:
        """The spec for what was given; a value of None counts as not given.

        A single number stands for a list of one. What is not given comes from the preset of the named model, else from
        the general defaults. `client_only` false means that a server is started, whatever the backend.
        `served_model` is what a running server calls its only model: it names the results when no model was
        named, and brings no preset. Raises ConfigError with the flag, the value and the remedy.
        """
        given = {key: value for key, value in given.items() if value is not None}
        unknown = given.keys() - {each.name for each in dataclasses.fields(cls)}
        if unknown:
            raise ConfigError(f"unknown sweep setting {min(unknown)!r}")
        backends.get(backend)
        preset = preset_of(model)
        values: dict[str, Any] = {
            "tp_size": preset.tp_sizes,
            "max_ragged_batch_size": preset.max_ragged_batch_sizes,
            "num_replicas": preset.num_replicas,
            "mean_prompt_length": preset.prompt_lengths,
            "mean_max_new_tokens": preset.generation_lengths,
            "num_clients": preset.num_clients,
            "max_prompt_length": preset.max_prompt_length,
        }
        client_only = bool(given.pop("client_only", backend not in STARTED_BACKENDS))
        values |= given
        for key in _SWEPT:
            values[key] = _counts(key, values[key])
        spec = cls(
            backend=backend, model=model or served_model or DEFAULT_MODEL, client_only=client_only, **values
        )
        spec._check()
        return spec

    def _check(self) -> None:
        for key, least in (
            ("max_prompt_length", 1),
            ("num_requests", 1),
            ("warmup", 0),
            ("n", 1),
            ("seed", 0),
            ("repeats", 1),
        ):
            value = getattr(self, key)
            if value is not None and not (_is_whole(value) and value >= least):
                raise ConfigError(f"--{key} must be a whole number of at least {least}, not {value}")
        for key, most in (
            ("prompt_length_var", None),
            ("max_new_tokens_var", None),
            ("temperature", None),
            ("top_p", 1),
        ):
            value = getattr(self, key)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0) or (
                most and value > most
            ):
                wanted = f"between 0 and {most}" if most else "0 or more"
                raise ConfigError(f"--{key} must be {wanted}, not {value}")
        if self.order not in ORDERS:
            raise ConfigError(f"--order {self.order}: there are {' and '.join(ORDERS)}")
        if self.reset_cache and self.backend not in RESET_PATHS:
            raise ConfigError(
                f"--reset_cache: {self.backend} servers have no way to be asked, only {', '.join(RESET_PATHS)}; "
                "prompts differ between points in any case, so that none is found in a cache"
            )
        for mean in self.mean_prompt_length:
            if mean > self.max_prompt_length:
                raise ConfigError(
                    f"--mean_prompt_length {mean} is over --max_prompt_length {self.max_prompt_length}, so nearly "
                    "every prompt would be cut to it: raise the maximum or lower the mean"
                )
        if self.client_only:
            for key in ("tp_size", "max_ragged_batch_size", "num_replicas"):
                values = getattr(self, key)
                if len(values) > 1:
                    raise ConfigError(
                        f"--{key} {' '.join(map(str, values))}: a server that is already running has one value, which "
                        f"only labels the results; give the one it runs with, such as --{key} {values[0]}"
                    )
        if not self.model.strip() or "\0" in self.model:
            raise ConfigError(f"--model {self.model!r} is no name")
        if len(self.model.encode()) > _LONGEST_MODEL:
            raise ConfigError(
                f"--model {self.model[:40]}… is too long to name result files: {_LONGEST_MODEL} bytes at most"
            )

    @property
    def result_dir(self) -> Path:
        """`<out_json_dir>_<backend>`: ./results/ becomes results_sim."""
        path = Path(self.out_json_dir)
        if path.name in ("", ".."):
            path = path / "results"
        return path.with_name(f"{path.name}_{self.backend}")

    def args(self) -> dict[str, Any]:
        """What a result file stores as `args`, all but the point's own values."""
        return {
            each.name: getattr(self, each.name)
            for each in dataclasses.fields(self)
            if each.name not in _SWEPT
        }


_LONGEST_MODEL = 160  # file names hold 255 bytes, the six numbers among them
_SWEPT = (
    "tp_size",
    "max_ragged_batch_size",
    "num_replicas",
    "mean_prompt_length",
    "mean_max_new_tokens",
    "num_clients",
)


@dataclass(frozen=True)
class ServerSettings:
    """One setting of the server: everything measured with it runs against one start of it."""

    model: str
    tp_size: int
    max_ragged_batch_size: int
    num_replicas: int
    fp6: bool = False

    def describe(self) -> str:
        return (
            f"TP {self.tp_size}, batch {self.max_ragged_batch_size}, "
            f"{self.num_replicas} replica{'s' if self.num_replicas > 1 else ''}{', fp6' if self.fp6 else ''}"
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def file_stem(self) -> str:
        return (
            f"{self.model.replace('/', '_')}-tp{self.tp_size}-bs{self.max_ragged_batch_size}"
            f"-replicas{self.num_replicas}"
        )


@dataclass(frozen=True)
class PlannedPoint:
    """One measurement of the sweep."""

    combination: Combination
    num_requests: int
    warmup_requests: int
    """Sent first, beside the measured ones."""
    ramp_s: float
    """After the warm-up each client starts at a random moment within this time."""
    seed: int
    """Differs between points, so that no point finds its prompts in the server's cache; the same in every sweep."""
    repeat: int = 1
    """From 1."""


@dataclass(frozen=True)
class PlannedServer:
    """One start of a server and what is measured before it is stopped."""

    settings: ServerSettings
    points: tuple[PlannedPoint, ...]


def plan(spec: SweepSpec) -> tuple[PlannedServer, ...]:
    """Every combination as often as asked for, each server started once."""
    chance = random.Random(spec.seed) if spec.order == "random" else None
    planned = []
    for tp_size, batch, replicas in product(spec.tp_size, spec.max_ragged_batch_size, spec.num_replicas):
        settings = ServerSettings(spec.model, tp_size, batch, replicas, spec.fp6)
        points = [
            _point(
                spec, Combination(spec.model, tp_size, batch, replicas, prompt, generation, clients), repeat
            )
            for repeat in range(1, spec.repeats + 1)
            for prompt, generation, clients in product(
                spec.mean_prompt_length, spec.mean_max_new_tokens, spec.num_clients
            )
        ]
        if chance is not None:
            chance.shuffle(points)
        planned.append(PlannedServer(settings, tuple(points)))
    if chance is not None:
        chance.shuffle(planned)
    return tuple(planned)


def _point(spec: SweepSpec, combination: Combination, repeat: int) -> PlannedPoint:
    clients = combination.num_clients
    name = combination.file_stem() + (f"-repeat{repeat}" if repeat > 1 else "")
    return PlannedPoint(
        combination=combination,
        num_requests=spec.num_requests or clients * 4 + 32,
        warmup_requests=clients * spec.warmup,
        ramp_s=clients * 0.010,
        seed=(spec.seed << 32) + zlib.crc32(name.encode()),
        repeat=repeat,
    )


def differences(stored: Mapping[str, Any], spec: SweepSpec, point: PlannedPoint) -> list[str]:
    """How a stored result's `args` differ from what would be measured now: "num_requests 32, now 64". What an old file
    does not say is taken to agree."""
    wanted = spec.args() | {"num_requests": point.num_requests}
    found = []
    for key in _TELLING:
        if key in stored and stored[key] is not None and stored[key] != wanted[key]:
            found.append(f"{key} {stored[key]}, now {wanted[key]}")
    return found


_TELLING = (
    "fp6",
    "num_requests",
    "stream",
    "max_prompt_length",
    "prompt_length_var",
    "max_new_tokens_var",
    "warmup",
    "seed",
    "temperature",
    "top_p",
    "n",
    "ignore_eos",
)


def _counts(key: str, value: Any) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if not values:
        raise ConfigError(f"--{key} needs at least one value")
    for each in values:
        if not (_is_whole(each) and each >= 1):
            raise ConfigError(f"--{key} must be whole numbers of at least 1, not {each}")
    return tuple(dict.fromkeys(int(each) for each in values))


def _is_whole(value: Any) -> bool:
    import numbers

    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
