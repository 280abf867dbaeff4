"""Training by self-play: from a configuration to a run (see `agents.run.keeper`) with a trained agent.

In its folder, replays/ holds a match of the agent with itself for every evaluation, as a record (see
`agents.play.records`), and the last one as a GIF; standings/ the latest ratings of the agent, its kept
checkpoints and the fixed players.
"""

from __future__ import annotations

import dataclasses
import math
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import envs
from agents import files
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.learn.group import ALONE, Group
from agents.learn.sharded import ShardedPPO
from agents.learn.shards import cut
from agents.net.cells import cell_class
from agents.net.policy import RecurrentPolicy
from agents.play.agent_file import find_player, load
from agents.play.arena import NOBODY, Result, play_alone, play_matches, watch
from agents.play.exploit import Exploitability, exploitability
from agents.play.opposition import Opposition, make_opposition
from agents.play.players import Agent, fixed_player, frozen
from agents.play.records import of_match, written
from agents.play.standings import Standings
from agents.run import curves, folder, keeper, scale
from agents.run.config import Config
from agents.run.keeper import Learning, Outcome, RunKeeper, resolve_device
from agents.run.rated import earlier, known_to_all, rated
from agents.run.sizes import check_fits, check_judged, sizes_of
from agents.run.stream import SAY, Say
from envs.batch import bytes_of, usable_device
from envs.drawing import rasterise, save_gif
from envs.seeds import derived_seed
from envs.threads import at_once
from envs.tree import Tree, build, is_small


def train(config: Config, command: str = "", say: Say = SAY, group: Group = ALONE) -> Outcome[Result]:
    """Train an agent by self-play in a new run folder; or go on with the run that the same torchrun began.

    Args:
        command: what the user typed, kept in `command.txt`.
        say: takes the lines a person should read.
        group: the processes that train it together, each of which calls this. Rank 0 alone has files and
            results.

    Raises:
        ValueError: the configuration does not fit the game, the sizes each other or the machine.
    """
    config = scale.settled(config, group)
    if (run := scale.begun(config, group, say)) is not None:
        return resume(run, say=say, group=group)
    model = make_model(config, group)
    if group.rank > 0:
        return _follow(model, config, None, group)
    tree = make_tree(config, model.batch.game, say)
    run = folder.begin(config, f"{config.game}__{config.policy.cell}", command)
    with folder.locked(run):
        scale.mark(run)
        return _run(model, config, run, None, say, tree, group)


def resume(
    run: str | Path,
    change: Callable[[Config], Config] = lambda c: c,
    say: Say = SAY,
    group: Group = ALONE,
) -> Outcome[Result]:
    """Go on with an interrupted run: same folder, same curves, and on a CPU bit for bit the same run.

    Arguments and errors are those of `folder.resumed`; a finished run is refused, too. The `group` may be
    another than before.
    """
    if group.rank > 0:
        config = scale.told(Config(), group)
        model = _model_of(config, scale.sent(None, group), group)
        return _follow(model, config, model.num_timesteps, group)
    with folder.resumed(run, Config, change, say) as (run, config, start, stored):
        config = scale.told(config, group)
        model = _model_of(config, scale.sent(stored, group), group)
        for name in config.eval.players:
            fixed_player(name, model.batch.game)
        tree = make_tree(config, model.batch.game, say)
        folder.go_on(run, config, start, model.num_timesteps, say)
        scale.mark(run)
        return _run(model, config, run, model.num_timesteps, say, tree, group)


def _model_of(config: Config, stored: files.Stored, group: Group) -> MaskableRecurrentPPO:
    """The model of a checkpoint, ready to go on."""
    _find_names(config)
    if (config.shards or 1) > 1:
        model = _cut_model(config, group)
        model.go_on(stored)
        return model
    changes = {"cuda_graph": True} if config.cuda_graph else None
    return MaskableRecurrentPPO.from_stored(stored, None, resolve_device(config.device), changes)


def _find_names(config: Config) -> None:
    """Import what the configuration names from outside the package, and read the solved games it names.

    Raises:
        ValueError: there is none of a name.
    """
    envs.find_game(config.game)
    cell_class(config.policy.cell)
    game = envs.make(config.game, **config.options)
    for name in (*config.opponents.players, *config.eval.players):
        find_player(name, game)


def make_model(config: Config, group: Group = ALONE) -> MaskableRecurrentPPO:
    """The model that a configuration describes, before training; of several processes that of this one."""
    _find_names(config)
    game = envs.make(config.game, **config.options)
    check_sizes(config, game)
    for name in config.eval.players:
        fixed_player(name, game)  # an unknown name is refused now, not after the first evaluation
    if (config.shards or 1) > 1:
        cut_model = _cut_model(config, group)
        if config.start_from is not None and group.rank == 0:
            copy_weights(config.start_from, cut_model)
        cut_model.begin_alike()
        return cut_model
    batch = envs.Batch(game, config.matches, resolve_device(config.device), config.seed)
    opposition = _opposition(config, game, config.matches, config.seed)
    model = MaskableRecurrentPPO("MlpLstmPolicy", batch, opposition=opposition, **_arguments(config))
    if config.start_from is not None:
        copy_weights(config.start_from, model)
    return model


def _cut_model(config: Config, group: Group) -> ShardedPPO:
    """A model of a run in shards."""
    game = envs.make(config.game, **config.options)
    shards = cut(
        game,
        config.matches,
        config.shards or 1,
        resolve_device(config.device),
        config.seed,
        group,
        lambda matches, seed: _opposition(config, game, matches, seed),
        config.reduce == "exact",
    )
    return ShardedPPO("MlpLstmPolicy", shards, **_arguments(config))


def _arguments(config: Config) -> dict[str, Any]:
    """What a model is made with, beside what it plays."""
    return {
        "policy_kwargs": dataclasses.asdict(config.policy),
        "seed": config.seed,
        "snapshot_every": config.opponents.snapshot_every,
        "cuda_graph": config.cuda_graph,
        **vars(config.algo),
    }


def _opposition(config: Config, game: envs.Game, matches: int, seed: int) -> Opposition | None:
    """Who sits opposite in so many matches, if anybody does."""
    o = config.opponents
    return make_opposition(game, matches, o.share, o.players, o.pool_size, seed) if o.share > 0.0 else None


def copy_weights(path: str | Path, model: MaskableRecurrentPPO) -> None:
    """Let a new model, its averaged weights and its magnet begin with the weights of an agent (see `load`).

    The averaged ones, where it has them; a new average begins. A spatial policy fits boards of all sizes.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CheckpointError: it is not a whole checkpoint.
        ValueError: it is another network.
    """
    weights = load(path, policy=type(model.policy)).policy.state_dict()
    given = {name: list(x.shape) for name, x in weights.items()}
    wanted = {name: list(x.shape) for name, x in model.policy.state_dict().items()}
    differing = sorted(name for name in {*given, *wanted} if given.get(name) != wanted.get(name))
    if differing:
        name = differing[0]
        raise ValueError(
            f"{path}: its network is not the one to train, {len(differing)} of the tensors differ: expected "
            f"{name} of shape {wanted.get(name)}, got {given.get(name)}"
        )
    for policy in (model.policy, model.ema, model.magnet):
        if policy is not None:
            policy.load_state_dict(weights)
    model.ema_steps = 0


def check_sizes(config: Config, game: envs.Game) -> None:
    """Refuse sizes for which there is no memory, before any is asked for.

    Raises:
        ValueError: names the setting, what it needs, what there is, and what would fit.
    """
    device, usual = usable_device(resolve_device(config.device)), Config()
    sizes = sizes_of(
        game.observation_space,
        game.actions,
        dataclasses.asdict(config.policy),
        matches=config.matches,
        n_steps=config.algo.n_steps,
        batch_size=config.algo.batch_size or config.matches * config.algo.n_steps,
        seats=game.seats,
        match=bytes_of(game),
    )
    keys = {
        "matches": ("matches", usual.matches),
        "n_steps": ("algo.n_steps", usual.algo.n_steps),
        "hidden": ("policy.lstm_hidden_size", usual.policy.lstm_hidden_size),
        "layers": ("policy.n_lstm_layers", usual.policy.n_lstm_layers),
        "features": ("policy.features_dim", usual.policy.features_dim),
        "widths": ("policy.net_arch", 128),
    }
    check_fits(sizes, keys, device)
    for key in ("matches_per_seat", "final_matches_per_seat", "rating_matches_per_seat"):
        check_judged(f"eval.{key}", getattr(config.eval, key), game.seats, device)


def opponents(config: Config) -> list[str]:
    """Whom the agent meets when it is judged: the fixed players, each once, or nobody in a game for one."""
    seats = envs.make(config.game, **config.options).seats
    return [NOBODY] if seats == 1 else list(dict.fromkeys(config.eval.players))


def make_tree(config: Config, game: envs.Game, say: Say = SAY) -> Tree | None:
    """The game's tree, if evaluations are to tell how exploitable the agent is; it is walked once a run.

    Raises:
        ValueError: it was asked for, and the game has none, or one that does not fit the memory.
    """
    asked = config.eval.exploitability
    if asked == "never" or (asked == "auto" and not is_small(game)):
        return None
    try:
        tree = build(game)
    except ValueError as error:
        if asked == "always":
            raise ValueError(f"eval.exploitability is always: {error}") from error
        return None
    if tree.seconds > 1.0:
        say(f"tree         {sum(tree.counts.sets):,} information sets, walked in {tree.seconds:.0f} s")
    return tree


def _run(
    model: MaskableRecurrentPPO,
    config: Config,
    run: Path,
    resumed_at: int | None,
    say: Say,
    tree: Tree | None,
    group: Group,
) -> Outcome[Result]:
    outcome = keeper.learn(model, SelfPlayKeeper(config, run, say, tree, group), resumed_at)
    group.wait()
    return outcome


def _follow(
    model: MaskableRecurrentPPO, config: Config, resumed_at: int | None, group: Group
) -> Outcome[Result]:
    """Train with rank 0, which keeps the run."""
    outcome = keeper.follow(model, Follower(config, Path(), lambda _: None, None, group), resumed_at)
    group.wait()
    return outcome


PRUNE, MANY = 1e-6, 200_000
"""In a tree of so many information sets an evaluation does not ask those that the agent goes to itself with a
smaller probability. On nine cells that leaves a few of a hundred, and an error that is logged."""


class SelfPlayKeeper(RunKeeper[Config, Result]):
    """Keeps a run by self-play: judged by matches against the fixed players and, with a tree, exactly."""

    model: MaskableRecurrentPPO
    deals: int
    """Seed of the matches of the evaluation going on."""

    def __init__(
        self, config: Config, run: Path, say: Say, tree: Tree | None = None, group: Group = ALONE
    ) -> None:
        super().__init__(config, run, say)
        self.group, self.shared = group, scale.parts(config, group)
        self.tree, self.is_lowest_best = tree, tree is not None
        self.exploitability: Exploitability | None = None
        """Of the averaged weights, at the latest evaluation."""
        self._told: tuple[int, list[Exploitability]] | None = None

    def headline(self) -> tuple[str, ...]:
        if self.tree is not None:
            return ("eval/exploitability",)
        return tuple(f"eval/vs/{name}/mean" for name in opponents(self.config))

    def bands(self) -> dict[str, tuple[str, str, str]]:
        def tags(name: str) -> tuple[str, str, str]:
            return f"eval/vs/{name}/mean", f"eval/vs/{name}/low", f"eval/vs/{name}/high"

        return {f"mean return against {name}": tags(name) for name in opponents(self.config)}

    def score(self, results: dict[str, Result]) -> float:
        return super().score(results) if self.exploitability is None else self.exploitability.exploitability

    def parts(self) -> files.Parts:
        return self.model.parts()

    def gather(self) -> None:
        self.model.gather()

    def is_asked_to_stop(self) -> bool:
        """A signal has come to any rank: all stop at the same update."""
        first = self.group.first(self.signal)
        if first is not None and self.signal is None:
            rank, self.signal = first
            self._has_told = True
            self.say(f"stopping after this update: rank {rank} got {signal.Signals(self.signal).name}")
        return first is not None

    def cause(self, error: BaseException) -> BaseException:
        return self.group.cause(error)

    def describe(self, results: dict[str, Result]) -> str:
        scores = ", ".join(f"{result.mean:+.3f} against {name}" for name, result in results.items())
        told = self.exploitability
        return f"mean return {scores}" + (f"; exploitability {told.exploitability:.4f}" if told else "")

    def summary(self, result: Result) -> dict[str, float]:
        low, high = result.interval
        return {
            "matches": result.matches, "mean": result.mean, "low": low, "high": high, "win": result.win,
        }  # fmt: skip

    def judge(self, is_final: bool) -> dict[str, Result]:
        """Play the fixed players, or alone: the averaged weights as the agent, the raw ones beside.

        Every rank plays its part of all the matches and hears of the others; what else is looked at, rank 0
        sees to, how exploitable the agent is among it: the tree is walked as a whole.
        """
        model, logger, settings = self.model, self.model.logger, self.config.eval
        matches_per_seat = settings.final_matches_per_seat if is_final else settings.matches_per_seat
        group = "final" if is_final else "eval"
        self.deals = self.final_seed if is_final else self.evaluation_seed
        results = {}
        for name in opponents(self.config):
            results[name] = self._against(name, model.ema or model.policy, matches_per_seat)
            curves.record_result(logger, name, results[name], group)
            if model.ema is not None:
                raw = self._against(name, model.policy, matches_per_seat)
                logger.record(f"{group}/raw_vs/{name}/mean", raw.mean)
        self.exploitability = None if self.tree is None else self._exploited(self.tree, group)
        if is_final and self.exploitability is not None:
            told = self.exploitability
            off = f", at most {told.error:.4f} off" if told.error > 0.0 else ""
            self.say(f"exploitability {told.exploitability:.4f} (NashConv / 2{off})")
        if not is_final:
            self._show_memory()
        if model.batch.game.seats == 2 and settings.rating_matches_per_seat > 0:
            self._rate(results, is_final)
        self._replay(is_final)
        return results

    def _show_memory(self) -> None:
        self.memory.show(self.model)

    def _rate(self, results: dict[str, Result], is_final: bool) -> None:
        """Ratings of the averaged weights and of what is kept of the run."""
        model, seed = self.model, derived_seed(self.deals, "pool")
        game, settings = model.batch.game, self.config.eval
        agent = Agent(frozen(model.ema or model.policy), game, seed=derived_seed(seed, "agent"))
        past = known_to_all(self._past(seed), model.policy, game, seed, self.group)
        standings = rated(
            game, agent, model.num_timesteps, past, list(results), results,
            settings.rating_matches_per_seat, seed, model.device, self.shared,
        )  # fmt: skip
        self._keep(standings, agent.name, is_final)

    def _past(self, seed: int) -> list[Agent]:
        """The checkpoints that the agent meets, as rank 0 finds them."""
        return earlier(self.run, self.model.batch.game, self.model.num_timesteps, seed, self.model.device)

    def _keep(self, standings: Standings, name: str, is_final: bool) -> None:
        """Ratings on the curves and in standings/; the agent's `name` in them."""
        standings.write(self.run / "standings")
        if not is_final:
            curves.record_standings(self.model.logger, standings, name)

    @property
    def evaluation_seed(self) -> int:
        """Of the deals at this moment: other ones at every evaluation, none of them training's."""
        return derived_seed(self.config.seed, "evaluation", self.model.num_timesteps)

    @property
    def final_seed(self) -> int:
        """Of the deals of the final table, which nothing has seen or been chosen by."""
        return derived_seed(self.config.seed, "final")

    def judge_anchors(self) -> dict[str, Result]:
        """In a game for one seat the fixed players alone, on the deals that the agent got."""
        if NOBODY not in self.results:
            return {}
        game, seed, matches = self.model.batch.game, self.final_seed, self.config.eval.final_matches_per_seat
        draws = derived_seed(seed, "opponent")
        players = [fixed_player(name, game, draws) for name in self.config.eval.players]
        device, shared = self.model.device, self.shared
        return {p.name: play_alone(game, p, matches, seed, device, parts=shared) for p in players}

    def _against(self, name: str, policy: RecurrentPolicy, matches_per_seat: int) -> Result:
        """Matches on `deals`, from which the players' draws are derived."""
        game, seed, device = self.model.batch.game, self.deals, self.model.device
        agent = Agent(frozen(policy), game, seed=derived_seed(seed, "agent"))
        if name == NOBODY:
            return play_alone(game, agent, matches_per_seat, seed, device, parts=self.shared)
        opponent = fixed_player(name, game, derived_seed(seed, "opponent"))
        return play_matches(game, agent, opponent, matches_per_seat, seed, device, parts=self.shared)

    def _exploited(self, tree: Tree, group: str) -> Exploitability:
        """How exploitable the averaged and the raw weights are, side by side; recorded with the error that
        the pruning makes at most. Returns the agent's own. The final evaluation finds them found already."""
        model, prune = self.model, PRUNE if tree.sets > MANY else 0.0
        policies = {"exploitability": model.ema or model.policy}
        if model.ema is not None:
            policies["exploitability_raw"] = model.policy
        if self._told is None or self._told[0] != model.num_timesteps:
            players = [Agent(frozen(policy), tree.game) for policy in policies.values()]
            judge = partial(exploitability, tree, prune=prune, device=model.device)
            found = at_once([partial(judge, player) for player in players])
            self._told = model.num_timesteps, found
        for tag, one in zip(policies, self._told[1], strict=True):
            model.logger.record(f"{group}/{tag}", one.exploitability)
            model.logger.record(f"{group}/{tag}_error", one.error)
        return self._told[1][0]

    def _replay(self, is_final: bool) -> None:
        """A match of the agent with itself: as a record, its end as an image, at last a GIF."""
        game, step = self.model.batch.game, self.model.num_timesteps
        agent = Agent(frozen(self.model.ema or self.model.policy), game, seed=step)
        frames = []
        for match in watch(game, [agent] * game.seats, seed=step):
            if is_final or match.over:
                frames.append(match.svg())
        (line,) = written(of_match(match, [agent.name] * game.seats))
        files.write_file(self.run / "replays" / f"step_{step}.json", line.encode())
        if not is_final:
            curves.record_image(self.model.logger, "eval/match", rasterise(frames[-1]))
        else:
            save_gif(self.run / "replays" / f"step_{step}.gif", [rasterise(frame) for frame in frames])


class Follower(SelfPlayKeeper):
    """What stands for a keeper on the other ranks: it agrees when to gather and when to stop, plays its part
    of evaluations, and keeps nothing."""

    def start(self, model: Learning) -> None:
        self.config = dataclasses.replace(self.config, progress=False)
        super().start(model)

    def best_so_far(self) -> float:
        return -math.inf

    def headline(self) -> tuple[str, ...]:
        """Rank 0 decides which checkpoint is the best."""
        return ()

    def save(self) -> Path:
        return self.run

    def _show_memory(self) -> None:
        """Rank 0 has what was seen of all shards."""

    def _past(self, seed: int) -> list[Agent]:  # noqa: ARG002
        return []

    def _keep(self, standings: Standings, name: str, is_final: bool) -> None:
        """Rank 0 keeps them."""

    def _replay(self, is_final: bool) -> None:
        """Rank 0 plays it."""

    def _status(self, status: str, reason: str | None = None) -> None:
        """Rank 0 writes it down."""
