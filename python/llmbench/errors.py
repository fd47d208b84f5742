"""Everything llmbench raises on purpose, and the exit code each one stands for.

LlmbenchError
├── ConfigError              2   a flag, value, key, model or file that cannot be used
│   ├── MissingExtraError    2   an optional package is needed and not installed
│   └── ClientLimitError     2   this machine's limits are below the plan
├── ServerUnreachableError   1   no server answered at the address
│   └── ServerStartError     1   a server that llmbench started ended, or did not become ready in time
├── NoRequestSucceededError  1   requests were sent and none came back well
├── ResultsError            74   results cannot be written or read
└── EngineError              1   the engine itself failed
"""

from __future__ import annotations


class LlmbenchError(Exception):
    """Base of the tree; the message is one clear line that names the thing, the value and the remedy."""

    exit_code: int = 1


class ConfigError(LlmbenchError):
    exit_code = 2


class MissingExtraError(ConfigError):
    """An optional package is missing: `MissingExtraError("pandas", "Result.to_pandas()")`."""

    def __init__(self, extra: str, wanted_by: str) -> None:
        super().__init__(f"{wanted_by} needs the package {extra}: pip install 'llmbench[{extra}]'")
        self.extra = extra


class ClientLimitError(ConfigError):
    pass


class ServerUnreachableError(LlmbenchError):
    exit_code = 1


class ServerStartError(ServerUnreachableError):
    pass


class NoRequestSucceededError(LlmbenchError):
    exit_code = 1


class ResultsError(LlmbenchError):
    exit_code = 74
    result: object = None
    """The run's `Result`, when it was measured and only keeping it failed."""


class EngineError(LlmbenchError):
    exit_code = 1
