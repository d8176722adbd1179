"""Ears: models that hear whether a voice has finished. The files they need are data (`hearout.ear.models`)."""

from hearout.ear.base import Ear
from hearout.ear.smart_turn import SmartTurn

__all__ = ["Ear", "SmartTurn"]
