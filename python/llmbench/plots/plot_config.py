"""`plot_config.yaml`: how the series of one result directory is drawn.

    label: vLLM 0.11           # instead of the directory's name
    color: "#D55E00"           # anything matplotlib takes
    marker: s
    linestyle: ":"
    polyfit_degree: 2          # 0 joins the points
    x_max: 12                  # points and line beyond are left out
    y_max: 40

Every key may be left out. The keys may also stand under `config:`, as they used to.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from matplotlib.colors import is_color_like
from matplotlib.lines import Line2D

from llmbench.errors import ConfigError

FILE_NAME = "plot_config.yaml"


@dataclass(frozen=True)
class PlotConfig:
    """What a directory asks for; None: as the figure has it."""

    label: str | None = None
    color: str | None = None
    marker: str | None = None
    linestyle: str | None = None
    polyfit_degree: int | None = None
    x_max: float | None = None
    y_max: float | None = None


def read_plot_config(directory: Path) -> PlotConfig:
    """The directory's `plot_config.yaml`; all None without one. Raises ConfigError naming the file and the
    key.
    """
    path = directory / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return PlotConfig()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    values = _parsed(path, text)
    known = [field.name for field in fields(PlotConfig)]
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}"
            raise ConfigError(f"{path}: unknown key {key!r}; {hint}")
        valid, wanted = _CHECKS[key]
        if value is not None and not valid(value):
            raise ConfigError(f"{path}: {key} is {value!r}; it must be {wanted}")
    return PlotConfig(**values)


def _parsed(path: Path, text: str) -> dict[Any, Any]:
    # Only figures with a plot_config.yaml need the parser.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise ConfigError(f"{path} is not YAML{line}: {getattr(error, 'problem', None) or error}") from error
    if isinstance(values, dict) and list(values) == ["config"]:
        values = values["config"]
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; it must hold keys and values")
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_linestyle(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in {str(name).lower() for name in _LINESTYLES}


def _is_marker(value: Any) -> bool:
    return isinstance(value, str) and (
        value in Line2D.markers or (len(value) > 2 and value[0] == value[-1] == "$")
    )


_LINESTYLES = ("-", "--", "-.", ":", "None", "none", "solid", "dashed", "dashdot", "dotted")

_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "label": (lambda value: isinstance(value, str) and value != "", "a text"),
    "color": (
        lambda value: isinstance(value, str) and is_color_like(value),
        "a colour, such as purple or '#D55E00'",
    ),
    "marker": (_is_marker, "one of matplotlib's markers, such as o, s, x or ^"),
    "linestyle": (_is_linestyle, f"one of {' '.join(_LINESTYLES)}"),
    "polyfit_degree": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10,
        "a whole number from 0, which joins the points, to 10",
    ),
    "x_max": (lambda value: _is_number(value) and value > 0, "a number over 0"),
    "y_max": (lambda value: _is_number(value) and value > 0, "a number over 0"),
}
