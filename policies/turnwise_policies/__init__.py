"""The pure half of turnwise: signals in, events out. Standard library only."""
