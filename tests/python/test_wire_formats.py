"""The wire formats as Python sees them, and as docs/wire-formats.md tells of them."""

import json
import re
from pathlib import Path

import pytest

from llmbench import _core

DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire-formats.md").read_text(encoding="utf-8")


def documented_names() -> list[str]:
    table = DOCUMENT.split("## The named formats")[1].split("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_document_lists_every_format() -> None:
    names = [str(wire_format["name"]) for wire_format in _core.wire_formats()]
    assert sorted(documented_names()) == sorted(set(names) - {"template"})


def test_formats_say_what_they_can() -> None:
    formats = {str(wire_format["name"]): wire_format for wire_format in _core.wire_formats()}
    assert formats["sglang"]["counts"] == "cumulative"
    assert formats["ollama"]["framing"] == "ndjson"
    assert formats["jetstream-v1"]["always_streams"] is True
    assert formats["aml"]["streams"] is False
    assert formats["vllm-generate"]["finish_reasons"] is False
    assert formats["llamacpp"]["end"] == "/stop=true"


def test_documented_rules_are_rules() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert json.loads(example)["framing"] == "ndjson"
    _core.check_wire_rules("template", example)


@pytest.mark.parametrize(
    ("name", "rules", "message"),
    [
        ("openai", "", "wire format is 'openai'; it must be one of openai-completions"),
        ("template", "", "'template' needs rules"),
        ("tgi", '{"txt": "/a"}', "wire rule txt is unknown"),
        ("triton", '{"text_mode": "whole"}', "one of delta, cumulative, auto"),
    ],
)
def test_wrong_rules_say_what_is_wrong(name: str, rules: str, message: str) -> None:
    with pytest.raises(_core.CoreError, match=re.escape(message)) as caught:
        _core.check_wire_rules(name, rules)
    assert caught.value.code == "config"


def test_overrides_are_rules() -> None:
    _core.check_wire_rules("triton", '{"text_mode": "cumulative", "strip_prompt": true}')


def test_guesses_a_format() -> None:
    assert _core.guess_wire_format(b'data: {"token":{"text":"a"},"generated_text":null}\n\n') == ["tgi"]
    assert _core.guess_wire_format(b"\xff\x00") == []
