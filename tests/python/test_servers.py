"""Starting, waiting for and ending servers, on small real child processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmbench import ports, server_records, servers
from llmbench.errors import ResultsError, ServerStartError, ServerUnreachableError
from llmbench.servers import Deployment, Server, ServerCommand

HTTP_SERVER = """
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = not os.path.exists(sys.argv[2])
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

# A leader with a child in its group, one that left the group, and one that ignores SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
ignore = "import signal, time; signal.signal(15, signal.SIG_IGN); print('stubborn', flush=True); time.sleep(600)"
stubborn = [sys.executable, "-c", ignore]
children = [subprocess.Popen(sleeper), subprocess.Popen(sleeper, start_new_session=True), subprocess.Popen(stubborn)]
print(*[child.pid for child in children], flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "state"
    monkeypatch.setenv(server_records.STATE_VARIABLE, str(directory))
    yield directory
    for record in server_records.records():
        record.end(grace_s=0)


def python(
    script: str, *arguments: str, url: str = "http://127.0.0.1:1", name: str = "test"
) -> ServerCommand:
    return ServerCommand(
        name=name, argv=(sys.executable, "-c", script, *arguments), url=url, ready_urls=(url + "/health",)
    )


def http_server(hold: Path) -> ServerCommand:
    """Answers 503 as long as the file `hold` exists, then 200."""
    port = ports.free_ports(1)[0]
    return python(HTTP_SERVER, str(port), str(hold), url=f"http://127.0.0.1:{port}")


def until(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_server_is_waited_for_and_ended(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    asked = 0

    def release_at_third_poll() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            hold.unlink()
        return False

    with Server.start(http_server(hold), tmp_path / "server.log") as server:
        server.wait_ready(20, release_at_third_poll)
        assert asked >= 3
        assert os.getpgid(server.pid) == server.pid != os.getpgid(0)
        assert server.exit_code() is None
        assert server.log_tail() == "serving"
        assert [record.pgid for record in server_records.records()] == [server.pid]
    assert not lives(server.pid)
    assert server_records.records() == []
    server.stop()  # again, to no effect


def test_every_process_of_the_server_is_ended(tmp_path: Path) -> None:
    server = Server.start(python(FAMILY), tmp_path / "server.log")
    until(lambda: "stubborn" in server.log_tail() and len(server.log_tail().split()) == 4)
    family = [int(word) for word in server.log_tail().split() if word != "stubborn"]
    # The guard, the leader of the family, and its three children.
    assert set(server.record.processes()) > {server.pid, *family}
    assert len(server.record.processes()) == 5
    server.stop(grace_s=0.2)
    assert not any(lives(pid) for pid in family)


def test_the_whole_group_is_ended_after_its_leader_died(tmp_path: Path) -> None:
    server = Server.start(python(FAMILY), tmp_path / "server.log")
    until(lambda: "stubborn" in server.log_tail() and len(server.log_tail().split()) == 4)
    os.kill(server.pid, signal.SIGKILL)
    # The server's first process goes with its guard, and leaves its children behind.
    until(lambda: server.exit_code() is not None and len(server.record.processes()) == 3)
    server.stop(grace_s=0.2)
    assert server.record.processes() == []


@pytest.mark.parametrize(
    ("script", "patience_s", "message"),
    [
        (
            "print('no such model: m'); raise SystemExit(7)",
            20,
            r"ended with code 7 before .*\nno such model: m$",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            20,
            r"was ended by signal 9 before it was ready; its log .* is empty$",
        ),
        (
            "print('loading \\x1b[31mweights', flush=True); import time; time.sleep(600)",
            0.5,
            r"was not ready after 0\.5 s .*--server_timeout.*\nloading \[31mweights$",
        ),
    ],
)
def test_a_server_that_does_not_get_ready(
    tmp_path: Path, script: str, patience_s: float, message: str
) -> None:
    with Server.start(python(script), tmp_path / "server.log") as server:
        until(lambda: bool(server.log_tail()) or server.exit_code() is not None)
        with pytest.raises(ServerStartError, match="(?s)" + message):
            server.wait_ready(patience_s)
    assert issubclass(ServerStartError, ServerUnreachableError)
    assert server_records.records() == []


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    command = ServerCommand("absent", ("/no/such/program",), "http://127.0.0.1:1", ())
    with pytest.raises(ServerStartError, match="absent could not be started: /no/such/program: No such file"):
        Server.start(command, tmp_path / "server.log")
    assert server_records.records() == []


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="--out_json_dir"):
        Server.start(python("pass"), tmp_path / "absent" / "server.log")


def test_the_log_of_an_earlier_server_is_kept_and_not_quoted(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("an earlier crash\n")
    with Server.start(python("print('second')"), log) as server:
        until(lambda: server.exit_code() is not None)
        assert server.log_tail() == "second"
    assert log.read_text() == "an earlier crash\nsecond\n"


def start_and_die(tmp_path: Path, how: str, *, detached: bool = False) -> int:
    """A process that starts a server and ends; returns the server's process id."""
    script = f"""
import os, signal, sys
from pathlib import Path
from llmbench.servers import Server, ServerCommand
command = ServerCommand("test", (sys.executable, "-c", "import time; time.sleep(600)"), "http://127.0.0.1:1", ())
server = Server.start(command, Path({str(tmp_path / "server.log")!r}), deployment="d", detached={detached})
if {detached}:
    server.detach()
print(server.pid, flush=True)
{how}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    return int(done.stdout)


@pytest.mark.parametrize("how", ["", "sys.exit(3)", "raise KeyboardInterrupt", "1 / 0"])
def test_a_server_does_not_outlive_an_exit_of_its_owner(tmp_path: Path, how: str) -> None:
    assert not lives(start_and_die(tmp_path, how))
    assert server_records.records() == []


def test_the_guard_ends_the_server_of_a_killed_owner(tmp_path: Path) -> None:
    pid = start_and_die(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    until(lambda: not lives(pid))
    assert server_records.records() == []


KILL_WITH_GUARD = "os.kill(server.pid, signal.SIGSTOP); os.kill(os.getpid(), signal.SIGKILL)"
"""The guard stands still, as if it had been killed too, and the server with all its processes is left."""


def test_the_server_of_a_killed_owner_and_guard_is_ended_by_the_next_run(tmp_path: Path) -> None:
    pid = start_and_die(tmp_path, KILL_WITH_GUARD)
    assert lives(pid)
    assert [record.pgid for record in server_records.end_orphans()] == [pid]
    assert not lives(pid)
    assert server_records.end_orphans() == []
    assert server_records.records() == []


def test_a_server_whose_owner_was_killed_while_starting_it_is_found_by_its_token(tmp_path: Path) -> None:
    pid = start_and_die(tmp_path, KILL_WITH_GUARD)
    (path,) = Path(os.environ[server_records.STATE_VARIABLE]).glob("*.json")
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"pgid": 0, "leader_start": 0}))
    assert len(server_records.end_orphans()) == 1
    assert not lives(pid)


def test_what_is_on_record_of_another_boot_is_forgotten_and_of_another_machine_left(tmp_path: Path) -> None:
    pid = start_and_die(tmp_path, "", detached=True)
    (path,) = Path(os.environ[server_records.STATE_VARIABLE]).glob("*.json")
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"host": "elsewhere", "boot_id": "another"}))
    assert server_records.end_orphans() == []
    assert len(server_records.records()) == 1
    path.write_text(json.dumps(values | {"boot_id": "another"}))
    assert server_records.end_orphans() == []
    assert server_records.records() == []
    assert lives(pid)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("raise SystemExit(7)", 7),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.kill(os.getpid(), 15)", -15),
        ("os.abort()", -6),
    ],
)
def test_the_guard_ends_as_the_server_does(tmp_path: Path, end: str, code: int) -> None:
    with Server.start(python(f"import os; {end}"), tmp_path / "server.log") as server:
        until(lambda: server.exit_code() is not None)
        assert server.exit_code() == code


def test_the_server_takes_signals_as_by_default(tmp_path: Path) -> None:
    """The guard ignores them, and what is ignored is inherited."""
    script = "import signal; print(*[signal.getsignal(s) is signal.SIG_DFL for s in (1, 15)], flush=True)"
    with Server.start(python(script), tmp_path / "server.log") as server:
        until(lambda: server.exit_code() is not None)
        assert server.log_tail() == "True True"


def test_only_the_recorded_process_is_ended(tmp_path: Path) -> None:
    """A process id that was given out again belongs to someone else."""
    bystander = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    try:
        start_and_die(
            tmp_path, "server._process.kill(); server._process.wait(); os.kill(os.getpid(), signal.SIGKILL)"
        )
        (path,) = Path(os.environ[server_records.STATE_VARIABLE]).glob("*.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pgid": bystander.pid}))
        assert server_records.end_orphans() == []
        assert server_records.records() == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_detached_server_stays_until_it_is_stopped(tmp_path: Path) -> None:
    pid = start_and_die(tmp_path, "", detached=True)
    assert lives(pid)
    assert server_records.end_orphans() == []
    assert server_records.running("other") == []
    (record,) = server_records.running("d")
    assert record.pgid == pid
    record.end()
    assert not lives(pid)
    assert server_records.running("d") == []


def test_strange_files_among_the_records_are_passed_over(state: Path) -> None:
    state.mkdir()
    (state / "a.json").write_text("{")
    (state / "b.json").write_text('{"some": "thing"}')
    (state / "c.json").write_text("[]")
    assert server_records.records() == []


def test_several_servers_are_started_waited_for_and_ended_as_one(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    with Deployment.start([http_server(hold), http_server(hold)], tmp_path, "server") as deployment:
        deployment.wait_ready(20)
        assert len(set(deployment.urls)) == 2
        assert deployment.death() == ""
        assert {path.name for path in tmp_path.glob("*.log")} == {"server-1.log", "server-2.log"}
        first, second = server_records.records()
        assert (first.group, second.group) == ("", first.token)
        os.kill(deployment.servers[1].pid, signal.SIGKILL)
        until(lambda: deployment.death() != "")
        assert "was ended by signal 9" in deployment.death()
    assert server_records.records() == []
    assert not any(lives(server.pid) for server in deployment.servers)


def test_one_of_several_that_ends_early_ends_the_wait_for_all(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    commands = [http_server(hold), python("raise SystemExit(5)", name="second")]
    expected = pytest.raises(
        ServerStartError, match="the server second ended with code 5 before it was ready"
    )
    with Deployment.start(commands, tmp_path, "server") as deployment, expected:
        deployment.wait_ready(60)
    assert server_records.records() == []


def test_one_of_several_that_cannot_be_started_ends_the_others(tmp_path: Path) -> None:
    commands = [
        http_server(tmp_path / "hold"),
        ServerCommand("absent", ("/no/such",), "http://127.0.0.1:1", ()),
    ]
    with pytest.raises(ServerStartError, match="absent could not be started"):
        Deployment.start(commands, tmp_path, "server")
    assert server_records.records() == []


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["vllm", "serve", "--api-key", "sk-1", "--port", "1"], "vllm serve --api-key ********** --port 1"),
        (["x", "--hf-token=abc", "--max-tokens", "5"], "x --hf-token=********** --max-tokens 5"),
        (["env", "HF_TOKEN=abc", "x"], "env HF_TOKEN=********** x"),
        (["x", "http://me:secret@h/"], "x http://**********@h/"),
        (["x", "--api-key", "--port", "1"], "x --api-key --port 1"),
    ],
)
def test_keys_in_a_command_are_blanked(argv: list[str], shown: str) -> None:
    assert " ".join(servers.redacted_argv(argv)) == shown
