"""How many parameters a token passes, by the name of the model."""

from __future__ import annotations

import pytest

from llmbench.errors import ConfigError
from llmbench.plots.model_parameters import parameters_of, parse_parameters, shown
from llmbench.sweep_presets import MODELS


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("meta-llama/Llama-2-7b-hf", 6.74),
        ("meta-llama_Llama-2-7b-hf", 6.74),
        ("meta-llama/Llama-2-7b-chat-hf", 6.74),
        ("meta-llama/Llama-13b-hf", 13.02),
        ("meta-llama/Llama-2-13b-hf", 13.02),
        ("meta-llama/Llama-2-70b-hf", 68.98),
        ("NousResearch/Llama-2-70b-hf", 68.98),
        ("mistralai/Mixtral-8x7B-v0.1", 12.88),
        ("NousResearch/Nous-Hermes-2-Mixtral-8x7B-DPO", 12.88),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", 39.15),
        ("tiiuae/falcon-40B", 41.84),
        ("tiiuae/falcon-180B", 179.52),
        ("falcon-180B", 179.52),
        ("microsoft/phi-2", 2.78),
        ("microsoft/phi-4", 14.66),
        ("meta-llama/Llama-3.1-8B-Instruct", 8.03),
        ("meta-llama/Llama-3.1-405B-Instruct-FP8", 405.85),
        ("Qwen/Qwen3-30B-A3B", 3),
        ("Qwen/Qwen3-235B-A22B", 22),
        ("openai/gpt-oss-120b", 5.13),
        ("deepseek-ai/DeepSeek-V3", 37),
        ("deepseek-ai/DeepSeek-V3.1", 37),
        ("deepseek-ai/DeepSeek-R1", 37),
        ("deepseek-ai/DeepSeek-R1-0528", 37),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 7),
        ("Qwen/Qwen1.5-0.5B-Chat", 0.5),
        ("facebook/opt-350m", 0.35),
        ("EleutherAI/pythia-6.9b", 6.9),
        ("acme/tiny-1b", 1),
        ("acme/Qwen7B-8bit", 7),
        ("7b-labs/model-3b", 3),
    ],
)
def test_known_names(model: str, billions: float) -> None:
    assert parameters_of(model) == pytest.approx(billions * 1e9)


@pytest.mark.parametrize("model", ["gpt2-xl", "", "acme/model-8bit", "acme/phi-2.5", "7b-labs/model"])
def test_names_that_do_not_tell(model: str) -> None:
    with pytest.raises(ConfigError, match="--parameters, such as 7B"):
        parameters_of(model)


def test_an_unknown_mixture_is_not_taken_for_one_expert() -> None:
    with pytest.raises(ConfigError, match="a token passes in this mixture of experts"):
        parameters_of("acme/Moe-4x13B")


def test_every_preset_of_the_sweep_is_known() -> None:
    assert all(1e9 <= parameters_of(model) <= 5e11 for model in MODELS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7e9),
        ("6.7B", 6.7e9),
        ("350m", 3.5e8),
        ("1.5 T", 1.5e12),
        ("6738415616", 6738415616),
        ("7e9", 7e9),
    ],
)
def test_parse(text: str, value: float) -> None:
    assert parse_parameters(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "B", "-7B", "0", "7 x", "nan", "inf", "1e999"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_parameters(text)


@pytest.mark.parametrize(("value", "text"), [(6.74e9, "6.74 B"), (3.5e8, "350 M"), (1.2e12, "1.2 T")])
def test_shown(value: float, text: str) -> None:
    assert shown(value) == text
