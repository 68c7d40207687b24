"""bpftool's grammar: keywords by prefix, and selectors such as ``id 5`` or ``name hello``."""

from __future__ import annotations

from collections.abc import Sequence

from bpfload.errors import UsageError

PROGRAM_SELECTORS = ("id", "tag", "name", "pinned")
MAP_SELECTORS = ("id", "name", "pinned")
LINK_SELECTORS = ("id", "pinned")


class CommandLineError(UsageError):
    """Words that a command doesn't understand.

    `command`: whose help to look at ("bpfload prog"). `known`: words that would do.
    """

    def __init__(self, message: str, *, command: str, known: Sequence[str] = ()) -> None:
        hint = f"It takes: {', '.join(known)}. " if known else ""
        asked = " ".join(["bpfload help", *command.split()[1:2]])
        super().__init__(message, hint=f"{hint}See: {asked}")


def is_prefix(word: str, keyword: str) -> bool:
    """Whether a word is a beginning of a keyword."""
    return bool(word) and keyword.startswith(word)


class Words:
    """The words of a command that aren't read yet. `command`: the words that led there, for messages ("bpfload prog show")."""

    def __init__(self, words: Sequence[str], command: str) -> None:
        self._words = list(words)
        self._next = 0
        self.command = command

    def __len__(self) -> int:
        return len(self._words) - self._next

    def peek(self) -> str:
        """Return the next word, "" at the end."""
        return self._words[self._next] if self else ""

    def take(self, what: str) -> str:
        """Read the next word; `what` it should be is said where there is none."""
        if not self:
            raise self.error(f"{self.command}: {what} is missing")
        self._next += 1
        return self._words[self._next - 1]

    def accept(self, keyword: str) -> bool:
        """Read the next word if it is a beginning of `keyword`."""
        if not is_prefix(self.peek(), keyword):
            return False
        self._next += 1
        return True

    def keyword(self, known: Sequence[str], what: str) -> str:
        """Read one of the `known` keywords, or a beginning of one: the first that fits. `what` it is, for the message."""
        if not self:
            raise self.error(f"{self.command}: {what} is missing", known)
        word = self.peek()
        for keyword in known:
            if self.accept(keyword):
                return keyword
        raise self._unknown(f"{word!r} is not {what}", known)

    def number(self, what: str) -> int:
        """Read a whole number, 0 or more, in C's notation; `what` it should be."""
        word = self.take(what)
        try:
            value = int(word, 0)
        except ValueError:
            value = -1
        if value < 0:
            raise self.error(f"{self.command}: {what}: {word!r} is not a whole number, 0 or more")
        return value

    def selector(self, known: Sequence[str], what: str) -> tuple[str, str]:
        """Read a selector: a keyword and its value. `what` it selects, for the message."""
        kind = self.keyword(known, f"a way to name {what}")
        return kind, self.take(f"the {kind} of {what}")

    def end(self) -> None:
        """Complain of words that are left."""
        if self:
            raise self._unknown(f"{self.peek()!r} is one word too many")

    def _unknown(self, message: str, known: Sequence[str] = ()) -> CommandLineError:
        """Return an error about the next word: `message`, unless it looks like an option."""
        word = self.peek()
        if word.startswith("-") and len(word) > 1:
            return self.error(f"{self.command} has no option {word!r}")
        return self.error(f"{self.command}: {message}", known)

    def error(self, message: str, known: Sequence[str] = ()) -> CommandLineError:
        """Return an error about these words."""
        return CommandLineError(message, command=self.command, known=known)
