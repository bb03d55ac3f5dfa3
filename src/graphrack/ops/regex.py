"""Regular expressions: RegexFullMatch, RegexReplace, and both with the pattern as an attribute."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from graphrack.ops import re2
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array
from graphrack.ops.strings import string_of, strings_of

# Patterns are compiled when the op runs, though known before: what is wrong with one is then said with the
# node's name, and only where the node is needed. `re2.compile` remembers.


@specialized("StaticRegexFullMatch")
def StaticRegexFullMatch(*, pattern: bytes) -> Any:
    return lambda input: _full_match(input, pattern)


@op("RegexFullMatch")
def RegexFullMatch(input: Array, pattern: Array) -> Array:
    return _full_match(input, string_of("pattern", pattern))


def _full_match(input: Array, pattern: bytes) -> Array:
    match = re2.compile(pattern).fullmatch
    found = [match(re2.decode(text)) is not None for text in input.reshape(-1).tolist()]
    return np.array(found, bool).reshape(input.shape)


@specialized("StaticRegexReplace")
def StaticRegexReplace(*, pattern: bytes, rewrite: bytes, replace_global: bool = True) -> Any:
    return lambda input: _replace(input, pattern, rewrite, replace_global)


@specialized("RegexReplace")
def RegexReplace(*, replace_global: bool = True) -> Any:
    return lambda input, pattern, rewrite: _replace(
        input, string_of("pattern", pattern), string_of("rewrite", rewrite), replace_global
    )


def _replace(input: Array, pattern: bytes, rewrite: bytes, everywhere: bool) -> Array:
    compiled = re2.compile(pattern)
    template, whole = _template(rewrite)
    groups = max((part for part in template if isinstance(part, int)), default=0)
    if groups > compiled.groups or not (whole or everywhere):
        return input  # RE2 then replaces nothing
    texts = [_replaced(re2.decode(text), compiled, template, everywhere) for text in input.reshape(-1).tolist()]
    return strings_of(map(re2.encode, texts), input.shape)


def _template(rewrite: bytes) -> tuple[list[str | int], bool]:
    r"""Literal text and numbers of groups (`\0` is the whole match), and whether all of it could be read.

    RE2 stops at a backslash that neither a digit nor a backslash follows.
    """
    parts: list[str | int] = []
    text = re2.decode(rewrite)
    at = 0
    while at < len(text):
        found = re.compile(r"\\([0-9\\])|([^\\]+)").match(text, at)
        if not found:
            return parts, False
        parts.append(found[2] or ("\\" if found[1] == "\\" else int(found[1])))
        at = found.end()
    return parts, True


def _replaced(text: str, pattern: re.Pattern[str], template: list[str | int], everywhere: bool) -> str:
    """The text with the first or all matches replaced.

    As RE2, an empty match right behind the match before is none: a character is passed over instead.
    """
    done: list[str] = []
    at, last = 0, -1
    while at <= len(text):
        found = pattern.search(text, at)
        if not found:
            break
        start, end = found.span()
        done.append(text[at:start])
        if start == end == last:
            done.append(text[end : end + 1])
            at = end + 1
            continue
        done += [part if isinstance(part, str) else found[part] or "" for part in template]
        at = last = end
        if not everywhere:
            break
    done.append(text[at:])
    return "".join(done)
