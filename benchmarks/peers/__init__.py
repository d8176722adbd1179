"""hearout, Pipecat and LiveKit Agents side by side: the same audio, the same transcriber, one machine, one run.

Only `feed` and the ``run_*`` modules are imported by the systems under test; `feed` and the runs of the peers need
nothing of hearout.
"""
