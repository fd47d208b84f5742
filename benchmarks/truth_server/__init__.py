"""The independent ground-truth server, and what its log says."""

from truth_server.server import TruthServer
from truth_server.times import Times, Written, read_log

__all__ = ["Times", "TruthServer", "Written", "read_log"]
