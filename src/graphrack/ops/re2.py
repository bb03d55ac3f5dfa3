r"""RE2's regular expressions, which TensorFlow's ops take, as patterns of Python's `re`.

The two agree on most of the syntax and on which match is preferred, and differ in detail (RE2's syntax:
https://github.com/google/re2/wiki/Syntax). So a pattern is read by RE2's rules and written anew with
nothing in it that Python reads in another way: every set of characters becomes an explicit class, flags
are worked in, `$` becomes `\Z`, names of groups go. Strings are decoded with `surrogateescape`, so that a
byte which is no UTF-8 is one character, one that no class holds: RE2 matches such bytes by nothing.

Left out, with a clear error: `\C` (any byte) and scripts such as `\p{Greek}` (categories such as `\p{Lu}`
are there). Between the bytes of a character beyond ASCII RE2 sees a place for `\B`, and Python none.
Python's engine goes back and forth where RE2's doesn't: a pattern such as `(a+)+b` takes
exponential time on a string that almost matches.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

Ranges = list[tuple[int, int]]
"""Characters as sorted, disjoint, inclusive ranges of code points."""

_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)  # where bytes that are no UTF-8 go
_MOST = 1000  # RE2's limit for counted repetition
_DEEPEST = 100  # nested groups; RE2 takes more, Python's compiler recurses


def decode(text: bytes) -> str:
    """The string that a compiled pattern is matched against."""
    return text.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes behind a part of what `decode` gave."""
    return text.encode("utf-8", "surrogateescape")


@lru_cache(maxsize=256)
def compile(pattern: bytes) -> re.Pattern[str]:
    """The pattern for strings that `decode` gave. Raises `ValueError` for what RE2 refuses or we lack."""
    try:
        text = pattern.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"pattern {pattern!r} is no UTF-8: {error}") from None
    return re.compile(_Reader(text).read())


# ---- Sets of characters ----


def _union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: Ranges = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _others(ranges: Ranges) -> Ranges:
    """All characters but these."""
    found, start = [], 0
    for low, high in _union([*ranges, _SURROGATES]):
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    return [*found, (start, _LAST)] if start <= _LAST else found


def _chars(text: str) -> Ranges:
    """The ranges that "a-z_" names."""
    return _union((ord(part[0]), ord(part[-1])) for part in re.findall(r".-.|.", text, re.DOTALL))


_PERL = {"d": _chars("0-9"), "s": _chars("\t\n\f\r "), "w": _chars("0-9A-Za-z_")}
_POSIX = {
    "alnum": _chars("0-9A-Za-z"),
    "alpha": _chars("A-Za-z"),
    "ascii": _chars("\0-\x7f"),
    "blank": _chars("\t "),
    "cntrl": _chars("\0-\x1f\x7f"),
    "digit": _chars("0-9"),
    "graph": _chars("!-~"),
    "lower": _chars("a-z"),
    "print": _chars(" -~"),
    "punct": _chars("!-/:-@[-`{-~"),
    "space": _chars("\t-\r "),
    "upper": _chars("A-Z"),
    "word": _chars("0-9A-Za-z_"),
    "xdigit": _chars("0-9A-Fa-f"),
}


@lru_cache(maxsize=64)
def _category(name: str) -> tuple[tuple[int, int], ...]:
    """The characters of a Unicode category ("Lu"), or of all that start with a letter ("L")."""
    return tuple(_union((i, i) for i in range(_LAST + 1) if unicodedata.category(chr(i)).startswith(name)))


@lru_cache(maxsize=1)
def _cases() -> tuple[list[int], dict[int, set[int]]]:
    """Characters that have other cases, in order, and for each all of its cases.

    Simple folding only, one character for one: the Turkish i's are cases of nothing.
    """
    cases: dict[int, set[int]] = {}
    for i in range(0x1F000):  # there are none above
        char = chr(i)
        for other in (char.lower(), char.upper(), char.title()):
            if len(other) == 1 and other != char and i not in (0x130, 0x131):
                together = cases.get(i, {i}) | cases.get(ord(other), {ord(other)})
                cases.update(dict.fromkeys(together, together))
    return sorted(cases), cases


def _folded(ranges: Ranges) -> Ranges:
    """These characters and their other cases."""
    known, cases = _cases()
    more = [(other, other) for low, high in ranges
            for i in known[bisect_left(known, low) : bisect_left(known, high + 1)] for other in cases[i]]  # fmt: skip
    return _union([*ranges, *more])


def _class(ranges: Ranges) -> str:
    if not ranges:
        return r"[^\x00-\U0010ffff]"
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges) + "]"


# ---- Reading ----

_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_FLAGS = re.compile(r"([imsU]*)(?:-([imsU]+))?([:)])")
_NAMED = re.compile(r"\?P<(\w+)>", re.ASCII)
_PROPERTY = re.compile(r"\{(\^?)(\w+)\}|(\w)", re.ASCII)
_SINGLE = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_PLACES = {"A": r"(?:\A)", "z": r"(?:\Z)", "b": r"(?a:\b)", "B": r"(?a:(?!\b))"}


class _Reader:
    """Reads one pattern by RE2's grammar, left to right, and writes Python's."""

    def __init__(self, pattern: str):
        self.pattern = pattern
        self.at = 0
        self.flags = frozenset[str]()

    def read(self) -> str:
        text, _ = self.alternatives(0)
        if self.at < len(self.pattern):
            raise self.error("unexpected )")
        return text

    def error(self, what: str) -> ValueError:
        return ValueError(f"invalid pattern {self.pattern!r}: {what} at character {self.at}")

    def next_is(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def take(self, form: re.Pattern[str]) -> re.Match[str] | None:
        found = form.match(self.pattern, self.at)
        if found:
            self.at = found.end()
        return found

    def alternatives(self, depth: int) -> tuple[str, int]:
        """Up to a closing parenthesis; gives the text, and how often its innermost part is repeated."""
        if depth > _DEEPEST:
            raise self.error(f"groups nested deeper than {_DEEPEST}")
        parts: list[str] = []
        most = 1
        last = 0  # how often what is last in `parts` is repeated; 0: there is nothing to repeat
        while self.at < len(self.pattern) and not self.next_is(")"):
            if self.next_is("|"):
                self.at += 1
                parts.append("|")
                last = 0
                continue
            repeat = self.repetition()
            if repeat:
                if not last:
                    raise self.error("no argument for repetition operator")
                parts[-1], last = self.repeated(parts[-1], last, *repeat)
                most = max(most, last)
                continue
            if self.next_is("\\Q"):
                end = self.pattern.find("\\E", self.at + 2)
                quoted = self.pattern[self.at + 2 : end if end >= 0 else None]
                self.at = end + 2 if end >= 0 else len(self.pattern)
                parts += [self.literal(ord(char)) for char in quoted]
                last = 1 if quoted else last
                continue
            piece, times = self.atom(depth)
            if piece:
                parts.append(piece)
                last = times
                most = max(most, times)
        return "".join(parts), most

    def repeated(self, piece: str, times: int, text: str, count: int) -> tuple[str, int]:
        lazy = self.next_is("?")
        self.at += lazy
        if self.repetition():
            raise self.error("bad repetition operator")
        times *= max(count, 1)
        if times > _MOST:
            raise self.error(f"repetition of more than {_MOST}")
        # In a group, as flags may come between and another repetition after them.
        return f"(?:{piece}{text}{'?' if lazy != ('U' in self.flags) else ''})", times

    def repetition(self) -> tuple[str, int] | None:
        char = self.pattern[self.at : self.at + 1]
        if char and char in "*+?":
            self.at += 1
            return char, 1
        found = self.take(_REPEAT)
        if not found:
            return None
        # By their length first: Python refuses to read very long numbers.
        numbers = [int(digits) if len(digits) < 9 else 10**9 for digits in (found[1], found[3]) if digits]
        if max(numbers) > _MOST or numbers != sorted(numbers):
            raise self.error(f"invalid repetition size {found[0]}")
        return found[0], numbers[-1]

    def atom(self, depth: int) -> tuple[str, int]:
        char = self.pattern[self.at]
        if char == "(":
            return self.group(depth)
        if char == "[":
            return _class(self.bracket()), 1
        if char == "\\":
            place = _PLACES.get(self.pattern[self.at + 1 : self.at + 2])
            if place:
                self.at += 2
                return place, 1
            ranges = self.named_set()
            return (self.set(ranges) if ranges is not None else self.literal(self.escape())), 1
        self.at += 1
        if char == ".":
            return _class(_others([] if "s" in self.flags else [(10, 10)])), 1
        if char == "^":
            return (r"(?:\A|(?<=\n))" if "m" in self.flags else r"(?:\A)"), 1
        if char == "$":
            return (r"(?:\Z|(?=\n))" if "m" in self.flags else r"(?:\Z)"), 1
        return self.literal(ord(char)), 1

    def literal(self, char: int) -> str:
        return _class(_folded([(char, char)])) if "i" in self.flags else re.escape(chr(char))

    def set(self, ranges: Ranges) -> str:
        return _class(_folded(ranges) if "i" in self.flags else ranges)

    def group(self, depth: int) -> tuple[str, int]:
        self.at += 1
        before = self.flags
        opening = "("
        if self.next_is("?") and not self.take(_NAMED):
            self.at += 1
            found = self.take(_FLAGS)
            if not found or found[0] == ")":
                raise self.error("invalid operator (?")
            self.flags = self.flags.union(found[1]).difference(found[2] or "")
            if found[3] == ")":  # to the end of the group around it
                return "", 1
            opening = "(?:"
        text, times = self.alternatives(depth + 1)
        if not self.next_is(")"):
            raise self.error("missing )")
        self.at += 1
        self.flags = before
        return f"{opening}{text})", times

    def escape(self) -> int:
        """The character that an escape stands for."""
        self.at += 1
        char = self.pattern[self.at : self.at + 1]
        if not char:
            raise self.error("trailing \\")
        octal = self.take(_OCTAL)
        if octal:
            return int(octal[0], 8)
        hexadecimal = self.take(_HEXADECIMAL)
        if hexadecimal:
            code = int(hexadecimal[1] or hexadecimal[2], 16)
            if code > _LAST:
                raise self.error("no such character")
            return code
        if char in _SINGLE:
            self.at += 1
            return _SINGLE[char]
        if char.isascii() and not char.isalnum():
            self.at += 1
            return ord(char)
        hint = " (any byte), which is not supported" if char == "C" else ""
        raise self.error(f"invalid escape sequence \\{char}{hint}")

    def named_set(self) -> Ranges | None:
        r"""What \d, \pL and their like stand for; None where something else comes."""
        char = self.pattern[self.at + 1 : self.at + 2]
        if not char or char not in "dswpPDSW":
            return None
        self.at += 2
        if char in "dsw":
            return _PERL[char]
        if char in "DSW":
            return _others(_PERL[char.lower()])
        found = self.take(_PROPERTY)
        name = found and (found[2] or found[3])
        if not found or not name:
            raise self.error("invalid character class")
        if name != "Any" and not re.fullmatch("[CLMNPSZ][a-z]?", name):
            raise self.error(f"character class \\p{{{name}}}: only categories such as L or Lu are supported")
        ranges = _others([]) if name == "Any" else list(_category(name))
        return _others(ranges) if (char == "P") != bool(found[1]) else ranges

    def bracket(self) -> Ranges:
        self.at += 1
        negated = self.next_is("^")
        self.at += negated
        ranges: Ranges = []
        first = True
        while first or not self.next_is("]"):
            if self.at >= len(self.pattern):
                raise self.error("missing ]")
            first = False
            named = self.take(_NAMED_CLASS)
            if named:
                if named[2] not in _POSIX:
                    raise self.error(f"invalid character class {named[0]}")
                ranges += _others(_POSIX[named[2]]) if named[1] else _POSIX[named[2]]
                continue
            perl = self.named_set() if self.next_is("\\") else None
            if perl is not None:
                ranges += perl
                continue
            low = high = self.bracket_char()
            if self.next_is("-") and not self.next_is("-]"):
                self.at += 1
                high = self.bracket_char()
                if high < low:
                    raise self.error("invalid character class range")
            ranges.append((low, high))
        self.at += 1
        ranges = _union(ranges)
        if "i" in self.flags:
            ranges = _folded(ranges)
        return _others(ranges) if negated else ranges

    def bracket_char(self) -> int:
        if self.at >= len(self.pattern):
            raise self.error("missing ]")
        if self.next_is("\\"):
            return self.escape()
        self.at += 1
        return ord(self.pattern[self.at - 1])


_OCTAL = re.compile("0[0-7]{0,2}|[1-7][0-7]{1,2}")
_HEXADECIMAL = re.compile(r"x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,8})\})")
_NAMED_CLASS = re.compile(r"\[:(\^?)(.*?):\]")
