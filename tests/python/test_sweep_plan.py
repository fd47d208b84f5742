"""From flags to the list of measurements, as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmbench.errors import ConfigError
from llmbench.sweep_plan import ServerSettings, SweepSpec, differences, plan
from llmbench.sweep_presets import MODELS, SWEEPS, preset_of


def test_a_bare_sweep_takes_the_general_defaults() -> None:
    spec = SweepSpec.of()
    assert spec.backend == "sim"
    assert not spec.client_only
    assert spec.model == "meta-llama/Llama-2-7b-hf"
    assert (spec.tp_size, spec.max_ragged_batch_size, spec.num_replicas) == ((1,), (768,), (1,))
    assert (spec.mean_prompt_length, spec.mean_max_new_tokens) == ((2600,), (60,))
    assert spec.num_clients == (1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32)
    assert (spec.max_prompt_length, spec.prompt_length_var, spec.max_new_tokens_var) == (4000, 0.3, 0.3)
    assert (spec.warmup, spec.stream, spec.seed) == (1, False, 42)
    assert (spec.temperature, spec.top_p, spec.n, spec.ignore_eos) == (1.0, 0.9, 1, False)
    assert spec.deployment_name == "benchmark-deployment"
    assert spec.result_dir == Path("results_sim")


@pytest.mark.parametrize(
    ("model", "tp_size", "prompts", "generations", "longest"),
    [
        ("meta-llama/Llama-2-7b-hf", (1,), (1200, 2600), (60, 128), 4000),
        ("meta-llama/Llama-13b-hf", (1, 2, 4), (1200, 2600), (60, 128), 4000),
        ("meta-llama/Llama-2-13b-hf", (1, 2, 4), (1200, 2600), (60, 128), 4000),
        ("meta-llama/Llama-2-70b-hf", (4, 8), (1200, 2600), (60, 128), 4000),
        ("mistralai/Mixtral-8x7B-v0.1", (4,), (1200, 2600), (60, 128), 4000),
        ("tiiuae/falcon-40B", (2, 4), (1200, 1900), (60, 128), 2000),
        ("tiiuae/falcon-180B", (8,), (1200, 1900), (60, 128), 2000),
        ("falcon-180B", (8,), (1200, 1900), (60, 128), 2000),
        ("microsoft/phi-2", (1,), (1200, 1900), (60, 128), 2000),
        ("MICROSOFT/PHI-2", (1,), (1200, 1900), (60, 128), 2000),
        ("someone/unknown", (1,), (2600,), (60,), 4000),
    ],
)
def test_naming_a_model_takes_its_preset(
    model: str, tp_size: tuple[int, ...], prompts: tuple[int, ...], generations: tuple[int, ...], longest: int
) -> None:
    spec = SweepSpec.of(model=model)
    assert spec.model == model
    assert (spec.tp_size, spec.mean_prompt_length, spec.mean_max_new_tokens) == (
        tp_size,
        prompts,
        generations,
    )
    assert spec.max_prompt_length == longest


@pytest.mark.parametrize("model", MODELS)
def test_every_preset_makes_a_plan(model: str) -> None:
    spec = SweepSpec.of(model=model)
    assert len(plan(spec)) == len(preset_of(model).tp_sizes)


def test_flags_win_over_the_preset_and_only_those_given() -> None:
    spec = SweepSpec.of(
        model="meta-llama/Llama-2-70b-hf", tp_size=[2], mean_prompt_length=100, num_clients=None
    )
    assert (spec.tp_size, spec.mean_prompt_length, spec.mean_max_new_tokens) == ((2,), (100,), (60, 128))
    assert len(spec.num_clients) == 11


def test_the_only_model_of_a_running_server_names_the_results_without_a_preset() -> None:
    spec = SweepSpec.of(backend="openai", served_model="microsoft/phi-2")
    assert (spec.model, spec.mean_prompt_length, spec.client_only) == ("microsoft/phi-2", (2600,), True)
    assert SweepSpec.of(backend="openai", model="m", served_model="other").model == "m"


@pytest.mark.parametrize(
    ("out_json_dir", "backend", "expected"),
    [
        ("./results/", "sim", "results_sim"),
        ("results", "vllm-chat", "results_vllm-chat"),
        ("/data/run1/", "openai", "/data/run1_openai"),
        (".", "sim", "results_sim"),
        ("..", "sim", "../results_sim"),
    ],
)
def test_where_results_go(out_json_dir: str, backend: str, expected: str) -> None:
    assert SweepSpec.of(backend=backend, out_json_dir=out_json_dir).result_dir == Path(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tp_size": 0}, r"--tp_size must be whole numbers of at least 1, not 0"),
        ({"num_clients": [4, -1]}, r"--num_clients must be whole numbers of at least 1, not -1"),
        ({"num_clients": []}, r"--num_clients needs at least one value"),
        ({"mean_prompt_length": [1.5]}, r"--mean_prompt_length must be whole numbers .* not 1\.5"),
        ({"num_requests": 0}, r"--num_requests must be a whole number of at least 1, not 0"),
        ({"warmup": -1}, r"--warmup must be a whole number of at least 0, not -1"),
        ({"prompt_length_var": -0.1}, r"--prompt_length_var must be 0 or more, not -0\.1"),
        ({"max_new_tokens_var": float("nan")}, r"--max_new_tokens_var must be 0 or more, not nan"),
        ({"top_p": 1.5}, r"--top_p must be between 0 and 1, not 1\.5"),
        (
            {"mean_prompt_length": [500, 5000]},
            r"--mean_prompt_length 5000 is over --max_prompt_length 4000.*raise",
        ),
        ({"backend": "opnai"}, r"unknown backend 'opnai': did you mean openai"),
        (
            {"backend": "openai", "tp_size": [1, 2]},
            r"--tp_size 1 2: a server that is already running .* --tp_size 1$",
        ),
        (
            {"backend": "openai", "model": "meta-llama/Llama-2-70b-hf"},
            r"--tp_size 4 8: a server that is already running",
        ),
        (
            {"client_only": True, "num_replicas": [1, 2]},
            r"--num_replicas 1 2: a server that is already running",
        ),
        ({"model": " "}, r"--model ' ' is no name"),
        ({"model": "m" * 240}, r"--model .* too long"),
        ({"clients": 3}, r"unknown sweep setting 'clients'"),
    ],
)
def test_wrong_settings_are_named_with_their_value(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SweepSpec.of(**given)


def test_a_plan_is_server_settings_times_client_settings() -> None:
    spec = SweepSpec.of(
        tp_size=[1, 2], num_replicas=[1, 2], mean_prompt_length=[500, 600], num_clients=[1, 4, 4], warmup=2
    )
    planned = plan(spec)
    assert [server.settings for server in planned] == [
        ServerSettings("meta-llama/Llama-2-7b-hf", tp, 768, replicas) for tp in (1, 2) for replicas in (1, 2)
    ]
    assert [
        (
            point.combination.prompt_length,
            point.combination.num_clients,
            point.num_requests,
            point.warmup_requests,
        )
        for point in planned[0].points
    ] == [(500, 1, 36, 2), (500, 4, 48, 8), (600, 1, 36, 2), (600, 4, 48, 8)]
    assert planned[0].points[1].ramp_s == pytest.approx(0.04)
    assert planned[3].points[0].combination.file_name == (
        "meta-llama_Llama-2-7b-hf-tp2-bs768-replicas2-prompt500-gen60-clients1.json"
    )


def test_a_given_number_of_requests_holds_for_every_point() -> None:
    (server,) = plan(SweepSpec.of(num_requests=7))
    assert {point.num_requests for point in server.points} == {7}


def test_prompts_differ_between_points_and_not_between_sweeps() -> None:
    first, second = plan(SweepSpec.of()), plan(SweepSpec.of())
    seeds = [point.seed for point in first[0].points]
    assert len(set(seeds)) == len(seeds)
    assert first == second
    other = [point.seed for point in plan(SweepSpec.of(seed=43))[0].points]
    assert not set(other) & set(seeds)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({}, []),
        ({"num_requests": 36, "stream": False, "seed": 42}, []),
        ({"num_requests": None}, []),
        ({"num_requests": 32, "stream": True}, ["num_requests 32, now 36", "stream True, now False"]),
        ({"something": "else"}, []),
    ],
)
def test_what_an_existing_result_was_measured_with(stored: dict[str, Any], expected: list[str]) -> None:
    spec = SweepSpec.of(num_clients=1)
    assert differences(stored, spec, plan(spec)[0].points[0]) == expected


def test_a_random_order_has_the_same_points() -> None:
    given: dict[str, Any] = {"tp_size": [1, 2, 4], "num_clients": [1, 2, 4, 8], "repeats": 2}
    grid, chance = plan(SweepSpec.of(**given)), plan(SweepSpec.of(order="random", **given))
    assert chance == plan(SweepSpec.of(order="random", **given))
    assert chance != plan(SweepSpec.of(order="random", seed=7, **given))
    assert [server.settings for server in chance] != [server.settings for server in grid]
    of_settings = {server.settings: server.points for server in chance}
    for server in grid:
        shuffled = of_settings[server.settings]
        assert set(shuffled) == set(server.points)
        assert shuffled != server.points


def test_repeats_come_round_by_round_with_prompts_of_their_own() -> None:
    [server] = plan(SweepSpec.of(num_clients=[1, 2], repeats=3))
    assert [(point.repeat, point.combination.num_clients) for point in server.points] == [
        (repeat, clients) for repeat in (1, 2, 3) for clients in (1, 2)
    ]
    assert len({point.seed for point in server.points}) == 6
    [once] = plan(SweepSpec.of(num_clients=[1, 2]))
    assert once.points == server.points[:2]


@pytest.mark.parametrize("name", SWEEPS)
def test_every_named_sweep_makes_plans(name: str) -> None:
    for settings in SWEEPS[name].sweeps:
        assert plan(SweepSpec.of(**settings))


def test_the_named_sweeps_of_old() -> None:
    example = SweepSpec.of(**SWEEPS["run_example"].sweeps[0])
    assert (example.backend, example.tp_size, example.mean_prompt_length) == ("fastgen", (1,), (2600,))
    assert (example.mean_max_new_tokens, example.max_ragged_batch_size, example.stream) == (
        (60,),
        (768,),
        True,
    )
    assert set(SWEEPS["run_example"].figures) == {"throughput_latency", "effective_throughput"}
    everything = [SweepSpec.of(**each) for each in SWEEPS["run_all"].sweeps]
    assert {spec.backend for spec in everything} == {"fastgen", "vllm"}
    assert all(spec.stream for spec in everything)
    assert sum(spec.mean_max_new_tokens == (150, 500, 1024) for spec in everything) == 2
    aml = SweepSpec.of(**SWEEPS["run_aml"].sweeps[0])
    assert (aml.backend, aml.num_requests, aml.stream) == ("aml", 256, False)
    fp6 = SweepSpec.of(**SWEEPS["run_fp6"].sweeps[0])
    assert (fp6.model, fp6.fp6, fp6.tp_size, fp6.num_requests) == (
        "NousResearch/Llama-2-70b-hf",
        True,
        (1,),
        128,
    )
