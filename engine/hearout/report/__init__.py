"""What turn detection did in recorded calls: the voicebot's own, and ours. Needs the extra ``report``."""

from hearout.report.judge import Call, judge

__all__ = ["Call", "judge"]
