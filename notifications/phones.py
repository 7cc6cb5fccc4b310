"""Phones: the ways in which one number is written."""

import re

# WhatsApp writes mobile numbers of these countries with a digit more or less than E.164 has.
SPELLINGS = (
    (re.compile(r"\+521(\d{10})"), r"+52\1"),
    (re.compile(r"\+52(\d{10})"), r"+521\1"),
    (re.compile(r"\+549(\d{10})"), r"+54\1"),
    (re.compile(r"\+54(\d{10})"), r"+549\1"),
    (re.compile(r"\+55(\d\d)9(\d{8})"), r"+55\1\2"),
    (re.compile(r"\+55(\d\d)(\d{8})"), r"+55\g<1>9\2"),
)


def spellings(*, number: str) -> frozenset[str]:
    """Return the ways to write a number that came in, with or without its plus."""
    plain = f"+{number.strip().removeprefix('+')}"
    others = (pattern.sub(put, plain) for pattern, put in SPELLINGS if pattern.fullmatch(plain))
    return frozenset({plain, *others})
