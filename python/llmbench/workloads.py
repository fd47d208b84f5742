"""What is sent: prompts with their lengths, and the number of output tokens to ask for.

No tokenizer is needed: synthetic prompts are made of common words that count as about one token each, and
what the server reports is the exact count. With a tokenizer the lengths are exact. Every synthetic prompt
differs from the others from its first word on, so that no prefix cache can hit unless a shared prefix was
asked for.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from llmbench.backends import Backend, Prompt
from llmbench.errors import ConfigError, MissingExtraError
from llmbench.vocabulary import WORDS

Lengths = npt.NDArray[np.int64]
Tokenizer: TypeAlias = Any
"""What `tokenizer` may be: a `tokenizers.Tokenizer`, or a path to a tokenizer.json or its directory."""
TokenizerLike: TypeAlias = "str | PathLike[str] | Tokenizer | None"

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
        prompts: list[str] = list(_texts(lengths, seed, prefix_len))
        counted = lengths
    else:
        prompts, counted = _exact_texts(counter, lengths, seed, prefix_len)
    return Workload(
        prompts,
        counted,
        np.asarray(output_tokens, dtype=np.int64),
        name=name,
        parameters=parameters or {},
        tokenizer=_tokenizer_name(tokenizer),
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
        counted: npt.ArrayLike = _count_all(counter, items)
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
        tokenizer=_tokenizer_name(tokenizer),
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
            asked, _count_all(counter, asked).tolist(), _count_all(counter, answers).tolist(), strict=True
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
        tokenizer=_tokenizer_name(tokenizer),
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
        lengths[unknown] = _count_all(load_tokenizer(tokenizer), [prompts[i] for i in unknown.tolist()])
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
        tokenizer=_tokenizer_name(tokenizer),
    )


# Synthetic text

_WIDTH = len(WORDS[0]) + 1
_TABLE = np.frombuffer("".join(f" {word}" for word in WORDS).encode("ascii"), dtype=np.uint8).reshape(
    len(WORDS), _WIDTH
)
_HEAD = 4
"""Words at the start of a prompt that number it."""


def _texts(lengths: Lengths, seed: int, prefix_len: int = 0) -> Iterator[str]:
    """Texts of `lengths` words. The first words of each (after the shared prefix) count in base 256,
    scattered by an odd factor, so that no two are alike; the rest is random."""
    chance = np.random.default_rng([0x74657874, _seed(seed)])
    prefix = np.frombuffer(chance.bytes(max(prefix_len, 1)), dtype=np.uint8)[:prefix_len]
    first, factor = (int(value) for value in chance.integers(0, 1 << 32, 2))
    factor |= 1
    numbers = (np.arange(len(lengths), dtype=np.uint64) * np.uint64(factor) + np.uint64(first)) & np.uint64(
        0xFFFFFFFF
    )
    heads = numbers.astype("<u4").view(np.uint8).reshape(-1, _HEAD)
    # A block at a time: the words of ten thousand long prompts at once would be needless memory.
    for begin in range(0, len(lengths), 512):
        block = lengths[begin : begin + 512]
        offsets = np.concatenate(([0], np.cumsum(block)))
        words = np.frombuffer(chance.bytes(int(offsets[-1])), dtype=np.uint8).copy()
        shared = np.minimum(prefix_len, block)
        if prefix_len:
            for start, length in zip(offsets[:-1].tolist(), shared.tolist(), strict=True):
                words[start : start + length] = prefix[:length]
        own = offsets[:-1] + shared
        for place in range(_HEAD):
            reaches = own + place < offsets[1:]
            words[own[reaches] + place] = heads[begin : begin + len(block), place][reaches]
        text = _TABLE[words].tobytes().decode("ascii")
        places = (offsets * _WIDTH).tolist()
        for start, stop in itertools.pairwise(places):
            yield text[start + 1 : stop]


def _exact_texts(
    counter: Tokenizer, lengths: Lengths, seed: int, prefix_len: int
) -> tuple[list[str], Lengths]:
    """Texts that the tokenizer counts as `lengths` tokens: words are taken from or added to the end until
    it does."""
    special = counter.num_special_tokens_to_add(is_pair=False)
    words = np.maximum(lengths - special, 1)
    texts = list(_texts(words, seed, prefix_len))
    counts = np.zeros(len(texts), dtype=np.int64)
    pending = np.arange(len(texts))
    filler = np.random.default_rng([0x66696C6C, _seed(seed)])
    for attempt in range(16):
        counts[pending] = [
            len(encoding.ids) for encoding in counter.encode_batch([texts[i] for i in pending.tolist()])
        ]
        pending = pending[counts[pending] != np.maximum(lengths[pending], special + 1)]
        if not pending.size or attempt == 15:
            break
        for i in pending.tolist():
            missing = int(lengths[i] - counts[i])
            if missing > 0:
                more = filler.integers(0, len(WORDS), missing).tolist()
                texts[i] = " ".join([texts[i], *(WORDS[word] for word in more)])
            else:
                # Dropping `missing` words drops at least that many tokens; what is too many comes back
                # next time.
                texts[i] = texts[i].rsplit(" ", min(-missing, texts[i].count(" ")))[0]
    return texts, counts


def _uniform(chance: np.random.Generator, middle: int, ratio: float, n: int) -> Lengths:
    low, high = max(1, int(middle * (1 - ratio))), int(middle * (1 + ratio))
    return chance.integers(low, max(low, high) + 1, n)


# Counting tokens


def load_tokenizer(tokenizer: TokenizerLike) -> Tokenizer | None:
    """The tokenizer itself, from wherever it is. Raises ConfigError."""
    if tokenizer is None or not isinstance(tokenizer, str | PathLike):
        return tokenizer
    path = Path(tokenizer)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"no tokenizer at {path}: give a directory with a tokenizer.json, or that file "
            "(a run needs no tokenizer: the server's own counts are used)"
        )
    try:
        from tokenizers import Tokenizer as FastTokenizer
    except ImportError:
        raise MissingExtraError("tokenizers", "a tokenizer") from None
    try:
        loaded: Tokenizer = FastTokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(f"cannot read the tokenizer {file}: {error}") from None
    return loaded


def _tokenizer_name(tokenizer: TokenizerLike) -> str | None:
    if tokenizer is None:
        return None
    return str(tokenizer) if isinstance(tokenizer, str | PathLike) else type(tokenizer).__name__


def _count_all(counter: Tokenizer | None, prompts: Sequence[Prompt]) -> Lengths:
    """Tokens of each prompt; without a tokenizer a quarter of its bytes, which is what English text comes
    to."""
    counts = np.empty(len(prompts), dtype=np.int64)
    texts: list[tuple[int, str]] = []
    for i, prompt in enumerate(prompts):
        if not isinstance(prompt, str) and all(isinstance(part, int) for part in prompt):
            counts[i] = len(prompt)
        else:
            texts.append((i, prompt if isinstance(prompt, str) else _message_text(prompt)))
    if counter is None:
        for i, text in texts:
            counts[i] = max(1, round(len(text.encode("utf-8", "surrogatepass")) / 4))
    elif texts:
        for (i, _), encoding in zip(texts, counter.encode_batch([text for _, text in texts]), strict=True):
            counts[i] = len(encoding.ids)
    return counts


def _message_text(messages: Iterable[Any]) -> str:
    parts: list[str] = []
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, str):
            parts.append(content)
        elif isinstance(content, list):
            parts += [
                piece["text"]
                for piece in content
                if isinstance(piece, Mapping) and isinstance(piece.get("text"), str)
            ]
    return "\n".join(parts)


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
