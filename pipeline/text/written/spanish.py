"""Spanish: number words and written forms."""

import functools
import re

from num2words import num2words

from pipeline.text.written.addresses import address_rules
from pipeline.text.written.amounts import (
    AFTER,
    AMOUNT,
    BEFORE,
    CURRENCIES,
    CURRENCY,
    DASH,
    LONGEST_CARDINAL,
    TELEPHONE,
    parted,
)
from pipeline.text.written.numbers import ROMAN, roman_value
from pipeline.text.written.rule import Rule, after, alternatives, rule

_DIGITS = ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve")
_MONTHS = ("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre",
           "diciembre")  # fmt: skip
_CURRENCY = {"dollar": ("dólar", "dólares", "centavo"), "euro": ("euro", "euros", "céntimo"),
             "pound": ("libra", "libras", "penique"), "yen": ("yen", "yenes", "sen"),
             "yuan": ("yuan", "yuanes", "fen")}  # fmt: skip
# Units: one, several. Feminine ones end in a.
_UNITS = {
    "km/h": ("kilómetro por hora", "kilómetros por hora"), "m/s": ("metro por segundo", "metros por segundo"),
    "km²": ("kilómetro cuadrado", "kilómetros cuadrados"), "m²": ("metro cuadrado", "metros cuadrados"),
    "m³": ("metro cúbico", "metros cúbicos"), "km": ("kilómetro", "kilómetros"), "cm": ("centímetro", "centímetros"),
    "mm": ("milímetro", "milímetros"), "m": ("metro", "metros"), "kg": ("kilogramo", "kilogramos"),
    "mg": ("miligramo", "miligramos"), "g": ("gramo", "gramos"), "ml": ("mililitro", "mililitros"),
    "mL": ("mililitro", "mililitros"), "l": ("litro", "litros"), "L": ("litro", "litros"),
    "°C": ("grado Celsius", "grados Celsius"), "ºC": ("grado Celsius", "grados Celsius"), "℃": ("grado Celsius", "grados Celsius"),
    "°F": ("grado Fahrenheit", "grados Fahrenheit"), "°": ("grado", "grados"), "kWh": ("kilovatio hora", "kilovatios hora"),
    "kW": ("kilovatio", "kilovatios"), "W": ("vatio", "vatios"), "GB": ("gigabyte", "gigabytes"), "MB": ("megabyte", "megabytes"),
    "kB": ("kilobyte", "kilobytes"), "TB": ("terabyte", "terabytes"), "Hz": ("hercio", "hercios"), "kHz": ("kilohercio", "kilohercios"),
    "min": ("minuto", "minutos"), "seg": ("segundo", "segundos"), "h": ("hora", "horas"), "ha": ("hectárea", "hectáreas"),
}  # fmt: skip
_ABBREVIATIONS = {
    "Sr.": "señor", "Sra.": "señora", "Srta.": "señorita", "Sres.": "señores", "Dr.": "doctor", "Dra.": "doctora",
    "Prof.": "profesor", "Profa.": "profesora", "D.ª": "doña", "Ud.": "usted", "Uds.": "ustedes", "Vd.": "usted",
    "Vds.": "ustedes", "EE. UU.": "Estados Unidos", "EE.UU.": "Estados Unidos", "p. ej.": "por ejemplo", "etc.": "etcétera.",
    "pág.": "página", "págs.": "páginas", "núm.": "número", "Nº": "número", "nº": "número", "N.º": "número", "n.º": "número",
    "No.": "número", "Av.": "avenida", "Avda.": "avenida", "a. C.": "antes de Cristo", "d. C.": "después de Cristo",
    "aprox.": "aproximadamente", "tel.": "teléfono", "Tel.": "teléfono", "cap.": "capítulo", "vs.": "contra",
}  # fmt: skip
# Masculine nouns that end in a.
_MASCULINE = re.compile(r" (?:días?|problemas?|mapas?|sistemas?|programas?|idiomas?|temas?|planetas?|climas?|poetas?|artistas?|"
                        r"turistas?|poemas?|diagramas?|kilogramos?)(?![A-Za-zÀ-ɏ])", re.IGNORECASE)  # fmt: skip
_FEMININE = re.compile(r" [A-Za-zÀ-ɏ]*(?:as?|ción|ciones|sión|siones|dad|dades|noches?|veces|personas?|mujer|mujeres)(?![A-Za-zÀ-ɏ])",
                       re.IGNORECASE)  # fmt: skip
_WORD = re.compile(r" [A-Za-zÀ-ɏ]")
_CONNECTIVE = re.compile(r" (?:y|e|o|u|de|del|a|al|en|por|para|con|que|es|son|más|menos|la|las|lo|el|los|ya|hasta|se|no)(?![A-Za-zÀ-ɏ])",
                         re.IGNORECASE)  # fmt: skip


def spell(digits: str) -> str:
    """ "105" -> "uno cero cinco"; what is no digit is left out."""
    return " ".join(_DIGITS[int(c)] for c in digits if c.isdigit())


@functools.lru_cache(4096)
def cardinal(digits: str) -> str:
    """ "21" -> "veintiuno"; leading zeros and long numbers digit by digit."""
    if (len(digits) > 1 and digits[0] == "0") or len(digits) > LONGEST_CARDINAL:
        return spell(digits)
    words = num2words(int(digits), lang="es")
    return re.sub(
        r"(veinti)?uno (?=mil\b|millones|billones)", lambda m: "veintiún " if m[1] else "un ", words
    )


def number(written: str) -> str:
    """ "3,25" -> "tres coma veinticinco"; decimals with a zero before them, or of more than two digits, one by one."""
    whole, decimals = parted(written, ",")
    if not decimals:
        return cardinal(whole)
    said = cardinal(decimals) if len(decimals) <= 2 and decimals[0] != "0" else spell(decimals)
    return f"{cardinal(whole or '0')} {'punto' if ',' not in written else 'coma'} {said}"


def counted(written: str, following: str) -> str:
    """`number` in the gender and the short form that the noun after it asks for: "veintiuna casas", "un perro"."""
    spoken = number(written)
    if parted(written, ",")[1] or not _WORD.match(following) or _CONNECTIVE.match(following):
        return spoken
    if _FEMININE.match(following) and not _MASCULINE.match(following):
        return re.sub(r"uno$", "una", re.sub(r"cientos\b", "cientas", spoken))
    return re.sub(r"uno$", "un", re.sub(r"veintiuno$", "veintiún", spoken))


def of(written: str, names: tuple[str, ...]) -> str:
    """So many of a unit: "un kilómetro", "dos libras"."""
    if parted(written, ",") == ("1", ""):
        return ("una " if names[0].split()[0].endswith(("a", "hora")) else "un ") + names[0]
    return f"{counted(written, ' ' + names[1])} {names[1]}"


def _money(amount: str, sign: str, scale: str | None) -> str:
    one, several, cent = _CURRENCY[CURRENCIES[sign]]
    whole, decimals = parted(amount, ",")
    if scale:
        return f"{number(amount)} {scale} de {several}"
    if not decimals or len(decimals) > 2:
        return of(amount, (one, several)) if not decimals else f"{number(amount)} {several}"
    cents = str(int(decimals.ljust(2, "0")))
    spoken = of(whole or "0", (one, several))
    return spoken if cents == "0" else f"{spoken} con {of(cents, (cent, cent + 's'))}"


def _date(day: str, month: str, year: str | None) -> str | None:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    first = "primero" if int(day) == 1 else cardinal(str(int(day)))
    return f"{first} de {_MONTHS[int(month) - 1]}" + (f" de {cardinal(year)}" if year else "")


_HALVES = {"a": " de la mañana", "p": " de la tarde"}


def _time(m: re.Match[str]) -> str | None:
    hour, minute = int(m[1]), int(m[2])
    if hour > 24 or minute > 59:
        return None
    spoken = "una" if hour == 1 else re.sub("uno$", "una", cardinal(str(hour)))
    if minute:
        spoken += f" y {cardinal(str(minute))}"
    elif m[3] is None:
        spoken += " en punto"
    if m[3] and m[3].lower() in ("h", "hs", "hrs"):
        return spoken + (" hora" if spoken == "una" else " horas")
    return spoken + (_HALVES[m[3][0].lower()] if m[3] else "")


def _ordinal(m: re.Match[str]) -> str:
    words = num2words(int(m[1]), lang="es", to="ordinal")
    words = {"décimoprimero": "undécimo", "décimosegundo": "duodécimo"}.get(words, words)
    if m[2] in ("a", "ª", ".ª", "ra", "da", "as"):
        return re.sub(r"o\b", "a", words)
    return re.sub(r"(primer|tercer)o$", r"\1", words) if m[2] == "er" else words


_PARTS = {2: "medio", 3: "tercio"}


def _fraction(m: re.Match[str]) -> str | None:
    above, below = int(m[1]), int(m[2])
    if below < 2 or below > 10:
        return f"{cardinal(m[1])} sobre {cardinal(m[2])}"
    part = _PARTS.get(below) or num2words(below, lang="es", to="ordinal")
    if above == 1:
        return part if below == 2 else f"un {part}"
    return f"{cardinal(m[1])} {part}s"


def _signed(m: re.Match[str]) -> str:
    sign = {"-": "menos ", "+": "más ", "±": "más menos "}.get(m[1] or "", "")
    return sign + counted(m[2], after(m))


def _roman(m: re.Match[str]) -> str | None:
    return cardinal(str(roman_value(m[1]))) if m[1] else None


def _groups(written: str) -> str:
    plus = "más " if "+" in written else ""
    return plus + ", ".join(spell(group) for group in re.findall(r"\d+", written))


_SIGNS = {
    ".": "punto", "/": "barra", ":": "dos puntos", "@": "arroba", "-": "guion", "_": "guion bajo", "?": "interrogación",
    "=": "igual", "&": "y", "#": "almohadilla", "%": "por ciento", "+": "más", "~": "tilde", "*": "asterisco", "$": "dólar",
    "!": "exclamación", ",": "coma", ";": "punto y coma",
}  # fmt: skip
_ROMAN = rf"((?=[{''.join(ROMAN)}])M{{0,3}}(?:CM|CD|D?C{{0,3}})(?:XC|XL|L?X{{0,3}})(?:IX|IV|V?I{{0,3}}))(?![A-Za-zÀ-ɏ0-9])"
_UNIT = alternatives(_UNITS)
_SCALE = r"(?: (mil millones|millones|millón|billones|mil)(?![A-Za-zÀ-ɏ]))?"
_MONTH = "|".join(_MONTHS)
_OPERATORS = {
    "+": "más",
    "=": "igual a",
    "×": "por",
    "x": "por",
    "÷": "entre",
    "<": "menor que",
    ">": "mayor que",
}

RULES: tuple[Rule, ...] = (
    rule("digits", r"(?<![0-9])\d{25,}", lambda m: spell(m[0])),
    *address_rules(_SIGNS, cardinal, spell),
    *(rule("abbreviation", rf"(?<![A-Za-zÀ-ɏ.]){re.escape(written)}(?![A-Za-zÀ-ɏ])", said) for written, said in
      sorted(_ABBREVIATIONS.items(), key=lambda item: -len(item[0]))),
    rule("date", r"(?<![\w.,/-])(\d{4})-(\d{1,2})-(\d{1,2})(?![\w-])", lambda m: _date(m[3], m[2], m[1])),
    rule("date", r"(?<![\w.,/-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?![\w/-])", lambda m: _date(m[1], m[3], m[4])),
    rule("date", rf"(?<![\w.,/-])(?:1|1\.º)(?= de (?:{_MONTH}))", "primero", re.IGNORECASE),
    rule("time", r"(?<![\w.,:])(\d{1,2}):(\d\d)(?![0-9:])(?: ?([ap]\. ?m\.|[ap]m|hrs|hs|h)(?![A-Za-zÀ-ɏ]))?", _time, re.IGNORECASE),
    rule("telephone", TELEPHONE, lambda m: _groups(m[0])),
    rule("version", r"(?<![0-9.])\d{1,4}(?:\.\d{1,2}){2,6}(?![0-9]|\.\d)", lambda m: " punto ".join(map(cardinal, m[0].split(".")))),
    rule("percent", rf"{BEFORE}([-+]?)({AMOUNT}) ?%", lambda m: {"-": "menos ", "+": "más ", "": ""}[m[1]] + number(m[2]) + " por ciento"),
    rule("money", rf"{CURRENCY} ?({AMOUNT}){AFTER}{_SCALE}", lambda m: _money(m[2], m[1], m[3])),
    rule("money", rf"{BEFORE}({AMOUNT}){_SCALE}(?: de)? ?{CURRENCY}(?![A-Za-z])", lambda m: _money(m[1], m[3], m[2])),
    rule("measure", rf"{BEFORE}(-?)({AMOUNT}) ?({_UNIT})(?![A-Za-zÀ-ɏ0-9²³/])", lambda m: ("menos " if m[1] else "") + of(m[2], _UNITS[m[3]])),
    rule("ordinal", r"(?<![\w.,])(\d{1,4})(\.[ºª]|[ºª]|er|do|ro|to|mo|vo|no|ra|da)(?![A-Za-zÀ-ɏ])", _ordinal),
    rule("fraction", r"(?<![\w.,/])(\d{1,3})/(\d{1,3})(?![\w/]|[.,]\d)", _fraction),
    rule("ratio", r"(?<![\w.,:])(\d{1,4}):(\d{1,4})(?![\w:]|[.,]\d)", lambda m: f"{cardinal(m[1])} a {cardinal(m[2])}"),
    rule("product", r"(?<=\d) ?[x×] ?(?=\d)", " por "),
    rule("roman numeral", rf"(?:(?<=[Ss]iglo )|(?<=[Cc]apítulo )|(?<=[Tt]omo )){_ROMAN}", _roman),
    rule("range", rf"(?<![\w.,/-])({AMOUNT}){DASH}({AMOUNT})(?![\w/-]|[.,]\d)", lambda m: f"{number(m[1])} a {counted(m[2], after(m))}"),
    rule("cardinal", rf"(?:(?<![\w)'\ue000-])([-+±]) ?)?{BEFORE}({AMOUNT}){AFTER}", _signed),
    rule("cardinal", r"()(\d+(?:[.,]\d+)?)", _signed),
    rule("sign", r" ?&(?! ?#) ?", " y "),
    rule("sign", r"(?<=[\w\ue000)]) ?([+=×÷]) ?(?=[\w\ue000(])", lambda m: f" {_OPERATORS[m[1]]} "),
    rule("sign", r"(?<=[\w\ue000)]) ([<>]) (?=[\w\ue000(])", lambda m: f" {_OPERATORS[m[1]]} "),
    rule("hashtag", r"(?<![A-Za-z0-9&])#(?=[A-Za-z])", "hashtag "),
    rule("handle", r"(?<![A-Za-z0-9])@(?=[A-Za-z])", "arroba "),
    rule("sign", r"%", " por ciento"),
    rule("sign", r"°|º(?=[CF])", " grados "),
)  # fmt: skip
