"""What turn detection did in recorded calls: the voicebot's own, and ours. Needs the extra ``report``."""
