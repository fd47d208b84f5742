"""The presets and the bodies they render."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from llmbench import _core, backends
from llmbench.backends import BACKENDS
from llmbench.backends.template import WIRE_RULES
from llmbench.cli import main
from llmbench.errors import ConfigError

CONVERSATION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def body(backend: str, prompt: Any = "hi", max_tokens: int | None = 8, **options: Any) -> Any:
    rendered = backends.get(backend).render(prompt, max_tokens, **{"model": "m", **options})
    assert isinstance(rendered, bytes)
    return json.loads(rendered)


# What goes over the wire

SHOWN: list[tuple[str, Any, int, dict[str, Any], str]] = [
    (
        "openai",
        "The river",
        64,
        {"sampling": {"temperature": 0, "top_p": 1}},
        (
            '{"model":"m","prompt":"The river","max_tokens":64,"temperature":0,"top_p":1,"stream":true,'
            '"stream_options":{"include_usage":true}}'
        ),
    ),
    (
        "openai-chat",
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why is ice slippery?"},
        ],
        64,
        {},
        (
            '{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":'
            '"Why is ice slippery?"}],"max_completion_tokens":64,"temperature":0,"stream":true,'
            '"stream_options":{"include_usage":true}}'
        ),
    ),
    (
        "openai-responses",
        "The river",
        64,
        {},
        '{"model":"m","input":"The river","max_output_tokens":64,"temperature":0,"store":false,"stream":true}',
    ),
    (
        "anthropic",
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        64,
        {},
        (
            '{"model":"m","max_tokens":64,"system":"Be brief.","messages":[{"role":"user","content":"Why?"}],'
            '"temperature":0,"stream":true}'
        ),
    ),
    (
        "vllm-generate",
        "The river",
        64,
        {"sampling": {"temperature": 1.0, "top_p": 0.9}, "ignore_eos": True},
        '{"prompt":"The river","n":1,"temperature":1.0,"top_p":0.9,"max_tokens":64,"ignore_eos":true,"stream":true}',
    ),
    (
        "tgi",
        "The river",
        64,
        {"sampling": {"temperature": 0.8, "top_p": 0.95}},
        (
            '{"inputs":"The river","parameters":{"max_new_tokens":64,"do_sample":true,"temperature":0.8,'
            '"top_p":0.95,"details":true}}'
        ),
    ),
    (
        "tgi",
        "The river",
        64,
        {"sampling": {"top_p": 1, "top_k": -1}, "stream": False},
        '{"inputs":"The river","parameters":{"max_new_tokens":64,"do_sample":false,"details":true}}',
    ),
    (
        "tgi",
        "The river",
        64,
        {"sampling": {"temperature": 1, "top_p": 1, "top_k": 0}},
        '{"inputs":"The river","parameters":{"max_new_tokens":64,"do_sample":true,"temperature":1,"details":true}}',
    ),
    (
        "tensorrt_llm_triton",
        "The river",
        64,
        {"sampling": {"seed": 7}},
        (
            '{"text_input":"The river","max_tokens":64,"temperature":1.0,"top_p":1.0,"top_k":1,"beam_width":1,'
            '"bad_words":"","stop_words":"","random_seed":7,"stream":true}'
        ),
    ),
    (
        "tensorrt_llm_triton",
        "The river",
        64,
        {"sampling": {"temperature": 0.5}, "ignore_eos": True, "stream": False},
        (
            '{"text_input":"The river","max_tokens":64,"temperature":0.5,"beam_width":1,"bad_words":"",'
            '"stop_words":"","end_id":-1,"stream":false}'
        ),
    ),
    (
        "sglang",
        "The river",
        64,
        {"ignore_eos": True},
        (
            '{"text":"The river","sampling_params":{"max_new_tokens":64,"temperature":0,"ignore_eos":true},'
            '"stream":true}'
        ),
    ),
    (
        "sglang",
        [1, 2],
        64,
        {"sampling": {"top_k": 5}},
        '{"input_ids":[1,2],"sampling_params":{"max_new_tokens":64,"temperature":0,"top_k":5},"stream":true}',
    ),
    (
        "llamacpp",
        "The river",
        64,
        {"ignore_eos": True},
        (
            '{"prompt":"The river","n_predict":64,"temperature":0,"ignore_eos":true,"cache_prompt":false,'
            '"stream":true}'
        ),
    ),
    (
        "llamacpp",
        "The river",
        64,
        {"sampling": {"repetition_penalty": 1.1, "min_p": 0.1}},
        (
            '{"prompt":"The river","n_predict":64,"temperature":0,"repeat_penalty":1.1,"min_p":0.1,'
            '"cache_prompt":false,"stream":true}'
        ),
    ),
    (
        "ollama",
        "The river",
        64,
        {"model": "tiny", "sampling": {"seed": 1, "num_ctx": 2048}},
        (
            '{"model":"tiny","prompt":"The river","stream":true,"raw":true,"keep_alive":"10m","options":'
            '{"num_predict":64,"temperature":0,"seed":1,"num_ctx":2048}}'
        ),
    ),
    (
        "ollama-chat",
        "Why?",
        64,
        {"stream": False},
        (
            '{"model":"m","messages":[{"role":"user","content":"Why?"}],"stream":false,"keep_alive":"10m",'
            '"options":{"num_predict":64,"temperature":0}}'
        ),
    ),
    (
        "fastgen-rest",
        "The river",
        64,
        {"ignore_eos": True, "sampling": {"temperature": None}},
        '{"prompts":["The river"],"max_length":1024,"max_new_tokens":64,"ignore_eos":true}',
    ),
    (
        "fastgen-rest",
        "The river",
        None,
        {"sampling": {"temperature": 1, "top_p": 0.9}},
        '{"prompts":["The river"],"temperature":1.0,"top_p":0.9}',
    ),
    (
        "mii-generate",
        "The river",
        64,
        {"sampling": {"temperature": 1}},
        '{"prompt":"The river","max_tokens":64,"temperature":1,"stream":true}',
    ),
    (
        "mii-openai",
        "The river",
        64,
        {},
        '{"model":"m","prompt":"The river","max_tokens":64,"temperature":0,"stream":true}',
    ),
    (
        "aml",
        "The river",
        64,
        {"sampling": {"temperature": 0.7, "top_p": 0.9}},
        (
            '{"input_data":{"input_string":["The river"],"parameters":{"max_tokens":64,"temperature":0.7,'
            '"top_p":0.9,"do_sample":true,"return_full_text":false}}}'
        ),
    ),
    (
        "aml",
        [{"role": "user", "content": "Why?"}],
        64,
        {},
        (
            '{"input_data":{"input_string":[{"role":"user","content":"Why?"}],"parameters":{"max_tokens":64,'
            '"do_sample":false,"return_full_text":false}}}'
        ),
    ),
    (
        "azure-maas-chat",
        "Why?",
        64,
        {"model": None, "stream": False},
        '{"messages":[{"role":"user","content":"Why?"}],"max_tokens":64,"temperature":0,"stream":false}',
    ),
    (
        "azure-content-safety",
        "a sentence to check",
        None,
        {},
        (
            '{"text":"a sentence to check","categories":["Hate","SelfHarm","Sexual","Violence"],'
            '"blocklistNames":[],"haltOnBlocklistHit":false,"outputType":"FourSeverityLevels"}'
        ),
    ),
    (
        "naive_transformers",
        "The river",
        198,
        {"sampling": {"top_k": 10}},
        '{"instances":[{"prompt":"The river","max_length":200,"top_k":10}]}',
    ),
    ("jetstream", "The river", 64, {"stream": False}, '{"prompt":"The river","max_tokens":64}'),
    (
        "jetstream",
        "The river",
        64,
        {},
        '{"prompt":"The river","max_tokens":64,"stream":true}',
    ),
    ("jetstream-v1", "The river", 64, {}, '{"max_tokens":64,"text_content":{"text":"The river"}}'),
    ("jetstream-v1", [1, 2], 64, {}, '{"max_tokens":64,"token_content":{"token_ids":[1,2]}}'),
    (
        "sax",
        "The river",
        64,
        {"model": "/sax/x/y", "sampling": {"top_p": 1, "top_k": 50}},
        (
            '{"model":"/sax/x/y","prompt":"The river","n":1,"best_of":1,"use_beam_search":false,"temperature":0,'
            '"top_p":1,"top_k":50,"max_tokens":64,"stream":false}'
        ),
    ),
]


@pytest.mark.parametrize(
    ("name", "prompt", "max_tokens", "options", "expected"),
    SHOWN,
    ids=[f"{row[0]}-{i}" for i, row in enumerate(SHOWN)],
)
def test_bodies_to_the_byte(
    name: str, prompt: Any, max_tokens: int | None, options: dict[str, Any], expected: str
) -> None:
    fields = {"model": "m", **options}
    backend = backends.get(name)
    assert backend.render(prompt, max_tokens, **fields).decode() == expected
    assert backend.renderer(**fields)(prompt, max_tokens).decode() == expected
    assert json.loads(expected)  # else the row itself is wrong


def test_a_body_in_grpc() -> None:
    """The bytes of the wire, prefix included: one prompt, and arguments of each kind."""
    backend = backends.get("fastgen")
    sent = backend.render(
        "Hi there",
        4,
        model=None,
        ignore_eos=True,
        sampling={"top_p": 0.5, "temperature": None},
        extra_body={"query_kwargs": {"max_length": None}},
    )
    assert sent[:5] == b"\0" + (len(sent) - 5).to_bytes(4, "big")
    assert bytes.fromhex("0a084869207468657265") in sent
    for entry in (
        "12100a0a69676e6f72655f656f7312022001",
        "12140a0e6d61785f6e65775f746f6b656e7312021004",
        "120e0a05746f705f7012051d0000003f",
        "120c0a0673747265616d12022001",
    ):
        assert bytes.fromhex(entry) in sent
    assert b"max_length" not in sent
    whole = backend.render("Hi there", 4, model=None, stream=False)
    assert b"stream" not in whole


def test_every_name_has_a_preset() -> None:
    assert list(BACKENDS) == [preset.name for preset in BACKENDS.values()]
    for alias, name in backends.ALIASES.items():
        assert alias not in BACKENDS
        assert backends.get(alias) is BACKENDS[name]


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "template"])
def test_presets_are_complete(name: str) -> None:
    preset = BACKENDS[name]
    assert preset.path.startswith("/")
    assert preset.description
    assert preset.quirks or preset.name == "sim"
    assert preset.streams or preset.whole
    assert pickle.loads(pickle.dumps(preset)) == preset
    assert {preset, preset}
    prompt = "The river" if "text" in preset.takes else [{"role": "user", "content": "The river"}]
    for stream in (True, False):
        assert preset.render(prompt, 8, model="m", stream=stream)
    if preset.messages_preset:
        assert BACKENDS[preset.messages_preset].chat


@pytest.mark.parametrize("name", ["tgi", "ollama", "anthropic", "aml", "mii-openai", "jetstream"])
def test_what_cannot_be_forced_is_said(name: str) -> None:
    with pytest.raises(ConfigError, match="no way to ignore EOS"):
        backends.get(name).render("x", 8, model="m", ignore_eos=True)


@pytest.mark.parametrize(
    ("name", "field"),
    [("tgi", "min_p"), ("jetstream", "temperature"), ("sax", "seed"), ("azure-content-safety", "top_p")],
)
def test_sampling_that_a_server_does_not_have_is_refused(name: str, field: str) -> None:
    with pytest.raises(ConfigError, match=f"has no {field}"):
        backends.get(name).render("x", 8, model="m", sampling={field: 1})


def test_limits_on_prompt_and_output_know_the_prompt() -> None:
    rendered = backends.get("naive_transformers").renderer(model=None)
    assert json.loads(rendered("x" * 400, 10, 55))["instances"][0]["max_length"] == 65
    assert json.loads(rendered("x" * 400, 10, -1))["instances"][0]["max_length"] == 110
    assert json.loads(rendered("y" * 400, 10, 56))["instances"][0]["max_length"] == 66
    fastgen = json.loads(backends.get("fastgen-rest").renderer(model=None)("x", 100, 3000))
    assert fastgen["max_length"] == 6100


@pytest.mark.parametrize(
    ("name", "stream", "path"),
    [
        ("tgi", True, "/generate_stream"),
        ("tgi", False, "/generate"),
        ("tensorrt_llm_triton", True, "/v2/models/a%2Fb/generate_stream"),
        ("tensorrt_llm_triton", False, "/v2/models/a%2Fb/generate"),
        ("fastgen", True, "/modelresponse.ModelResponse/GeneratorReplyStream"),
        ("fastgen", False, "/modelresponse.ModelResponse/GeneratorReply"),
        ("vllm", False, "/v1/completions"),
        ("fastgen-rest", True, "/mii/a%2Fb"),
    ],
)
def test_paths(name: str, stream: bool, path: str) -> None:
    preset = backends.get(name)
    assert preset.with_names(preset.path_of(stream), model="a/b") == path


def test_names_in_paths_are_wanted() -> None:
    with pytest.raises(ConfigError, match="give --deployment NAME"):
        backends.get("fastgen-rest").with_names("/mii/${deployment}")
    assert backends.get("tensorrt_llm_triton").with_names("/${model}") == "/ensemble"


# What they share


@pytest.mark.parametrize("name", ["openai", "openai-completions", "vllm", "sim"])
def test_completions(name: str) -> None:
    assert BACKENDS[name].path == "/v1/completions"
    assert body(name) == {
        "model": "m",
        "prompt": "hi",
        "max_tokens": 8,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("name", ["openai-chat", "vllm-chat"])
def test_chat(name: str) -> None:
    assert BACKENDS[name].path == "/v1/chat/completions"
    assert body(name) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 8,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert body(name, CONVERSATION)["messages"] == CONVERSATION


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stream": False}, {"stream": False, "stream_options": None}),
        ({"ignore_eos": True}, {"ignore_eos": True}),
        ({"sampling": {"temperature": 0.7, "top_p": 0.9}}, {"temperature": 0.7, "top_p": 0.9}),
        ({"sampling": {"temperature": None}}, {"temperature": None}),
        ({"model": None}, {"model": None}),
        ({"extra_body": {"n": 2, "temperature": 1}}, {"n": 2, "temperature": 1}),
        ({"extra_body": {"stream_options": None}}, {"stream_options": None, "stream": True}),
        (
            {"extra_body": {"stream_options": {"continuous_usage_stats": True}}},
            {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        ),
    ],
)
def test_options(options: dict[str, Any], expected: dict[str, Any]) -> None:
    rendered = body("vllm", **options)
    assert {name: rendered.get(name) for name in expected} == expected


def test_no_limit_is_no_field() -> None:
    assert "max_tokens" not in body("openai", max_tokens=None)


def test_token_ids_and_odd_text_survive() -> None:
    assert body("openai", [1, 2, 3])["prompt"] == [1, 2, 3]
    text = '\u2028 \x00 "\\ é 漢 \U0001f600'
    assert body("openai", text)["prompt"] == text
    assert backends.get("openai").render("\ud800", 1, model="m").isascii()


@pytest.mark.parametrize(
    ("name", "prompt", "told"),
    [
        ("openai", CONVERSATION, "openai-chat"),
        ("vllm-chat", [1, 2], "token ids"),
        ("vllm", CONVERSATION, "vllm-chat"),
    ],
)
def test_what_a_backend_does_not_take(name: str, prompt: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        body(name, prompt)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean openai-chat"):
        backends.get("open-ai-chat")
    with pytest.raises(ConfigError, match=r"did you mean llama.cpp"):
        backends.get("lama.cpp")
    for far in ("zzz", "nope"):
        with pytest.raises(ConfigError, match="there are openai, "):
            backends.get(far)


def test_a_variant_of_a_preset() -> None:
    variant = dataclasses.replace(BACKENDS["openai-chat"], max_tokens_field="max_tokens")
    assert backends.get(variant) is variant
    assert json.loads(variant.render("hi", 3, model="m"))["max_tokens"] == 3


MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "template"])
@pytest.mark.parametrize(
    "extra", [None, {"prompt": "other", "messages": []}, {"note": "\x00the prompt goes here\x00"}]
)
def test_the_renderer_gives_what_render_gives(name: str, extra: dict[str, object] | None) -> None:
    backend = BACKENDS[name]
    fields = {"model": "m", "extra_body": None if backend.encode else extra}
    render = backend.renderer(**fields)
    prompts: list[Any] = ["plain", 'quotes " and \\', "línea\nñ 😀 \u2028"]
    prompts += [MESSAGES] if backend.chat else []
    prompts += [[1, 2, 3]] if "token ids" in backend.takes else []
    for prompt in prompts:
        for max_tokens in (None, 5, 7, 5):
            assert render(prompt, max_tokens) == backend.render(prompt, max_tokens, **fields)


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "template"])
def test_bodies_are_what_render_gives(name: str) -> None:
    backend = BACKENDS[name]
    fields = {"model": "m", "seed": 3}
    nasty = ["", '"', '", ', ', "', '"\n"', "\n", "\\", '\\"', "línea\nñ 😀 \u2028", "[]", '", "']
    nasty += ["\ud800"] if backend.encode is None else []
    texts: list[Any] = [*nasty, *reversed(nasty), *(f"prompt {i}" for i in range(1100))]
    mixed: list[Any] = [*texts[:5], MESSAGES if backend.chat else [1, 2], *texts[5:9]]
    for prompts in (texts, mixed) if "token ids" in backend.takes or backend.chat else (texts,):
        asked = [(None, 5, 7)[i % 3] for i in range(len(prompts))]
        lengths = [4 + i % 2 for i in range(len(prompts))]
        assert backend.bodies(prompts, asked, lengths, **fields) == [
            backend.render(*each, **fields) for each in zip(prompts, asked, lengths, strict=True)
        ]


# The command


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in [*BACKENDS, *backends.ALIASES]:
        assert any(name in line for line in lines)
    assert "tgi                  yes     yes  generated_tokens  yes    –      yes" in lines


@pytest.mark.parametrize("name", list(BACKENDS))
def test_all_about_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends", name]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: {BACKENDS[name].description}")
    assert BACKENDS[name].path in said
    words = " ".join(said.split())
    for quirk in BACKENDS[name].quirks:
        assert " ".join(quirk.split()) in words


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert list(listed) == list(BACKENDS)
    assert listed["aml"]["ttft"] is False
    assert listed["tgi"]["tokens_from"] == "generated_tokens"
    assert listed["tgi"]["ignore_eos"] is None
    assert listed["tensorrt_llm_triton"]["aliases"] == ["tensorrt-llm", "tensorrt_llm", "triton"]
    assert main(["backends", "tigi"]) == 2
    assert "did you mean tgi?" in capsys.readouterr().err


PAGE = Path(__file__).parents[2] / "docs" / "backends.md"


def test_the_page_has_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends", "--markdown"]) == 0
    assert capsys.readouterr().out in PAGE.read_text(), "llmbench backends --markdown prints the table anew"


def test_the_page_tells_of_every_backend() -> None:
    below = PAGE.read_text().partition("## The servers")[2]
    for name, preset in BACKENDS.items():
        if name not in ("openai-completions", "fastgen-grpc", "template"):
            assert f"`{name}`" in below, name
        assert not preset.start or preset.start.split()[0] in below


def test_the_core_knows_every_format() -> None:
    formats = {each["name"]: each for each in _core.wire_formats()}
    for preset in BACKENDS.values():
        assert preset.wire_format in formats
        if preset.name == "template":
            continue
        known = formats[preset.wire_format]
        assert preset.streams == known["streams"], preset.name
        assert preset.whole != known["always_streams"], preset.name


def test_templates_take_every_rule_of_the_core() -> None:
    """What the core calls a rule it does not know lists those it does."""
    with pytest.raises(_core.CoreError) as caught:
        _core.check_wire_rules("template", '{"no-such-rule": 1}')
    known = str(caught.value).partition("known are ")[2].split(", ")
    assert set(known) == set(WIRE_RULES)
