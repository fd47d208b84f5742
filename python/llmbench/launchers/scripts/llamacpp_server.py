"""The llama.cpp server of the package xllamacpp, with llama-server's flags.

    python llamacpp_server.py --model FILE.gguf --port 8080 --parallel 8

Run by the interpreter that has xllamacpp, which need not be the one that has llmbench.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve a GGUF model with llama.cpp.")
    parser.add_argument("--model", "-m", type=Path, required=True, help="GGUF file")
    parser.add_argument("--alias", default="", help="the model's name in the API")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--parallel", "-np", type=int, default=4, help="requests decoded at once")
    parser.add_argument(
        "--ctx-size", "-c", type=int, default=0, help="tokens of context for all slots (0: 4096 each)"
    )
    parser.add_argument("--batch-size", "-b", type=int, default=2048)
    parser.add_argument("--ubatch-size", "-ub", type=int, default=512)
    parser.add_argument("--threads", "-t", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--n-gpu-layers", "-ngl", type=int, default=None)
    parser.add_argument("--metrics", action="store_true", help="serve /metrics")
    parser.add_argument("--verbosity", type=int, default=1)
    options = parser.parse_args()

    import xllamacpp  # type: ignore[import-not-found, unused-ignore]

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.alias or options.model.stem}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_parallel = options.parallel
    params.n_ctx = options.ctx_size or 4096 * options.parallel
    params.n_batch = options.batch_size
    params.n_ubatch = min(options.ubatch_size, options.batch_size)
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    if options.n_gpu_layers is not None:
        params.n_gpu_layers = options.n_gpu_layers
    params.endpoint_metrics = options.metrics
    params.verbosity = options.verbosity
    # The server's threads end with the process, however it ends.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: os._exit(0))
    server = xllamacpp.Server(params)
    print(f"serving {options.model} at {server.listening_address}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
