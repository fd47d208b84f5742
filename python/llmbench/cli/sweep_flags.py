"""The flags of `llmbench sweep`."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from llmbench.cli import flags


def parser(prog: str = "python -m llmbench.run_benchmark") -> flags.Parser:
    made = flags.Parser(
        prog=prog,
        usage="%(prog)s [flags] [start|stop|restart]",
        description="Measures every combination of server and client settings; several values of a flag sweep it. "
        "docs/sweep.md explains it.",
        epilog="\n".join(
            [
                "examples:",
                f"  {prog} --tp_size 1 2 --num_clients 1 4 16 --stream",
                f"  {prog} --backend vllm --model Qwen/Qwen3-8B --stream",
                f"  {prog} --backend openai --port 8000 --stream",
                "",
                "The first sweeps the simulated server, the second starts and sweeps vLLM,",
                "the third sweeps a server that is running.",
            ]
        ),
        conflict_handler="resolve",
    )
    made.add_argument(
        "action",
        nargs="?",
        metavar="start|stop|restart",
        help="only start, stop or restart the server of this deployment, and measure nothing",
    )
    flags.add_target(made)
    made.set_defaults(host=None, port=None)
    _add_own_target(made)
    _add_server(made)
    _add_client(made)
    _add_order(made)
    flags.add_engine(made.add_argument_group("engine"))
    _add_results(made)
    return made


def _add_own_target(made: flags.Parser) -> None:
    group = made.add_argument_group("sweep target")
    group.add_argument(
        "--backend",
        metavar="NAME",
        help="one of `llmbench backends` (default sim, the simulated server). Its server is started, where llmbench "
        "can, unless an address is given",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="model name; well-known ones set default lengths and TP sizes (default: the first that a running server "
        "lists, else meta-llama/Llama-2-7b-hf)",
    )
    group.add_argument(
        "--base-url",
        "--openai_api_url",
        "--aml_api_url",
        nargs="+",
        action=flags.BaseUrls,
        metavar="URL",
        help="a running server, with its path or without. Several are replicas of one server; see --balancing",
    )
    group.add_argument(
        "--openai_api_key",
        "--aml_api_key",
        metavar="KEY",
        help="the key itself; --api-key-env is safer, since other users can see arguments",
    )
    group.add_argument(
        "--deployment_name",
        metavar="NAME",
        help="name of a server left running (default benchmark-deployment)",
    )


def _add_server(made: flags.Parser) -> None:
    group = made.add_argument_group("server settings")
    _sweeping(group, "--tp_size", "tensor-parallel degree (default 1, or the model's preset)")
    _sweeping(group, "--max_ragged_batch_size", "tokens, and sequences, in a batch (default 768)")
    _sweeping(group, "--num_replicas", "copies of the model (default 1)")
    group.add_argument("--fp6", action="store_true", help="6-bit weights")
    group.add_argument(
        "--client_only",
        action="store_true",
        help="use the server that is running; its settings only label the results",
    )
    group.add_argument(
        "--server",
        metavar="KIND",
        help="server to start instead of the backend's own: vllm, fastgen, sglang, tgi, triton, llamacpp, transformers "
        "or sim",
    )
    group.add_argument(
        "--server_command",
        metavar="'CMD'",
        help="command that starts the server; {model} {model_path} {port} {host} {tp} {replicas} {replica} {batch} are "
        "filled in",
    )
    group.add_argument("--server_binary", metavar="FILE", help="the server's program (default: on PATH)")
    group.add_argument(
        "--server_python", metavar="FILE", help="the interpreter that has the server (default: this one)"
    )
    group.add_argument(
        "--server_env",
        nargs="+",
        action="extend",
        type=_variable,
        default=[],
        metavar="K=V",
        help="environment of the started server",
    )
    group.add_argument(
        "--model_path",
        metavar="PATH",
        help="what the server loads, if not --model: a directory, a GGUF file, a Triton model repository",
    )
    group.add_argument(
        "--server_port",
        type=flags.count,
        metavar="N",
        help="port of the first started process; replicas get the next ones (default: free ports)",
    )
    group.add_argument(
        "--server_ready_path",
        metavar="PATH",
        help="path to poll until it answers 200 (default: the server's own)",
    )
    group.add_argument(
        "--server_args",
        type=_words,
        default=[],
        metavar="'ARGS'",
        help="further arguments for the started server, such as '--gpu H100'",
    )
    group.add_argument(
        "--server_timeout",
        type=flags.positive,
        default=600.0,
        metavar="S",
        help="seconds a server may take to get ready",
    )


def _add_client(made: flags.Parser) -> None:
    group = made.add_argument_group("client settings")
    _sweeping(group, "--mean_prompt_length", "prompt length, in tokens (default 2600, or the model's preset)")
    _sweeping(group, "--mean_max_new_tokens", "output length, in tokens (default 60, or the model's preset)")
    _sweeping(
        group, "--num_clients", "requests in flight, a closed loop (default 1 2 4 6 8 12 16 20 24 28 32)"
    )
    group.add_argument(
        "--num_requests", type=flags.count, metavar="N", help="requests per point (default clients × 4 + 32)"
    )
    group.add_argument(
        "--max_prompt_length", type=flags.count, metavar="N", help="longest prompt (default 4000)"
    )
    group.add_argument(
        "--prompt_length_var",
        type=flags.amount,
        metavar="X",
        help="standard deviation of prompt lengths, as a share of their mean (default 0.3)",
    )
    group.add_argument(
        "--max_new_tokens_var",
        type=flags.amount,
        metavar="X",
        help="the same for output lengths (default 0.3)",
    )
    group.add_argument(
        "--warmup", type=flags.whole, metavar="N", help="requests per client before each point (default 1)"
    )
    group.add_argument(
        "--stream", action="store_true", help="stream answers; without it there are no token times"
    )
    group.add_argument(
        "--use_thread",
        action="store_true",
        help="accepted and ignored: clients are neither processes nor threads here",
    )
    group.add_argument(
        "--seed", type=flags.whole, metavar="N", help="seed of lengths, words and start times (default 42)"
    )
    group.add_argument(
        "--temperature", type=flags.amount, metavar="X", help="sampling temperature (default 1)"
    )
    group.add_argument(
        "--top_p", type=flags.share, metavar="X", help="sampling: nucleus probability (default 0.9)"
    )
    group.add_argument("--n", type=flags.count, metavar="N", help="answers per request (default 1)")
    group.add_argument("--ignore_eos", action="store_true", help="ask the server to generate the full length")


def _add_order(made: flags.Parser) -> None:
    group = made.add_argument_group("order")
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="a ready-made sweep with its figures: run_all, run_example, run_aml or run_fp6; flags override it",
    )
    group.add_argument(
        "--order",
        choices=("grid", "random"),
        help="order of the points; random guards against drift (default grid)",
    )
    group.add_argument(
        "--repeats",
        type=flags.count,
        metavar="N",
        help="measure each point N times; the second results go to <results>/repeat2/ (default 1)",
    )
    group.add_argument(
        "--reset_cache",
        action="store_true",
        help="ask the server to empty its prefix cache before each point (vllm, sglang); prompts are new at each "
        "point in any case",
    )


def _add_results(made: flags.Parser) -> None:
    group = made.add_argument_group("results")
    group.add_argument(
        "--out_json_dir", metavar="DIR", help="results go to DIR_<backend>/ (default ./results/)"
    )
    group.add_argument(
        "--overwrite_results", action="store_true", help="measure again the points that have a result"
    )
    group.add_argument(
        "--goodput",
        nargs="+",
        action="extend",
        type=flags.slo_limit,
        default=[],
        metavar="METRIC:MS",
        help="limits that a request must meet to count as good, in ms: ttft:200 tpot:50",
    )
    group.add_argument(
        "--slo",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY<=N",
        help="limits such as 'p99_ttft_ms<=500': the best point under each is named at the end",
    )
    group.add_argument(
        "--gpu-cost-per-hour",
        type=flags.amount,
        metavar="USD",
        help="price of a GPU, for cost per million tokens",
    )
    group.add_argument(
        "--machine-cost", type=flags.amount, metavar="USD", help="price of the whole server per hour, instead"
    )
    group.add_argument(
        "--max-error-rate",
        type=flags.share,
        default=0.01,
        metavar="X",
        help="share of requests that may fail",
    )
    group.add_argument(
        "--strict", action="store_true", help="exit code 3 unless every point's verdict is VALID"
    )
    group.add_argument("--save-text", action="store_true", help="store the generated texts")
    group.add_argument("--dry-run", action="store_true", help="show the plan and do nothing")
    group.add_argument(
        "--show", nargs="+", metavar="FILE", help="print the summary of saved results and measure nothing"
    )
    group.add_argument("--quiet", action="store_true", help="print only errors")
    group.add_argument("--no-progress", action="store_true", help="no progress bar")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of arguments: {error}") from None


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE")
    return name, value


def _sweeping(group: Any, flag: str, text: str) -> None:
    group.add_argument(flag, nargs="+", type=flags.count, metavar="N", help=text)
