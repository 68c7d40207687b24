"""The forms of commands, read off the help texts, and which words may come next.

A help text says what can be typed, for people and here for the shells: ``bpfload prog pin PROG PATH``, with ``[…]`` for what
may be left out, ``{… | …}`` for a choice, ``…`` for more of the same; words in capitals are values, and lines such as
``PROG := { id ID | name NAME }`` say what some of them are made of. Adjacent ``[…] […]`` may come in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from bpfload_cli.grammar import is_prefix

_FORM = re.compile(r"^  bpfload(?: +(.*))?$")
_MEANING = re.compile(r"^  ([A-Z][A-Z_-]*) +:= +(.*)$")
# Where a form ends and the words about it begin.
_END = re.compile(r"\s{2,}| …(?= )")
_CONTINUED = re.compile(r"^ {8,}(?=[\[{])")
_TOKEN = re.compile(r"[\[\]{}|]|…|[^\s\[\]{}|…]+")


@dataclass(frozen=True, slots=True)
class Expected:
    """A word that may come next. `keyword`: itself; or else `value`: what kind, such as "PROG.ID" or "FILE"."""

    keyword: str = ""
    value: str = ""


@dataclass(slots=True)
class _State:
    """A place in a form: places that are reached without a word, and those behind a word."""

    free: list[int] = field(default_factory=list)
    words: list[tuple[Expected, int]] = field(default_factory=list)


class Forms:
    """The forms of one command, as a machine that reads words."""

    def __init__(self, text: str) -> None:
        """`text`: the command's help."""
        self._states: list[_State] = [_State()]
        lines = _joined(text)
        self._meanings = {found[1]: found[2] for line in lines if (found := _MEANING.match(line))}
        self._scope: list[str] = []
        #: Where the words of something that may be left out begin; one that was there needn't come again.
        self._options: set[int] = set()
        for line in lines:
            found = _FORM.match(line)
            if found:
                tokens = _TOKEN.findall(_END.split(found[1] or "", maxsplit=1)[0])
                # The command's name; but an object file to load needs none.
                if tokens and not tokens[0][0].isupper():
                    del tokens[0]
                _, position = self._choice(0, tokens, 0)
                if position != len(tokens):
                    raise ValueError(f"this is no form: {line!r}")

    def next(self, words: Iterable[str]) -> list[Expected]:
        """Return what may come behind `words`, the words behind the command's name; nothing where they fit no form."""
        here = self._closure({0})
        given = set()
        for word in words:
            given.add(word)
            here = self._closure(self._behind(here, word))
        again = self._closure(here & self._options)
        found = (
            expected
            for state in sorted(here)
            for expected, _ in self._states[state].words
            if state not in again or expected.keyword not in given
        )
        return list(dict.fromkeys(found))

    def _behind(self, here: set[int], word: str) -> set[int]:
        """Return where a word leads: as a value, and as the keyword that it is, or else the first that it is a beginning of."""
        edges = [edge for state in sorted(here) for edge in self._states[state].words]
        keywords = [expected.keyword for expected, _ in edges if is_prefix(word, expected.keyword)]
        meant = word if word in keywords else next(iter(keywords), "")
        return {to for expected, to in edges if expected.keyword == meant or expected.value}

    def _closure(self, states: set[int]) -> set[int]:
        left = list(states)
        while left:
            for state in self._states[left.pop()].free:
                if state not in states:
                    states.add(state)
                    left.append(state)
        return states

    # --- building it ------------------------------------------------------------------------------------------------

    def _new(self, before: int | None = None) -> int:
        self._states.append(_State())
        if before is not None:
            self._states[before].free.append(len(self._states) - 1)
        return len(self._states) - 1

    def _choice(self, start: int, tokens: list[str], position: int) -> tuple[int, int]:
        """Read ``a | b | c`` up to a closing bracket; return where it ends, and the position of what follows."""
        end = self._new()
        while True:
            last, position = self._sequence(self._new(start), tokens, position)
            self._states[last].free.append(end)
            if position >= len(tokens) or tokens[position] != "|":
                return end, position
            position += 1

    def _sequence(self, start: int, tokens: list[str], position: int) -> tuple[int, int]:
        """Read ``a [b] [c] d``."""
        here = start
        while position < len(tokens) and tokens[position] not in "|]}":
            before = here
            if tokens[position] == "[":
                here, position = self._options_at(here, tokens, position)
            elif tokens[position] == "{":
                here, position = self._choice(self._new(here), tokens, position + 1)
                position = _closed(tokens, position, "}")
            else:
                here = self._word(here, tokens[position])
                position += 1
            if position < len(tokens) and tokens[position] == "…":
                self._states[here].free.append(before)
                position += 1
        return here, position

    def _options_at(self, start: int, tokens: list[str], position: int) -> tuple[int, int]:
        """Read ``[a]``, or several of them, which may come in any order."""
        before = self._new(start)
        ends = []
        while position < len(tokens) and tokens[position] == "[":
            option = self._new(before)
            self._options.add(option)
            last, position = self._choice(option, tokens, position + 1)
            position = _closed(tokens, position, "]")
            ends.append(last)
        after = self._new(before)
        for last in ends:
            self._states[last].free.append(before if len(ends) > 1 else after)
        return after, position

    def _word(self, start: int, token: str) -> int:
        """Add one word; return where it leads."""
        if not token[0].isupper():
            return self._edge(start, Expected(keyword=token))
        meaning = self._meanings.get(token, ",")
        if "," in meaning or token in self._scope:
            # Without a meaning, or with one in words: the name of the value says where to look.
            return self._edge(start, Expected(value=".".join((*self._scope[-1:], token))))
        self._scope.append(token)
        # What a meaning says in words stands behind two blanks, as in forms.
        tokens = _TOKEN.findall(_END.split(meaning, maxsplit=1)[0])
        end, position = self._choice(self._new(start), tokens, 0)
        self._scope.pop()
        if position != len(tokens):
            raise ValueError(f"{token} has no meaning that can be read: {meaning!r}")
        return end

    def _edge(self, start: int, expected: Expected) -> int:
        end = self._new()
        self._states[start].words.append((expected, end))
        return end


def _closed(tokens: list[str], position: int, bracket: str) -> int:
    if position >= len(tokens) or tokens[position] != bracket:
        raise ValueError(f"a {bracket} is missing in {' '.join(tokens)!r}")
    return position + 1


def _joined(text: str) -> list[str]:
    """Return the lines, each form or meaning that goes on in the next line in one."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and _CONTINUED.match(line) and _FORM.match(lines[-1]):
            form = _END.split(lines[-1].strip(), maxsplit=1)[0]
            lines[-1] = f"  {form} {line.strip()}"
        elif lines and _MEANING.match(lines[-1]) and lines[-1].count("{") > lines[-1].count("}"):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return lines
