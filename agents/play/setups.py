"""Starting arrangements as sequences: one piece after another, square by square.

In the games of hidden ranks a player sets up four rows of ten squares before the first move. A file holds an
arrangement a line: the number of a group, whose arrangements are nearly alike, and 40 letters, row by row,

    A empty  B bomb  C spy  D scout  E miner  F sergeant  G lieutenant
    H captain  I major  J colonel  K general  L marshal  M flag
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

PIECES = "ABCDEFGHIJKLM"
"""What may stand on a square; a token is the place in here."""

ROWS, COLS = 4, 10

SQUARES = ROWS * COLS


class Setups(NamedTuple):
    """S arrangements."""

    pieces: Tensor  # int64 [S, SQUARES]
    group: Tensor  # int64 [S]


def read_setups(path: str | Path) -> Setups:
    """The arrangements in a file of text, which may be gzipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds none, or a line is none; the message names the file and the line.
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no text of arrangements ({error})") from error
    groups, rows = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[0].isdecimal() or len(words[0]) > 18:
            raise ValueError(f"{path}, line {number}: expected a group's number and an arrangement")
        squares = [PIECES.find(letter) for letter in words[1]]
        if len(squares) != SQUARES or min(squares) < 0:
            raise ValueError(
                f"{path}, line {number}: expected {SQUARES} letters of {PIECES[0]} to {PIECES[-1]}, got "
                f"{words[1]!r:.60}"
            )
        groups.append(int(words[0]))
        rows.append(squares)
    if not rows:
        raise ValueError(f"{path}: holds no arrangement")
    return Setups(torch.tensor(rows), torch.tensor(groups))


def mirrored(pieces: Tensor) -> Tensor:
    """Arrangements [S, SQUARES] with left and right exchanged."""
    return pieces.view(-1, ROWS, COLS).flip(2).reshape(-1, SQUARES)


def left(pieces: Tensor) -> Tensor:
    """How many of each piece are still to be placed before each square, int64 [S, SQUARES, PIECES]."""
    one_hot = torch.nn.functional.one_hot(pieces, len(PIECES))
    return one_hot.sum(1, keepdim=True) - (one_hot.cumsum(1) - one_hot)


# ---------------------------------------------------------------- what counting alone predicts


def counted(training: Tensor, others: Tensor) -> dict[str, float]:
    """Perplexity on arrangements [S, SQUARES] of what needs no network, counted on others.

    uniform                       every order of the pieces as likely as any other
    square and piece before       how often a piece stood on a square behind the piece before it
    square and pieces left        of a piece, a square, and how many of it are left: how often one was placed
                                  there; these rates, made to add up to 1 over the pieces
    """
    return {
        "uniform": _perplexity(_share(left(others).double()), others),
        "square and piece before": _perplexity(_by_piece_before(training, others), others),
        "square and pieces left": _perplexity(_by_pieces_left(training, others), others),
    }


def _share(x: Tensor) -> Tensor:
    """Made to add up to 1 over the pieces."""
    return x / x.sum(-1, keepdim=True)


def _perplexity(probability: Tensor, pieces: Tensor) -> float:
    return float((-probability.gather(2, pieces[..., None]).log().mean()).exp())


def _by_piece_before(training: Tensor, others: Tensor) -> Tensor:
    """One of each piece is added to the counts, shared out, so that nothing is impossible."""
    V, square = len(PIECES), torch.arange(SQUARES)

    def before(pieces: Tensor) -> Tensor:
        return torch.cat([torch.full_like(pieces[:, :1], V), pieces[:, :-1]], 1)

    seen = torch.full((SQUARES, V + 1, V), 1.0 / V, dtype=torch.float64)
    where = (square.expand_as(training), before(training), training)
    seen.index_put_(where, torch.ones((), dtype=torch.float64), accumulate=True)
    return _share(seen)[square.expand_as(others), before(others)]


def _by_pieces_left(training: Tensor, others: Tensor) -> Tensor:
    """A tenth of a piece in one arrangement is added, so that nothing is impossible."""
    V, one = len(PIECES), torch.ones((), dtype=torch.float64)
    here, there = left(training), left(others)
    most = int(max(here.max(), there.max())) + 1
    placed, seen = (torch.full((SQUARES, V, most), x, dtype=torch.float64) for x in (0.1, 1.0))
    square, piece = torch.arange(SQUARES)[None, :, None], torch.arange(V)[None, None]
    seen.index_put_((square.expand_as(here), piece.expand_as(here), here), one, accumulate=True)
    left_of = here.gather(2, training[..., None])[..., 0]
    placed.index_put_((square[..., 0].expand_as(training), training, left_of), one, accumulate=True)
    return _share((placed / seen)[square.expand_as(there), piece.expand_as(there), there] * (there > 0))


# ---------------------------------------------------------------- letters


def read_letters(letters: str) -> Tensor:
    """Pieces int64 [n] from their letters.

    Raises:
        ValueError: a letter is none of `PIECES`.
    """
    wrong = sorted(set(letters) - set(PIECES))
    if wrong:
        raise ValueError(f"expected letters of {PIECES[0]} to {PIECES[-1]}, got {wrong[0]!r:.20}")
    return torch.tensor([PIECES.index(letter) for letter in letters], dtype=torch.int64)


def text(pieces: Tensor) -> str:
    """An arrangement [SQUARES] as four rows of letters."""
    letters = "".join(PIECES[k] for k in pieces.tolist())
    return "\n".join(letters[row * COLS : (row + 1) * COLS] for row in range(ROWS))
