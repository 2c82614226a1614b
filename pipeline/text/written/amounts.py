"""Numbers as they are written in the languages beside Chinese and English, and what their forms look like."""

from __future__ import annotations

import re

# Grouped by dots, commas or thin spaces, with a decimal part; or plain.
AMOUNT = r"(?:\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?: \d{3})+(?![\d])(?:,\d+)?|\d+(?:[.,]\d+)?)"
BEFORE = r"(?<![A-Za-zÀ-ɏ0-9_])(?<![0-9][.,/:-])"
AFTER = r"(?![0-9]|[.,/:][0-9])"
DASH = r" ?(?:-{1,2}|~) ?"
CURRENCIES = {"$": "dollar", "US$": "dollar", "USD": "dollar", "€": "euro", "EUR": "euro", "£": "pound", "GBP": "pound",
              "¥": "yen", "JPY": "yen", "CNY": "yuan", "RMB": "yuan"}  # fmt: skip
CURRENCY = r"(US\$|\$|€|£|¥|USD|EUR|GBP|JPY|CNY|RMB)"
# Digits said one by one: a telephone number with its groups.
TELEPHONE = r"(?<![\w.,/+-])(?:\+\d{1,3}[ -]?)?\(?\d{2,4}\)?(?:[ -]\d{2,4}){2,4}(?![\w-]|[.,]\d)|(?<![\w.,])\+\d{6,15}(?!\d)|(?<![\w.,/-])0\d{5,19}(?![\w.,/:-])"
LONGEST_CARDINAL = 15  # digits; what is longer is read one by one
_GROUPED = re.compile(r"\d{1,3}(?:([., ])\d{3})(?:\1\d{3})*")


def parted(written: str, decimal: str) -> tuple[str, str]:
    """ "1.234,56" -> ("1234", "56"). Where one sign could be either, groups of three digits are thousands; `decimal` is
    the sign of decimals in the language, which it is not for."""
    signs = [sign for sign in written if sign in ".,"]
    if len(set(signs)) == 2:
        whole, _, decimals = written.rpartition(signs[-1])
        return re.sub(r"\D", "", whole), decimals
    grouped = _GROUPED.fullmatch(written)
    if grouped and written[0] != "0" and (grouped[1] != decimal or len(signs) > 1 or decimal == ","):
        return re.sub(r"\D", "", written), ""
    whole, _, decimals = written.partition(signs[0]) if signs else (written, "", "")
    return re.sub(r"\D", "", whole), decimals
