"""What the installed package promises about itself: its version, what it needs, and how little an import loads."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmbench
from llmbench import _core

ROOT = Path(__file__).parents[2]


def _first(pattern: str, path: str) -> str:
    found = re.search(pattern, (ROOT / path).read_text(), re.M)
    assert found, f"{path} has no {pattern}"
    return found[1]


def test_the_version_is_the_same_everywhere() -> None:
    version = _first(r'^version = "(.+)"$', "pyproject.toml")
    assert llmbench.__version__ == version
    assert _core.__version__ == version
    assert importlib.metadata.version("llmbench") == version
    assert _first(r"^version: (.+)$", "CITATION.cff") == version


def test_the_core_install_is_light() -> None:
    needed = {
        re.split(r"[ ;<>=!~\[]", requirement)[0].lower()
        for requirement in importlib.metadata.requires("llmbench") or []
        if "extra ==" not in requirement
    }
    assert needed == {"matplotlib", "numpy", "pydantic", "rich", "ruamel.yaml"}


def test_the_package_is_typed() -> None:
    package = Path(llmbench.__file__).parent
    assert (package / "py.typed").exists()
    assert (package / "_core.pyi").exists()


@pytest.mark.parametrize(
    "code",
    [
        "import llmbench",
        "from llmbench.cli import main; main(['--help'])",
        "from llmbench.cli import main; main(['run', '--help'])",
    ],
)
def test_what_is_heavy_loads_when_first_used(code: str) -> None:
    heavy = "{'numpy', 'pydantic', 'matplotlib', 'pandas', 'rich', 'llmbench._core', 'llmbench.runner'}"
    loaded = f"import sys\n{code}\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_module_bears_the_name_of_a_public_function() -> None:
    modules = {path.stem for path in Path(llmbench.__file__).parent.glob("*.py")}
    functions = {name for name in llmbench.__all__ if callable(getattr(llmbench, name))}
    assert not modules & functions


def _imported(tree: ast.AST) -> Iterator[str]:
    """What a module imports at any time, also within functions; not for its types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        else:
            yield from _imported(node)


def test_no_module_needs_itself() -> None:
    """Data flows one way: rows, evaluation, result, report."""
    root = Path(llmbench.__file__).parent
    modules = {
        ".".join(("llmbench", *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__"): file
        for file in root.rglob("*.py")
    }
    needs = {}
    for name, file in modules.items():
        found = set(_imported(ast.parse(file.read_text(encoding="utf-8"))))
        needs[name] = {each if each in modules else each.rpartition(".")[0] for each in found} - {name}
    graphlib.TopologicalSorter(needs).prepare()
