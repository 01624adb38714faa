"""The host's end of the link: speaks with one guest and believes nothing that it says."""

from antechamber.link.conversation import Ack, GuestLink, Refuse, Reply
from antechamber.link.reports import Report
from antechamber.link.running import RunView, Written
from antechamber.link.terminal import Piece, TerminalView

__all__ = ["Ack", "GuestLink", "Piece", "Refuse", "Reply", "Report", "RunView", "TerminalView", "Written"]
