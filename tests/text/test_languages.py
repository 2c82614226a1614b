"""Five languages: which one a text is in, how its written forms are read, and how words are said as asked."""

import pytest

from pipeline.text.languages import SPOKEN, detect
from pipeline.text.normalize import TextNormalizer
from pipeline.text.script import prepare_script
from pipeline.text.tokenizers import load_tokenizer
from tests.conftest import VOCABULARY_25


@pytest.fixture(scope="module")
def normalizer() -> TextNormalizer:
    return TextNormalizer(None, SPOKEN, annotated=True)


@pytest.mark.parametrize(
    "text, language",
    [
        ("你好，世界", "zh"),
        ("鲜の每日，新鲜水果天天送到家", "zh"),
        ("我用 Python 3.11 写代码，it's a good day.", "zh"),
        ("Hello there", "en"),
        ("The hotel 北京 is good for us and you", "en"),
        ("The café's naïve résumé costs €5.", "en"),
        ("Say <你好|NI3 HAO3> to <Bob|B AA1 B>.", "en"),
        ("<快乐|kuai4 le4>", "zh"),
        ("彼は料理が上手だ", "ja"),
        ("コーヒー", "ja"),
        ("東京タワー", "ja"),
        ("Hola amigo", "es"),
        ("¿Dónde está la biblioteca?", "es"),
        ("El niño vive en la calle 5", "es"),
        ("مرحبا", "ar"),
        ("أستخدم GPT-5 كل يوم.", "ar"),
        ("123", "zh"),
    ],
)
def test_the_language_of_a_text(normalizer, text, language):
    assert normalizer.language(text) == language


def test_only_spoken_languages_are_found():
    assert detect("Hola amigo", ("zh", "en")) == "zh"
    assert detect("مرحبا hello there", ("zh", "en")) == "en"
    assert TextNormalizer().language("こんにちは") == "zh"


@pytest.mark.parametrize(
    "language, written, spoken",
    [
        ("es", "Tengo 21 casas, 31 días y 1 perro", "Tengo veintiuna casas, treinta y un días y un perro"),
        (
            "es",
            "a las 8:30, 25% de 1.234,56",
            "a las ocho y treinta, veinticinco por ciento de mil doscientos treinta y cuatro coma cincuenta y seis",
        ),
        ("es", "$12.50 o 3,50 €", "doce dólares con cincuenta centavos o tres euros con cincuenta céntimos"),
        (
            "es",
            "el 14/03/2025 y el 1 de mayo",
            "el catorce de marzo de dos mil veinticinco y el primero de mayo",
        ),
        ("es", "10 km a -5 °C", "diez kilómetros a menos cinco grados Celsius"),
        ("es", "la 3ª vez, siglo XXI, EE. UU.", "la tercera vez, siglo veintiuno, Estados Unidos"),
        ("es", "31.000 y 21.000", "treinta y un mil y veintiún mil"),
        ("es", "5 + 3 = 8 & 3/4", "cinco más tres igual a ocho y tres cuartos"),
        ("ja", "2025年3月14日の8:30", "二千二十五年三月十四日の八時三十分"),
        ("ja", "1,500円、25%、11kg、3.14", "千五百円,二十五パーセント,十一キログラム,三点一四"),
        ("ja", "$12.50と1/3と10~20人", "十二ドル五十セントと三分の一と十から二十人"),
        ("ja", "03-1234-5678", "ゼロ三の一二三四の五六七八"),
        ("ar", "عندي 25 كتابا", "عندي خمسة وعشرون كتابا"),
        ("ar", "الساعة 8:30", "الساعة الثامنة والنصف"),
        ("ar", "الساعة ٩:١٥", "الساعة التاسعة والربع"),
        ("ar", "100% و 200", "مائة بالمئة و مئتان"),
        ("ar", "5 km و ١٢٫٥", "خمسة كيلومترات و اثنا عشر فاصلة خمسة"),
        ("ar", "14/03/2025", "أربعة عشر مارس ألفان وخمسة وعشرون"),
        ("ar", "السَّلامُ عَلَيْكُمْ", "السَّلامُ عَلَيْكُمْ"),
        ("en", "I like 北京 and 3 beers", "I like 北京 and three beers"),
        ("zh", "Hello world 123", "Hello world one hundred and twenty three"),
    ],
)
def test_written_forms(normalizer, language, written, spoken):
    assert normalizer.normalize(written, language) == spoken


@pytest.mark.parametrize("language", SPOKEN)
@pytest.mark.parametrize(
    "text",
    [
        "9" * 30,
        "1" * 5000,
        "1.2.3.4",
        "1,2,3",
        "1/0",
        "0",
        "00:00",
        "25:61",
        "-",
        "$",
        "٪",
        "3/4/5/6",
        "1e5",
        "²",
        "½",
    ],
)
def test_no_digit_is_left_and_nothing_breaks(normalizer, language, text):
    spoken = normalizer.normalize(f"x {text} x", language)
    assert not any(character.isascii() and character.isdigit() for character in spoken), spoken


def spoken(normalizer, text, language="auto"):
    tokenizer = load_tokenizer(VOCABULARY_25, 2473)
    (segment,) = prepare_script(text, normalizer, tokenizer, language=language)
    return segment


@pytest.mark.parametrize(
    "text, prepared",
    [
        ("他在银<行|XING2>里", "他在银<|SPECIAL_TOKEN_2|>XING2<|SPECIAL_TOKEN_2|>里"),
        ("<去|qu4>了", "<|SPECIAL_TOKEN_2|>QV4<|SPECIAL_TOKEN_2|>了"),
        ("The <minute|m ih1 . n ah0 t> 3", "the <|SPECIAL_TOKEN_1|>M IH1 . N AH0 T<|SPECIAL_TOKEN_1|> three"),
        ("<上手|じょうず>だ", "じょうず だ"),
        ("<林檎|PING2 GUO3>は3つ", "<|SPECIAL_TOKEN_2|>PING2 GUO3<|SPECIAL_TOKEN_2|> は 三 つ"),
        (
            "EL <tomate|T AH0 . M EY1 . T OW2>",
            "EL <|SPECIAL_TOKEN_1|>T AH0 . M EY1 . T OW2<|SPECIAL_TOKEN_1|>",
        ),
        ("Hola <|happy|> amigo", "HOLA <|HAPPY|> AMIGO"),
        ("笑<|Laughter|>了", "笑<|Laughter|>了"),
    ],
)
def test_pronunciations_and_special_tokens_stay_whole(normalizer, text, prepared):
    segment = spoken(normalizer, text)
    assert segment.text == prepared and not segment.notes


@pytest.mark.parametrize(
    "text, heard, note",
    [
        ("<行|XING9>人", "行人", "the pronunciation 'XING9' of '行' is unknown: it is read as written"),
        ("a <minute|xyz> later", "a minute later", "the pronunciation 'xyz' of 'minute' is unknown"),
        ("a <minute|M IH1 N", "a minute", "the annotation of 'minute' is not closed"),
        ("<行|XING2人", "行", "the annotation of '行' is not closed"),
    ],
)
def test_an_unknown_or_open_annotation_is_the_word_and_a_note(normalizer, text, heard, note):
    segment = spoken(normalizer, text)
    assert segment.text.startswith(heard) and "SPECIAL" not in segment.text
    assert len(segment.notes) == 1 and note in segment.notes[0]


@pytest.mark.parametrize("token", ["<|endoftext|>", "<|startoftranscript|>", "<|zh|>", "<|ja|>", "<|"])
def test_tokens_that_steer_the_model_cannot_be_written(normalizer, token):
    segment = spoken(normalizer, f"Hello {token} there", "en")
    assert "<|" not in segment.text


def test_what_was_written_is_told_without_markup(normalizer):
    assert spoken(normalizer, "他在银<行|XING2>里有3元").written == "他在银行里有3元"


def test_a_language_that_is_not_spoken_is_an_error_that_lists_those_that_are():
    with pytest.raises(ValueError, match="language is 'ja'; allowed: auto, zh, en"):
        TextNormalizer().read("x", "ja")
