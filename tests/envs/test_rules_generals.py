"""Generals: recorded matches tick by tick, the order of two moves by hand, maps, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import recorded_matches

import envs
from envs.games.generals import TIME
from envs.games.generals_maps import ATTEMPTS, CASTLE, FAR, GENERAL, MOUNTAIN, NOBODY, PLAIN, flood

A, B = 0, 1  # the seats


# ---------------------------------------------------------------- recorded matches


def padded(layout, side):
    """The map with mountains on the right and below, `side` x `side` cells: rules are compiled once a size,
    and whether a cell is a mountain or none at all makes no difference to what happens on the others."""
    rows = [row.ljust(side, "#") for row in layout.split("/")]
    return "/".join(rows + ["#" * side] * (side - len(rows)))


def recorded_action(match, pass_, row, col, direction, split):
    """A recorded move as our action; one that was not a real move, and so changed nothing, as a pass."""
    game = match.game
    action = (row * game.cols + col) * 8 + direction * 2 + split
    is_real = not pass_ and 0 <= row < game.rows and 0 <= col < game.cols and match.mask()[action]
    return action if is_real else game.actions - 1


def assert_recorded(match, recorded, tick):
    """Armies, owners, totals and what both seats see are those after `tick` recorded ticks."""
    _, rows, cols = match.game.observation_space.shape
    board = np.s_[..., : recorded["armies"].shape[1], : recorded["armies"].shape[2]]
    armies, owner = (cells.reshape(rows, cols)[board] for cells in (match.state.army, match.state.owner))
    assert armies.tolist() == recorded["armies"][tick].tolist()
    assert owner.tolist() == recorded["owner"][tick].tolist()
    land_a, army_a, land_b, army_b, time = recorded["totals"][tick].tolist()
    public = {A: [land_a, army_a, land_b, army_b, time], B: [land_b, army_b, land_a, army_a, time]}
    for seat in (A, B):
        planes = match.observation(seat)
        assert planes[:9][board].tolist() == recorded["planes"][tick, seat].tolist()
        assert (planes[9:] == np.reshape(public[seat], (5, 1, 1))).all()


def test_sixty_recorded_matches_are_played_the_same():
    """7,527 ticks on maps of 4 x 4 to 10 x 10. 46 matches end by a general's fall, none before its time."""
    ticks = ends = not_real = 0
    for recorded in recorded_matches():
        side = 4 if len(recorded["map"]) == 19 else 10
        match = envs.Match(envs.make("generals", map=padded(recorded["map"], side)))
        assert_recorded(match, recorded, 0)
        for tick, moves in enumerate(recorded["actions"].tolist(), 1):
            assert not match.over
            for pass_, *move in moves:
                action = recorded_action(match, pass_, *move)
                not_real += action == match.game.actions - 1 and not pass_
                match.play(action)
            assert_recorded(match, recorded, tick)
            ticks += 1
        assert match.over == (recorded["winner"] >= 0)
        if match.over:
            ends += 1
            assert match.returns[recorded["winner"]] == 1.0
            assert match.returns[1 - recorded["winner"]] == -1.0
    assert (ticks, ends) == (7_527, 46)
    assert not_real == 431


# ---------------------------------------------------------------- a tick by hand

OPEN = "A.../..../..../...B"
PASS = "pass"


def place(match, **cells):
    """Put armies on cells: `b2=(A, 5)`; nobody's are `(NOBODY, n)`."""
    for name, (owner, army) in cells.items():
        cell = cell_of(match, name)
        match.state.owner[cell], match.state.army[cell] = owner, army


def cell_of(match, name):
    return (int(name[1:]) - 1) * match.game.cols + "abcdefghijklmnopqrstu".index(name[0])


def look(match, *names):
    return [(int(match.state.owner[c]), int(match.state.army[c])) for c in (cell_of(match, n) for n in names)]


def tick(match, *moves):
    """One move of each seat, by name."""
    names = {match.game.action_name(a): a for a in range(match.game.actions)}
    for move in moves:
        match.play(names[move])


@pytest.fixture
def match():
    return envs.Match(envs.make("generals", map=OPEN))


def test_a_move_takes_all_but_one_or_half_rounded_down(match):
    for army, moved in ((2, 1), (3, 2), (8, 7)):
        place(match, b2=(A, army), b3=(A, 10), c2=(NOBODY, 0), c3=(NOBODY, 0))
        tick(match, "b2 right", PASS)
        assert look(match, "b2", "c2") == [(A, 1), (A, moved)]
    for army, moved in ((2, 1), (3, 1), (8, 4)):
        place(match, b3=(A, army), c3=(NOBODY, 0))
        tick(match, "b3 right (half)", PASS)
        assert look(match, "b3", "c3") == [(A, army - moved), (A, moved)]


def test_own_armies_add_up_and_the_smaller_of_two_is_taken_off_both(match):
    place(match, b2=(A, 6), c2=(A, 4))
    tick(match, "b2 right", PASS)
    assert look(match, "b2", "c2") == [(A, 1), (A, 9)]
    for defender, left in ((3, (A, 2)), (5, (B, 0)), (8, (B, 3))):  # 5 attack
        place(match, b2=(A, 6), c2=(B, defender))
        tick(match, "b2 right", PASS)
        assert look(match, "b2", "c2") == [(A, 1), left]


def test_land_grows_every_50_ticks_generals_and_castles_every_two():
    """50 ticks of waiting: land 1 + 1, a general 1 + 25 + 1, a castle of 43 that B holds + 25 + 1."""
    match = envs.Match(envs.make("generals", map="A.../..../..3./...B"))
    place(match, a2=(A, 1), c3=(B, 43))
    sizes = []
    for _ in range(50):
        tick(match, PASS, PASS)
        sizes.append([army for _, army in look(match, "a1", "a2", "c3", "c2")])
    assert sizes[:4] == [[1, 1, 43, 0], [2, 1, 44, 0], [2, 1, 44, 0], [3, 1, 45, 0]]
    assert sizes[48:] == [[25, 1, 67, 0], [27, 2, 69, 0]]
    assert (match.state.land.tolist(), match.state.total.tolist()) == ([2, 2], [29, 27 + 69])


def test_who_moves_onto_the_cell_the_other_leaves_comes_first(match):
    """B leaves c2 for c3 with the larger army; A moves onto c2 first, and B has less to move with."""
    place(match, b2=(A, 5), c2=(B, 10))
    tick(match, "b2 right", "c2 down")
    assert look(match, "b2", "c2", "c3") == [(A, 1), (B, 1), (B, 5)]
    place(match, b2=(A, 12), c2=(B, 10), c3=(NOBODY, 0))
    tick(match, "b2 right", "c2 down")
    assert look(match, "c2", "c3") == [(A, 1), (NOBODY, 0)]  # the cell is lost, nothing moves


def test_head_on_seat_0_comes_first(match):
    """Each moves onto the other's cell, half of 8 against all of 3: this is one of the cases in which the
    seats are not alike. A first: 4 beat 3 on c2. B first: 2 beat nobody on b2, half of 6 strikes back."""
    place(match, b2=(A, 8), c2=(B, 3))
    tick(match, "b2 right (half)", "c2 left")
    assert look(match, "b2", "c2") == [(A, 4), (A, 1)]
    place(match, b2=(A, 3), c2=(B, 8))
    tick(match, "b2 right", "c2 left (half)")
    assert look(match, "b2", "c2") == [(B, 2), (B, 3)]


def test_a_move_onto_own_land_comes_before_an_attack(match):
    """B's general has 2 and gets 3; A's 4 come after that, though A's army is the larger one."""
    place(match, d3=(B, 4), c4=(A, 5), d4=(B, 2))
    tick(match, "c4 right", "d3 down")
    assert not match.over
    assert look(match, "d4") == [(B, 1)]


@pytest.mark.parametrize(
    ("army_a", "army_b", "half_a", "half_b", "owner"),
    [
        (6, 6, "", "", A),  # equal: another case in which the seats are not alike
        (11, 6, " (half)", "", A),  # 5 against 5: the larger army at the source comes first
        (6, 11, "", " (half)", B),
    ],
)
def test_the_larger_army_comes_first_not_halved_for_a_split(match, army_a, army_b, half_a, half_b, owner):
    """Both move 5 onto the same free cell. Whoever comes first takes it and holds it with 0."""
    place(match, a2=(A, army_a), c2=(B, army_b))
    tick(match, f"a2 right{half_a}", f"c2 left{half_b}")
    assert look(match, "b2") == [(owner, 0)]


def test_a_generals_fall_ends_the_match_at_once(match):
    """In the second tick A takes B's general. B's 7 do not march on A's any more, and nothing grows."""
    tick(match, PASS, PASS)
    place(match, c4=(A, 9), d4=(B, 3), a2=(B, 8), c3=(B, 2), b1=(A, 4))
    tick(match, "c4 right", "a2 up")
    assert match.over
    assert match.returns.tolist() == [1.0, -1.0]
    assert look(match, "a1", "a2", "c3", "c4", "d4", "b1") == [(A, n) for n in (1, 8, 2, 1, 5, 4)]
    assert (match.state.land.tolist(), match.state.total.tolist()) == ([6, 0], [21, 0])
    assert match.state.time == 2


@pytest.mark.parametrize(("army_a", "army_b", "winner"), [(5, 5, A), (5, 6, B), (6, 5, A)])
def test_when_both_generals_are_attacked_the_first_to_move_wins(match, army_a, army_b, winner):
    """The larger army comes first; of equal ones seat 0's, the last case in which seats are not alike."""
    place(match, d3=(A, army_a), a2=(B, army_b))
    tick(match, "d3 down", "a2 up")
    assert match.over
    assert match.returns[winner] == 1.0


def test_time_is_up():
    """The third tick is the last: a draw, with growth as in any other tick."""
    match = envs.Match(envs.make("generals", map=OPEN, max_ticks=3))
    for number in range(3):
        assert not match.over
        assert match.observation(B)[TIME].tolist() == [[number] * 4] * 4
        tick(match, PASS, PASS)
    assert match.over
    assert match.returns.tolist() == [0.0, 0.0]
    assert look(match, "a1", "d4") == [(A, 2), (B, 2)]
    assert "tick 3, draw" in match.text(A)


def test_seat_0s_move_waits_for_seat_1s(match):
    """Nothing that anybody is shown changes when seat 0 has moved."""
    place(match, b2=(A, 5))
    before = (
        [match.observation(p).tolist() for p in (A, B)],
        match.text(),
        match.svg(),
        match.mask(B).tolist(),
    )
    match.play(8 * 5 + 6)  # b2 right
    after = [match.observation(p).tolist() for p in (A, B)], match.text(), match.svg(), match.mask(B).tolist()
    assert match.seat == B
    assert after == before


def test_a_board_in_letters():
    match = envs.Match(envs.make("generals", map="A..#/..3./..../#..B"))
    place(match, b1=(A, 7), c2=(A, 12))
    tick(match, PASS, PASS)
    assert match.text().splitlines() == [
        "  a    b    c    d",
        "1 A1   a7   .    #",
        "2 .    .    a12* .",
        "3 .    .    .    .",
        "4 #    .    .    B1",
        "tick 1   A: 3 land, 20 army; B: 1 land, 1 army",
    ]
    assert match.text(B).splitlines() == [
        "  a  b  c  d",
        "1 ~  ~  ~  ?",
        "2 ~  ~  ?  ~",
        "3 ~  ~  .  .",
        "4 ?  ~  .  B1",
        "seen by B, tick 1   A: 3 land, 20 army; B: 1 land, 1 army",
    ]


def test_action_names():
    game = envs.make("generals")
    assert [game.action_name(a) for a in (0, 3, 8 * 17 + 4, 8 * 63 + 7, 512)] == [
        "a1 up",
        "a1 down (half)",
        "b3 left",
        "h8 right (half)",
        "pass",
    ]


# ---------------------------------------------------------------- maps


def steps_from(game, terrain, start):
    """Steps on plain cells and generals from a cell to every other, by breadth-first search."""
    steps, front = {start: 0}, [start]
    while front:
        reached = []
        for cell in front:
            row, col = divmod(cell, game.cols)
            for r, c in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                near = r * game.cols + c
                is_inside = 0 <= r < game.rows and 0 <= c < game.cols
                if is_inside and near not in steps and terrain[near] in (PLAIN, GENERAL):
                    steps[near] = steps[cell] + 1
                    reached.append(near)
        front = reached
    return steps


def assert_fit(match):
    """The generals lie far enough apart on plain cells, and within half of that reach about as many cells."""
    game, s = match.game, match.state
    a, b = (int(np.flatnonzero((s.terrain == GENERAL) & (s.owner == p))[0]) for p in (A, B))
    ways = {start: steps_from(game, s.terrain, start) for start in (a, b)}
    assert ways[a][b] >= game.min_distance
    few, many = sorted(sum(n <= game.min_distance // 2 for n in way.values()) for way in ways.values())
    assert 8 * (many - few) <= few
    castles = s.terrain == CASTLE
    assert ((s.army[castles] >= 40) & (s.army[castles] <= 50)).all()
    assert (s.army[[a, b]] == 1).all()
    assert not s.army[(s.terrain == PLAIN) | (s.terrain == MOUNTAIN)].any()
    assert (s.owner[s.terrain != GENERAL] == NOBODY).all()
    return a, b


@pytest.mark.parametrize(
    ("options", "mountains", "castles"),
    [
        ({"rows": 4, "cols": 4}, 3, 0),
        ({"rows": 5, "cols": 6, "mountains": 30, "castles": 14}, 9, 4),
        ({}, 12, 3),
    ],
    ids=str,
)
def test_random_maps_are_fit_for_play(options, mountains, castles):
    """400 maps: numbers as ordered, fair within the bound, all castle armies from 40 to 50, and each seat
    lies before the other on the board in half of them (200 +- 4 x 10)."""
    game = envs.make("generals", **options)
    numbers, armies, maps, first = [], set(), set(), 0
    for seed in range(400):
        match = envs.Match(game, seed=seed)
        a, b = assert_fit(match)
        s = match.state
        numbers.append(((s.terrain == MOUNTAIN).sum(), (s.terrain == CASTLE).sum()))
        armies |= set(s.army[s.terrain == CASTLE].tolist())
        maps.add(s.terrain.tobytes() + s.owner.tobytes())
        first += a < b
    as_ordered = sum(number == (mountains, castles) for number in numbers)
    assert as_ordered >= 398  # the others had to be made fit
    assert armies == (set(range(40, 51)) if castles else set())
    assert len(maps) > (350 if mountains == 3 else 395)  # of 4 x 4 cells there are not so many
    assert 160 <= first <= 240


def test_a_map_that_cannot_be_drawn_is_made():
    """Among so many mountains hardly any two cells are 9 steps apart. After 64 maps the
    generals are put into opposite corners, and the rim is cleared; turned, the board is the same."""
    game = envs.make("generals", rows=5, cols=6, mountains=40, castles=20, min_distance=9)
    made, inside = 0, np.zeros(2)
    for seed in range(50):
        match = envs.Match(game, seed=seed)
        generals = assert_fit(match)
        if match.state.draws > ATTEMPTS * 30:
            made += 1
            assert sorted(generals) == [0, 29]
            assert match.state.terrain.tolist() == match.state.terrain[::-1].tolist()
            inside += np.isin([MOUNTAIN, CASTLE], match.state.terrain)
    assert made >= 40
    assert (inside > made / 2).all()  # most have mountains, and most have castles


def test_a_fixed_map_is_every_matchs_map():
    game = envs.make("generals", map="Ax.#/.#5./...0/#..B")
    assert (game.rows, game.cols, game.max_ticks) == (4, 4, 500)
    for seed in (1, 2):
        s = envs.Match(game, seed=seed).state
        assert s.terrain.reshape(4, 4).tolist() == [[3, 2, 0, 1], [0, 1, 2, 0], [0, 0, 0, 2], [1, 0, 0, 3]]
        assert s.army.reshape(4, 4).tolist() == [[1, 50, 0, 0], [0, 0, 45, 0], [0, 0, 0, 40], [0, 0, 0, 1]]
        assert (s.owner[0], s.owner[15], (s.owner == NOBODY).sum()) == (A, B, 14)
        assert s.draws == 0
    assert game == envs.make("generals", map=game.map, rows=4, cols=4)


def test_distances_while_a_map_is_drawn():
    """`flood` counts steps around mountains and castles: here 6 from A to B, and none into the pocket."""
    s = envs.make("generals", map="A.#./.3#./..x#/#..B").blank()
    flood(s, 0)
    assert s.army.reshape(4, 4).tolist() == [
        [0, 1, FAR, FAR],
        [1, FAR, FAR, FAR],
        [2, 3, FAR, FAR],
        [FAR, 4, 5, 6],
    ]


# ---------------------------------------------------------------- sizes


def test_no_army_outgrows_its_bound():
    """The bound of a map with one castle of 49 after 5,000 ticks, all but one plain cell taken early: 2 + 50
    to begin with, 3 structures x 2,500, 16 cells x 100 harvests. What the seats really have stays below."""
    game = envs.make("generals", map="A.../..9./..../...B", max_ticks=5_000)
    assert game.most_army == 52 + 3 * 2_500 + 16 * 100 == game.observation_space.high.max()
    match = envs.Match(game)
    place(match, **{f"{col}{row}": (A, 1) for col in "abc" for row in (1, 3)}, c2=(A, 49))
    for _ in range(10_000):
        match.play(game.actions - 1)
    assert match.over
    assert game.most_army - 1_600 < match.state.total.sum() <= game.most_army


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"map": "A...\n.#.\n..#.\n#..B"}, "'map' must have rows of one length; row 2 has 3, not 4, got"),
        ({"map": "A...\n\n.#..\n..#.\n#..B"}, "'map' must have no empty rows; row 2 is one, got"),
        ({"map": "A..\n.#..\n..#.\n#..B"}, "'map' must have rows of one length; row 1 has 3, not 4, got"),
        ({"map": "A.../.#../..#./#.B"}, "'map' must have rows of one length; row 4 has 3, not 4, got"),
        (
            {"map": "A.../.o../..#./#..B"},
            r"'map' must be written in \.#0123456789xAB, with / or line breaks between rows; row 2 has 'o'",
        ),
        ({"map": "A.A./.#../..#./#..B"}, "'map' must have one A and one B, not 2 and 1, got"),
        ({"map": "A.../.#../..#./#..."}, "'map' must have one A and one B, not 1 and 0, got"),
        (
            {"map": "A.#./.3#./#.../...B"},
            "'map' must have a way from A to B without mountains and castles, got",
        ),
        ({"map": "A../.../..B"}, r"'rows' must be in 4\.\.21, got 3"),
        ({"map": "/".join(["A..B"] + ["...."] * 21)}, r"'rows' must be in 4\.\.21, got 22"),
        ({"map": OPEN, "cols": 5}, "'cols' is 4 on the given map, got 5"),
        ({"map": OPEN, "mountains": 10}, "'mountains' is for random maps, not beside a map, got 10"),
        ({"rows": 3}, r"'rows' must be in 4\.\.21, got 3"),
        ({"cols": 22}, r"'cols' must be in 4\.\.21, got 22"),
        ({"mountains": 41}, r"'mountains' must be in 0\.\.40, got 41"),
        ({"castles": -1}, r"'castles' must be in 0\.\.20, got -1"),
        ({"min_distance": 15}, r"'min_distance' must be in 1\.\.14, got 15"),
        ({"max_ticks": 0}, r"'max_ticks' must be in 1\.\.32767, got 0"),
        ({"max_ticks": 8_700}, "'max_ticks' must be so low that no army grows beyond 32767, got 8700"),
    ],
    ids=str,
)
def test_what_is_refused(options, said):
    with pytest.raises(ValueError, match=f"^generals: option {said}") as refusal:
        envs.make("generals", **options)
    assert "\n" not in str(refusal.value)


def test_an_action_from_fog_is_named():
    """b3 lies in A's fog: in a match one line says so, in a batch A loses."""
    game = envs.make("generals", map=OPEN)
    match, batch, action = envs.Match(game), envs.Batch(game, 2), (2 * 4 + 1) * 8
    with pytest.raises(
        ValueError, match=r"^generals: action 72 \('b3 up'\) of seat 0 is illegal; legal are \[128\]$"
    ):
        match.play(action)
    batch.step([action, game.actions - 1])
    assert batch.illegal.tolist() == batch.over.tolist() == [True, False]
    assert batch.reward.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    "text",
    [
        "A...\n.#..\n..#.\n#..B",
        "A...\n.#..\n..#.\n#..B\n",
        "\n\n  A...\n  .#..\n  ..#.\n  #..B\n\n  ",
        "A...\r\n.#..\r\n..#.\r\n#..B\r\n",
        "A.../.#..\n..#.\n#..B",
        "A.../\n.#../\n..#./\n#..B\n",
        "A... / .#.. / ..#. / #..B",
    ],
)
def test_a_map_is_written_with_line_breaks_as_well(text):
    """As a YAML block or a text file gives it; it is the same game, by its options, too."""
    assert envs.make("generals", map=text) == envs.make("generals", map="A.../.#../..#./#..B")


def test_a_map_of_nothing_but_blanks_is_none():
    assert envs.make("generals", map=" \n") == envs.make("generals")


def test_a_long_list_of_legal_actions_is_cut():
    match = envs.Match(envs.make("generals", map=OPEN))
    place(match, b2=(A, 2), c3=(A, 2), d2=(A, 2))
    with pytest.raises(ValueError, match=r"'a1 up'.* legal are \[40, 41, .*, \.\.\.\], 23 in all$"):
        match.play(0)
