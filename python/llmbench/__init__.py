"""llmbench measures LLM inference servers from the outside.

    import llmbench as lb

    result = lb.run(
        lb.Endpoint("http://127.0.0.1:8000", backend="vllm"),
        lb.workloads.random(input_tokens=512, output_tokens=128, n=1000),
        lb.load.poisson(rate=20),
    )

This file is the catalogue. Everything in it loads when first used, so that `import llmbench` costs next to
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmbench import backends, errors, load, plots, sim, workloads
    from llmbench._core import __version__
    from llmbench.endpoint import Endpoint
    from llmbench.load import Load
    from llmbench.results import Result, load_result
    from llmbench.runner import arun, run
    from llmbench.sweeping import sweep
    from llmbench.workloads import Workload

__all__ = [
    "Endpoint",
    "Load",
    "Result",
    "Workload",
    "__version__",
    "arun",
    "backends",
    "errors",
    "load",
    "load_result",
    "plots",
    "run",
    "sim",
    "sweep",
    "workloads",
]

# Where each name lives; a name that maps to itself is a module.
_HOME = {
    "Endpoint": "endpoint",
    "Load": "load",
    "Result": "results",
    "Workload": "workloads",
    "__version__": "_core",
    "arun": "runner",
    "backends": "backends",
    "errors": "errors",
    "load": "load",
    "load_result": "results",
    "plots": "plots",
    "run": "runner",
    "sim": "sim",
    "sweep": "sweeping",
    "workloads": "workloads",
}


def __getattr__(name: str) -> object:
    import importlib

    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'llmbench' has no attribute {name!r}")
    module = importlib.import_module(f"llmbench.{home}")
    value: object = module if home == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
