"""The algorithm: the face that makes Stable-Baselines3's `learn`, callbacks and logger work (edge: SB3)."""

from __future__ import annotations

import copy
import inspect
import math
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, NoReturn

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import (
    FloatSchedule,
    configure_logger,
    get_system_info,
    safe_mean,
    set_random_seed,
)
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import Tensor

from agents import files
from agents.learn import saving
from agents.learn.kernels import Adam
from agents.learn.lanes import MatchLanes
from agents.learn.ppo import follow, update
from agents.learn.rollout import UNIFORM, Collector, Rollout
from agents.learn.schedules import Schedule, at, is_kept
from agents.learn.settings import NAMES, Moment, Settings
from agents.learn.worlds import VecWorld
from agents.net import normalizer, settings
from agents.net.policy import Memory, RecurrentPolicy, with_names
from agents.net.spaces import check_observations
from agents.net.task import Lanes, Task, World, task_of
from agents.play import agent_file, asked
from agents.play.opposition import Opposition, below, set_generator
from envs import Batch, Game
from envs.batch import fitting
from envs.names import known
from envs.seeds import derived_seed


class MaskableRecurrentPPO(BaseAlgorithm):
    """PPO with memory and masks; a Stable-Baselines3 algorithm.

        model = MaskableRecurrentPPO("MlpLstmPolicy", envs.Batch(envs.make("kuhn_poker"), 64),
                                     policy_kwargs={"cell": "gated"})     # self-play
        model = MaskableRecurrentPPO("MlpLstmPolicy", "CartPole-v1")      # a Gymnasium world
        model.learn(100_000)

    Arguments, callbacks and logger are SB3's; what is new:

    Args:
        policy: "MlpLstmPolicy", "CnnLstmPolicy" or "MultiInputLstmPolicy" (the encoder follows the
            observation space whichever is named), or a subclass of `RecurrentPolicy`.
        env: a `Batch`: the policy plays all its seats, each with its own memory. Or what SB3 takes: a
            Gymnasium env, its id, or a `VecEnv`. Masks are found as MaskablePPO finds them, by
            `action_masks()`; worlds without it allow everything.
        learning_rate: this and the other settings of the update, to `ema_decay`, are the fields of
            `agents.learn.settings.Settings`, which tells of each what it does, what is usual, and when to
            change it. Where it says `Schedule` a function of the progress that remains (1 to 0) may stand for
            the number. Self-play by the command begins with others, see `agents.run.config.SELF_PLAY`.
        use_sde, sde_sample_freq: SB3's; there is no state-dependent exploration here.
        opposition: gives a share of the matches to past selves or fixed players.
        snapshot_every: updates between two past selves added to the opposition's pool.
        cuda_graph: on a GPU, capture a step of play once and replay it, see `agents.learn.rollout.Collector`.
            Files do not keep it.
        policy_kwargs: arguments of `RecurrentPolicy`, see `agents.net.settings.Network`.

    One timestep is one decision, so an update uses `n_steps` times the number of matches or worlds.
    """

    policy_aliases: ClassVar[dict[str, Any]] = {
        "MlpLstmPolicy": RecurrentPolicy,
        "CnnLstmPolicy": RecurrentPolicy,
        "MultiInputLstmPolicy": RecurrentPolicy,
    }
    policy: RecurrentPolicy  # type: ignore[assignment]

    def __init__(
        self,
        policy: str | type[RecurrentPolicy],
        env: Batch | VecEnv | gymnasium.Env[Any, Any] | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 128,
        batch_size: int | None = 128,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float | Schedule = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | Path | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        kl_coef: float | Schedule = 0.0,
        magnet_coef: float | Schedule = 0.0,
        magnet: Literal["uniform", "snapshot", "ema", "start"] = "uniform",
        magnet_every: int = 100,
        balance: float = 0.0,
        l1_coef: float = 0.0,
        l2_coef: float = 0.0,
        shaping_coef: float | Schedule = 0.0,
        ema_decay: float = 0.0,
        opposition: Opposition | None = None,
        snapshot_every: int = 50,
        cuda_graph: bool = False,
    ) -> None:
        self._check_given(policy, use_sde, sde_sample_freq, verbose)
        super().__init__(
            policy,  # type: ignore[arg-type]
            None,
            learning_rate,
            settings.plain(with_names(policy_kwargs or {}), "policy_kwargs"),
            settings.check("stats_window_size", stats_window_size),
            None if tensorboard_log is None else str(tensorboard_log),
            int(verbose),
            env.device if isinstance(env, Batch) and device == "auto" else device,
            seed=seed,
        )
        self.n_steps, self.n_epochs, self.batch_size = n_steps, n_epochs, batch_size
        self.gamma, self.gae_lambda, self.clip_range = gamma, gae_lambda, clip_range
        self.normalize_advantage, self.vf_coef, self.target_kl = normalize_advantage, vf_coef, target_kl
        self.ent_coef, self.kl_coef, self.max_grad_norm = ent_coef, kl_coef, max_grad_norm
        self.magnet_coef, self.magnet_kind, self.magnet_every = magnet_coef, magnet, magnet_every
        self.clip_range_vf, self.shaping_coef, self.ema_decay = clip_range_vf, shaping_coef, ema_decay
        self.balance, self.l1_coef, self.l2_coef = balance, l1_coef, l2_coef
        self.opposition, self.snapshot_every = opposition, snapshot_every
        self.cuda_graph = cuda_graph
        self._check_settings()
        self._begin_empty(_init_setup_model)
        if env is not None:
            self.set_env(env)
        self._warn_of_code()

    def _check_given(self, policy: Any, use_sde: bool, sde_sample_freq: int, verbose: int) -> None:
        """Refuse what SB3 would take and this algorithm cannot."""
        if not isinstance(policy, str) and not (
            inspect.isclass(policy) and issubclass(policy, RecurrentPolicy)
        ):
            raise ValueError(
                f"policy must be {', '.join(self.policy_aliases)} or a subclass of RecurrentPolicy, "
                f"got {policy!r}"
            )
        if use_sde or sde_sample_freq != -1:
            raise ValueError(
                "use_sde must be False and sde_sample_freq -1: there is no state-dependent exploration here; "
                "policy_kwargs={'log_std_init': ...} says how widely Box actions are drawn"
            )
        if not isinstance(verbose, (int, np.integer)) or verbose not in (0, 1, 2):
            raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")

    def _begin_empty(self, makes_networks: bool) -> None:
        """What the model has before an env says what it plays."""
        self._predictions = 0  # calls of predict that began in the middle of nothing
        self._beginnings = 0  # how often `learn` has begun matches anew
        self._own_seed = 0  # of the Batch, which deals where the model has no seed
        self._started, self._rollout_seconds = time.perf_counter(), math.inf
        self._makes_networks = makes_networks
        self._given: Any = None
        """The env as it was given, before it was wrapped."""
        self.statistics: dict[str, Tensor] | None = None
        """Of a `VecNormalize`, from a file, until an env holds them."""
        self.ema: RecurrentPolicy | None = None
        self.ema_steps = 0  # gradient steps that it has followed
        self.magnet: RecurrentPolicy | None = None
        self.collector: Collector | None = None
        self.rollout: Rollout | None = None
        """The latest rollout it learned from."""
        self.task: Task
        """What it plays."""
        self.lanes: Lanes | None = None

    def _get_policy_from_name(self, policy_name: str) -> Any:
        if policy_name not in self.policy_aliases:
            raise ValueError(
                f"unknown policy {policy_name!r}; known are {known(policy_name, self.policy_aliases)}"
            )
        return self.policy_aliases[policy_name]

    def _check_settings(self) -> None:
        """Refuse settings that cannot be used; NumPy's and torch's numbers become Python's own."""
        for name, value in vars(self.settings).items():
            setattr(self, _attribute(name), value)
        for name in ("snapshot_every", "cuda_graph", "seed"):
            setattr(self, name, settings.check(name, getattr(self, name)))
        if self.magnet_kind == "ema" and self.ema_decay == 0.0:
            raise ValueError("magnet='ema' needs an ema_decay above 0")

    @property
    def settings(self) -> Settings:
        """The settings of the update as they stand.

        Raises:
            ValueError: one has been set to what it may not be.
        """
        return Settings(**{name: getattr(self, _attribute(name)) for name in NAMES})

    def _warn_of_code(self) -> None:
        """Say before training what `save` will not be able to hold."""
        for name in saving.KEPT:
            value = getattr(self, _attribute(name))
            if not is_kept(value):
                warnings.warn(
                    f"{name} is code ({saving.code_name(value)}), which files do not hold: save leaves "
                    f"it out, and load(path, {name}=...) must be given it again",
                    stacklevel=3,
                )
        if self.opposition is not None and not self.opposition.is_savable:
            warnings.warn(
                f"the opposition's players {self.opposition.arguments['players']} are not all fixed ones by "
                "name, and others files do not hold: save leaves it out, and load(path, opposition=...) must "
                "be given it again",
                stacklevel=3,
            )

    @property
    def game(self) -> Game | World:
        """What it plays: the game, or what it knows of the world."""
        return self.task.plays

    @property
    def batch(self) -> Batch:
        """The matches it learns from."""
        batch = getattr(self.lanes, "batch", None)
        if batch is None:
            raise ValueError("the model has no matches of a game; give it a Batch with set_env")
        return batch  # type: ignore[no-any-return]

    def set_env(self, env: Batch | VecEnv | gymnasium.Env[Any, Any] | str, force_reset: bool = True) -> None:
        """Learn from these; from the second time on they must be of the same game or have the same spaces.

        Args:
            force_reset: begin anew when `learn` is called next. False: the env it has goes on with its
                memories, another `Batch` from where it stands, every seat's memory empty. Other worlds are
                reset nevertheless, because nobody knows what they show. (`learn` itself begins anew unless
                it is told `reset_num_timesteps=False`.)

        Raises:
            ValueError: the env does not fit; the model keeps the one it has.
        """
        is_new = not hasattr(self, "task")
        is_same = self.lanes is not None and (env is self.env or env is self._given)
        if is_same and not isinstance(env, str):
            assert self.lanes is not None
            self._check_sizes(self.lanes.matches)
            if force_reset:
                self.collector = None
            return
        lanes, worlds = self._lanes_of(env)
        task = lanes.task
        if not is_new and task.plays != self.game:
            raise ValueError(f"the model plays {self.game}, got an env of {task.plays}")
        self._check_sizes(lanes.matches)
        self._check_opposition(task, lanes.matches)
        if self.opposition is not None:
            self.opposition.to(lanes.device)
        if worlds is not None:
            if not is_new:
                normalizer.hand_on(self, worlds)
                self.task = task  # the same spaces; which entries come scaled is told by the env
            self._vec_normalize_env = unwrap_vec_normalize(worlds)
        self.env = env if worlds is None else worlds  # type: ignore[assignment]
        self.lanes, self.n_envs = lanes, lanes.matches
        self._given, self.collector = env, None
        self._own_seed = lanes.own_seed or 0
        if is_new:
            self.begin(task)
        if worlds is None and not force_reset and hasattr(self, "policy"):
            self._sit_down()

    def _lanes_of(self, env: Batch | VecEnv | gymnasium.Env[Any, Any] | str) -> tuple[Lanes, VecEnv | None]:
        """What plays side by side, and the worlds behind it as SB3 wraps them, if there are any.

        Raises:
            ValueError: it is nothing that one learns from, or cannot be here.
        """
        if isinstance(env, Batch):
            if env.device.type != self.device.type:
                raise ValueError(
                    f"the model computes on {self.device}, the matches lie on {env.device}: both must be on "
                    "one device; name it as `device` of either"
                )
            return MatchLanes(env), None
        if not isinstance(env, (VecEnv, gymnasium.Env, str)):
            raise ValueError(
                f"env must be a Batch, a Gymnasium env, its id or a VecEnv, got {type(env).__name__}"
            )
        env = maybe_make_env(env, self.verbose)
        check_observations(env.observation_space)
        worlds = self._wrap_env(env, self.verbose)
        normalizer.check_wrappers(worlds)
        return VecWorld(worlds, self.device), worlds

    def begin(self, played: Game | World | Task) -> None:
        """Make the networks for a game or world; `set_env` does it for the first env."""
        self.task = task = task_of(played)
        self.potential = task.potential
        if self.potential is None and at(self.shaping_coef, 1.0) > 0.0:
            raise ValueError(f"{task.name} has no potential to shape rewards with: shaping_coef must be 0")
        self.observation_space, self.action_space = task.observation_space, task.action_space
        if self._makes_networks:
            self._setup_model()

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str = "MaskableRecurrentPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> MaskableRecurrentPPO:
        """Train for `total_timesteps` decisions, rounded up to whole rollouts; SB3's `learn`.

        Matches begin anew unless `reset_num_timesteps` is False, other ones each time: the n-th time they
        are dealt from `derived_seed(seed, "training", n)`, with the model's seed or, where it has none, the
        Batch's own. Callbacks read in their `locals` after every step

            actions  rewards  dones  infos  new_obs      NumPy's, a row for each match or world
            n_steps                                      steps of this rollout before this one

        Of a `Batch` a reward is that of the seat that decided; an info holds that `seat` and, where the match
        has ended, its `returns` for all seats, `illegal`, and `episode` {"r", "l", "t"} as `Monitor` tells
        it: r is what seat 0 earned, l counts decisions. A callback with `reads_locals = False` spares this.

        Args:
            log_interval: rollouts between two writes of the log; None never writes.

        Raises:
            ValueError: `log_interval` is none, or the weights are no longer float32.
        """
        if log_interval is not None:
            given, log_interval = log_interval, settings.plain_number(log_interval)
            if isinstance(log_interval, bool) or not isinstance(log_interval, int) or log_interval < 1:
                raise ValueError(f"log_interval must be a whole number of at least 1, or None, got {given!r}")
        self._check_networks()
        for name, weights in self.policy.named_parameters():
            if weights.dtype != torch.float32:
                raise ValueError(
                    f"learn expects weights of torch.float32, as memory and optimizer are, got "
                    f"{weights.dtype} in {name!r}; policy.float() makes them that again"
                )
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        iteration = 0
        while self.num_timesteps < total_timesteps:
            rollout = self._collect(callback)
            if rollout is None:
                break
            self.rollout = rollout
            iteration += 1
            # The last rollout may go beyond the end; a schedule may not.
            self._update_current_progress_remaining(min(self.num_timesteps, total_timesteps), total_timesteps)
            self.train(rollout)
            if log_interval is not None and iteration % log_interval == 0:
                self.dump_logs(iteration)
        callback.on_training_end()
        return self

    def train(self, rollout: Rollout | None = None) -> None:
        """One update from one rollout, by default once more from the latest.

        Raises:
            ValueError: there is none yet.
        """
        rollout = self.rollout if rollout is None else rollout
        if rollout is None:
            raise ValueError("nothing has been played yet; learn plays and trains")
        now = self.settings.at(self._current_progress_remaining)
        for group in self.optimizer.param_groups:
            group["lr"] = now.learning_rate
        self.policy.train()
        parts = self._improve(rollout, now)
        steps = int(parts.pop("steps"))
        self.ema_steps += steps if self.ema is not None else 0
        self.policy.eval()
        self._n_updates += 1
        if (
            self.magnet_kind == "snapshot"
            and self.magnet is not None
            and self._n_updates % self.magnet_every == 0
        ):
            follow(self.magnet, self.ema or self.policy, 0.0)
        if self.opposition is not None and self._n_updates % self.snapshot_every == 0:
            self._keep_past_self()

        for name, value in parts.items():
            self.logger.record(f"train/{name}", value)
        for name in ("learning_rate", "clip_range", "clip_range_vf", "ent_coef"):
            if (value := getattr(now, name)) is not None:
                self.logger.record(f"train/{name}", value)
        if self.potential is not None:
            self.logger.record("train/shaping_coef", now.shaping_coef)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _improve(self, rollout: Rollout, now: Moment) -> dict[str, float]:
        """See `update`."""
        return update(
            self.policy,
            self.optimizer,
            rollout,
            now,
            reward_scale=self.reward_scale,
            potential=self.potential,
            generator=self.shuffler,
            ema=self.ema,
            ema_steps=self.ema_steps,
        )

    def _keep_past_self(self) -> None:
        """The weights as they are join the opposition's pool."""
        assert self.opposition is not None
        self.opposition.add(self.policy, f"past self {self.num_timesteps}")

    def predict(  # type: ignore[override]
        self,
        observation: np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]],
        state: Memory | None = None,
        episode_start: np.ndarray[Any, Any] | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray[Any, Any] | None = None,
        seat: np.ndarray[Any, Any] | int | None = None,
    ) -> tuple[np.ndarray[Any, Any], Memory]:
        """SB3's `predict`, with masks and seats. `agents.Agent` keeps the state by itself.

        Args:
            observation: [B, ...], or one without B; of a Dict space a dict of such.
            state: what the call before returned; None = nothing seen yet.
            episode_start: bool [B], a new match begins.
            action_masks: bool [B, A], of MultiDiscrete component after component; None = all legal. Each
                must leave an action.
            seat: int [B] or one for all, who decides; a policy of one seat needs none.

        Returns:
            actions [B] (or one without B; of Box within its bounds) and the next state.

        Raises:
            ValueError: an argument does not fit the policy; the message says what would.
        """
        self._check_networks()
        seen, is_single = self.task.pack(asked.observation_of(observation))
        B = len(seen)
        if B == 0:
            raise ValueError("expected at least one observation, got none")
        legal = asked.masks_of(self.policy.family, action_masks, B, is_single)
        seats = asked.seats_of(self.policy.seats, seat, B)
        start = asked.starts_of(episode_start, B, is_single)
        memory = asked.memory_of(self.policy, state, B)
        self._warn_of_forgotten_state(state, episode_start)
        seen, legal, seats, start = (x.to(self.device) for x in (seen, legal, seats, start))
        decision, memory = self.policy.act(seen, legal, seats, start, memory, self.generator, deterministic)
        actions = self.task.hand_out(decision.action)
        if isinstance(actions, Tensor):
            actions = actions.cpu().numpy()
        return (actions[0] if is_single else actions), memory

    def _warn_of_forgotten_state(self, state: Memory | None, episode_start: Any) -> None:
        """Warn once if `predict` is called again as if nothing had been seen, within an episode."""
        begins = episode_start is not None and bool(np.all(episode_start))
        if state is None and not begins:
            if self._predictions == 1:
                warnings.warn(
                    "predict was called again without the state it returned: the agent forgets everything "
                    "at each call. Pass state and episode_start, or use agents.load(path).act, which "
                    "remembers by itself",
                    stacklevel=3,
                )
            self._predictions += 1

    # ---------------------------------------------------------------- files

    def save(  # type: ignore[override]
        self,
        path: str | Path | IO[bytes],
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write everything needed to go on into one `.zip` file, or an open one; see `agents.files`.

        The ending is added where the name has another or none.

        Raises:
            ValueError: `exclude` or `include` names something: a file holds what is needed to go on.
        """
        self._check_networks()
        for what, names in (("exclude", exclude), ("include", include)):
            if names := list(names or ()):
                raise ValueError(
                    f"save cannot {what} {', '.join(map(str, names))}: a file holds all that is needed to go "
                    "on and nothing else; leave the argument out (agents.load needs no training state)"
                )
        parts = self.parts()
        saving.check_finite(parts, path)
        files.save_zip(files.packed(parts), path)

    def parts(self) -> dict[str, Mapping[str, Any]]:
        """What a file of the model consists of, see `agents.files`; the tensors are the model's own."""
        parts = self.agent_parts()
        if self.magnet_kind in agent_file.FROZEN and self.magnet is not None:
            parts["magnet.safetensors"] = self.magnet.state_dict()
        return parts | {"training.json": self._training(), "training.safetensors": self.state_dict()}

    def agent_parts(self) -> dict[str, Mapping[str, Any]]:
        """The parts of the model's agent alone: enough to play, not to train."""
        kwargs, statistics = self.policy_kwargs, normalizer.known_to(self)
        return agent_file.parts_of(self.policy, self.task, kwargs, self.num_timesteps, self.ema, statistics)

    def _training(self) -> dict[str, Any]:
        """How it is trained, as data."""
        opposition, told = self.opposition, None
        if opposition is not None:
            told = (
                opposition.arguments if opposition.is_savable else {"code": opposition.arguments["players"]}
            )
        arguments = {name: saving.as_data(getattr(self, _attribute(name))) for name in saving.KEPT}
        return {
            "matches": self.n_envs,
            "arguments": arguments,
            "opposition": told,
            "logging": {
                "tensorboard_log": self.tensorboard_log,
                "verbose": self.verbose,
                "stats_window_size": self._stats_window_size,
            },
            "total_timesteps": self._total_timesteps,
        }

    @classmethod
    def load(  # type: ignore[override]
        cls,
        path: str | Path | IO[bytes],
        env: Batch | VecEnv | gymnasium.Env[Any, Any] | str | None = None,
        device: torch.device | str = "auto",
        custom_objects: Mapping[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **changes: Any,
    ) -> MaskableRecurrentPPO:
        """Read what `save` wrote; `changes` replace saved arguments.

        Without `env` the matches of a game go on where they were; a model of a Gymnasium world can then
        predict, and learns once it has `set_env`.

        Args:
            custom_objects: SB3's older way to say `changes`, which come first; `lr_schedule` means
                `learning_rate`, `policy_class` means `policy`.
            changes: among them `policy`, the class that it was trained with if that is a subclass: no file
                names code.
            print_system_info: print what this machine has installed, and what the file says of itself.
            force_reset: of a given `env`, see `set_env`.

        Raises:
            TypeError: there is no argument of such a name.
        """
        known_to = {*inspect.signature(cls.__init__).parameters}
        known_to |= {*inspect.signature(MaskableRecurrentPPO.__init__).parameters}
        changes = saving.changes_of(changes, custom_objects, known_to)
        stored = files.read(path)
        if print_system_info:
            print("== CURRENT SYSTEM INFO ==")
            get_system_info()
            print(f"== SAVED MODEL ==\n{agent_file.describe(stored)}")
        return cls.from_stored(stored, env, device, changes, force_reset)

    @classmethod
    def from_stored(
        cls,
        stored: files.Stored,
        env: Any = None,
        device: torch.device | str = "auto",
        changes: Mapping[str, Any] | None = None,
        force_reset: bool = True,
    ) -> MaskableRecurrentPPO:
        """A model of the parts that `parts` told, ready to go on training; arguments as of `load`.

        A given `env` begins anew, and so do the matches beside a given opposition. The saved opposition sits
        at whatever number of matches, with its past selves.

        Raises:
            CheckpointError: the parts are no model's, or do not fit each other or `env`.
        """
        changes = dict(changes or {})
        policy_class = saving.policy_class(changes.pop("policy", RecurrentPolicy), cls.policy_aliases)
        saved = saving.read_saved(stored, policy_class)
        asked_for = saved.asked_for(env, device, changes)
        try:
            with saving.code_given_again(saved, changes):
                kwargs = saved.policy_kwargs
                model = cls(policy_class, None, policy_kwargs=kwargs, **asked_for.arguments)
            model.n_envs = saved.matches
            model.begin(saved.task)
            if saved.statistics is not None:
                normalizer.keep(model, saved.statistics)
            if asked_for.env is not None:
                model.set_env(asked_for.env, force_reset)  # its VecNormalize gets the statistics
        except ValueError as error:
            if changes:  # it may be what the caller gave
                raise
            told = f"its arguments do not fit this version ({error})" if asked_for.goes_on else error
            raise stored.error(told) from error
        model._take_weights(saved)
        try:
            model.load_state_dict(asked_for.state)
        except ValueError as error:
            raise stored.error(f"its training state does not fit: {error}") from error
        if asked_for.goes_on:  # the Batch is a new one and has no say
            model._own_seed = saved.own_seed
        if "ema.safetensors" not in saved.promised:
            model.ema_steps = 0
        if model.collector is not None and model.magnet_kind != saved.arguments["magnet"]:
            model.collector.magnet_cores = model.collector.memory.cores
        model._total_timesteps = saved.total_timesteps
        return model

    def _take_weights(self, saved: saving.Saved) -> None:
        """The saved weights; copies of the policy that the file does not keep begin as it is."""
        agent_file.load_weights(self.policy, saved.stored, "policy.safetensors")
        magnet = self.magnet if self.magnet_kind in agent_file.FROZEN else None
        for copy_, name in ((self.ema, "ema.safetensors"), (magnet, "magnet.safetensors")):
            if copy_ is not None and name in saved.promised:
                agent_file.load_weights(copy_, saved.stored, name)
            elif copy_ is not None:  # asked for now
                copy_.load_state_dict(self.policy.state_dict())

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """Weights by name: `policy`, `ema` and `magnet` where there are any, and the `optimizer`'s state."""
        self._check_networks()
        return {name: part.state_dict() for name, part in self._parts().items()}

    def set_parameters(  # type: ignore[override]
        self,
        load_path_or_dict: str | Path | IO[bytes] | Mapping[str, Mapping[str, Any]],
        exact_match: bool = True,
        device: torch.device | str = "auto",  # noqa: ARG002  the model stays where it is
    ) -> None:
        """Take over weights, from a file that `save` wrote or from what `get_parameters` returned.

        The averaged weights and the magnet begin as copies of the policy where theirs are not given.

        Args:
            exact_match: the policy's are given, all of them; False: those that are given change.

        Raises:
            ValueError: names or shapes are others than the model's; nothing has changed.
        """
        self._check_networks()
        parts = self._parts()
        if isinstance(load_path_or_dict, Mapping):
            given: dict[str, Any] = dict(load_path_or_dict)
            if unknown := sorted(set(given) - set(parts), key=str):
                raise ValueError(
                    f"the model has no parameters {unknown[0]!r}; known are {known(unknown[0], parts)}"
                )
        else:
            stored = files.read(load_path_or_dict)
            given = saving.read_parameters(stored, self.optimizer, self.policy)
            given = {name: x for name, x in given.items() if name in parts}
        if exact_match and "policy" not in given:
            raise ValueError(f"expected the parameters of policy, got {', '.join(map(str, given)) or 'none'}")
        for name, values in given.items():
            if name != "optimizer":
                saving.check_weights(name, parts[name], values, exact_match)
        for name, values in given.items():
            if name == "optimizer":
                self.optimizer.load_state_dict(dict(values))
            else:
                parts[name].load_state_dict(values, strict=exact_match)
        for name in ("ema", "magnet"):
            if name in parts and name not in given and "policy" in given:
                parts[name].load_state_dict(self.policy.state_dict())

    def _parts(self) -> dict[str, Any]:
        """What has parameters, by name."""
        parts = {"policy": self.policy, "ema": self.ema, "magnet": self.magnet, "optimizer": self.optimizer}
        if self.magnet is self.ema:
            del parts["magnet"]
        return {name: part for name, part in parts.items() if part is not None}

    def set_random_seed(self, seed: int | None = None) -> None:
        """Draw, shuffle and deal from now on as a model made with `seed`; None leaves all as it is.

        The matches or worlds that are being played go on; what is dealt next comes from `seed`. SB3's global
        generators (random, NumPy's, torch's) are seeded, too.
        """
        seed = settings.check("seed", seed)
        if seed is None:
            return
        self.seed, self._beginnings = seed, 0
        set_random_seed(seed)
        if hasattr(self, "policy"):
            self.generator.manual_seed(seed)
            self.shuffler.manual_seed(seed)
            self.action_space.seed(seed)

    # ---------------------------------------------------------------- SB3's names for what is elsewhere here

    @property
    def logger(self) -> Logger:
        """Where numbers are recorded; before `learn` or `set_logger` one that writes no file."""
        if not hasattr(self, "_logger"):
            self._logger = configure_logger(self.verbose)
        return self._logger

    @property
    def lr_schedule(self) -> Schedule:
        """`learning_rate` as a function of the progress that remains."""
        return FloatSchedule(self.learning_rate)

    @lr_schedule.setter
    def lr_schedule(self, schedule: Schedule) -> None:
        """SB3's way to set `learning_rate`."""
        self.learning_rate = settings.check("learning_rate", schedule)

    def _setup_lr_schedule(self) -> None:
        """Nothing to set up: an update reads `learning_rate`."""

    @property
    def rollout_buffer(self) -> NoReturn:
        """Not here: `model.rollout` is what it learned from last, an `agents.learn.rollout.Rollout`."""
        raise AttributeError("there is no rollout_buffer; model.rollout holds what it learned from last")

    @property
    def rollout_buffer_class(self) -> NoReturn:
        """Not here, see `rollout_buffer`."""
        raise AttributeError("there is no rollout_buffer_class; a rollout is an agents.learn.rollout.Rollout")

    @property
    def rollout_buffer_kwargs(self) -> NoReturn:
        """Not here, see `rollout_buffer`."""
        raise AttributeError(
            "there are no rollout_buffer_kwargs; a rollout is an agents.learn.rollout.Rollout"
        )

    def collect_rollouts(self, *arguments: Any, **named: Any) -> NoReturn:
        """Not here: `learn` collects, and `agents.learn.rollout.Collector` by hand."""
        raise NotImplementedError(
            "collect_rollouts fills a rollout_buffer, which there is not; call learn, or "
            "model.collector.collect(model.policy, model.n_steps) and model.train(rollout)"
        )

    def _check_networks(self) -> None:
        if not hasattr(self, "policy"):
            how = "_setup_model()" if hasattr(self, "task") else "set_env(env)"
            raise ValueError(f"the model has no networks yet; call {how} first")

    # ---------------------------------------------------------------- its state

    def state_dict(self) -> dict[str, Tensor]:
        """Everything but the policies' weights that decides how training goes on, as tensors."""
        state = self._counts() | {
            "generator": self.generator.get_state(),
            "shuffler": self.shuffler.get_state(),
            "torch": torch.get_rng_state(),
        }
        state |= saving.optimizer_state(self.optimizer, self.policy)
        parts: dict[str, Mapping[str, Tensor]] = {}
        if self.opposition is not None:
            parts["opposition"] = self.opposition.state_dict()
        if self.lanes is not None and (matches := self.lanes.state_dict()):
            parts["batch"] = matches
            if self.collector is not None:
                parts["collector"] = self.collector.state_dict()
        state |= {f"{part}.{name}": x for part, told in parts.items() for name, x in told.items()}
        return {name: x.detach().clone() for name, x in state.items()}

    def _counts(self) -> dict[str, Tensor]:
        """How far it is, as tensors."""
        return {
            "num_timesteps": torch.tensor(self.num_timesteps),
            "n_updates": torch.tensor(self._n_updates),
            "ema_steps": torch.tensor(self.ema_steps),
            "deals": torch.tensor([self._beginnings, self._own_seed]),
        }

    def _load_counts(self, state: Mapping[str, Tensor]) -> int:
        """Take over how far a saved state was, and its optimiser; returns the seed of its Batch."""
        counters = {}
        for name in ("num_timesteps", "n_updates", "ema_steps"):
            counters[name] = int(fitting(state, name, torch.tensor(0)))
            if not 0 <= counters[name] < 2**53:
                raise ValueError(f"the saved {name} must be 0 or more, got {counters[name]}")
        self.optimizer.load_state_dict(saving.optimizer_dict(self.optimizer, self.policy, state))
        self.num_timesteps, self._n_updates, self.ema_steps = counters.values()
        self._beginnings, own_seed = fitting(state, "deals", torch.zeros(2, dtype=torch.int64)).tolist()
        return int(own_seed)

    def gather(self) -> None:
        """Nothing to do: all of its state is here. One in several processes has to, before it is told."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken.

        What `state` does not hold of matches begins anew; so do the opposition's seats and draws, then, but
        not its past selves. Draws that were made on another kind of device begin anew, with a warning.

        Raises:
            ValueError: it is the state of another model, or none that training comes to.
        """
        own_seed = self._load_counts(state)
        goes_on = True
        matches, remembered = below(state, "batch."), below(state, "collector.")
        if (matches or remembered) and self.lanes is None:
            raise ValueError("the saved state is of matches, the model has none; give it an env with set_env")
        if self.lanes is not None and matches:
            self.lanes.load_state_dict(matches)
        if self.lanes is not None and remembered:
            self._own_seed = own_seed  # of a Batch that is gone
            self.collector = self._seated()
            self.collector.load_state_dict(remembered, self.policy)
        opposite = below(state, "opposition.")
        if self.opposition is not None and matches:
            seed = self._seed_again("opposition")
            goes_on &= self.opposition.load_state_dict(opposite, self.policy, seed)
        elif self.opposition is not None and opposite:
            self.opposition.load_pool(opposite, self.policy)
        for name, generator in (("generator", self.generator), ("shuffler", self.shuffler)):
            goes_on &= set_generator(generator, state, name, self._seed_again(name))
        default = torch.Generator()
        set_generator(default, state, "torch", self._seed_again("torch"))
        torch.set_rng_state(default.get_state())
        if unknown := sorted(set(state) - set(self.state_dict())):
            raise ValueError(f"the saved state has {len(unknown)} tensors too many, such as {unknown[0]}")
        if not goes_on:
            warnings.warn(saving.ANEW, stacklevel=3)

    def _seed_again(self, purpose: str) -> int:
        """The seed of draws that cannot go on as they were."""
        return derived_seed(self.seed or 0, f"{purpose} on another device", self.num_timesteps)

    def _setup_model(self) -> None:
        if self.seed is None:
            seed = int(torch.randint(2**31, ()))  # from torch's generator, as the weights are
        else:
            seed = self.seed
            set_random_seed(seed)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.shuffler = torch.Generator().manual_seed(seed)
        self.reward_scale = self.task.reward_scale
        policy_class: Any = self.policy_class
        self.policy = policy_class(
            self.observation_space, self.action_space, self.task.seats, **self.policy_kwargs
        ).to(self.device)
        self.policy.eval()
        # Adam's epsilon as in the reference implementations of PPO.
        self.optimizer = Adam(self.policy.parameters(), at(self.learning_rate, 1.0), eps=1e-5, fused=True)
        if self.ema_decay > 0.0:
            self.ema = copy.deepcopy(self.policy).requires_grad_(False)
        if self.magnet_kind in agent_file.FROZEN:
            self.magnet = copy.deepcopy(self.policy).requires_grad_(False)
        elif self.magnet_kind == "ema":
            self.magnet = self.ema

    def _setup_learn(  # type: ignore[override]
        self,
        total_timesteps: int,
        callback: MaybeCallback,
        reset_num_timesteps: bool,
        tb_log_name: str,
        progress_bar: bool,
    ) -> tuple[int, BaseCallback]:
        if self.lanes is None:
            raise ValueError("the model has nothing to learn from; give it an env with set_env")
        self._check_networks()
        self._check_settings()
        self._check_sizes(self.lanes.matches)
        given, total_timesteps = total_timesteps, settings.plain_number(total_timesteps)
        is_number = isinstance(total_timesteps, (int, float)) and not isinstance(total_timesteps, bool)
        if not is_number or not math.isfinite(total_timesteps):
            raise ValueError(f"total_timesteps must be a finite number, got {given!r}")
        total_timesteps = math.ceil(total_timesteps)
        self.start_time = time.time_ns()
        self._started = time.perf_counter()
        if self.ep_info_buffer is None or reset_num_timesteps:
            self.ep_info_buffer = deque(maxlen=self._stats_window_size)
            self.ep_success_buffer = deque(maxlen=self._stats_window_size)
        if reset_num_timesteps:
            self.num_timesteps = 0
        else:
            total_timesteps += self.num_timesteps
        if self.collector is None or reset_num_timesteps:
            self._deal()
        self._total_timesteps = total_timesteps
        self._num_timesteps_at_start = self.num_timesteps
        if not self._custom_logger:
            self._logger = configure_logger(
                self.verbose, self.tensorboard_log, tb_log_name, reset_num_timesteps
            )
        return total_timesteps, self._init_callback(callback, progress_bar)

    def _deal(self) -> None:
        """Begin matches anew: other ones each time, and the same ones again with the same seed."""
        assert self.lanes is not None
        number = self._beginnings
        self._beginnings += 1
        has_own = self.seed is None and self.lanes.own_seed is not None
        self.lanes.deal(self._own_seed if has_own else self.seed, number)
        self._sit_down()

    def _sit_down(self) -> None:
        """Play what the env shows from now on, with nothing remembered."""
        assert self.lanes is not None
        self.collector = self._seated()
        if self.opposition is not None:
            self.opposition.restart(torch.ones_like(self.lanes.over))

    def _seated(self) -> Collector:
        """Who plays what the env shows, with nothing remembered."""
        assert self.lanes is not None
        mixed = UNIFORM if self.magnet_kind == "start" else 0.0
        return Collector(self.lanes, self.policy, self.opposition, self.cuda_graph, mixed)

    def _collect(self, callback: BaseCallback) -> Rollout | None:
        """One rollout, with SB3's calls to the callback."""
        collector, lanes = self.collector, self.lanes
        assert collector is not None
        assert lanes is not None
        is_told = lanes.tells_episodes or _reads_locals(callback)

        def on_step() -> bool:
            self.num_timesteps += self.n_envs
            told: dict[str, Any] = {}
            if is_told:
                t, record = collector.latest
                told = lanes.told(record, t, time.perf_counter() - self._started)
                self._update_info_buffer(told["infos"], told["dones"])
            callback.update_locals(told | {"self": self})
            return callback.on_step()

        callback.on_rollout_start()
        uses_magnet = self.magnet is not None and (callable(self.magnet_coef) or self.magnet_coef > 0.0)
        collector.tells_situations = self.balance > 0.0
        began = time.perf_counter()
        rollout = collector.collect(
            self.policy, self.n_steps, self.generator, self.magnet if uses_magnet else None, on_step
        )
        self._rollout_seconds = time.perf_counter() - began
        if rollout is not None and not is_told and _is_none(callback):
            self._note_episodes(rollout)
        callback.on_rollout_end()
        return rollout

    def _note_episodes(self, rollout: Rollout) -> None:
        """What `_update_info_buffer` would know if it had been told step by step, but for the times."""
        assert self.ep_info_buffer is not None
        ends = rollout.over.nonzero()[-self._stats_window_size :]
        seconds = round(time.perf_counter() - self._started, 6)
        earned, length = (
            x[ends[:, 0], ends[:, 1]].tolist() for x in (rollout.earned[..., 0], rollout.length)
        )
        self.ep_info_buffer.extend(
            {"r": round(r, 6), "l": n, "t": seconds} for r, n in zip(earned, length, strict=True)
        )

    def dump_logs(self, iteration: int = 0) -> None:
        """Write what the latest rollout showed, under SB3's names and ours; `iteration` 0 is none."""
        record = self.logger.record
        if self.lanes is not None and self.lanes.tells_episodes:
            self._log_episodes()
        elif self.rollout is not None:
            self._log_matches(self.rollout)
        seconds = max(time.perf_counter() - self._started, sys.float_info.epsilon)
        decisions = self.num_timesteps - self._num_timesteps_at_start
        if iteration > 0:
            record("time/iterations", iteration, exclude="tensorboard")
        record("time/fps", int(decisions / seconds))
        record("time/time_elapsed", int(seconds), exclude="tensorboard")
        record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        record("perf/decisions_per_second", decisions / seconds)
        if self.rollout is not None:
            played = self.n_steps * self.n_envs
            record("perf/rollout_decisions_per_second", played / self._rollout_seconds)
        self.logger.dump(self.num_timesteps)

    def _log_matches(self, rollout: Rollout) -> None:
        record, over = self.logger.record, rollout.over
        record("selfplay/own_share", float(rollout.is_own.float().mean()))
        if self.opposition is not None:
            record("selfplay/pool", len(self.opposition.pool))
        if bool(over.any()):
            length = rollout.length[over].float().mean()
            returns = rollout.earned[over]
            record("rollout/ep_len_mean", float(length))
            record("rollout/ep_rew_mean", float(returns[:, 0].mean()))  # of seat 0; about the game's value
            record("game/length", float(length))
            record("game/draws", float((returns.abs().sum(-1) == 0).float().mean()))
            record("game/illegal", float(rollout.illegal.float().mean()))

    def _log_episodes(self) -> None:
        if self.ep_info_buffer:
            for tag, key in (("ep_rew_mean", "r"), ("ep_len_mean", "l")):
                self.logger.record(f"rollout/{tag}", safe_mean([info[key] for info in self.ep_info_buffer]))
        if self.ep_success_buffer:
            self.logger.record("rollout/success_rate", safe_mean(self.ep_success_buffer))

    def _check_opposition(self, task: Task, matches: int) -> None:
        """The opposition sits at these matches, or ValueError."""
        if self.opposition is None:
            return
        if task.rules is None:
            raise ValueError("an opposition sits at the matches of a game; a Gymnasium world takes none")
        if self.opposition.game != task.rules:
            raise ValueError(f"the opposition plays {self.opposition.game}, the env {task.rules}")
        if self.opposition.matches != matches:
            raise ValueError(
                f"the opposition sits at {self.opposition.matches} matches, the env has {matches}"
            )

    def _check_sizes(self, matches: int) -> None:
        """The minibatches fit the rollout, or ValueError naming sizes that do."""
        T = self.n_steps
        if self.batch_size is None:
            self.batch_size = T * matches
        if self.batch_size % T or self.batch_size < T or matches % (self.batch_size // T):
            sizes = [T * rows for rows in range(1, matches + 1) if matches % rows == 0]
            raise ValueError(
                f"batch_size {self.batch_size} does not fit {matches} matches x n_steps {T}: a minibatch "
                f"holds whole matches, so it must be one of {', '.join(map(str, sizes))}"
            )


def _reads_locals(callback: BaseCallback) -> bool:
    """One of the callbacks may look at a step's `locals`; `reads_locals = False` says that it does not."""
    if isinstance(callback, CallbackList):
        return any(map(_reads_locals, callback.callbacks))
    if isinstance(callback, ProgressBarCallback) or _is_none(callback):
        return False
    return bool(getattr(callback, "reads_locals", True))


def _is_none(callback: BaseCallback) -> bool:
    """Nobody gave a callback, as SB3 tells it, with or without a progress bar."""
    if isinstance(callback, CallbackList):
        return any(map(_is_none, callback.callbacks))
    return isinstance(callback, ConvertCallback) and callback.callback is None


def _attribute(setting: str) -> str:
    """Where the model keeps a setting; `magnet` itself is the network."""
    return "magnet_kind" if setting == "magnet" else setting
