"""Sessions as files: written while they run, read again, replayed, checked and explained."""

from hearout.traces.checker import check
from hearout.traces.explainer import explain
from hearout.traces.reader import parse_trace, read_trace
from hearout.traces.recorder import Recorder
from hearout.traces.records import Header, Trace
from hearout.traces.replayer import Replayed, replay

__all__ = ["Header", "Recorder", "Replayed", "Trace", "check", "explain", "parse_trace", "read_trace", "replay"]
