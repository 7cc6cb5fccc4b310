"""Words: what somebody means who answers in their own words."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Meaning(StrEnum):
    """What an answer is understood as."""

    YES = "yes"
    NO = "no"
    STOP = "stop"
    START = "start"


# Language → meaning → words, without accents. What means to stop and start is what the providers
# take for it, too.
WORDS: Mapping[str, Mapping[Meaning, str]] = {
    "en": {
        Meaning.YES: "yes y ok",
        Meaning.NO: "no n",
        Meaning.STOP: "stop stopall unsubscribe cancel end quit revoke optout",
        Meaning.START: "start unstop",
    },
    "es": {
        Meaning.YES: "si",
        Meaning.STOP: "alto parar baja cancelar",
        Meaning.START: "empezar alta",
    },
    "fr": {
        Meaning.YES: "oui",
        Meaning.NO: "non",
        Meaning.STOP: "arret arreter",
        Meaning.START: "reprendre",
    },
    "pt": {
        Meaning.YES: "sim",
        Meaning.NO: "nao",
        Meaning.STOP: "sair",
        Meaning.START: "voltar",
    },
}
MEANINGS: Mapping[str, tuple[Meaning, str]] = {
    word: (meaning, language)
    for language, meanings in WORDS.items()
    for meaning, words in meanings.items()
    for word in words.split()
}
POLITE = frozenset(
    {"please", "thanks", "thank", "you", "por", "favor", "gracias", "merci", "svp", "s", "il"}
    | {"vous", "plait", "obrigado", "obrigada"}
)
TOKEN = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Said:
    """What came in: a meaning, where it is clear, of the offer `hold_id` or the one with `number`.

    `language` is that of the word, for those whose own is not known.
    """

    meaning: Meaning | None = None
    number: int | None = None
    hold_id: UUID | None = None
    language: str = "en"


def read(*, text: str) -> Said:
    """Understand a text: one word, maybe with a number and thanks. All else is unclear."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = [word for word in TOKEN.findall(plain) if word not in POLITE]
    numbers = {int(word) for word in words if len(word) < 3 and word.isdecimal()}
    known = {word: MEANINGS[word] for word in words if word in MEANINGS}
    clear = len({meaning for meaning, _ in known.values()}) == 1 and len(numbers) <= 1
    if not clear or len(set(words)) != len(known) + len(numbers):
        return Said()
    meaning, language = next(iter(known.values()))
    return Said(meaning, number=next(iter(numbers), None), language=language)
