"""One decision of an agent as an ONNX file, for programs without torch (edge: onnx, the extra `onnx`).

The file computes what `RecurrentPolicy.weigh` does: what each of B agents thinks of its next action. It keeps
nothing between calls, so the memory goes in and comes out; and it draws nothing, so the caller chooses the
action and writes it where the seat will look for its own previous one. The whole loop:

    session = onnxruntime.InferenceSession("agent.onnx")
    memory = {                                  # zeros will do, a start clears whatever is there
        "previous": np.zeros([B, P, ...]),
        "core_0": np.zeros([L, B, P, H]), ...
    }
    while True:
        decision = {"observation": ..., "legal": ..., "seat": seat, "start": start}
        distribution, value, previous, *cores = session.run(None, decision | memory)
        action = draw(distribution)             # [B, ...]
        previous[np.arange(B), seat] = action
        memory = {"previous": previous} | {f"core_{k}": core for k, core in enumerate(cores)}

Names, shapes, dtypes and meanings of all inputs and outputs stand in the file: in the `doc_string` of the
model (which onnxruntime calls its description) and of each input and output. The model's `metadata_props`
say what it plays, as an agent's `agent.json` does, values that are not text as JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents.checkpoint import plays, write_file
from agents.net.distributions import Categorical, Family, Gaussian, MultiCategorical
from agents.net.encoders import entries_of, packed
from agents.net.policy import Memory, RecurrentPolicy
from agents.play.players import Agent, frozen

if TYPE_CHECKING:
    import onnx

FORMAT = "fogbound onnx 1"
OPSET = 18  # the operators that torch's exporter writes without converting them

HEADLINE = """\
One decision of a fogbound agent in each of B matches. Choose the actions from `distribution`, write them
into `previous_known` at [b, seat[b]], and give that and the new cores to the next call as `previous` and
`core_*`. Where `start` is true they are not read, so a first call may pass zeros."""

DISTRIBUTIONS: dict[type[Family], str] = {
    Categorical: "log-probabilities of the actions, -inf where illegal",
    MultiCategorical: "log-probabilities, one component of the action after another, -inf where illegal",
    Gaussian: "means, then log standard deviations, of the numbers; what is drawn may need clipping",
}
"""What the distribution of a family is. A new family is one line here."""


class Input(NamedTuple):
    """An input of the file."""

    example: Tensor  # of two matches
    batch: int  # its dimension B
    meaning: str


def export_onnx(agent: Agent, path: str | Path) -> str:
    """Write one decision of `agent` into the ONNX file `path`, atomically.

    Returns:
        what the file says of itself: how to call it, then a line for each input and output.

    Raises:
        ValueError: the path does not end in `.onnx`.
        RuntimeError: the extra `onnx` is not installed.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: expected a name that ends in .onnx")
    model = onnx_model(agent)
    write_file(path, model.SerializeToString())
    return model.doc_string


def onnx_model(agent: Agent) -> onnx.ModelProto:
    """One decision of `agent` as an ONNX model; see the top of this file for how to call it.

    Inputs, of B matches:

        observation  [B, ...]        as `Batch` has it, of a world as `agents.net.encoders.pack` does;
                                     what the agent scales (VecNormalize) is scaled in the file
        legal        [B, M] bool     a True in each row (MultiDiscrete: component); not for Box actions
        seat         [B] int64       who decides
        start        [B] bool        this is the first decision of its match
        previous     [B, P, ...]     each seat's own latest action
        core_<k>     [L, B, P, H]    the parts of the memory, `Memory.cores`; of a spatial policy S * H

    Outputs:

        distribution    [B, D] float32    see `agents.net.distributions`
        value           [B] float32
        previous_known  [B, P, ...]       `previous`, cleared where a match starts
        new_core_<k>    [L, B, P, H]

    Raises:
        RuntimeError: the extra `onnx` is not installed.
    """
    onnx = _library()
    policy = frozen(agent.policy).cpu()
    inputs, outputs = _inputs(policy, agent.game.observation_space), _outputs(policy)
    scale = nn.Identity() if agent.scale is None else agent.scale.module(agent.game.observation_space)
    model = _traced(_Step(policy, list(inputs), scale), inputs, list(outputs))
    _forget_the_trace(model)
    _describe(model, {name: given.meaning for name, given in inputs.items()} | outputs)
    known = {"format": FORMAT, "agent": agent.name, **plays(agent.game)}
    texts = {key: x if isinstance(x, str) else json.dumps(x) for key, x in known.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    return model


class _Step(nn.Module):
    """`RecurrentPolicy.weigh` on a row of tensors that go by `names`; observations go through `scale`."""

    def __init__(self, policy: RecurrentPolicy, names: list[str], scale: nn.Module) -> None:
        super().__init__()
        self.policy, self.names, self.scale = policy, names, scale

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.names, tensors, strict=True))
        cores = tuple(part for name, part in given.items() if name.startswith("core_"))
        legal = given.get("legal", given["start"])  # a family without masks does not read it
        observation = self.scale(given["observation"])
        distribution, value, after = self.policy.weigh(
            observation, legal, given["seat"], given["start"], Memory(cores, given["previous"])
        )
        return distribution, value, after.previous, *after.cores


def _inputs(policy: RecurrentPolicy, space: spaces.Space[Any]) -> dict[str, Input]:
    """The inputs by name, in their order. `space`: of the observations."""
    B = 2  # an exporter takes a size of 1 for a constant
    shape, dtype = packed(space)
    memory = policy.initial_memory(B)
    observation = torch.zeros(B, *shape, dtype=dtype)
    legal = torch.ones(B, policy.family.mask, dtype=torch.bool)
    seat = torch.zeros(B, dtype=torch.int64)
    start = torch.ones(B, dtype=torch.bool)
    inputs = {
        "observation": Input(observation, 0, _seen(space)),
        "legal": Input(legal, 0, "the actions that are allowed, at least one"),
        "seat": Input(seat, 0, f"who decides, 0..{policy.seats - 1}"),
        "start": Input(start, 0, "the first decision of a match: all memory is cleared"),
        "previous": Input(memory.previous, 0, "each seat's own latest action"),
    }
    if policy.family.mask == 0:
        del inputs["legal"]
    for k, part in enumerate(memory.cores):
        inputs[f"core_{k}"] = Input(part, 1, "memory, by layer, match and seat")
    return inputs


def _seen(space: spaces.Space[Any]) -> str:
    """What an observation is, as `agents.net.encoders.pack` lays it out."""
    entries = ""
    if isinstance(space, spaces.Dict):
        entries = f": {', '.join(key for key, _ in entries_of(space))}, flattened, side by side"
    return f"what the seat that decides sees{entries}"


def _outputs(policy: RecurrentPolicy) -> dict[str, str]:
    """What each output means, in their order."""
    cores = len(policy.initial_memory(1).cores)
    return {
        "distribution": DISTRIBUTIONS[type(policy.family)],
        "value": "the return that the seat that decides expects",
        "previous_known": "`previous` as known now; write the chosen action at [b, seat[b]]",
        **{f"new_core_{k}": f"the next call's core_{k}" for k in range(cores)},
    }


def _traced(step: nn.Module, inputs: Mapping[str, Input], outputs: list[str]) -> onnx.ModelProto:
    """`step` as an ONNX model, B left open."""
    # One name for B; the exporter finds by itself that the other inputs' B must be the same.
    B = [torch.export.Dim("B")] + [torch.export.Dim.DYNAMIC] * (len(inputs) - 1)
    shapes = tuple({given.batch: b} for given, b in zip(inputs.values(), B, strict=True))
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            step.eval(),
            tuple(given.example for given in inputs.values()),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=(shapes,),
        )
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what torch 2.13's exporter says of itself and a user can do nothing about."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # it tells that torchvision, of which nothing is used, is missing
    try:
        with warnings.catch_warnings():
            # It copies a structure by a way that torch itself has deprecated.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        registration.setLevel(level)


def _forget_the_trace(model: onnx.ModelProto) -> None:
    """Drop the notes of how the model was traced, among them stack traces with paths of this machine."""
    graph = model.graph
    del graph.value_info[:]
    for noted in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del noted.metadata_props[:]


def _describe(model: onnx.ModelProto, meanings: Mapping[str, str]) -> None:
    """Write the meanings of inputs and outputs, by name, into the model."""
    lines = [HEADLINE]
    for title, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        lines += ["", title]
        for value in values:
            value.doc_string = meanings[value.name]
            lines.append(f"    {value.name:<15} {_type(value):<24} {value.doc_string}")
    model.doc_string = "\n".join(lines)


def _type(value: onnx.ValueInfoProto) -> str:
    """As in "float32 [1, B, 2, 8]"."""
    tensor = value.type.tensor_type
    dtype = _library().helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return f"{dtype} [{', '.join(dim.dim_param or str(dim.dim_value) for dim in tensor.shape.dim)}]"


def _library() -> ModuleType:
    """The module onnx, if all that the exporter needs is there."""
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter is written in it
    except ImportError as error:
        raise RuntimeError(f"an ONNX file needs {error.name}: pip install 'fogbound[onnx]'") from None
    return onnx
