"""Ears, their models, and what they hear."""
