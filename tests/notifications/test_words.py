"""Words that answer, and numbers that are written in several ways."""

import pytest

from accounts.models import Language
from notifications import lengths, phones, replies, words
from notifications.models import InboundMessage
from notifications.words import Meaning, Said

YES, NO, STOP, START = Meaning.YES, Meaning.NO, Meaning.STOP, Meaning.START


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("YES", Said(YES)),
        ("yes!", Said(YES)),
        (" y ", Said(YES)),
        ("Yes yes", Said(YES)),
        ("Yes, please 👍", Said(YES)),
        ("No thanks.", Said(NO)),
        ("Sí", Said(YES, language="es")),
        ("SI, gracias", Said(YES, language="es")),
        ("¿No?", Said(NO)),
        ("Oui, s'il vous plaît", Said(YES, language="fr")),
        ("non merci", Said(NO, language="fr")),
        ("sim", Said(YES, language="pt")),
        ("Não, obrigado", Said(NO, language="pt")),
        ("1 YES", Said(YES, number=1)),
        ("2) no", Said(NO, number=2)),
        ("NO 2", Said(NO, number=2)),
        ("3sim", Said(YES, number=3, language="pt")),
        ("STOP", Said(STOP)),
        ("Arrêt", Said(STOP, language="fr")),
        ("baja", Said(STOP, language="es")),
        ("start", Said(START)),
        # What might mean something else is no answer.
        ("", Said()),
        ("1", Said()),
        ("thanks", Said()),
        ("yes no", Said()),
        ("1 2 yes", Said()),
        ("100 yes", Said()),
        ("no problem", Said()),
        ("yes but later", Said()),
        ("I can't stop by", Said()),
        ("да", Said()),
        ("yes да", Said()),
    ],
)
def test_a_word_is_understood_and_a_sentence_is_not(text: str, said: Said) -> None:
    assert words.read(text=text) == said


def test_every_word_is_understood_as_it_is_listed() -> None:
    for language, meanings in words.WORDS.items():
        for meaning, listed in meanings.items():
            for word in listed.split():
                assert words.read(text=word.upper()) == Said(meaning, language=language)


@pytest.mark.parametrize(
    ("number", "known"),
    [
        ("447700900123", "+447700900123"),
        ("+447700900123", "+447700900123"),
        ("5215512345678", "+525512345678"),
        ("525512345678", "+5215512345678"),
        ("5491112345678", "+541112345678"),
        ("551187654321", "+5511987654321"),
        ("5511987654321", "+551187654321"),
    ],
)
def test_a_number_is_found_however_it_is_written(number: str, known: str) -> None:
    assert known in phones.spellings(number=number)


def test_another_number_is_another() -> None:
    assert phones.spellings(number="447700900123") == {"+447700900123"}


@pytest.mark.parametrize("language", Language.values)
def test_there_is_a_reply_to_everything_and_each_is_one_sms(language: str) -> None:
    for outcome in InboundMessage.Outcome.values:
        text = replies.write(
            name=outcome,
            language=language,
            slot_time="Wed 25 Sep 09:30",
            provider_name="Dr Osei",
            facility_name="City Clinic",
            offer_url="https://example.org/o/8dA2",
        )
        length = lengths.measure(text=text)
        assert (length.segments, length.others) == (1, ""), text
    for meaning in (YES, NO):
        assert len(replies.write(name=f"button_{meaning}", language=language)) <= 20
