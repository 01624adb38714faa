"""How the machine's X server is started."""

from antechamber.guest.layout import Layout
from antechamber.guest.screen import _x_server


def test_the_server_is_told_to_announce_what_was_copied_and_not_what_is_only_selected(tmp_path):
    argv = _x_server(Layout(home=tmp_path, doors=tmp_path), 3)
    assert "-SendPrimary=0" in argv
    assert not [word for word in argv if word.startswith(("-SendCutText", "-SetPrimary"))], "announcing is its default"
