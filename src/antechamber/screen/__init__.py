"""The host's end of the screen door."""

from antechamber.screen.paint import read_banner, wait_for_paint
from antechamber.screen.spares import Screens

__all__ = ["Screens", "read_banner", "wait_for_paint"]
