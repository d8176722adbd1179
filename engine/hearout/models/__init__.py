"""The files that models need: data, pinned by their hashes, never part of hearout."""
