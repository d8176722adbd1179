"""Beside a bot that keeps its own turn detection: what it heard and did, and what a turn machine would have decided.

`hearout.shadow.pipecat` and `hearout.shadow.livekit` have one each, for their frameworks.
"""
