"""What a run says: lines that reach whoever reads them, and end nothing where nobody does."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

Say = Callable[[str], None]


class Unfailing:
    """A stream that anybody may stop reading: from then on it is silent, and nothing else happens."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            return self.write(text.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError, AttributeError):  # AttributeError: there is none (None)
            self._hush()
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except (OSError, ValueError, AttributeError):
            self._hush()

    def isatty(self) -> bool:
        try:
            return bool(self.stream.isatty())
        except (OSError, ValueError, AttributeError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _hush(self) -> None:
        """What is still kept for the reader goes nowhere, also at the end of the process."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            number = self.stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def say(line: str) -> None:
    """Print a line at once, also into a pipe, whether or not anybody reads it still."""
    print(line, file=Unfailing(sys.stdout), flush=True)


def say_aside(line: str) -> None:
    """The same on standard error."""
    print(line, file=Unfailing(sys.stderr), flush=True)


SAY: Say = say
