"""What is sent: prompts with their lengths, and the number of output tokens to ask for.

No tokenizer is needed: synthetic prompts are made of common words that count as about one token each, and
what the server reports is the exact count. With a tokenizer the lengths are exact. Every synthetic prompt
differs from the others from its first word on, so that no prefix cache can hit unless a shared prefix was
asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmbench.backends import Backend, Prompt
from llmbench.errors import ConfigError
from llmbench.synthetic_text import exact_texts, random_texts
from llmbench.token_counts import Lengths, TokenizerLike, count_tokens, load_tokenizer, tokenizer_name

ORDERS = ("in-order", "shuffled", "with-replacement")


@dataclass(frozen=True, eq=False)
class Workload:
    """Prompts (or message lists), how long each is, and how many output tokens to ask for."""

    prompts: Sequence[Prompt]
    prompt_tokens: Lengths
    """Tokens of each prompt as far as known before the run, -1 where not."""
    output_tokens: Lengths
    """Tokens to ask for, -1 where the server decides."""
    order: str = "in-order"
    """in-order, shuffled or with-replacement; the first two start over at the end."""
    name: str = "prompts"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """How it was made, for the record."""
    tokenizer: str | None = None
    """The tokenizer that counted, by name; None when lengths are estimates."""

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "output_tokens"):
            lengths = np.asarray(getattr(self, name), dtype=np.int64)
            if lengths.ndim == 0:
                lengths = np.full(len(self.prompts), lengths, dtype=np.int64)
            if lengths.shape != (len(self.prompts),):
                raise ConfigError(f"{name} has {lengths.size} entries for {len(self.prompts)} prompts")
            lengths.flags.writeable = False
            object.__setattr__(self, name, lengths)
        if len(self.prompts) == 0:
            raise ConfigError(f"the workload {self.name} holds no prompts")
        if self.order not in ORDERS:
            raise ConfigError(f"unknown order {self.order!r}: there are {', '.join(ORDERS)}")

    def __len__(self) -> int:
        return len(self.prompts)

    def __repr__(self) -> str:
        return (
            f"Workload({self.name!r}, {len(self)} prompts, {_mean(self.prompt_tokens)} tokens in, "
            f"{_mean(self.output_tokens)} out)"
        )

    def bodies(self, backend: Backend, *, model: str | None, **fields: Any) -> list[bytes]:
        """Every request's body, rendered once; `fields` are those of `Backend.render`."""
        asked = [each if each >= 0 else None for each in self.output_tokens.tolist()]
        return backend.bodies(self.prompts, asked, self.prompt_tokens.tolist(), model=model, **fields)

    def to_dict(self) -> dict[str, Any]:
        """What a result stores; never the prompts themselves."""
        return {
            "name": self.name,
            "prompts": len(self),
            "order": self.order,
            "tokenizer": self.tokenizer,
            "mean_prompt_tokens": _mean(self.prompt_tokens),
            "mean_output_tokens": _mean(self.output_tokens),
            "parameters": dict(self.parameters),
        }


def random(
    input_tokens: int = 1024,
    output_tokens: int = 128,
    n: int = 1000,
    seed: int = 0,
    range_ratio: float = 0.0,
    prefix_len: int = 0,
    tokenizer: TokenizerLike = None,
) -> Workload:
    """Random words; lengths uniform in [x·(1 − range_ratio), x·(1 + range_ratio)].

    `prefix_len` tokens, the same for all, come before the `input_tokens` of each prompt.
    """
    _at_least("input_tokens", input_tokens, 1)
    _at_least("output_tokens", output_tokens, 1)
    _at_least("n", n, 1)
    _at_least("prefix_len", prefix_len, 0)
    if not 0 <= range_ratio < 1:
        raise ConfigError(f"range_ratio must be at least 0 and less than 1, not {range_ratio}")
    chance = np.random.default_rng([0x6C656E, _seed(seed)])
    inputs = _uniform(chance, input_tokens, range_ratio, n)
    outputs = _uniform(chance, output_tokens, range_ratio, n)
    return synthetic(
        inputs,
        outputs,
        seed=seed,
        prefix_len=prefix_len,
        tokenizer=tokenizer,
        name="random",
        parameters={
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "range_ratio": range_ratio,
            "prefix_len": prefix_len,
            "seed": seed,
        },
    )


def normal(
    mean_input: float,
    mean_output: float,
    n: int,
    input_var: float = 0.3,
    output_var: float = 0.3,
    max_input: int | None = None,
    seed: int = 42,
    tokenizer: TokenizerLike = None,
) -> Workload:
    """Normally distributed lengths; `*_var` is the standard deviation as a fraction of the mean.

    No length is below 1; no prompt is longer than `max_input`.
    """
    _at_least("n", n, 1)
    for name, value in (("mean_input", mean_input), ("mean_output", mean_output)):
        if not (math.isfinite(value) and value >= 1):
            raise ConfigError(f"{name} must be at least 1, not {value}")
    for name, value in (("input_var", input_var), ("output_var", output_var)):
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} must be at least 0, not {value}")
    if max_input is not None:
        _at_least("max_input", max_input, 1)
    # Two streams, so that a change to one mean leaves the other's lengths as they were.
    inputs = np.random.default_rng([0x696E, _seed(seed)]).normal(mean_input, input_var * mean_input, n)
    outputs = np.random.default_rng([0x6F7574, _seed(seed)]).normal(mean_output, output_var * mean_output, n)
    return synthetic(
        np.clip(np.rint(inputs), 1, max_input).astype(np.int64),
        np.clip(np.rint(outputs), 1, None).astype(np.int64),
        seed=seed,
        tokenizer=tokenizer,
        name="normal",
        parameters={
            "mean_input": mean_input,
            "mean_output": mean_output,
            "input_var": input_var,
            "output_var": output_var,
            "max_input": max_input,
            "seed": seed,
        },
    )


def synthetic(
    input_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    *,
    seed: int = 0,
    prefix_len: int = 0,
    tokenizer: TokenizerLike = None,
    name: str = "synthetic",
    parameters: Mapping[str, Any] | None = None,
) -> Workload:
    """Random words of exactly the given lengths, one prompt for each entry."""
    lengths = np.asarray(input_tokens, dtype=np.int64)
    if lengths.size and lengths.min() < 1:
        raise ConfigError(f"prompt lengths must be at least 1 token, not {lengths.min()}")
    lengths = lengths + prefix_len
    counter = load_tokenizer(tokenizer)
    if counter is None:
        prompts: list[str] = list(random_texts(lengths, _seed(seed), prefix_len))
        counted = lengths
    else:
        prompts, counted = exact_texts(counter, lengths, _seed(seed), prefix_len)
    return Workload(
        prompts,
        counted,
        np.asarray(output_tokens, dtype=np.int64),
        name=name,
        parameters=parameters or {},
        tokenizer=tokenizer_name(tokenizer),
    )


def from_prompts(
    prompts: Iterable[Prompt],
    output_tokens: npt.ArrayLike = 128,
    prompt_tokens: npt.ArrayLike | None = None,
    *,
    order: str = "in-order",
    name: str = "prompts",
    tokenizer: TokenizerLike = None,
) -> Workload:
    """Prompts of your own: texts, token ids or message lists."""
    items = list(prompts)
    counter = load_tokenizer(tokenizer)
    if prompt_tokens is None:
        counted: npt.ArrayLike = count_tokens(counter, items)
    else:
        counted = prompt_tokens
    asked = np.asarray(output_tokens, dtype=np.int64)
    if asked.size and (asked == 0).any():
        raise ConfigError("output_tokens must be at least 1 (or -1 to let the server decide), not 0")
    return Workload(
        items,
        np.asarray(counted, dtype=np.int64),
        asked,
        order=order,
        name=name,
        tokenizer=tokenizer_name(tokenizer),
    )


def sharegpt(
    path: str | PathLike[str],
    n: int | None = None,
    *,
    seed: int = 0,
    output_tokens: int | None = None,
    min_tokens: int = 4,
    max_input: int = 1024,
    max_total: int = 2048,
    tokenizer: TokenizerLike = None,
) -> Workload:
    """The first question and answer of each conversation of a ShareGPT file, in a seeded order.

    The answer's length is what is asked for unless `output_tokens` says otherwise. Prompts and answers
    under `min_tokens`, prompts over `max_input` and pairs over `max_total` are left out. Without a
    tokenizer lengths are estimated at four bytes a token. When fewer than `n` fit, they are sent again
    from the first.
    """
    file = Path(path)
    data = _read_json(file)
    pairs = [pair for pair in (_first_turns(entry) for entry in data) if pair is not None]
    if not pairs:
        raise ConfigError(f"{file} holds no conversation of two turns: is it in ShareGPT's form?")
    counter = load_tokenizer(tokenizer)
    wanted = len(pairs) if n is None else n
    _at_least("n", wanted, 1)
    order = np.random.default_rng([0x736772, _seed(seed)]).permutation(len(pairs))
    prompts: list[str] = []
    inputs: list[int] = []
    outputs: list[int] = []
    dropped = 0
    # Counted in blocks: only as much of a large file is tokenized as is needed.
    for start in range(0, len(order), 1024):
        block = [pairs[i] for i in order[start : start + 1024].tolist()]
        asked = [question for question, _ in block]
        answers = [answer for _, answer in block]
        for question, size, reply in zip(
            asked, count_tokens(counter, asked).tolist(), count_tokens(counter, answers).tolist(), strict=True
        ):
            length = output_tokens if output_tokens is not None else reply
            too_short = size < min_tokens or (output_tokens is None and reply < min_tokens)
            if too_short or size > max_input or size + length > max_total:
                dropped += 1
                continue
            prompts.append(question)
            inputs.append(size)
            outputs.append(length)
        if len(prompts) >= wanted:
            break
    if not prompts:
        raise ConfigError(
            f"{file}: none of {len(pairs)} conversations has a prompt of {min_tokens} to {max_input} tokens "
            f"and at most {max_total} tokens in all"
        )
    distinct = min(len(prompts), wanted)
    index = np.arange(wanted) % distinct
    return Workload(
        [prompts[i] for i in index.tolist()],
        np.asarray(inputs, dtype=np.int64)[index],
        np.asarray(outputs, dtype=np.int64)[index],
        name="sharegpt",
        parameters={
            "file": file.name,
            "seed": seed,
            "distinct": distinct,
            "dropped": dropped,
            "min_tokens": min_tokens,
            "max_input": max_input,
            "max_total": max_total,
            "output_tokens": output_tokens,
        },
        tokenizer=tokenizer_name(tokenizer),
    )


def custom(
    path: str | PathLike[str],
    n: int | None = None,
    *,
    output_tokens: int | None = None,
    order: str = "in-order",
    tokenizer: TokenizerLike = None,
) -> Workload:
    """JSON lines: `prompt` (text or token ids) or `messages`, and where known `output_tokens` and
    `prompt_tokens`.

    `output_tokens` given here goes over what the lines say; where neither says anything it is 256.
    """
    file = Path(path)
    prompts: list[Prompt] = []
    inputs: list[int] = []
    outputs: list[int] = []
    for number, line in enumerate(_read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        if n is not None and len(prompts) >= n:
            break
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{file}, line {number}: not JSON ({error.msg}); one JSON object a line is wanted"
            ) from None
        if isinstance(entry, str):
            entry = {"prompt": entry}
        prompt = entry.get("messages", entry.get("prompt")) if isinstance(entry, dict) else None
        if not isinstance(prompt, str | list) or not prompt:
            raise ConfigError(f'{file}, line {number}: neither "prompt" nor "messages" in it')
        prompts.append(prompt)
        inputs.append(_field(entry, ("prompt_tokens", "input_tokens", "input_len"), -1, file, number))
        asked = _field(entry, ("output_tokens", "max_tokens", "output_len"), 256, file, number)
        outputs.append(asked if output_tokens is None else output_tokens)
    if not prompts:
        raise ConfigError(f"{file} holds no prompts")
    lengths = np.asarray(inputs, dtype=np.int64)
    unknown = np.flatnonzero(lengths < 0)
    if unknown.size:
        lengths[unknown] = count_tokens(load_tokenizer(tokenizer), [prompts[i] for i in unknown.tolist()])
    if n is not None and len(prompts) < n:
        index = np.arange(n) % len(prompts)
        distinct = len(prompts)
        prompts = [prompts[i] for i in index.tolist()]
        lengths = lengths[index]
        outputs = [outputs[i] for i in index.tolist()]
    else:
        distinct = len(prompts)
    return Workload(
        prompts,
        lengths,
        np.asarray(outputs, dtype=np.int64),
        order=order,
        name="custom",
        parameters={"file": file.name, "distinct": distinct},
        tokenizer=tokenizer_name(tokenizer),
    )


# Files


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"no file {file}: --dataset-path must name one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from None


def _read_json(file: Path) -> list[Any]:
    text = _read_text(file)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file} is not JSON: {error}") from None
    if not isinstance(data, list):
        raise ConfigError(f"{file}: a JSON list of conversations is wanted")
    return data


def _first_turns(entry: Any) -> tuple[str, str] | None:
    turns = entry.get("conversations", entry.get("conversation")) if isinstance(entry, Mapping) else None
    if not isinstance(turns, list) or len(turns) < 2:
        return None
    values = [
        turn.get("value", turn.get("content")) if isinstance(turn, Mapping) else None for turn in turns[:2]
    ]
    question, answer = values
    return (question, answer) if isinstance(question, str) and isinstance(answer, str) else None


def _field(entry: Any, names: tuple[str, ...], default: int, file: Path, line: int) -> int:
    for name in names:
        value = entry.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(
                f"{file}, line {line}: {name} must be a whole number of at least 1, not {value!r}"
            )
        return value
    return default


def _uniform(chance: np.random.Generator, middle: int, ratio: float, n: int) -> Lengths:
    low, high = max(1, int(middle * (1 - ratio))), int(middle * (1 + ratio))
    return chance.integers(low, max(low, high) + 1, n)


def _at_least(name: str, value: Any, least: int) -> None:
    if not isinstance(value, Real) or value != value // 1 or float(value) < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")


def _seed(seed: Any) -> int:
    if not isinstance(seed, Integral) or seed < 0:
        raise ConfigError(f"the seed must be a whole number of at least 0, not {seed!r}")
    return int(seed)


def _mean(lengths: Lengths) -> float | None:
    known = lengths[lengths >= 0]
    return round(float(known.mean()), 1) if known.size else None
