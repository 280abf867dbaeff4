"""What travels with the package: every shipped agent is small, is what its card says, and plays."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

import agents
import envs
from agents.commands import doctor
from agents.packaged import SHIPPED, card_of, shipped_agent, shipped_agents
from agents.play.agent_file import load_player
from agents.play.arena import play_matches, watch
from agents.play.players import fixed_player

ROOT = Path(__file__).parents[2]
KEYS = {
    *("agent", "game", "command", "seed", "decisions", "seconds", "torch", "machine", "weights"),
    *("file", "bytes", "sha256", "measured", "other_numbers"),
}


def test_every_agent_has_a_card_and_every_card_an_agent():
    assert {path.name for path in SHIPPED.iterdir()} == {
        f"{name}.{ending}" for name in shipped_agents() for ending in ("json", "zip")
    }
    assert len(shipped_agents()) >= 1


def test_the_package_takes_them_along():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = told["tool"]["setuptools"]["package-data"]["agents"]
    taken = {path for pattern in patterns for path in (ROOT / "agents").glob(pattern)}
    assert set(SHIPPED.iterdir()) <= taken


@pytest.mark.parametrize("name", shipped_agents())
def test_a_card_is_of_its_file(name):
    card, content = card_of(name), (SHIPPED / f"{name}.zip").read_bytes()
    assert set(card) - {"begins_with"} == KEYS
    assert (card["agent"], card["file"]) == (name, f"{name}.zip")
    assert (card["bytes"], card["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert len(content) <= 2**20  # all travel with the package
    assert load_player(name, None).game == envs.make(card["game"]["name"], **card["game"]["options"])


@pytest.mark.parametrize("name", shipped_agents())
def test_a_card_tells_a_command_that_one_can_type(name):
    card = card_of(name)
    python, script, config, *_ = card["command"].split()
    assert (python, script) == ("python", "scripts/selfplay.py")
    assert (ROOT / config).is_file()
    assert isinstance(card["seed"], int)
    assert card["machine"]
    for told in (card["measured"], *card["other_numbers"].values()):
        assert {"random"} < set(told["against"])  # and who knows the rules
        for one in told["against"].values():
            assert one["low"] <= one["mean"] <= one["high"]
            assert one["matches"] == 2 * told["matches_per_seat"] >= 1_000
            assert one["win"] + one["draw"] + one["loss"] == pytest.approx(1.0, abs=2e-4)


def test_the_doctor_tells_how_good_they_are():
    for name, line in zip(shipped_agents(), doctor.agents_told(), strict=True):
        one = card_of(name)["measured"]["against"]["random"]
        assert line.startswith(
            f"{name}: {one['mean']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}] against random, "
        )


@pytest.mark.parametrize("name", shipped_agents())
def test_a_shipped_agent_plays_a_match_in_each_seat(name):
    agent = agents.load(name)
    random = fixed_player("random", agent.game, 1)
    for seated in ((agent, random), (random, agent)):
        *_, last = watch(agent.game, seated, seed=2)
        assert last.over
        assert sorted(last.returns.tolist()) == sorted(-last.returns)  # what one wins the other loses


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_agents())
def test_a_card_tells_how_good_the_agent_is(name):
    """Other deals and draws: the difference of two means lies within that of their intervals, or nearly."""
    agent = load_player(shipped_agent(name), None, seed=7)
    for other, one in card_of(name)["measured"]["against"].items():
        result = play_matches(agent.game, agent, fixed_player(other, agent.game, 8), 500, seed=9)
        low, high = result.interval
        assert abs(result.mean - one["mean"]) < (high - low) / 2 + (one["high"] - one["low"]) / 2
