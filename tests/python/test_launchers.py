"""Which command starts each kind of server, with which environment; and what is said where it cannot be started."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from llmbench import backends, launchers
from llmbench.errors import ConfigError
from llmbench.launchers import LAUNCHERS, Launch, LaunchOptions, command, gpus, programs
from llmbench.launchers.launcher import Program, Replica
from llmbench.sweep_plan import STARTED_BACKENDS, ServerSettings


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPUs and no servers, whatever this machine has."""
    monkeypatch.setattr(gpus, "present", lambda: 0)
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)


def settings(tp: int = 1, batch: int = 768, replicas: int = 1, fp6: bool = False) -> ServerSettings:
    return ServerSettings("org/m", tp, batch, replicas, fp6)


def replica(
    kind: str,
    of: ServerSettings,
    *,
    backend: str | None = None,
    versions: dict[str, str] | None = None,
    gpus: tuple[str, ...] | None = None,
    number: int = 0,
    **options: Any,
) -> Replica:
    """One on port 7000 of a program that is there."""
    backend = backend or LAUNCHERS[kind].backends[0]
    program = Program((f"/bin/{kind}",), versions or {}, None)
    return Replica(of, LaunchOptions(**options), program, backend, 7000, number, of.num_replicas, gpus)


def words(kind: str, *arguments: Any, **options: Any) -> str:
    return " ".join(LAUNCHERS[kind].command(replica(kind, *arguments, **options)).argv)


@pytest.mark.parametrize(
    ("kind", "of", "options", "expected"),
    [
        (
            "vllm",
            settings(2, 512),
            {"args": ("--seed", "1")},
            (
                "/bin/vllm org/m --served-model-name org/m --host 127.0.0.1 --port 7000 --tensor-parallel-size 2 "
                "--max-num-batched-tokens 512 --max-num-seqs 512 --enable-prompt-tokens-details --seed 1"
            ),
        ),
        (
            "vllm",
            settings(),
            {"model_path": "/models/m"},
            (
                "/bin/vllm /models/m --served-model-name org/m --host 127.0.0.1 --port 7000 --tensor-parallel-size 1 "
                "--max-num-batched-tokens 768 --max-num-seqs 768 --enable-prompt-tokens-details"
            ),
        ),
        (
            "vllm",
            settings(),
            {"backend": "vllm-generate"},
            (
                "python3 -m vllm.entrypoints.api_server --model org/m --served-model-name org/m --host 127.0.0.1 "
                "--port 7000 --tensor-parallel-size 1 --max-num-batched-tokens 768 --max-num-seqs 768"
            ),
        ),
        (
            "sglang",
            settings(4, 256),
            {},
            (
                "/bin/sglang --model-path org/m --served-model-name org/m --host 127.0.0.1 --port 7000 --tp-size 4 "
                "--chunked-prefill-size 256 --max-running-requests 256 --enable-metrics"
            ),
        ),
        (
            "fastgen",
            settings(2, 512, 2, True),
            {"deployment": "d"},
            (
                "/bin/fastgen --model org/m --deployment d --tensor-parallel 2 --replicas 2 --max-ragged-batch-size 512"
                " --port 7000 --torch-dist-port 7009 --zmq-port 7005 --health-port 7007 --quantization-mode wf6af16"
            ),
        ),
        (
            "fastgen",
            settings(),
            {"backend": "fastgen-rest", "deployment": "d"},
            (
                "/bin/fastgen --model org/m --deployment d --tensor-parallel 1 --replicas 1 --max-ragged-batch-size 768"
                " --port 7000 --torch-dist-port 7005 --zmq-port 7002 --health-port 7003 --rest-port 7004"
            ),
        ),
        (
            "triton",
            settings(),
            {"model_path": "/repository"},
            (
                "/bin/triton --model-repository=/repository --http-address=127.0.0.1 --http-port=7000 "
                "--grpc-address=127.0.0.1 --grpc-port=7001 --metrics-address=127.0.0.1 --metrics-port=7002 "
                "--backend-config=python,shm-region-prefix-name=llmbench7000_0_"
            ),
        ),
        (
            "llamacpp",
            settings(batch=256),
            {},
            "/bin/llamacpp --hf-repo org/m --alias org/m --host 127.0.0.1 --port 7000 --metrics --batch-size 256",
        ),
        (
            "llamacpp",
            settings(2),
            {"gpus": ("0", "1"), "args": ("--parallel", "8")},
            (
                "/bin/llamacpp --hf-repo org/m --alias org/m --host 127.0.0.1 --port 7000 --metrics --batch-size 768 "
                "--n-gpu-layers 999 --split-mode row --parallel 8"
            ),
        ),
        ("transformers", settings(), {}, "/bin/transformers --host 127.0.0.1 --port 7000"),
        (
            "transformers",
            settings(),
            {"model_path": "/models/m", "versions": {"transformers": "4.52.0"}},
            "/bin/transformers --host 127.0.0.1 --port 7000",
        ),
        (
            "transformers",
            settings(),
            {"model_path": "/models/m", "versions": {"transformers": "4.57.3"}},
            "/bin/transformers --force-model /models/m --host 127.0.0.1 --port 7000",
        ),
        (
            "transformers",
            settings(),
            {"model_path": "/models/m", "versions": {"transformers": "5.4.0"}},
            "/bin/transformers --force-model /models/m --host 127.0.0.1 --port 7000",
        ),
        (
            "transformers",
            settings(),
            {"model_path": "/models/m", "versions": {"transformers": "5.23.0"}},
            "/bin/transformers /models/m --host 127.0.0.1 --port 7000",
        ),
        (
            "sim",
            settings(2, 512, 2, True),
            {},
            (
                "/bin/sim --port 7000 --model org/m --replicas 2 --tensor-parallel-size 2 --max-num-batched-tokens 512 "
                "--max-num-seqs 512 --weight-bits 6 --front"
            ),
        ),
        (
            "command",
            settings(2, 512, 3),
            {
                "backend": "openai",
                "number": 1,
                "command": "run --m='{model}' --at {host}:{port} -t {tp} -n {replicas} -i {replica} {{x}} {batch}",
            },
            "run --m=org/m --at 127.0.0.1:7000 -t 2 -n 3 -i 1 {x} 512",
        ),
    ],
)  # fmt: skip
def test_the_command(kind: str, of: ServerSettings, options: dict[str, Any], expected: str) -> None:
    assert words(kind, of, **options) == expected


def test_the_command_of_tgi() -> None:
    made = LAUNCHERS["tgi"].command(replica("tgi", settings(2), gpus=("2", "3")))
    said = " ".join(made.argv)
    assert said.startswith(
        "/bin/tgi --model-id org/m --hostname 127.0.0.1 --port 7000 --num-shard 2 --max-batch-size 768"
    )
    assert said.endswith("llmbench-tgi-7000 --master-port 7001")
    assert made.env == {"CUDA_VISIBLE_DEVICES": "2,3", "PROMETHEUS_PORT": "7002"}


def test_ranks_of_triton_run_under_mpirun(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mpirun, which is not on PATH"):
        words("triton", settings(2), model_path="/r")
    program(tmp_path, "mpirun", "")
    said = words("triton", settings(2), model_path="/r").split(" : ")
    assert len(said) == 2
    assert "-n 1 /bin/triton" in said[0]
    assert said[1].endswith("--model-control-mode=explicit --load-model=tensorrt_llm")


@pytest.mark.parametrize(
    ("kind", "ready", "metrics"),
    [
        ("vllm", "http://127.0.0.1:7000/health", "http://127.0.0.1:7000/metrics"),
        ("sglang", "http://127.0.0.1:7000/health", "http://127.0.0.1:7000/metrics"),
        ("tgi", "http://127.0.0.1:7000/health", "http://127.0.0.1:7000/metrics"),
        ("triton", "http://127.0.0.1:7000/v2/health/ready", "http://127.0.0.1:7002/metrics"),
        ("fastgen", "http://127.0.0.1:7003/health", None),
        ("transformers", "http://127.0.0.1:7000/health", None),
        ("sim", "http://127.0.0.1:7000/health", "http://127.0.0.1:7000/metrics"),
    ],
)
def test_where_it_says_that_it_is_ready_and_what_it_did(kind: str, ready: str, metrics: str | None) -> None:
    made = LAUNCHERS[kind].command(replica(kind, settings(), model_path="/x"))
    assert (made.ready_urls, made.metrics_url) == ((ready,), metrics)
    own = LAUNCHERS[kind].command(replica(kind, settings(), model_path="/x", ready_path="/up"))
    assert own.ready_urls == (f"{own.url}/up",)


def test_vllm_is_started_so_that_its_cache_can_be_emptied_where_that_is_wanted() -> None:
    wanted = LAUNCHERS["vllm"].command(replica("vllm", settings(), resettable=True))
    assert wanted.env == {"VLLM_SERVER_DEV_MODE": "1"}
    assert LAUNCHERS["vllm"].command(replica("vllm", settings())).env == {}


def test_the_users_environment_wins() -> None:
    made = LAUNCHERS["vllm"].command(
        replica("vllm", settings(), gpus=("0",), env={"CUDA_VISIBLE_DEVICES": "5", "A": "b"})
    )
    assert made.env == {"CUDA_VISIBLE_DEVICES": "5", "A": "b"}


@pytest.mark.parametrize(
    ("tp", "replicas", "expected"),
    [
        (1, 1, [None]),
        (2, 1, ["0,1|2,3"]),
        (1, 2, ["0,1", "2,3"]),
        (4, 1, ["0|1|2|3"]),
        (8, 1, ["0|1|2|3|0|1|2|3"]),
    ],
)
def test_ranks_of_vllm_on_a_processor_get_cores_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tp: int, replicas: int, expected: list[str | None]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    launch = Launch(
        "vllm", LAUNCHERS["vllm"], Program(("/bin/vllm",), {"vllm": "0.32.0+cpu"}), LaunchOptions()
    )
    plan = launch.plan(settings(tp, replicas=replicas))
    assert [each.env.get("VLLM_CPU_OMP_THREADS_BIND") for each in plan.commands] == expected


# GPUs


@pytest.mark.parametrize(
    ("variable", "present", "seen"),
    [
        (None, 4, ("0", "1", "2", "3")),
        (None, 0, ()),
        ("2,3", 8, ("2", "3")),
        ("GPU-a, MIG-b", 8, ("GPU-a", "MIG-b")),
        ("", 8, ()),
        ("-1", 8, ()),
        ("0,-1,1", 8, ("0",)),
    ],
)
def test_visible_gpus(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, present: int, seen: tuple[str, ...]
) -> None:
    monkeypatch.setattr(gpus, "present", lambda: present)
    if variable is not None:
        monkeypatch.setenv(gpus.VARIABLE, variable)
    assert gpus.visible() == seen


def test_each_replica_gets_neighbouring_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VARIABLE, "4,5,6,7")
    launch = Launch("vllm", LAUNCHERS["vllm"], Program(("/bin/vllm",), {"vllm": "0.33.0"}), LaunchOptions())
    plan = launch.plan(settings(2, replicas=2))
    assert [each.env["CUDA_VISIBLE_DEVICES"] for each in plan.commands] == ["4,5", "6,7"]
    assert len(set(plan.urls)) == 2
    with pytest.raises(
        ConfigError, match=r"needs 3 × 2 GPUs and CUDA_VISIBLE_DEVICES shows 4: lower one of the two"
    ):
        launch.plan(settings(2, replicas=3))


def test_ports_of_the_users_choice() -> None:
    launch = Launch("vllm", LAUNCHERS["vllm"], Program(("/bin/vllm",)), LaunchOptions(port=8000))
    assert launch.plan(settings(replicas=2)).urls == ("http://127.0.0.1:8000", "http://127.0.0.1:8001")


def test_a_server_with_its_own_balancer_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "present", lambda: 4)
    launch = Launch("fastgen", LAUNCHERS["fastgen"], Program(("/bin/python", "s.py")), LaunchOptions())
    (made,) = launch.plan(settings(2, replicas=2)).commands
    assert "CUDA_VISIBLE_DEVICES" not in made.env
    with pytest.raises(ConfigError, match="needs 4 × 2 GPUs and this machine has 4"):
        launch.plan(settings(2, replicas=4))
    (made,) = (
        prepared("openai", LaunchOptions(command=f"{sys.executable} {{port}} {{replicas}}"))
        .plan(settings(replicas=3))
        .commands
    )
    assert made.argv[2] == "3"


def test_mii_is_told_which_gpus_are_visible_and_where_each_replica_meets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(gpus.VARIABLE, "2,3,6,7")
    program = Program(("/bin/python", "s.py"))
    launch = Launch("fastgen", LAUNCHERS["fastgen"], program, LaunchOptions(port=7000))
    (made,) = launch.plan(settings(2, replicas=2)).commands
    assert made.argv[made.argv.index("--device-map") + 1] == "[[2, 3], [6, 7]]"
    # Balancer, four ranks, two for requests, health, gateway, and two meeting places a hundred ports apart.
    assert LAUNCHERS["fastgen"].ports(settings(2, replicas=2)) == 7109 - 7000 + 1
    assert made.argv[made.argv.index("--torch-dist-port") + 1] == "7009"
    own = LaunchOptions(env={gpus.VARIABLE: "5"})
    (made,) = Launch("fastgen", LAUNCHERS["fastgen"], program, own).plan(settings()).commands
    assert made.argv[made.argv.index("--device-map") + 1] == "[[5]]"
    monkeypatch.setenv(gpus.VARIABLE, "GPU-8a5c,GPU-91b2")
    with pytest.raises(
        ConfigError, match=r"takes GPUs by number, and CUDA_VISIBLE_DEVICES has GPU-8a5c,GPU-91b2"
    ):
        launch.plan(settings())


# What is missing


def prepared(backend: str, options: LaunchOptions) -> Launch:
    return launchers.prepare(backend, options)


def program(directory: Path, name: str, text: str) -> Path:
    path = directory / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_triton_of_a_package_gets_its_backends_with_the_stub_of_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    home = tmp_path / "site" / "pytriton" / "tritonserver"
    for file in (
        home / "bin" / "tritonserver",
        home / "backends" / "python" / "libtriton_python.so",
        home / "python_backend_stubs" / minor / "triton_python_backend_stub",
        home / "python_backend_stubs" / "2.7" / "triton_python_backend_stub",
        home.parent / "__init__.py",
        tmp_path / "site" / "nvidia_pytriton-0.7.0.dist-info" / "METADATA",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o755)
    described = tmp_path / "site" / "nvidia_pytriton-0.7.0.dist-info" / "METADATA"
    described.write_text("Metadata-Version: 2.1\nName: nvidia-pytriton\nVersion: 0.7.0\n")
    python = program(
        tmp_path, "python-triton", f'#!/bin/sh\nPYTHONPATH={tmp_path / "site"} exec {sys.executable} "$@"\n'
    )
    for _ in range(2):  # what the first call left is used by the second
        launch = prepared("tensorrt_llm_triton", LaunchOptions(python=str(python), model_path="/r"))
        (command,) = launch.plan(settings()).commands
        option = command.argv[1]
        assert command.argv[0] == str(home / "bin" / "tritonserver")
        assert option.startswith(f"--backend-directory={tmp_path / 'cache'}")
        backend = Path(option.partition("=")[2]) / "python"
        assert {file.name: file.resolve() for file in backend.iterdir()} == {
            "libtriton_python.so": home / "backends" / "python" / "libtriton_python.so",
            "triton_python_backend_stub": home
            / "python_backend_stubs"
            / minor
            / "triton_python_backend_stub",
        }
        assert [path.name for path in (tmp_path / "cache" / "llmbench").iterdir()] == [backend.parent.name]
        assert command.env["PATH"].split(os.pathsep)[0] == str(python.parent)


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        ("vllm", {}, r"vLLM is not installed here \(no vllm on PATH and no package vllm in .*\): pip install vllm, or"),
        ("vllm", {"python": sys.executable}, r"vLLM is not installed for .*: pip install vllm, or name another"),
        ("vllm", {"python": "/no/python"}, r"--server-python /no/python: there is no such program"),
        ("vllm", {"binary": "absent"}, r"--server-binary absent: there is no such program"),
        ("fastgen", {}, r"DeepSpeed-MII is not installed here .*pip install deepspeed-mii"),
        ("sglang", {}, r"SGLang is not installed here .*pip install 'sglang\[all\]'"),
        ("tgi", {}, r"no text-generation-launcher on PATH.*container.*--server-binary"),
        ("tensorrt_llm_triton", {}, r"no tritonserver on PATH.*nvidia-pytriton"),
        ("llamacpp", {}, r"no llama-server on PATH and no package xllamacpp"),
        ("llamacpp", {"python": sys.executable}, r"no package xllamacpp\): pip install xllamacpp there"),
        ("openai", {}, r"the backend openai needs the address of a running server \(--base-url URL\), or a server to"),
        ("openai", {"kind": "vlm"}, r"unknown --server 'vlm': did you mean vllm\?"),
        ("openai", {"kind": "vllm", "command": "x {port}"}, r"--server vllm and --server-command exclude each other"),
        ("openai", {"kind": "command"}, r"needs the command itself"),
        ("openai", {"command": "absent {port}"}, r"--server-command absent: there is no such program"),
        ("openai", {"command": "x {prt}"}, r"unknown placeholder \{prt\}: did you mean \{port\}\?"),
        ("openai", {"command": "x {gizmo} {port}"}, r"unknown placeholder \{gizmo\}: there are \{model\}, "),
        ("openai", {"command": "x {port"}, r"'\{port' is no template: expected '\}'"),
        ("openai", {"command": "x"}, r"has no \{port\}"),
        ("openai", {"command": " "}, r"is empty"),
        ("openai", {"command": "x '{port}"}, r"cannot be split into words: no closing quotation"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_the_remedy(
    backend: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        prepared(backend, LaunchOptions(**options))


def test_a_server_for_gpus_on_a_machine_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "versions_in", lambda *_: {"python": "3.12.0", "vllm": "0.33.0"})
    program(tmp_path, "vllm", f"#!{sys.executable}\n")
    with pytest.raises(
        ConfigError, match=r"^vLLM 0\.33\.0 needs a GPU with CUDA, and this machine has none: start it"
    ):
        prepared("vllm", LaunchOptions())
    monkeypatch.setattr(gpus, "present", lambda: 2)
    assert prepared("vllm", LaunchOptions()).program.argv == (str(tmp_path / "bin" / "vllm"), "serve")
    monkeypatch.setenv(gpus.VARIABLE, "")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES hides them"):
        prepared("vllm", LaunchOptions())


@pytest.mark.parametrize(
    ("kind", "of", "options", "message"),
    [
        ("vllm", settings(fp6=True), {}, "--fp6: vLLM has no 6-bit weights"),
        ("transformers", settings(2), {}, "--tp_size 2: transformers cannot split a model"),
        ("tgi", settings(2), {}, "--tp_size 2 with --num_replicas 1 needs 2 GPUs and this machine has 0"),
        ("llamacpp", settings(2), {}, "needs 2 GPUs and this machine has 0"),
        ("llamacpp", settings(), {"model_path": "/no/m.gguf"}, "the model file /no/m.gguf does not exist"),
        ("triton", settings(), {}, "serves a model repository: name its directory with --model_path"),
    ],
)
def test_impossible_settings(kind: str, of: ServerSettings, options: dict[str, Any], message: str) -> None:
    launcher = LAUNCHERS[kind]
    launch = Launch(launcher.backends[0], launcher, Program((f"/bin/{kind}",)), LaunchOptions(**options))
    with pytest.raises(ConfigError, match=message):
        launch.check(of)


def test_a_file_for_xllamacpp_must_be_there() -> None:
    launcher = LAUNCHERS["llamacpp"]
    launch = Launch(
        "llamacpp", launcher, Program(("/bin/python", "s.py"), {}, "/bin/python"), LaunchOptions()
    )
    with pytest.raises(ConfigError, match="the model org/m is no file"):
        launch.check(settings())


# What is kept


def test_versions_are_those_of_the_interpreter_that_runs_the_server(tmp_path: Path) -> None:
    site = tmp_path / "site" / "vllm-9.9.9+cpu.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 9.9.9+cpu\n")
    wrapper = program(
        tmp_path, "python-x", f'#!/bin/sh\nPYTHONPATH={tmp_path / "site"} exec {sys.executable} "$@"\n'
    )
    launch = prepared("vllm", LaunchOptions(python=str(wrapper)))
    assert launch.program.versions["vllm"] == "9.9.9+cpu"
    assert launch.program.argv == (str(wrapper), "-m", "vllm.entrypoints.cli.main", "serve")


def test_secrets_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")
    options = LaunchOptions(
        command=f"{sys.executable} {{port}} --api-key sk-secret", env={"MY_API_KEY": "sk-secret", "A": "b"}
    )
    kept = prepared("openai", options).plan(settings()).to_dict()
    assert "secret" not in repr(kept) + repr(options.to_dict())
    assert kept["environment"]["VLLM_LOGGING_LEVEL"] == "INFO"
    assert kept["processes"][0]["env"]["A"] == "b"


@pytest.mark.parametrize(
    ("kind", "changed", "expected"),
    [
        ("transformers", {}, "max_tokens"),
        ("transformers", {"max_tokens_field": "max_new_tokens"}, "max_new_tokens"),
        ("vllm", {}, "max_completion_tokens"),
    ],
)
def test_the_asked_length_is_called_as_all_versions_of_the_server_know_it(
    kind: str, changed: dict[str, str], expected: str
) -> None:
    launch = Launch("openai-chat", LAUNCHERS[kind], Program((f"/bin/{kind}",)), LaunchOptions())
    preset = dataclasses.replace(backends.get("openai-chat"), **changed)  # type: ignore[arg-type]
    assert launch.plan(settings()).preset_for(preset).max_tokens_field == expected


def test_the_catalogue_fits_the_presets() -> None:
    started = {name for each in LAUNCHERS.values() for name in each.backends if each.kind != "transformers"}
    assert started == set(STARTED_BACKENDS)
    assert all(backends.get(name).name == name for name in started)
    assert [launchers.kind_of(name, LaunchOptions()) is not None for name in ("vllm", "openai")] == [
        True,
        False,
    ]
    assert set(command.PLACEHOLDERS) >= {"model", "port", "tp", "replicas", "host"}


@pytest.mark.parametrize(
    ("first", "found"),
    [
        (f"#!{sys.executable}", sys.executable),
        (f"#!/usr/bin/env -S {sys.executable}", sys.executable),
        ("#!/bin/sh", None),
        ("\x7fELF", None),
        ("#!", None),
        ("#!/no/python", None),
    ],
)
def test_the_interpreter_of_a_script(tmp_path: Path, first: str, found: str | None) -> None:
    assert programs.interpreter_of(str(program(tmp_path, "script", f"{first}\n"))) == found
