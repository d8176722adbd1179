"""How well and how fast voice activity is detected: `benchmarks.vad.__main__`."""
