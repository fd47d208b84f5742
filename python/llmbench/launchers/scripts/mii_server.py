"""A persistent deployment of DeepSpeed-MII, held until it is told to end.

    python mii_server.py --model meta-llama/Llama-2-7b-hf --tensor-parallel 2 --replicas 2 --port 50050

Run by the interpreter that has DeepSpeed-MII, which need not be the one that has llmbench. GET /health on --health-port
is answered with 200 once the deployment serves. Further arguments are NAME=VALUE, handed on to mii.serve.
"""

from __future__ import annotations

import argparse
import ast
import http.server
import signal
import sys
import threading
from typing import Any


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve a model with DeepSpeed-MII.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--deployment", required=True)
    parser.add_argument("--tensor-parallel", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--max-ragged-batch-size", type=int, default=768)
    parser.add_argument(
        "--port", type=int, default=50050, help="of the balancer; replicas have the next ones"
    )
    parser.add_argument(
        "--torch-dist-port", type=int, default=29500, help="replicas have every 100th from it"
    )
    parser.add_argument("--zmq-port", type=int, default=25555, help="replicas have the next ones")
    parser.add_argument("--device-map", default="auto", help="GPUs of each replica: [[0, 1], [2, 3]]")
    parser.add_argument("--health-port", type=int, required=True)
    parser.add_argument("--rest-port", type=int, help="of the REST gateway; without it there is none")
    parser.add_argument("--quantization-mode")
    parser.add_argument("more", nargs="*", metavar="NAME=VALUE", help="for mii.serve")
    options = parser.parse_args()

    import mii  # type: ignore[import-not-found, unused-ignore]
    from deepspeed.inference import (  # type: ignore[import-not-found, unused-ignore]
        DeepSpeedTPConfig,
        RaggedInferenceEngineConfig,
    )
    from deepspeed.inference.v2.ragged import (  # type: ignore[import-not-found, unused-ignore]
        DSStateManagerConfig,
    )

    engine = RaggedInferenceEngineConfig(
        tensor_parallel=DeepSpeedTPConfig(tp_size=options.tensor_parallel),
        # The ragged batch bounds both: its tokens, and the sequences they are of.
        state_manager=DSStateManagerConfig(
            max_ragged_batch_size=options.max_ragged_batch_size,
            max_ragged_sequence_count=options.max_ragged_batch_size,
        ),
    )
    rest: dict[str, Any] = {}
    if options.rest_port is not None:
        rest = {"enable_restful_api": True, "restful_api_port": options.rest_port}
    client = mii.serve(
        options.model,
        deployment_name=options.deployment,
        tensor_parallel=options.tensor_parallel,
        replica_num=options.replicas,
        inference_engine_config=engine,
        quantization_mode=options.quantization_mode,
        port_number=options.port,
        torch_dist_port=options.torch_dist_port,
        zmq_port_number=options.zmq_port,
        device_map=options.device_map
        if options.device_map == "auto"
        else ast.literal_eval(options.device_map),
        **rest,
        **dict(_pair(text) for text in options.more),
    )
    health = http.server.ThreadingHTTPServer(("127.0.0.1", options.health_port), _Health)
    threading.Thread(target=health.serve_forever, daemon=True).start()
    print(f"{options.deployment} is ready on port {options.port}", flush=True)

    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    ended.wait()
    client.terminate_server()
    return 0


def _pair(text: str) -> tuple[str, Any]:
    """`max_length=4096` as a keyword and a Python value; what is no literal is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SystemExit(f"{text!r} is no NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    sys.exit(main())
