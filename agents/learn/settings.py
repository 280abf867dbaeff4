"""The settings of training: one record, with what each does, what is usual, and when to change it.

The update, `MaskableRecurrentPPO`, YAML, flags and files read it. Names are Stable-Baselines3's where it has
them.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from agents.learn.schedules import SCHEDULES, Schedule
from agents.net.settings import MOST, Count, Range, Setting, a_record, check_fields, plain_number

PROBES = (1.0, 0.5, 0.0)
"""The progress that remains where a schedule is looked at before training."""


class Changing(Setting):
    """A setting that may be a number or a schedule."""

    @property
    def allowed(self) -> str:
        """As in "a number of at least 0, or a schedule of such"."""
        number, _, none = super().allowed.partition(", or None")
        return f"{number}, or a schedule of such" + (", or None" if self.may_be_none else none)

    def check(self, value: Any, where: str = "") -> Any:
        """`Setting.check`; a schedule is looked at where `PROBES` of the run remain.

        Raises:
            ValueError: it may not be so, or the schedule fails there.
        """
        return self._checked(value, where) if callable(value) else super().check(value, where)

    def _checked(self, schedule: Any, where: str) -> Any:
        if type(schedule) in SCHEDULES.values():  # a record: its fields become Python's own
            fields = {name: plain_number(value) for name, value in vars(schedule).items()}
            finite = Setting("", "number", Range())
            for name, value in fields.items():
                if not finite.holds(value):
                    raise ValueError(
                        f"{where}{self.name}: {name} of its schedule must be a finite number, got {value!r}"
                    )
            schedule = type(schedule)(**fields)
        # It may fall to a bound that a number that stays may not have.
        one = Setting(self.name, self.kind, dataclasses.replace(self.range, is_low_allowed=True))
        for progress in PROBES:
            try:
                value = plain_number(schedule(progress))
            except Exception as error:
                raise ValueError(
                    f"{where}{self.name}: its schedule fails where {progress} of the run remain ({error})"
                ) from error
            if not one.holds(value):
                raise ValueError(
                    f"{where}{self.name} must be {one.allowed}, got {value!r:.80} of its schedule where "
                    f"{progress} of the run remain"
                )
        return schedule


Weight = Annotated[float | Schedule, Range(0.0)]
"""A number of at least 0, or a schedule of such."""

Penalty = Annotated[float, Range(0.0)]
"""Weight of a penalty on weights, see `agents.learn.penalties`."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of training; names are Stable-Baselines3's where it has them.

    These are Python's defaults, SB3's where it has the setting. Self-play begins with seven others, see
    `agents.run.config.SELF_PLAY`.
    """

    learning_rate: Weight = 3e-4
    """Adam's step size. Usual are 1e-4 to 3e-3, falling to 0 over the run ({linear: 1e-3}): the last steps
    settle what the first ones found. Lower it if `train/approx_kl` stays above 0.03 or the loss is no longer
    finite."""
    n_steps: Count = 128
    """T, decisions of each match or world in a rollout; gradients run through all of them. Usual are 16 to
    128, in self-play about the length of a match: what must be remembered longer is learned less well."""
    batch_size: Annotated[int | None, Range(1, MOST)] = 128
    """Decisions in a minibatch: it divides the rollout (n_steps times the matches or worlds) and, but for the
    stock algorithms, is a multiple of n_steps; None takes the whole rollout at once. Usual are 4 to 16
    minibatches a rollout; larger ones are steadier and faster, and learn less of each."""
    n_epochs: Count = 10
    """Passes over each rollout. Usual are 2 to 10: more where decisions are dear, fewer where
    `train/clip_fraction` exceeds 0.2."""
    gamma: Annotated[float, Range(0.0, 1.0)] = 0.99
    """Discount per own decision. 1 where a match ends and pays at its end, 0.9 to 0.995 where rewards come on
    the way; lower is easier to learn and sees less far."""
    gae_lambda: Annotated[float, Range(0.0, 1.0)] = 0.95
    """Lambda of the advantages, per own decision: 1 believes in what happened, 0 in the value. Usual are 0.9
    to 0.98; lower where luck decides much."""
    clip_range: Annotated[float | Schedule, Range(0.0, 1.0)] = 0.2
    """How far the probability ratio may move in an update. Usual are 0.1 to 0.3; lower for a policy that must
    not forget, such as one that begins with another's weights."""
    clip_range_vf: Annotated[float | Schedule | None, Range(0.0, is_low_allowed=False)] = None
    """The same for the value, in its own unit. None lets it move freely, which is usual; 0.2 of the returns'
    size steadies a value that leaps."""
    normalize_advantage: bool = True
    """Scale a minibatch's advantages to mean 0 and deviation 1. Switch it off where their size should count,
    for instance when most decisions do not matter."""
    ent_coef: Weight = 0.0
    """Weight of the entropy bonus. In worlds 0 to 0.01; in self-play 0.02 to 0.2 and constant: it keeps a
    strategy mixed. On phantom tic-tac-toe 0.05, and a weight that falls to 0, became more exploitable over
    the last third of a run; 0.1 with more matches did not."""
    vf_coef: Annotated[float, Range(0.0)] = 0.5
    """Weight of the value loss. 0.5 is usual; lower if a shared core serves the value more than the
    policy."""
    max_grad_norm: Annotated[float, Range(0.0, is_low_allowed=False)] = 0.5
    """Norm the gradient is clipped to. Usual are 0.5 to 1; lower if `train/grad_norm` leaps."""
    target_kl: Annotated[float | None, Range(0.0, is_low_allowed=False)] = None
    """End an update early beyond 1.5 times this KL divergence; None never does. Usual are 0.01 to 0.03, for
    runs with many epochs."""
    kl_coef: Weight = 0.0
    """Weight of the reverse KL to the policy that played. Usual are 0 to 0.2; raise it to slow the policy
    down in self-play that goes round in circles."""
    magnet_coef: Weight = 0.0
    """Weight of the KL to the magnet. Usual are 0 to 0.2, as {power: 0.1} or constant; it draws self-play
    towards an equilibrium, as the entropy does, but towards the magnet."""
    magnet: Literal["uniform", "snapshot", "ema", "start"] = "uniform"
    """What the policy is drawn to: uniform (over the legal actions), snapshot (its averaged weights, or its
    own where none are kept, as they were at the latest multiple of magnet_every updates; its first ones until
    then), ema (its averaged weights; needs an ema_decay) or start (what it began with, 1.5 % of it uniform).
    Begin with uniform. A strategy that is drawn to uniform stops short of the equilibrium, the further the
    larger the weight; a snapshot renewed two or three times a run takes it most of the rest of the way
    (`docs/strength.md`). Give a policy that begins as a clone start, with a magnet_coef that falls to 0:
    {linear: 0.2}."""
    magnet_every: Count = 100
    """Updates between two snapshots of the magnet. Usual are a half to a quarter of the run's: play must come
    to rest in between, as each snapshot keeps what is wrong with it."""
    balance: Annotated[float, Range(0.0, 1.0)] = 0.0
    """How evenly situations are learned from: a decision weighs n ** -balance, n the decisions of the rollout
    that were made in the same one, see `agents.learn.situations`. 0 takes matches as they come. 0.5 for small
    games that are to be played without a weak spot: rare situations are the weak ones. It needs large
    batches."""
    l1_coef: Penalty = 0.0
    """Weight of the sum of |w| over all matrices of the policy, biases left out, added to the loss. Usual are
    0 to 1e-5; it makes weights zero that are of little use."""
    l2_coef: Penalty = 0.0
    """Weight of the sum of w^2 over all matrices of the policy, biases left out, added to the loss. Usual are
    0 to 1e-4; it keeps weights small where the same few matches are learned from again and again."""
    shaping_coef: Weight = 0.0
    """Weight of the game's potential in the shaping of rewards, in units of the highest return, if the game
    has one; see `agents.learn.ppo.shaped_values`. Usual is {linear: 0.5}: a hint at the beginning, no say at
    the end. Rewards that are logged and matches that judge know nothing of it."""
    ema_decay: Annotated[float, Range(0.0, 1.0, is_high_allowed=False)] = 0.0
    """Decay per gradient step of `model.ema`, an average of the weights, which is steadier than the latest
    ones; 0 keeps none. Usual are 0.99 to 0.9998: it is then about that of the latest 100 to 5,000 steps, but
    at most of the latest fifth (`warmed_up`)."""

    def __post_init__(self) -> None:
        """Refuse what no update can use.

        Raises:
            ValueError: names the setting, what came and what is allowed.
        """
        check_fields(self)

    def at(self, progress_remaining: float) -> Moment:
        """The settings where `progress_remaining` of the run is left, schedules evaluated."""
        now: dict[str, Any] = {
            name: x(progress_remaining) if callable(x) else x for name, x in vars(self).items()
        }
        return Moment(**now)


class Moment(Settings):
    """Settings at one moment of a run: where they may be schedules they are numbers."""

    learning_rate: float
    clip_range: float
    clip_range_vf: float | None
    ent_coef: float
    kl_coef: float
    magnet_coef: float
    shaping_coef: float

    def __post_init__(self) -> None:
        """Nothing is refused: a schedule may fall to a bound that a number that stays may not have."""


@dataclasses.dataclass(frozen=True)
class Upkeep:
    """What `MaskableRecurrentPPO` takes beside, and no update reads."""

    stats_window_size: Count = 100
    """Episodes that the logged means are over."""
    snapshot_every: Count = 50
    """Updates between two past selves that are added to the opposition's pool. Usual are 20 to 200."""
    cuda_graph: bool = False
    """Capture a step of play on a GPU as one CUDA graph and replay it."""
    seed: Annotated[int | None, Range(0, 2**32 - 1)] = None
    """Of everything that is drawn; None draws one."""


NAMES = tuple(field.name for field in dataclasses.fields(Settings))
"""Of the settings, in order."""

for _kind in (Settings, Upkeep):
    a_record(_kind, Changing)
