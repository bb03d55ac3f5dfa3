"""Regular expressions against TensorFlow's, which are RE2's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check
from ops.samples import strings, text

from graphrack.ops import re2, registry

E_ACUTE = "\u00e9".encode()
TEXTS = strings(
    b"", b"a", b"b", b"A", b"aa", b"ab", b"aB", b"Ab", b"a\n", b"\n", b"12", b"1", b"_", b"-", b"]", b"{", b"a{",
    b"a{1", b"a{,2}", b"a.b", b"a.bb", b" ", b"\x0b", b"\x0c", b"\0", b"a\0b", b"\x07", b"\xff", b"a\xff", E_ACUTE,
    "\u00c9".encode(), "a\u00e9".encode(), "\u212a".encode(), "\u017f".encode(), "\u0131".encode(),
    "\u0130".encode(), "\u1e9e".encode(), "\u00df".encode(), b"k", b"K", b"s", b"i", b"I", b"STRASSE", b"ab cd",
)  # fmt: skip
PATTERNS = r"""
.  [^a]  \w+  \W  \s  \S  \d+  \D  (?i)strasse  (?i)k  (?i)\w  (?i)s  (?i)i  (?i)I  (?i)\x{131}  (?i)[h-j]
(?i)\x{df}  (?i)[^k]  (?i)\pLl  a$  (?m)a$\n?  a\z  a\Z  \A\d+  \pL+  \p{Lu}  \PN  \p{^Lu}  \P{^Lu}  \p{Any}+
[[:alpha:]]+  [[:^alpha:]]+  [[:word:]]  [[:punct:]]  [[:space:]]  [[:foo:]]  [[=a=]]  [[:alpha:]_]+
a{,2}  a{2}  a{1,}  a{1,2}?  a{2,1}  a{1001}  a{1000}  a**  a*+  a*?  a+?+  a??  a{2}{2}  ((a{100}){100}){100}
(?P<n>a)  (?<n>a)  (?P=n)
(?=a)a  (?<=a)a  (?!a)b  (?#c)a  (?>a)  (?x)a  (?i:a)b  a(?i)b|c  a(?i)*  a*(?i)*  (?i)*  b|(?i)*
a\Q\E*  a*\Q\E*  \Q\E*  a(?i)*?  (?U)a(?i)*  (a(?i)b)B  (?s).  (?-s).
(?s:.)|\n\n  (?U)a+  (?Ui)A+  (?i-s:A.)  (?  (?P<  (?:  (?i  (a)\1  \012  \12  \0  \07  \8  \1  \x41  \x4  \x{42}
\x{110000}  \Qa.b\E+
\Qa.b  \Q\Ea  []a]  [^]a]  [a-]  [-a]  [a-\d]  [\d-z]  [z-a]  [  [a  (  )  a)  a|*  a||b  |  *  ^*a
^a^  $a  (|a)*  (a*)+  ()  (?:)  (a|ab)(c|bcd)?  \_  \-  \e  \y  \  [\b]  [\e]  [\n]  \bab\b.*  \B  \b  a\b  {  a{  a{1
x{0}  [\x00-\x7f]+  [^\S]  [\S\d]  [^\d\D]  [\pL\d]+  [^\x00-\x{10FFFF}]  [a\]]  \v  \a  (?m)^a|b$  .*b  ..  .+
"""


@pytest.mark.parametrize("pattern", PATTERNS.split())
def test_full_match_agrees(pattern: str) -> None:
    check("StaticRegexFullMatch", input=TEXTS, pattern=pattern)


@pytest.mark.parametrize("pattern", ["", "(?i)\u00e9", "[\u00e0-\u00ff]", "\u00e9+", "a\0b", " ", "\n"])
def test_full_match_of_other_characters_agrees(pattern: str) -> None:
    check("StaticRegexFullMatch", refused=False, input=TEXTS, pattern=pattern)


@settings(max_examples=150, deadline=None)
@given(st.text("ab.*+?|()[]^$\\d-{}1,:PQEi", max_size=9), st.booleans())
def test_any_pattern_means_what_it_means_to_re2(pattern: str, flag: bool) -> None:
    words = strings(b"", b"a", b"b", b"ab", b"aab", b"abab", b"1", b"a1", b"-", b"^", b"AB", b"i", b"{1}", b"P", b"Q")
    check("StaticRegexFullMatch", input=words, pattern="(?i)" + pattern if flag else pattern)
    check("StaticRegexReplace", input=words, pattern=pattern, rewrite="<\\0>")


REPLACED = [
    ("x*", "-"), ("x*?", "-"), ("a(b)?", r"[\1\0\\]"), ("a", r"\1"), ("a", r"x\qy"), ("a", "\\"), ("a", "b"),
    ("^a", "-"),
    (r"\b", "|"), ("(a)|b", r"<\1>"), ("b*", "-"), ("(", "-"), ("$", "-"), ("(?m)^", "-"), ("", "-"), ("b|(?m)^", "-"),
    ("(a)(b)?", r"\2\1"), ("\u00e9", "e"), ("a", "\u00e9"), ("a|", "-"), ("(?m)$", "$"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "rewrite"), REPLACED)
@pytest.mark.parametrize("replace_global", [True, False])
def test_replace_agrees(pattern: str, rewrite: str, replace_global: bool) -> None:
    words = strings(b"abxd", b"", b"xx", b"abaca", b"aaa", b"ab cd", b"a\nb\n", b"\xffa\xfe", "a\u00e9b".encode(), b"b")
    check("StaticRegexReplace", input=words, pattern=pattern, rewrite=rewrite, replace_global=replace_global)
    arguments = {"pattern": text(pattern.encode()), "rewrite": text(rewrite.encode())}
    check("RegexReplace", input=words, replace_global=replace_global, **arguments)


def test_pattern_and_rewrite_must_be_scalars() -> None:
    check("RegexFullMatch", refused=False, input=TEXTS, pattern=text(b"a+"))
    check("RegexFullMatch", refused=False, input=text(b"a"), pattern=text(b"a"))
    check("RegexFullMatch", refused=True, input=TEXTS, pattern=strings(b"a"))
    check("RegexFullMatch", refused=True, input=TEXTS, pattern=text(b"\xff"))
    check("RegexReplace", refused=True, input=TEXTS, pattern=strings(b"a"), rewrite=text(b""))
    check("RegexReplace", refused=True, input=TEXTS, pattern=text(b"a"), rewrite=strings(b""))


@pytest.mark.parametrize(("pattern", "reason"), [(rb"\C", "any byte"), (rb"\p{Greek}", "only categories")])
def test_what_is_left_out_of_re2_is_named(pattern: bytes, reason: str) -> None:
    kernel = registry.lookup("StaticRegexFullMatch").bind("n", {"pattern": pattern}, {})
    with pytest.raises(ValueError, match=reason):
        kernel(strings(b"a"))


def test_patterns_of_any_depth_end_in_an_error_not_a_crash() -> None:
    for pattern in (b"(" * 100_000, b"(a" * 5000 + b")" * 5000, b"a{" + b"9" * 100_000 + b"}", b"[" * 100_000):
        with pytest.raises(ValueError, match="invalid pattern"):
            re2.compile(pattern)
