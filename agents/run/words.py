"""The words of a command line, as one types them: flags with dashes or underscores, truth values in every
way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from agents.run.written import FALSE, TRUE
from envs.names import known

Names = tuple[str, ...]
"""Of a setting: the names before its own, and its own."""


def given(words: Sequence[str]) -> set[Names]:
    """The paths of the flags among the words, as they are typed."""
    names = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    return {tuple(name.replace("-", "_").split(".")) for name in names}


def plain_name(name: str, section: Mapping[str, Any]) -> str:
    """A typed name without the `no-` that switches a setting off."""
    off = name.removeprefix("no_")
    return off if name not in section and off in section else name


def last(words: Sequence[str], name: str) -> str | None:
    """The value that the words give last to the flag `--name`."""
    found = None
    following: list[str | None] = [*words[1:], None]
    for word, after in zip(words, following, strict=False):
        flag, equals, told = word.partition("=")
        if flag.startswith("--") and flag[2:].replace("_", "-") == name:
            found = told if equals else after
    return found


def tidy(words: Sequence[str], kinds: Mapping[str, Any]) -> list[str]:
    """The words as tyro takes them: truth values as switches, a value with a dash bound to its flag.

    Raises:
        ValueError: there is no such flag.
    """
    done: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, told = word[2:].partition("=")
        flag = name.replace("_", "-")
        if not word.startswith("--") or flag in ("", "help") or flag.startswith("tyro-"):
            done.append(word)
            continue
        section, dot, last = flag.rpartition(".")
        off = f"{section}{dot}{last.removeprefix('no-')}"
        is_off = flag not in kinds and last.startswith("no-") and is_truth(kinds.get(off))
        if flag not in kinds and not is_off:
            raise ValueError(_unknown(flag, kinds))
        kind = kinds[off if is_off else flag]
        if is_truth(kind):
            if not equals and rest and rest[0].lower() in (*TRUE, *FALSE, "1", "0", "none"):
                equals, told = "=", rest.pop(0)
            done += _truth(flag, off if is_off else flag, told.lower() if equals else "true", is_off, kind)
        elif not equals and rest and rest[0].startswith("-") and not _is_flag(rest[0]):
            done.append(f"{word}={rest.pop(0)}")
        elif type(None) in _parts(kind) and (told if equals else "".join(rest[:1])).lower() in NOTHING:
            done += [f"--{flag}", "None"]
            rest = rest if equals else rest[1:]
        else:
            done.append(word)
    return done


def _truth(typed: str, flag: str, told: str, is_off: bool, kind: Any) -> list[str]:
    """A flag for a truth value as tyro takes it: a switch, or a word where it may be None, too."""
    if told not in (*TRUE, *FALSE, "1", "0") and (told != "none" or kind is bool):
        raise ValueError(f"--{typed} must be true or false, got {told!r}")
    if told == "none":
        return [f"--{flag}", "None"]
    is_true = (told in (*TRUE, "1")) != is_off
    if kind is not bool:
        return [f"--{flag}", str(is_true)]
    section, dot, last = flag.rpartition(".")
    return [f"--{flag}" if is_true else f"--{section}{dot}no-{last}"]


NOTHING = ("none", "null")
"""How one says None."""


def _parts(kind: Any) -> tuple[Any, ...]:
    """The kinds in a union, without what is annotated to it."""
    bare = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    return get_args(bare)


def is_truth(kind: Any) -> bool:
    """It is true or false, or perhaps None."""
    return kind is bool or set(get_args(kind)) == {bool, type(None)}


def _is_flag(word: str) -> bool:
    return word.startswith("--") or word in ("-h", "-n")


def _unknown(flag: str, kinds: Mapping[str, Any]) -> str:
    """What an error says of a flag that is none: those beside it, or of the same name elsewhere."""
    section, dot, last = flag.rpartition(".")
    inside = [name for name in kinds if name.startswith(f"{flag}.")]
    elsewhere = [name for name in kinds if name.rpartition(".")[2] == last]
    beside = [name.rpartition(".")[2] for name in kinds if name.rpartition(".")[0] == section]
    if not inside + elsewhere and beside:
        elsewhere = [f"{section}{dot}{name}" for name in known(last, beside).split(", ")]
    if (plain := flag.removesuffix("-schedule")) != flag and plain in kinds:
        return f"--{flag} is no longer a setting: write --{plain} linear:0.001, say, or a number, which stays"
    told = ", ".join(f"--{name}" for name in inside or elsewhere or known(flag, kinds).split(", "))
    return f"unknown setting --{flag}; known are {told}; --help tells more"
