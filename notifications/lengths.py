"""How long a text is by SMS: in letters of GSM-7, or in UCS-2 if one letter is not among them.

After 3GPP TS 23.038 (letters) and 23.040 (segments: those of several begin with a header).
"""

from dataclasses import dataclass

LETTERS = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = frozenset("^{}\\[~]|€\f")  # each takes the room of two


@dataclass(frozen=True, slots=True)
class Length:
    """`units` are septets of GSM-7, or code units of UCS-2; `others` the letters not in GSM-7."""

    encoding: str
    units: int
    segments: int
    others: str


def measure(*, text: str) -> Length:
    """Measure a text as it would be sent."""
    others = "".join(sorted(set(text) - LETTERS - EXTENDED))
    if others:
        sizes = [len(letter.encode("utf-16-be")) // 2 for letter in text]
        return Length("UCS-2", sum(sizes), _segments(sizes=sizes, one=70, many=67), others)
    sizes = [2 if letter in EXTENDED else 1 for letter in text]
    return Length("GSM-7", sum(sizes), _segments(sizes=sizes, one=160, many=153), others)


def _segments(*, sizes: list[int], one: int, many: int) -> int:
    """Count segments; none of them ends in the middle of a letter."""
    if sum(sizes) <= one:
        return 1
    segments, room = 1, many
    for size in sizes:
        if size > room:
            segments, room = segments + 1, many
        room -= size
    return segments
