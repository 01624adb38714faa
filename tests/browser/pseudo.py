"""A language that nobody speaks, made of the English: every text stands in brackets, from right to left.

What a page shows outside any brackets does not come from the catalogue. Its tag is one of Unicode's pseudo-locales
(https://cldr.unicode.org/ "Pseudolocales"), so that no browser has it by chance.
"""

from __future__ import annotations

from antechamber.providers import Providers
from antechamber.texts import as_toml, whole

TAG = "ar-XB"
OPEN, CLOSE = "⟦", "⟧"


def written(folder):
    """Write the language's file into a new folder and return that."""
    providers = {
        spec.id: {"notices": list(spec.notices), "captures": list(spec.captures)} for spec in Providers.load().all()
    }
    table = _bracketed(whole(providers)) | {"direction": "rtl"}
    texts = folder / "texts"
    texts.mkdir()
    (texts / f"{TAG}.toml").write_text(as_toml(table))
    return texts


def _bracketed(node):
    if isinstance(node, str):
        return f"{OPEN}{node}{CLOSE}"
    if isinstance(node, list):
        return [_bracketed(one) for one in node]
    return {key: _bracketed(value) for key, value in node.items()}


def outside(text):
    """Return what of a text stands outside every bracket; an unbalanced text is returned whole."""
    depth, kept = 0, []
    for character in text:
        if character == OPEN:
            depth += 1
        elif character == CLOSE:
            depth -= 1
        elif not depth:
            kept.append(character)
    return text if depth else "".join(kept)
