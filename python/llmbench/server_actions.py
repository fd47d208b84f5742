"""`start`, `stop` and `restart`: the server of a deployment alone, left running for `--client_only`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmbench import launchers, server_records, servers
from llmbench.errors import ConfigError, ServerUnreachableError
from llmbench.result_paths import check_directory
from llmbench.sweep_plan import SweepSpec, plan
from llmbench.sweeping import signals_as_interrupts

if TYPE_CHECKING:
    from llmbench.server_records import ServerRecord
    from llmbench.sweep_display import SweepDisplay


class ServerActions:
    """What can be done with the server of a spec's deployment."""

    def __init__(self, spec: SweepSpec, options: launchers.LaunchOptions, display: SweepDisplay) -> None:
        self.spec = spec
        self.options = options
        self.display = display

    def start(self, ready_within_s: float, *, again: bool = False) -> None:
        """Starts it and waits until it is ready; with `again` in place of the one that runs. Raises ConfigError, before
        anything is started or stopped, where it cannot be."""
        spec, found = self.spec, self._running()
        if found and not again:
            raise ConfigError(
                f"a server of the deployment {spec.deployment_name} is running at {found[0].url} already: "
                "`stop` or `restart` it, or choose another --deployment_name"
            )
        planned = plan(spec)
        if len(planned) != 1:
            raise ConfigError(
                f"`{'restart' if again else 'start'}` starts one server, and these settings make {len(planned)}: give "
                "one value each of --tp_size, --max_ragged_batch_size and --num_replicas"
            )
        settings = planned[0].settings
        launch = launchers.prepare(spec.backend, self.options)
        launch.check(settings)
        if again:
            self._end(found)
        check_directory(spec.result_dir, flag="--out_json_dir")
        self.display.note(f"starting {spec.model} on {spec.backend}: {settings.describe()}")
        with signals_as_interrupts():
            server = servers.Deployment.start(
                launch.plan(settings).commands,
                spec.result_dir,
                f"server-{settings.file_stem()}",
                deployment=spec.deployment_name,
                settings=settings.to_dict(),
                detached=True,
            )
            try:
                server.wait_ready(ready_within_s)
            except BaseException:
                server.stop()
                raise
        server.detach()
        for each in server.servers:
            self.display.note(
                f"{spec.deployment_name} is ready at {each.url}, process group {each.pid}; log {each.log_path}"
            )

    def stop(self) -> None:
        self._end(self._running())

    def _running(self) -> list[ServerRecord]:
        return server_records.running(self.spec.deployment_name)

    def _end(self, found: Sequence[ServerRecord]) -> None:
        server_records.end_all(found)
        for record in found:
            self.display.note(f"stopped {record.name} at {record.url}")
        if not found:
            self.display.note(f"no server of the deployment {self.spec.deployment_name} is running")


def running_urls(settings: dict[str, Any], *, wanted: bool) -> list[str]:
    """The addresses of the server that `start` left running, one a process; its settings label the results, and are
    filled in here. Raises ServerUnreachableError where there is none and one is wanted, and ConfigError where the
    settings are not its own."""
    deployment = settings.get("deployment_name", SweepSpec.deployment_name)
    found = server_records.running(deployment)
    if not found and wanted:
        raise ServerUnreachableError(
            f"no server of the deployment {deployment} is running: start one with the action `start`, or give its "
            "address with --base-url"
        )
    for name, value in found[-1].settings.items() if found else ():
        given = settings.setdefault(name, value)
        if given not in (value, [value]):
            shown = " ".join(map(str, given)) if isinstance(given, list) else given
            raise ConfigError(
                f"--{name} {shown}: the running server of {deployment} has {value}; leave the flag out, or `restart`"
            )
    return [each.url for each in found]
