"""What a run is going to do, complete before it starts: the endpoints and what they said, the load in the core's terms,
and what a result stores of it all."""

from __future__ import annotations

import http.client
import json
import logging
import math
import resource
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmbench import _core, preflight, secrecy, server_metrics
from llmbench.endpoint import Endpoint
from llmbench.errors import ClientLimitError, ConfigError
from llmbench.load import Load
from llmbench.options import RunOptions
from llmbench.precision import Target
from llmbench.token_counts import load_tokenizer
from llmbench.workloads import Workload

_WARM_OPEN_LOOP = 64
"""Connections opened beforehand where no limit says how many will be needed."""
_DESCRIPTORS_BESIDE = 64
"""Files, sockets and pipes that are no connection of the engine."""


class RunPlan:
    """The arguments of one call of `run`, checked, and what follows from them."""

    def __init__(
        self,
        endpoint: Endpoint | Sequence[Endpoint],
        workload: Workload,
        load: Load,
        options: RunOptions,
    ) -> None:
        endpoints = _replicas(endpoint)
        for value, kind, made_by in ((workload, Workload, "workloads"), (load, Load, "load")):
            if not isinstance(value, kind):
                raise ConfigError(
                    f"a {kind.__name__} is wanted, as llmbench.{made_by} makes them, not {value!r}"
                )
        if options.connect == "sticky" and load.open_loop:
            raise ConfigError('connect "sticky" ties connections to slots: it needs a closed loop')
        endpoint = endpoints[0]
        num_requests = options.num_requests
        if num_requests is None and options.duration is None:
            num_requests = load.num_requests or len(workload)
        _check_cooldown(options.cooldown_duration, load, num_requests)
        if load.arrival == "trace" and load.num_requests is not None:
            num_requests = min(num_requests or load.num_requests, load.num_requests)
        self.endpoints = endpoints
        self.endpoint = endpoint
        """The first: all have its preset and its extra body."""
        self.workload = workload
        self.load = load
        self.target = Target.parse(options.until_ci) if options.until_ci else None
        percentiles = tuple(options.percentiles)
        if self.target and self.target.percent and self.target.percent not in percentiles:
            percentiles += (self.target.percent,)
        self.options = replace(options, num_requests=num_requests, percentiles=percentiles)
        if not options.stream and not endpoint.preset.whole:
            raise ConfigError(f"the backend {endpoint.preset.name} always streams: leave --no-stream out")
        self.streamed = options.stream and endpoint.preset.streams
        if options.first_token_timeout and not self.streamed:
            why = (
                "" if endpoint.preset.streams else f", and the backend {endpoint.preset.name} gives no other"
            )
            raise ConfigError(
                f"an answer in one piece has no first token{why}: leave --first-token-timeout out, "
                "--request-timeout limits whole answers"
            )
        self.tokenizer = load_tokenizer(options.tokenizer)
        """Counts the answers that the server does not count; where their texts are kept, the others for comparison."""
        if (endpoint.preset.counts and not options.save_text) or endpoint.preset.reports == "none":
            self.tokenizer = None
        self.server = preflight.ServerFacts(endpoint.model)
        """What the first endpoint said of itself, once it was asked."""
        self.key_warning: str | None = None
        self.first_body = b""
        """Once the requests were made."""

    def check_descriptors(self) -> None:
        """Raises the soft limit of open files to the hard one; refuses a plan that needs more."""
        connections = self.load.max_concurrency or self._warm_connections()
        needed = connections + self.options.workers * 4 + _DESCRIPTORS_BESIDE
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or soft >= needed:
            return
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise ClientLimitError(
                f"the plan needs {needed} open files and this process may have {hard}: "
                f"raise the limit with ulimit -n {needed}, or lower the concurrency"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))

    def ask_servers(self) -> None:
        """Asks every endpoint; all must serve the model that the first one is asked for."""
        planned_s = self._planned_s()
        self.endpoints = tuple(endpoint.authorized(planned_s or 0.0) for endpoint in self.endpoints)
        self.endpoint = self.endpoints[0]
        self.key_warning = next(
            filter(None, (each.expiry_warning(planned_s) for each in self.endpoints)), None
        )
        if self.key_warning:
            logging.getLogger("llmbench").warning(self.key_warning)
        for number, endpoint in enumerate(self.endpoints):
            server = preflight.check(
                endpoint if number == 0 else replace(endpoint, model=endpoint.model or self.server.model),
                timeout_s=self.options.connect_timeout or 10.0,
                wait_ready_s=self.options.wait_ready,
            )
            if number == 0:
                self.server = server

    @property
    def load_s(self) -> float | None:
        """How long the load lasts from its start, the warm-up by duration included; None for a number of requests."""
        duration = self.options.duration
        return None if duration is None else self.options.warmup_duration + duration

    def phase_at(self, elapsed_s: float) -> str:
        """What a moment of the load is for."""
        if elapsed_s < self.options.warmup_duration:
            return "warmup"
        left_s = math.inf if self.load_s is None else self.load_s - elapsed_s
        return "cooldown" if left_s < self.options.cooldown_duration else "measure"

    def _planned_s(self) -> float | None:
        """How long the load will last, as far as that is known."""
        if self.load_s is not None:
            return self.load_s
        rate, planned = self.load.rate, self.options.num_requests
        return planned / rate if rate and planned and math.isfinite(rate) else None

    def config(self) -> dict[str, Any]:
        """What a result stores about how it was made; secrets are blanked."""
        return {
            "endpoint": self.endpoint.to_dict(),
            "endpoints": [
                {
                    **endpoint.to_dict(),
                    # As the rows have it.
                    "name": secrecy.redact_url(
                        endpoint.origin + endpoint.path_for(self.streamed, self.server.model)
                    ),
                }
                for endpoint in self.endpoints
            ],
            "model": self.server.model,
            "server": {
                "software": self.server.software,
                "context_length": self.server.context_length,
                **secrecy.redact(dict(self.options.server or {})),
            },
            "workload": self.workload.to_dict(),
            "load": self.load.to_dict(),
            **self.options.to_dict(),
            "metadata": secrecy.redact(dict(self.options.metadata or {})),
            "sampling": secrecy.redact(dict(self.options.sampling or {})),
        }

    def core_config(self) -> _core.RunConfig:
        """In the core's terms, without request bodies and files."""
        load, options = self.load, self.options
        config = _core.RunConfig()
        config.endpoints = [self._core_endpoint(endpoint) for endpoint in self.endpoints]
        config.balancing = options.balancing
        config.wire_format = self.endpoint.preset.wire_format
        rules = self.endpoint.answer_rules
        config.wire_rules = json.dumps(rules) if rules else ""
        config.streamed = self.streamed
        config.http2 = self.endpoint.speaks_http2
        config.streams_per_connection = self.endpoint.streams_per_connection
        config.order = self.workload.order
        config.seed = options.seed
        config.request_id_prefix = f"{secrets.token_hex(6)}-"
        load.apply(config, options.num_requests or 0)
        config.num_requests = options.num_requests or 0
        config.duration_s = float(options.duration or 0)
        config.warmup_requests = options.warmup_requests
        config.warmup_duration_s = float(options.warmup_duration)
        config.connect = options.connect
        config.warm_connections = self._warm_connections()
        config.workers = options.workers
        config.connect_timeout_s = float(options.connect_timeout)
        config.first_token_timeout_s = float(options.first_token_timeout)
        config.idle_timeout_s = float(options.idle_timeout)
        config.request_timeout_s = float(options.request_timeout)
        config.drain_s = float(options.drain)
        config.retries = options.retries
        config.save_text = options.save_text or self.tokenizer is not None
        config.model = self.server.model or ""
        config.secrets = list(self.secrets())
        if not load.open_loop:
            config.abort_after_failures = max(20, load.max_concurrency or 0)
        return config

    def core_workload(self) -> _core.Workload:
        """The bodies of the requests."""
        bodies = self.workload.bodies(
            self.endpoint.preset,
            model=self.server.model,
            stream=self.streamed,
            ignore_eos=self.options.ignore_eos,
            sampling=self.options.sampling,
            extra_body=self.endpoint.extra_body,
            seed=self.options.seed,
            deployment=self.endpoint.deployment,
        )
        self.first_body = bodies[0]
        return _core.Workload(
            bodies,
            self.workload.prompt_tokens,
            self.workload.output_tokens,
            self._repeated_prompts(),
        )

    def metrics(self) -> server_metrics.Watch:
        """Reads the server's own metrics, where that was asked for."""
        asked, shared = self.options.scrape_metrics, self.options.shared_server
        if not isinstance(asked, bool):
            return server_metrics.Watch(tuple(asked), shared=shared)
        pages = {endpoint.metrics_url: endpoint for endpoint in self.endpoints if asked}
        names = self.endpoint.preset.metrics_names

        def connect(url: str) -> http.client.HTTPConnection:
            # As requests go: over the same socket or proxy, with the same trust; its port may be another.
            beside = replace(pages[url], url="://".join(urlsplit(url)[:2]))
            return preflight.open_connection(beside, server_metrics.TIMEOUT_S)

        return server_metrics.Watch(
            [url for url in pages if url],
            dict(self.endpoint.wire_headers()),
            server_metrics.Names.of(names) if names else None,
            connect=connect,
            shared=shared,
        )

    def secrets(self) -> tuple[str, ...]:
        """Every secret value of every endpoint."""
        return tuple(dict.fromkeys(each for endpoint in self.endpoints for each in endpoint.secrets()))

    def notes(self, client: Mapping[str, Any]) -> list[str]:
        """What a reader of the result should know of the plan, and of what became of it."""
        notes = [self.key_warning] if self.key_warning else []
        if any(endpoint.insecure and endpoint.scheme == "https" for endpoint in self.endpoints):
            notes.append("the server's certificate was not verified (--insecure)")
        if self.options.stream and not self.streamed:
            notes.append(
                f"the backend {self.endpoint.preset.name} answers in one piece: latencies are of whole answers, "
                "without a TTFT"
            )
        if not self.streamed and self.tokenizer is None and self.endpoint.preset.reports == "tokenizer":
            notes.append(
                f"the backend {self.endpoint.preset.name} does not count tokens: --tokenizer counts the answers"
            )
        if client.get("stopped_because") == "all-failed":
            notes.append("the run was ended early: its first requests all failed")
        else:
            notes += [
                f"{endpoint.display_url} never answered: its first requests all failed"
                for endpoint, given_up in zip(self.endpoints, client.get("given_up") or (), strict=False)
                if given_up
            ]
        planned, warmup = self.options.num_requests or 0, self.options.warmup_requests
        again = planned + warmup - len(self.workload)
        if warmup and again > 0 and planned <= len(self.workload):
            notes.append(
                f"{min(again, warmup)} prompts of the warm-up were measured again: make more prompts"
            )
        return notes

    def _core_endpoint(self, endpoint: Endpoint) -> _core.Endpoint:
        core = _core.Endpoint()
        core.scheme, core.host, core.port = endpoint.scheme, endpoint.host, endpoint.port
        core.path = endpoint.path_for(self.streamed, self.server.model)
        core.method = endpoint.preset.method
        core.headers = endpoint.wire_headers()
        core.unix_socket = endpoint.unix_socket or ""
        core.proxy = endpoint.proxy or ""
        core.ca_file = endpoint.ca_file or ""
        core.insecure = endpoint.insecure
        return core

    def _warm_connections(self) -> int:
        """How many connections are opened before the clock starts."""
        if self.options.connect == "new":
            return 0
        planned = self.options.num_requests
        most = (
            self.load.max_concurrency
            or (planned if self.load.arrival == "burst" else None)
            or _WARM_OPEN_LOOP
        )
        return min(most, planned) if planned else most

    def _repeated_prompts(self) -> list[str] | None:
        """The prompts, for formats whose answers begin with them."""
        if not (self.endpoint.preset.repeats_prompt or self.endpoint.wire_rules.get("strip_prompt")):
            return None
        return [prompt if isinstance(prompt, str) else "" for prompt in self.workload.prompts]


def _replicas(endpoint: Endpoint | Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints of a run, which must be asked alike: every request could go to each."""
    if isinstance(endpoint, str):
        raise ConfigError(f"an Endpoint is wanted, not {endpoint!r}: Endpoint({endpoint!r}, backend=…)")
    endpoints = (endpoint,) if isinstance(endpoint, Endpoint) else tuple(endpoint)
    if not endpoints:
        raise ConfigError("a run needs an endpoint")
    first = endpoints[0]
    for each in endpoints:
        if not isinstance(each, Endpoint):
            raise ConfigError(f"an Endpoint is wanted, not {each!r}")
        if each.ca_file is not None and not Path(each.ca_file).is_file():
            raise ConfigError(f"no CA file {each.ca_file}")
        for name in ("preset", "model", "extra_body", "deployment"):
            if getattr(each, name) != getattr(first, name):
                what = {"preset": "backend", "extra_body": "extra body"}.get(name, name)
                raise ConfigError(
                    f"{each.display_url} has another {what} than {first.display_url}: the endpoints of one run are "
                    "replicas and get the same requests; measure different servers one after the other"
                )
    urls = [each.url for each in endpoints]
    for each in endpoints:
        if urls.count(each.url) > 1:
            raise ConfigError(f"the endpoint {each.display_url} was given twice: name each replica once")
    return endpoints


def _check_cooldown(seconds: float, load: Load, num_requests: int | None) -> None:
    """Refuses one that leaves nothing of a load whose length its rate tells."""
    if not (seconds and num_requests and load.rate) or load.ramp != "none":
        return
    if seconds >= num_requests / load.rate:
        raise ConfigError(
            f"a cool-down of {seconds:g} s leaves nothing of {num_requests} requests at {load.rate:g} requests/s, "
            f"which are sent within {num_requests / load.rate:.3g} s: make it shorter, or --num-prompts more"
        )
