"""Keys in the service's environment: the text of a key file, for who gives secrets to programs that way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from antechamber.errors import Code, OperatorError
from antechamber.vault import keyset
from antechamber.vault.root import not_here

if TYPE_CHECKING:
    from antechamber.model import Secret

_MESSAGE: Final = "The keys come from the environment, which a service cannot change."


class Environment:
    """The root that is a variable: what it held when the service was started."""

    kind = "environment"
    place = "ANTECHAMBER_KEYS"
    elsewhere = False
    shared = False

    def __init__(self, text: Secret | None) -> None:
        """Use that text; None where the variable was not set."""
        self._text = text

    def look(self, *, make: bool = False) -> keyset.KeysetRing:
        """Read the text; none is ever made. OperatorError KEY_MISSING or KEY_UNREADABLE."""
        del make
        if self._text is None:
            raise OperatorError(
                Code.KEY_MISSING,
                message="ANTECHAMBER_KEYS is not set, and the root key is to come from it.",
                next_step="Make a key file by `antechamber keys make FILE`, and give its text in ANTECHAMBER_KEYS.",
            )
        text = self._text.reveal()
        if len(text) > keyset.LARGEST:
            raise OperatorError(Code.KEY_UNREADABLE, detail=f"{self.place} is larger than {keyset.LARGEST} bytes")
        return keyset.ring(text, self.place)

    def add(self, *, first: bool) -> NoReturn:
        """Say how it is done instead."""
        del first
        step = "Add a key to the key file that its text is from (`antechamber keys make --add FILE`), put the new text"
        raise not_here(_MESSAGE, f"{step} where the variable comes from, start every service again, then rotate.")

    def remove(self, key_id: str) -> NoReturn:
        """Say how it is done instead."""
        step = (
            f"Take {key_id} out of the key file that its text is from (`antechamber keys make --without {key_id} FILE`)"
        )
        raise not_here(
            _MESSAGE, f"{step}, put the new text where the variable comes from, and start the service again."
        )
