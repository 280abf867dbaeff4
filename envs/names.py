"""What an error says of names: the known ones, the nearest first."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def known(given: object, names: Iterable[object]) -> str:
    """The known names in one line, those that look most like `given` first, the others in their order.

    >>> known("dark_hx", ["kuhn_poker", "dark_hex"])
    'dark_hex, kuhn_poker'
    """
    texts = [str(name) for name in names]
    if not texts:
        return "none"
    near = difflib.get_close_matches(str(given), texts, n=len(texts), cutoff=0.5)
    return ", ".join([*near, *(text for text in texts if text not in near)])
