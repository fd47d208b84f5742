"""The command line's own argparse, and the kinds of values that flags have.

Nothing here imports NumPy or pydantic: `--help` must come at once.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from llmbench.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """argparse that takes `-` and `_` alike, names the nearest flag for an unknown one, and raises instead
    of exiting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _Formatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} ({self.prog} --help lists the flags)")

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._spelled(given), namespace)

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown))
        return parsed

    def _spelled(self, args: list[str]) -> list[str]:
        """The arguments with each flag spelled as it was declared."""
        declared = {option.replace("_", "-"): option for option in self._option_string_actions}
        result: list[str] = []
        for i, argument in enumerate(args):
            if argument == "--":
                return result + args[i:]
            flag, equals, value = argument.partition("=")
            if flag.startswith("--"):
                flag = declared.get(flag.replace("_", "-"), flag)
            result.append(flag + equals + value)
        return result

    def _unknown(self, unknown: list[str]) -> str:
        argument = next((each for each in unknown if each.startswith("-") and not _is_number(each)), None)
        if argument is None:
            return f"unexpected argument {unknown[0]!r}"
        flag = argument.partition("=")[0]
        near = difflib.get_close_matches(flag.replace("_", "-"), self._option_string_actions, n=1, cutoff=0.5)
        return f"unknown flag {flag}" + (f": did you mean {near[0]}?" if near else "")


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str, **kwargs: Any) -> None:
        kwargs.setdefault("max_help_position", 34)
        super().__init__(prog, **kwargs)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """`--a, --b N`: with the value once, as Python 3.13 has it, so that several spellings fit a line."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if text is None or action.default in (None, False, argparse.SUPPRESS, [], "") or "default" in text:
            return text
        if not action.option_strings or action.nargs == 0:
            return text
        return (
            f"{text} (default {action.default:g})"
            if isinstance(action.default, float)
            else f"{text} (default %(default)s)"
        )

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Examples and other texts of several lines as they stand."""
        return text if "\n" in text else super()._fill_text(text, width, indent)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# Kinds of values. Each says what it wanted when it cannot take what it got.


def _checked(wanted: str, convert: Callable[[str], Any], fits: Callable[[Any], bool]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
        return value

    return parse


def _is_finite(value: float) -> bool:
    return math.isfinite(value)


count = _checked("a whole number of at least 1", int, lambda value: value >= 1)
whole = _checked("a whole number of at least 0", int, lambda value: value >= 0)
seconds = _checked("a number of seconds, 0 or more", float, lambda value: _is_finite(value) and value >= 0)
positive = _checked("a number above 0", float, lambda value: _is_finite(value) and value > 0)
amount = _checked("a number of at least 0", float, lambda value: _is_finite(value) and value >= 0)
number = _checked("a number", float, _is_finite)
share = _checked("a share from 0 to 1", float, lambda value: 0 <= value <= 1)
ratio = _checked("a number of at least 0 and below 1", float, lambda value: 0 <= value < 1)
rate = _checked("a request rate above 0 (per second), or inf", float, lambda value: value > 0)
port = _checked("a port from 1 to 65535", int, lambda value: 1 <= value <= 65535)


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        # The text may hold a secret, so it is not repeated.
        raise argparse.ArgumentTypeError("KEY=VALUE is wanted")
    return key.strip(), value.strip()


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is wanted: '{\"field\": value}'")
    return value


def percentiles(text: str) -> tuple[float, ...]:
    """50,90,99.9."""
    try:
        values = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of percentiles such as 50,90,99") from None
    if not values or not all(0 < value < 100 for value in values):
        raise argparse.ArgumentTypeError(
            f"{text!r}: percentiles are above 0 and below 100, separated by commas"
        )
    return tuple(dict.fromkeys(values))


METRICS = ("ttft", "tpot", "itl", "e2el")


def metrics(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in METRICS:
            raise argparse.ArgumentTypeError(f"unknown metric {name!r}: there are {', '.join(METRICS)}")
    if not names:
        raise argparse.ArgumentTypeError(f"at least one of {', '.join(METRICS)} is wanted")
    return names


GOODPUT_METRICS = ("ttft", "tpot", "e2el")


def slo_limit(text: str) -> tuple[str, float]:
    """ttft:200, a limit per request in milliseconds."""
    name, _, limit = text.partition(":")
    if name not in GOODPUT_METRICS:
        raise argparse.ArgumentTypeError(f"unknown metric {name!r}: there are {', '.join(GOODPUT_METRICS)}")
    try:
        value = float(limit)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: METRIC:MILLISECONDS is wanted, such as ttft:200")
    return name, value


def gate(text: str) -> str:
    """p99_ttft_ms<=500, a condition on the summary."""
    if not re.fullmatch(r"\s*\w[\w.]*\s*(<=|>=|<|>)\s*[-+0-9.eE]+\s*", text) or not _is_number(
        re.split(r"[<>]=?", text)[1]
    ):
        raise argparse.ArgumentTypeError(f"{text!r}: KEY<=NUMBER is wanted, such as 'p99_ttft_ms<=500'")
    return "".join(text.split())


def until_ci(text: str) -> str:
    """ttft_p99:3%, a number and how well it is to be known."""
    from llmbench.precision import Target

    try:
        return Target.parse(text).text
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("until_ci ")) from None
