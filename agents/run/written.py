"""What people write: YAML as plain data, by the rules of YAML 1.2 and what they mean by it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1_000_000
"""A file with more is no configuration."""

MOST_VALUES = 20_000
"""A file that says more, its aliases written out, is none either."""

TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile("|".join(f"{word}|{word.title()}|{word.upper()}" for word in (*TRUE, *FALSE)))
DIGITS = r"[0-9]+(?:_[0-9]+)*"
INT = re.compile(rf"[-+]?{DIGITS}|[-+]?0[xX][0-9a-fA-F]+|[-+]?0[oO][0-7]+|[-+]?0[bB][01]+")
FLOAT = re.compile(
    rf"[-+]?(?:{DIGITS}\.?(?:{DIGITS})?|\.{DIGITS})(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class RefusedError(ValueError):
    """It is YAML, but not as it is taken here."""


def number(text: str) -> int | float | None:
    """The number that a text says, such as `3`, `1_000`, `1e-3`, `.5` or `0x1f`; None if it says none."""
    if INT.fullmatch(text):
        digits = text.lstrip("+-")
        base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower(), 10)
        return int(text, base)
    if FLOAT.fullmatch(text):
        is_word = text[-1] in "fFnN"  # .inf and .nan, which Python writes without the point
        return float(text.replace(".", "") if is_word else text)
    return None


def value(text: str) -> Any:
    """What a text says where it stands alone: null, a truth value, a number, or else itself."""
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text.lower() in TRUE
    told = number(text)
    return text if told is None else told


def typed(*words: object) -> str:
    """A command as one types it into a shell: quoted where it must be, no path taken for a flag."""
    told = [
        f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words
    ]
    return shlex.join(told)


def read_yaml(content: str | bytes) -> Any:
    """A YAML document as plain data: mappings, lists, texts, numbers, truth values and null.

    Raises:
        ValueError: it is no YAML, says a key twice, or its aliases make it say more than `MOST_VALUES`.
    """
    try:
        loader = _Loader(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            loader.look(node, {}, set())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RefusedError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"is not YAML ({' '.join(str(error).split())})") from error
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def read_yaml_file(path: Path) -> Any:
    """As `read_yaml`; a byte order mark tells UTF-16.

    Raises:
        ValueError: see `read_yaml`, or the file is too large to be a configuration.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise RefusedError(f"has {size:,} bytes, a configuration has {MOST_BYTES:,} at most")
    return read_yaml(path.read_bytes())


def write_yaml(data: Any) -> str:
    """Plain data as YAML that `read_yaml` reads as the same."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """PyYAML's reader of plain data with the numbers of YAML 1.2, and no key said twice."""

    def look(self, node: yaml.Node, sizes: dict[yaml.Node, int], above: set[yaml.Node]) -> int:
        """Check a node before anything is made of it.

        Returns:
            how many values it says, an alias counted as if it were written out.

        Raises:
            RefusedError: these are too many, it lies within itself, or says a key twice.
        """
        if node in above:
            raise _refused("an alias must not stand within what it names", node)
        if node not in sizes:
            inside: list[yaml.Node] = []
            if isinstance(node, yaml.MappingNode):
                self._look_at_keys(node)
                inside = [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                inside = node.value
            above.add(node)
            sizes[node] = 1 + sum(self.look(part, sizes, above) for part in inside)
            above.remove(node)
            if sizes[node] > MOST_VALUES:
                raise _refused(f"with its aliases written out it says more than {MOST_VALUES:,} values", node)
        return sizes[node]

    def _look_at_keys(self, node: yaml.MappingNode) -> None:
        """No key is there twice. What is a truth value to YAML 1.1 alone, such as `on`, is a name here."""
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # PyYAML refuses it
            if key.tag == "tag:yaml.org,2002:bool" and key.value.lower() not in ("true", "false"):
                key.tag = "tag:yaml.org,2002:str"
            name = key.value if key.tag == "tag:yaml.org,2002:merge" else self.construct_object(key)
            line = key.start_mark.line + 1
            if name in lines:
                raise RefusedError(f"key {str(name)!r} is given twice, in lines {lines[name]} and {line}")
            lines[name] = line

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number by the rules of YAML 1.2, or RefusedError."""
        text = str(self.construct_scalar(node))
        told = number(text)
        if told is None:
            raise _refused(f"expected a number, got {text!r}", node)
        return told

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        """A truth value, however it is written, or RefusedError."""
        text = str(self.construct_scalar(node))
        if not BOOL.fullmatch(text):
            raise _refused(f"expected true or false, got {text!r}", node)
        return text.lower() in TRUE


def _refused(told: str, node: yaml.Node) -> RefusedError:
    return RefusedError(f"line {node.start_mark.line + 1}: {told}")


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer of plain data; a text is quoted where `_Loader` would take it for something else."""

    def ignore_aliases(self, *_: Any) -> bool:
        """What is there twice is written twice."""
        return True


for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {}
    for _name, _pattern, _first in (
        ("null", NULL, [*"~nN", ""]),
        ("bool", BOOL, [*"tTfFyYnNoO"]),
        ("int", INT, [*"-+0123456789"]),
        ("float", FLOAT, [*"-+.0123456789"]),
        ("merge", re.compile("<<"), ["<"]),
    ):
        _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _whole, _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_truth)
