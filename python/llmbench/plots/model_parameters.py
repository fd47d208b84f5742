"""How many parameters of a model a token passes: what its arithmetic is counted by.

Of a mixture of experts only the shared layers and the chosen experts count, not the whole of what its name says.
"""

from __future__ import annotations

import math
import re

from llmbench.errors import ConfigError

# Billions; each is found as a word of the name, so that fine-tuned models are found too. Only what names do not tell,
# or tell roughly.
_BILLIONS: tuple[tuple[str, float], ...] = (
    (r"mixtral[-_]?8x7b|8x7b", 12.88),
    (r"mixtral[-_]?8x22b|8x22b", 39.15),
    (r"llama-?2-7b", 6.74),
    (r"llama-?(2-)?13b", 13.02),
    (r"llama-?2-70b", 68.98),
    (r"llama-3(\.1)?-8b", 8.03),
    (r"llama-3(\.[13])?-70b", 70.55),
    (r"llama-3\.1-405b", 405.85),
    (r"llama-3\.2-1b", 1.24),
    (r"llama-3\.2-3b", 3.21),
    (r"llama-4-(scout|maverick)", 17.17),
    (r"falcon-40b", 41.84),
    (r"falcon-180b", 179.52),
    (r"phi-?2", 2.78),
    (r"phi-?3-mini", 3.82),
    (r"phi-?3-medium", 13.96),
    (r"phi-?4", 14.66),
    (r"phi-?3\.5-moe", 6.6),
    (r"mistral-7b", 7.25),
    (r"mistral-small-24b", 23.57),
    (r"mistral-nemo", 12.25),
    (r"mistral-large", 122.61),
    (r"qwen2\.5-7b", 7.62),
    (r"qwen2\.5-32b", 32.76),
    (r"qwen2\.5-72b", 72.71),
    (r"qwen3-8b", 8.19),
    (r"qwen3-32b", 32.76),
    (r"gemma-3-27b", 27.43),
    (r"gpt-oss-20b", 3.61),
    (r"gpt-oss-120b", 5.13),
    (r"deepseek-(v3(\.\d)?|r1)(?!-distill)", 37.0),
    (r"deepseek-v2-lite", 2.4),
    (r"deepseek-v2(?!-lite)", 21.0),
    (r"dbrx", 36.0),
)
_TABLE = tuple(
    (re.compile(rf"(?<![a-z0-9.])(?:{name})(?![a-z0-9]|\.\d)"), billions) for name, billions in _BILLIONS
)
# As in Qwen3-30B-A3B, which has 30 billion and uses 3 of them.
_ACTIVE = re.compile(r"-a(\d+(?:\.\d+)?)b(?![a-z0-9])")
_EXPERTS = re.compile(r"(?<![\d.])\d+x\d+(?:\.\d+)?[bm](?![a-z0-9])")
_SIZE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")
_UNITS = {"": 1e9, "m": 1e6, "b": 1e9, "t": 1e12}


def parameters_of(model: str) -> float:
    """The parameters that a token of this model passes, from the table or from what its name says.

    Raises ConfigError when neither tells.
    """
    name = model.lower()
    for pattern, billions in _TABLE:
        if pattern.search(name):
            return billions * 1e9
    active = _ACTIVE.search(name)
    if active:
        return float(active[1]) * 1e9
    # The organisation may have a number in its name, too.
    base = name.rpartition("/")[2]
    if _EXPERTS.search(base):
        raise ConfigError(
            f"the name {model} does not tell how many parameters a token passes in this mixture of experts: give them "
            "with --parameters, such as 12.9B"
        )
    size = _SIZE.search(base)
    if size:
        return float(size[1]) * _UNITS[size[2]]
    raise ConfigError(
        f"the name {model} does not tell how many parameters it has: give them with --parameters, such as 7B"
    )


def parse_parameters(text: str) -> float:
    """A number of parameters: `7`, `6.7B`, `350M` (billions without a unit) or the number itself, `6738415616`.

    Raises ValueError.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*([mbt]?)", text.strip().lower())
    if match is None or not 0 < float(match[1]) < math.inf:
        raise ValueError(text)
    number = float(match[1])
    return number if not match[2] and number >= 1e6 else number * _UNITS[match[2]]


def shown(parameters: float) -> str:
    """6.74 B, 350 M."""
    for unit, size in (("T", 1e12), ("B", 1e9)):
        if parameters >= size:
            return f"{parameters / size:.3g} {unit}"
    return f"{parameters / 1e6:.3g} M"
