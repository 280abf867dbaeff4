"""The contract test that ships with the package: plays a game at random and judges every clause.

    from envs.check import check_game
    check_game(MyGame(size=5))      # silent, or AssertionError: my_game: <the clause that is broken>

The clauses are those of `envs.core.Game`; each stands below as the message of its assertion.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints
from xml.etree import ElementTree

import gymnasium
import numpy as np
import torch

from envs.batch import Batch
from envs.core import CHANCE, REFEREE, Array, Game, Viewer, match_seed, no_chance, option_fields, record
from envs.declared import check_declared
from envs.match import Match

DRAWN_MATCHES = 10
DRAWN_POINTS = 10
"""Text and SVG are judged in the first 10 matches, at their first 10 points and their end: drawing takes
far longer than playing, and a seat is in the same situation twice mostly at the beginning."""
CHANCE_LIMIT = 1_000
"""More chance outcomes than this without a decision are taken for a chance node that never ends."""
ROUNDING = 1e-5
"""Rewards are float32: so far may a sum of them lie outside of the range of the exact one."""
FRAME = 64  # bytes around every array a verb may write into
MARK = 0xA5

Tick = tuple[int, bytes]
"""Of a game with simultaneous moves: the seat that moves, and what all seats are shown then."""
Knowledge = dict[tuple[Any, ...], tuple[Any, ...]]


def check_game(game: Game, matches: int = 50, seed: int = 0) -> None:
    """Play `matches` random matches of `game` and check every clause of the contract.

    A game of two seats whose return range is (-x, x) is taken to be zero-sum.

    Raises:
        AssertionError: one line, the game's name and the broken clause.
    """
    random = np.random.default_rng(seed)
    check_facts(game)
    check_observation_space(game)
    check_state(game)
    check_options(game)
    check_action_names(game)
    check_declarations(game)
    knowledge: Knowledge = {}
    for m in range(matches):
        check_match(game, int(match_seed(np.uint64(seed), 0, m)), random, knowledge, drawn=m < DRAWN_MATCHES)
    check_batch(game, seed, random)


def require(game: Game, holds: Any, clause: str, got: Any = None) -> None:
    """Raise the assertion `clause` unless it holds."""
    if not holds:
        name = getattr(game, "name", type(game).__name__)
        found = "" if got is None else f"; got {got!r}"
        raise AssertionError(" ".join(f"{name}: {clause}{found}".split()))


# ---------------------------------------------------------------- facts


def check_facts(game: Game) -> None:
    """The class, its facts, and which verbs are there."""
    parameters = getattr(type(game), "__dataclass_params__", None)
    require(game, parameters is not None and parameters.frozen, "a game is a frozen dataclass of its options")
    again = type(game)(**game.options)
    require(game, again == game and hash(again) == hash(game), "equal options make equal games")
    require(game, isinstance(game.name, str) and game.name.isidentifier(), "name is an identifier")
    for fact, least in (("seats", 1), ("actions", 1), ("chance_outcomes", 0), ("max_length", 1)):
        value = getattr(game, fact)
        require(game, type(value) is int and value >= least, f"{fact} is an int, at least {least}", value)
    low, high = game.return_range
    is_range = math.isfinite(low) and math.isfinite(high) and low < high
    require(game, is_range, "return_range is the lowest and the highest return", (low, high))
    for verb in ("deal", "legal", "play", "observe", "chance"):
        require(game, callable(getattr(game, verb, None)), f"the verb {verb} is given")
    require(game, type(game.simultaneous) is bool, "simultaneous is True or False", game.simultaneous)
    has_chance = type(game).chance is not no_chance
    require(game, has_chance == (game.chance_outcomes > 0), "chance is given where there are chance outcomes")


def check_observation_space(game: Game) -> None:
    """Of a kind that a `Batch` and an encoder can take."""
    space = game.observation_space
    require(game, space == game.observation_space, "observation_space is the same whenever asked")
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        require(game, space.dtype == np.uint8, "MultiDiscrete observations are uint8", space.dtype)
        require(game, len(space.shape) == 1, "MultiDiscrete observations are [K]", space.shape)
    else:
        is_box = isinstance(space, gymnasium.spaces.Box)
        require(game, is_box, "observation_space is MultiDiscrete or Box", space)
        require(game, np.issubdtype(space.dtype, np.integer), "Box observations are integers", space.dtype)


def check_state(game: Game) -> None:
    """The record's dtype, and the record before the set-up."""
    mine, common = game.state, record(game.seats)
    names = common.names or ()
    is_record = issubclass(mine.type, np.record) and mine.isalignedstruct
    require(game, is_record, "state is made by envs.core.record", mine)
    begins = (mine.names or ())[: len(names)] == names
    here: Mapping[str, Any] = mine.fields or {}
    there: Mapping[str, Any] = common.fields or {}
    begins = begins and all(here[n][:2] == there[n][:2] for n in names)
    require(game, begins, "state starts with the fields every match has", mine.names)
    require(game, mine == game.state, "state is the same dtype whenever asked")
    blank = game.blank()
    require(game, blank.dtype == mine, "blank() is a record of dtype state", blank.dtype)
    require(game, blank.tobytes() == game.blank().tobytes(), "blank() is the same record whenever asked")
    zero = blank.seed == 0 and blank.draws == 0 and not blank.reward.any() and not blank.over
    require(game, zero, "blank() writes options only")


def check_options(game: Game) -> None:
    """Of every option another value is sought that the game takes and that makes a difference."""
    for field in option_fields(game):
        differences = tried(game, field)
        makes_one = next(differences, True) or any(differences)
        require(game, makes_one, "an option changes the state record or a fact", field.name)


def tried(game: Game, field: dataclasses.Field[Any]) -> Iterator[bool]:
    """For each other value of an option that the game takes: does it make a difference?

    It is tried beside the game's own options and beside none, as one option may forbid another.
    """
    for options in (dict(game.options), {}):
        try:
            here = type(game)(**options)
            before = readable(here)
        except Exception:  # other options may have to be given
            continue
        for value in other_values(here, field):
            try:
                other = type(game)(**(options | {field.name: value}))
                after = readable(other)
            except Exception:  # this value is not one that it takes
                continue
            if other != here:
                yield after != before


def readable(game: Game) -> tuple[Any, ...]:
    """All that the verbs, and who calls them, can read of a game."""
    facts = (game.seats, game.actions, game.chance_outcomes, game.max_length, game.simultaneous)
    return *facts, game.return_range, game.observation_space, game.state, game.blank().tobytes()


def other_values(game: Game, field: dataclasses.Field[Any]) -> list[Any]:
    """Values that an option might take instead of its own."""
    own, kind = getattr(game, field.name), get_type_hints(type(game))[field.name]
    values = [] if field.default is dataclasses.MISSING else [field.default]
    if get_origin(kind) is Literal:
        values += get_args(kind)
    elif kind is bool:
        values += [not own]
    elif kind in (int, float):
        values += [kind(n) for n in (own + 1, own - 1, own + 2, own - 2, 2 * own, own // 2, 0, 1, 2, 3)]
    return [value for value in values if value != own]


def check_action_names(game: Game) -> None:
    """Every action has a name of its own."""
    names = [game.action_name(a) for a in range(game.actions)]
    require(game, all(isinstance(n, str) and n for n in names), "action_name is a non-empty text")
    require(game, len(set(names)) == len(names), "action_name is distinct for distinct actions")


def check_declarations(game: Game) -> None:
    """What exact tools are told of the record's fields, see `envs.declared`."""
    try:
        check_declared(game)
    except ValueError as error:
        raise AssertionError(" ".join(str(error).split())) from error


# ---------------------------------------------------------------- one match


def check_match(
    game: Game, seed: int, random: np.random.Generator, knowledge: Knowledge, drawn: bool = False
) -> None:
    """Play one random match, chance outcomes included, judging every point on the way."""
    match = Match(game, seed=seed, chance="ask")
    seen: list[list[bytes]] = [[] for _ in range(game.seats)]
    history = [match.state.tobytes()]
    decisions, in_a_row = 0, 0
    tick: Tick | None = None
    while not match.over:
        check_seat(match)
        check_observations(match)
        is_drawn = drawn and len(history) <= DRAWN_POINTS
        if is_drawn:
            check_drawings(match)
        if match.seat == CHANCE:
            in_a_row += 1
            require(game, in_a_row <= CHANCE_LIMIT, "chance ends and a seat gets to decide")
            action = check_chance(match, random)
        else:
            decisions, in_a_row = decisions + 1, 0
            require(game, decisions <= game.max_length, "a match takes at most max_length decisions")
            if game.simultaneous:
                tick = check_tick(match, tick)
            action = check_legal(match, random)
            check_illegal(match, random)
            check_knowledge(match, seen, knowledge, is_drawn)
            seen[match.seat].append(action.to_bytes(4, "little"))
        check_play(match, action)
        history.append(match.state.tobytes())
    check_observations(match)
    if drawn:
        check_drawings(match)
    is_whole = tick is None or tick[0] == game.seats - 1
    require(game, is_whole, "a match with simultaneous moves ends when all seats have moved")
    check_end(match)
    check_replay(match, history)


def check_seat(match: Match) -> None:
    """Somebody decides next."""
    game, seat = match.game, match.seat
    can_be_chance = game.chance_outcomes > 0
    is_seat = 0 <= seat < game.seats or (seat == CHANCE and can_be_chance)
    require(game, is_seat, "s.seat is a seat, or CHANCE where there are chance outcomes", seat)


def check_observations(match: Match) -> None:
    """Every seat may be asked at every point, at chance nodes and after the end too."""
    game, before = match.game, match.state.tobytes()
    space = game.observation_space
    for seat in range(game.seats):
        out, frame = framed(space.shape, space.dtype)
        game.observe(match.state, seat, out)
        require(game, is_intact(frame), "observe writes inside out only")
        require(game, space.contains(out), "an observation lies in observation_space", out.tolist())
        other_place = framed_copy(match.state)[0]
        again, _ = framed(space.shape, space.dtype)
        game.observe(other_place[0], seat, again)
        require(game, out.tobytes() == again.tobytes(), "an observation is determined by the state")
    require(game, match.state.tobytes() == before, "observe leaves the state as it is")


def check_tick(match: Match, tick: Tick | None) -> Tick:
    """Judge a decision where moves are simultaneous, after the one before it; returns what is now shown."""
    game, last = match.game, match.game.seats - 1
    expected = 0 if tick is None or tick[0] == last else tick[0] + 1
    require(game, match.seat == expected, "simultaneous moves are made in the order of the seats", match.seat)
    shown = [part for p in range(game.seats) for part in (match.observation(p), match.mask(p))]
    now = b"".join(part.tobytes() for part in (*shown, match.returns))
    is_hidden = match.seat == 0 or tick is None or now == tick[1]
    require(game, is_hidden, "simultaneous moves show and earn nothing until all seats have moved")
    return match.seat, now


def check_legal(match: Match, random: np.random.Generator) -> int:
    """Judge the mask; returns a legal action."""
    game, before = match.game, match.state.tobytes()
    mask, frame = framed((game.actions,), np.dtype(np.bool_))
    game.legal(match.state, mask)
    require(game, is_intact(frame), "legal writes inside mask only")
    require(game, match.state.tobytes() == before, "legal leaves the state as it is")
    require(game, mask.view(np.uint8).max() <= 1, "mask holds True and False")
    require(game, mask.any(), "a seat to move has a legal action")
    return int(random.choice(np.flatnonzero(mask)))


def check_chance(match: Match, random: np.random.Generator) -> int:
    """Judge a chance node and play each of its outcomes on a copy; returns one that can happen."""
    game, before = match.game, match.state.tobytes()
    odds, frame = framed((game.chance_outcomes,), np.dtype(np.float64))
    game.chance(match.state, odds)
    require(game, is_intact(frame), "chance writes inside probabilities only")
    require(game, match.state.tobytes() == before, "chance leaves the state as it is")
    are_odds = (odds >= 0.0).all() and abs(odds.sum() - 1.0) < 1e-9
    require(game, are_odds, "chance probabilities sum to 1", odds.tolist())
    possible = np.flatnonzero(odds)
    for outcome in random.permutation(possible)[:8]:
        check_play(match.copy(), int(outcome))
    return int(random.choice(possible))


def check_play(match: Match, action: int) -> None:
    """Play a legal action twice, in the match and on a framed copy of its record."""
    game = match.game
    what = "a chance outcome" if match.seat == CHANCE else "a legal action"
    records, frame = framed_copy(match.state)
    copy = records[0]
    copy.reward[:] = 0.0
    draws, seed = int(copy.draws), int(copy.seed)
    try:
        game.play(copy, action)
        match.play(action)
    except Exception as error:
        raise AssertionError(f"{game.name}: {what} can be played; {action} raised {error!r}") from error
    require(game, is_intact(frame), "play writes inside the state record only")
    require(game, copy.tobytes() == match.state.tobytes(), "play is determined by the state and the action")
    require(game, int(copy.seed) == seed and copy.draws >= draws, "play leaves seed alone, draws only grows")
    require(game, np.isfinite(copy.reward).all(), "rewards are finite", copy.reward)


def check_illegal(match: Match, random: np.random.Generator) -> None:
    """A few illegal actions and two out of range: refused, and nothing changes."""
    game, before = match.game, match.state.tobytes()
    illegal = random.permutation(np.flatnonzero(~match.mask()))[:6].tolist()
    for action in [*illegal, -1, game.actions]:
        require(game, refuses(match, action), "an illegal action raises ValueError", action)
        require(game, match.state.tobytes() == before, "an illegal action leaves the state as it is", action)


def refuses(match: Match, action: int) -> bool:
    """Does the match raise ValueError at this action?"""
    try:
        match.play(action)
    except ValueError:
        return True
    return False


def check_knowledge(match: Match, seen: list[list[bytes]], knowledge: Knowledge, drawn: bool) -> None:
    """Whenever a seat has seen and done the same, it is shown the same: else something leaks."""
    game, seat = match.game, match.seat
    seen[seat].append(match.observation(seat).tobytes())
    key = (seat, drawn, b"".join(seen[seat]))
    shown: tuple[Any, ...] = (match.mask().tobytes(),)
    if drawn:
        shown += (match.text(seat), match.svg(seat))
    known = knowledge.setdefault(key, shown)
    require(game, shown[0] == known[0], "a seat's legal actions follow from what it has seen and done")
    require(game, shown[1:2] == known[1:2], "a seat's text follows from what it has seen and done")
    require(game, shown[2:] == known[2:], "a seat's svg follows from what it has seen and done")


def check_drawings(match: Match) -> None:
    """Text and SVG are there for every viewer."""
    game, before = match.game, match.state.tobytes()
    viewers: list[Viewer] = [*range(game.seats), REFEREE]
    for viewer in viewers:
        text = match.text(viewer)
        require(game, isinstance(text, str) and text.strip(), "text is not empty for any viewer", viewer)
        require(game, is_svg(match.svg(viewer)), "svg is a well-formed SVG document for any viewer", viewer)
    require(game, match.state.tobytes() == before, "text and svg leave the state as it is")


def is_svg(document: str) -> bool:
    """Is it XML whose root is an SVG element?"""
    try:
        return ElementTree.fromstring(document).tag == "{http://www.w3.org/2000/svg}svg"
    except ElementTree.ParseError:
        return False


def check_end(match: Match) -> None:
    """The returns, and that nothing goes on."""
    game, before = match.game, match.state.tobytes()
    low, high = game.return_range
    inside = (match.returns >= low - ROUNDING).all() and (match.returns <= high + ROUNDING).all()
    require(game, inside, "returns lie in return_range", match.returns.tolist())
    if game.seats == 2 and low == -high:
        require(game, match.returns.sum() == 0.0, "two seats' returns sum to zero", match.returns.tolist())
    require(game, match.legal() == [] and not match.mask().any(), "nothing is legal after the end")
    require(game, all(refuses(match, a) for a in (-1, 0, game.actions)), "a match that is over refuses moves")
    require(game, match.state.tobytes() == before, "a match that is over stays as it is")


def check_replay(match: Match, history: list[bytes]) -> None:
    """Play the match again: every record is the same as in `history`."""
    game = match.game
    again = Match(game, seed=match.seed, chance="ask")
    states = [again.state.tobytes()]
    for action in match.actions:
        if again.over or action not in again.legal():
            break
        again.play(action)
        states.append(again.state.tobytes())
    require(game, states == history, "the same seed and actions give the same bytes")


# ---------------------------------------------------------------- many matches


def check_batch(game: Game, seed: int, random: np.random.Generator, lanes: int = 8) -> None:
    """Step a Batch beside one Match per lane with its seed; one action in ten is wild."""
    batch = Batch(game, lanes, seed=seed)
    matches = [Match(game, seed=int(match_seed(np.uint64(seed), b, 0))) for b in range(lanes)]
    episode = [0] * lanes
    for step in range(min(4 * game.max_length, 400)):
        compare_lanes(batch, matches, step)
        actions = np.array([random.choice(match.legal()) for match in matches])
        wild = random.random(lanes) < 0.1
        actions[wild] = random.integers(-1, game.actions + 1, wild.sum())
        batch.step(torch.from_numpy(actions))

        reward = np.zeros((lanes, game.seats))
        over, illegal = np.zeros(lanes, np.bool_), np.zeros(lanes, np.bool_)
        for b, match in enumerate(matches):
            illegal[b] = actions[b] not in match.legal()
            reward[b] = game.forfeit(match.seat) if illegal[b] else earned(match, int(actions[b]))
            over[b] = illegal[b] or match.over
            if over[b]:
                episode[b] += 1
                matches[b] = Match(game, seed=int(match_seed(np.uint64(seed), b, episode[b])))
                reward[b] += matches[b].returns
        close = np.allclose(batch.reward.numpy(), reward, rtol=1e-5, atol=1e-6)
        require(game, close, f"a Batch plays what Match plays: reward at step {step}")
        same = (batch.over.numpy() == over).all()
        require(game, same, f"a Batch plays what Match plays: over at step {step}")
        same = (batch.illegal.numpy() == illegal).all()
        require(game, same, f"a Batch plays what Match plays: illegal at step {step}")


def compare_lanes(batch: Batch, matches: list[Match], step: int) -> None:
    """What each lane shows must be what its match shows."""
    states = batch.states
    for b, match in enumerate(matches):
        shown: dict[str, tuple[Any, Any]] = {
            "seat": (int(batch.seat[b]), match.seat),
            "observation": (batch.observation[b].numpy().tolist(), match.observation(match.seat).tolist()),
            "legal": (batch.legal[b].numpy().tolist(), match.mask().tolist()),
            "state": (states[b].tobytes(), match.state.tobytes()),
        }
        for what, (here, there) in shown.items():
            require(match.game, here == there, f"a Batch plays what Match plays: {what} before step {step}")


def earned(match: Match, action: int) -> Array:
    """Play an action; what each seat earned by it, float64 [P]."""
    before = match.returns.copy()
    match.play(action)
    return match.returns - before


# ---------------------------------------------------------------- frames


def framed(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Zeros inside a frame of marked bytes: a compiled verb that writes out of bounds breaks it.

    Returns the zeros and the frame.
    """
    size = math.prod(shape) * dtype.itemsize
    frame = np.full(size + 2 * FRAME, MARK, np.uint8)
    frame[FRAME:-FRAME] = 0
    return frame[FRAME:-FRAME].view(dtype).reshape(shape), frame


def framed_copy(state: Any) -> tuple[Array, Array]:
    """A copy of one state record inside a frame, as an array of one record; and the frame."""
    records, frame = framed((1,), state.dtype)
    records.view(np.uint8)[:] = np.frombuffer(state.tobytes(), np.uint8)
    return records, frame


def is_intact(frame: Array) -> bool:
    """Are all marked bytes as they were?"""
    return bool((frame[:FRAME] == MARK).all() and (frame[-FRAME:] == MARK).all())
