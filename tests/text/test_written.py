"""Every kind of written form, read as people say it: the reported cases, and 50 drawn instances of each kind.

The right reading of an instance is made from its parts with the tables of `tests.text.words`.
"""

import json
import random
import re
from pathlib import Path

import pytest

from tests.text.words import HAN, english, han, han_spell, nth, pair, spell

HERE = Path(__file__).parent
CASES = json.loads((HERE / "reading_cases.json").read_text(encoding="utf-8"))
MORE = json.loads(
    (HERE / "reading_more.json").read_text(encoding="utf-8")
)  # found by reading lists of our own
INSTANCES = 50


def bare(text: str, language: str) -> str:
    """Without case, punctuation and, in Chinese, spaces."""
    words = re.sub(r"[^\w\s]", " ", text).lower().split()
    return ("" if language == "zh" else " ").join(words)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['text'][:30]}" for case in CASES])
def test_reported_cases(normalizer, case):
    spoken = normalizer.normalize(case["text"], case["language"])
    language = "en" if case["language"] == "en" else "zh"
    heard = bare(spoken, language)
    accepted = [bare(accept, language) for accept in case["accept"]]
    assert heard in accepted if case["exact"] else any(accept in heard for accept in accepted), spoken
    assert not any(word in spoken for word in case["never"])


@pytest.mark.parametrize("case", MORE, ids=[case["text"][:30] for case in MORE])
def test_further_cases(normalizer, case):
    language = "en" if case["language"] == "en" else "zh"
    spoken = bare(normalizer.normalize(case["text"], case["language"]), language)
    assert any(bare(accept, language) in spoken for accept in case["accept"]), spoken


EN_UNITS = {"m": "meters", "km": "kilometers", "cm": "centimeters", "mm": "millimeters", "kg": "kilograms", "mg": "milligrams",
            "L": "liters", "mL": "milliliters", "V": "volts", "W": "watts", "kWh": "kilowatt hours", "mAh": "milliamp hours",
            "dB": "decibels", "fps": "frames per second", "psi": "p s i", "tsp": "teaspoons", "tbsp": "tablespoons",
            "kph": "kilometers per hour", "mph": "miles per hour", "mins": "minutes", "min": "minutes", "hrs": "hours",
            "secs": "seconds", "s": "seconds", "°C": "degrees celsius", "°F": "degrees fahrenheit", "lbs": "pounds", "oz": "ounces",
            "km/h": "kilometers per hour", "m/s": "meters per second", "m²": "square meters", "Hz": "hertz", "GB": "gigabytes",
            "Mbps": "megabits per second", "ft": "feet"}  # fmt: skip
ZH_UNITS = {"m": "米", "km": "公里", "cm": "厘米", "kg": "千克", "g": "克", "mL": "毫升", "V": "伏", "W": "瓦", "mAh": "毫安时",
            "kWh": "千瓦时", "dB": "分贝", "mmHg": "毫米汞柱", "℃": "摄氏度", "m²": "平方米", "㎡": "平方米", "min": "分钟",
            "Hz": "赫兹", "GB": "吉字节"}  # fmt: skip
DASHES = ("-", "–", "—", "~", "～", " - ", " – ")
MONTHS = ("January February March April May June July August September October November December").split()
COUNTS = ("apples", "people", "books", "sheep", "users", "different words", "steps", "children")
SUFFIX = {1: "st", 2: "nd", 3: "rd"}


def ending(n: int) -> str:
    return "th" if 10 <= n % 100 <= 20 else SUFFIX.get(n % 10, "th")


def two(r: random.Random, low: int, high: int) -> tuple[int, int]:
    a, b = sorted(r.sample(range(low, high), 2))
    return a, b


def decimal(r: random.Random) -> tuple[str, str, str]:
    whole, places = r.randrange(0, 300), "".join(r.choices("0123456789", k=r.randrange(1, 4)))
    return (
        f"{whole}.{places}",
        f"{english(whole)} point {spell(places)}",
        f"{han(whole)}点{han_spell(places)}",
    )


# --- each draws (written, what must be heard) ------------------------------------------------------------
def en_measure(r):
    unit, n = r.choice(list(EN_UNITS)), r.randrange(2, 1000)
    gap = r.choice(["", " "])
    return f"It is {n}{gap}{unit}, they say.", f"it is {english(n)} {EN_UNITS[unit]} they say"


def en_decimal_measure(r):
    unit, (written, spoken, _) = r.choice([u for u in EN_UNITS if u not in ("s",)]), decimal(r)
    return f"about {written}{r.choice(['', ' '])}{unit} or so", f"about {spoken} {EN_UNITS[unit]} or so"


def en_measure_range(r):
    (a, b), unit = two(r, 2, 300), r.choice(list(EN_UNITS))
    return f"from {a}{r.choice(DASHES)}{b} {unit}", f"from {english(a)} to {english(b)} {EN_UNITS[unit]}"


def en_duration(r):
    a, b = r.randrange(2, 60), r.randrange(2, 60)
    big, small, names = r.choice(
        [("m", "s", "minutes seconds"), ("h", "m", "hours minutes"), ("min", "sec", "minutes seconds")]
    )
    first, second = names.split()
    return f"{a}{big}{r.choice(['', ' '])}{b}{small}", f"{english(a)} {first} {english(b)} {second}"


def en_percent_range(r):
    a, b = two(r, 1, 100)
    return r.choice(
        [f"{a}{r.choice(DASHES)}{b}% more", f"{a}-{b} % more"]
    ), f"{english(a)} to {english(b)} percent more"


def en_decimal(r):
    written, spoken, _ = decimal(r)
    return f"{r.choice(['USB', 'PM', 'v', 'Version ', 'a factor of '])}{written} is out", f"{spoken} is out"


def en_version(r):
    parts = [r.randrange(0, 30) for _ in range(3)]
    return f"{r.choice(['Version', 'iOS', 'Python', 'release'])} {'.'.join(map(str, parts))}", " point ".join(
        map(english, parts)
    )


def en_ip(r):
    parts = [str(r.randrange(0, 256)) for _ in range(4)]
    return f"ping {'.'.join(parts)} now", "ping " + " dot ".join(map(spell, parts)) + " now"


def en_ordinal(r):
    n = r.randrange(1, 400)
    word = r.choice(["century art", "party software", "floor window"]).split()
    return f"{n}{ending(n)}-{' '.join(word)}", f"{nth(n)} {' '.join(word)}"


def en_date(r):
    month, day, year = r.choice(MONTHS), r.randrange(1, 29), r.randrange(1900, 2100)
    written = r.choice([f"{month} {day}, {year}", f"{day} {month} {year}", f"{month} {day}{ending(day)}, {year}",
                        f"{month[:3]} {day}, {year}", f"{year}-{MONTHS.index(month) + 1:02d}-{day:02d}"])  # fmt: skip
    return f"On {written} it was.", f"on the {nth(day)} of {month.lower()} {pair(year)} it was"


def en_slashed_date(r):
    month, day, year = r.randrange(1, 13), r.randrange(13, 29), r.randrange(1950, 2050)
    written = r.choice([f"{month}/{day}/{year}", f"{day}/{month}/{year}"])
    return f"on {written}", f"on the {nth(day)} of {MONTHS[month - 1].lower()} {pair(year)}"


def en_year(r):
    year = r.randrange(1700, 2100)
    return f"{r.choice(['in', 'since', 'by', 'before'])} {year} it rained", f"{pair(year)} it rained"


def en_count(r):
    n, what = r.randrange(1100, 2100), r.choice(COUNTS)
    return f"I have {n} {what}.", f"i have {english(n)} {what}"


def en_year_range(r):
    a, b = two(r, 1800, 2060)
    return f"from {a}{r.choice(DASHES)}{b}", f"from {pair(a)} to {pair(b)}"


def en_decade(r):
    year = r.randrange(181, 200) * 10
    century, tens = divmod(year, 100)
    name = (
        f"{english(century)} hundreds"
        if not tens
        else f"{english(century)} {english(tens)[:-1] + 'ies' if tens > 10 else 'tens'}"
    )
    return f"the {year}s were good", f"the {name} were good"


def en_seconds(r):
    n = r.randrange(2, 100)
    return r.choice(
        [f"It took {n}s to load.", f"wait {n}s", f"after {n} s it stops"]
    ), f"{english(n)} seconds"


def en_clock_range(r):
    a, b = two(r, 1, 12)
    half = r.choice(["am", "pm", "AM", " p.m.", " PM"])
    return (
        f"open {a}{r.choice(['-', '–'])}{b}{half}",
        f"open {english(a)} to {english(b)} {'pm' if 'p' in half.lower() else 'am'}",
    )


def en_clock(r):
    hour, minute = r.randrange(1, 13), r.randrange(10, 60)
    return (
        f"at {hour}:{minute} {r.choice(['PM', 'pm', 'p.m.'])} sharp",
        f"at {english(hour)} {english(minute)} pm sharp",
    )


def en_telephone(r):
    groups = ["".join(r.choices("0123456789", k=k)) for k in (3, 3, 4)]
    form = r.choice(["({}) {}-{}", "{}-{}-{}", "+1 {} {} {}", "+1-{}-{}-{}", "{}.{}.{}"])
    return f"Call {form.format(*groups)} now.", " ".join(map(spell, groups)) + " now"


def en_code(r):
    digits = "".join(r.choices("0123456789", k=r.randrange(4, 9)))
    return (
        f"{r.choice(['The code is', 'my PIN is', 'account number', 'extension', 'zip code', 'ID:'])} {digits}.",
        spell(digits),
    )


def en_money(r):
    n, (sign, name) = r.randrange(2, 900), r.choice(
        [("$", "dollars"), ("€", "euros"), ("£", "pounds"), ("₹", "rupees"), ("₩", "won"), ("A$", "australian dollars"),
         ("C$", "canadian dollars")])  # fmt: skip
    scale, word = r.choice(
        [("", ""), ("K", " thousand"), ("M", " million"), ("B", " billion"), (" million", " million")]
    )
    return f"for {sign}{n}{scale} then", f"for {english(n)}{word} {name} then"


def en_cents(r):
    n = r.randrange(2, 100)
    return f"only {n}¢ each", f"only {english(n)} cents each"


def en_score(r):
    a, b = r.randrange(0, 30), r.randrange(0, 30)
    return (
        f"They {r.choice(['won', 'lost', 'beat us', 'led'])} {a}{r.choice(['-', '–'])}{b}.",
        f"{english(a)} to {english(b)}",
    )


def en_fraction(r):
    bottom = r.choice([3, 5, 6, 7, 8, 9, 10])
    top = r.randrange(2, bottom)
    return f"add {top}/{bottom} of it", f"add {english(top)} {nth(bottom)}s of it"


def en_math(r):
    a, b = r.randrange(1, 100), r.randrange(1, 100)
    sign, word = r.choice([("×", "times"), ("÷", "divided by"), ("+", "plus"), ("=", "equals"), ("≤", "less than or equal to"),
                           ("≥", "greater than or equal to"), ("≠", "not equal to"), ("±", "plus or minus")])  # fmt: skip
    return f"{a} {sign} {b} is it", f"{english(a)} {word} {english(b)} is it"


def en_roman(r):
    numeral, value = r.choice(
        list({"II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XIV": 14}.items())
    )
    if r.random() < 0.5:
        name = r.choice(["Henry", "Louis", "Charles", "Elizabeth", "James"])
        return f"{name} {numeral} came", f"{name.lower()} the {nth(value)} came"
    name = r.choice(["Chapter", "World War", "Part", "Act", "Rocky"])
    return f"{name} {numeral} came", f"{name.lower()} {english(value)} came"


def en_file(r):
    name, suffix = (
        r.choice(["config", "main", "report", "notes"]),
        r.choice(["yaml", "py", "txt", "json", "pdf", "csv", "md"]),
    )
    return f"open {name}.{suffix} first", f"open {name} dot {suffix} first"


def en_host(r):
    parts = [
        r.choice(["mail", "www2", "docs", "blog"]).strip("2"),
        r.choice(["nasa", "example", "site"]),
        r.choice(["gov", "org", "com"]),
    ]
    return f"Here is {'.'.join(parts)}.", "here is " + " dot ".join(parts)


def en_markdown(r):
    mark, word = (
        r.choice(["**", "*", "_", "__", "`", "~~", "***"]),
        r.choice(["very", "really", "quite small"]),
    )
    return f"This is {mark}{word}{mark} good.", f"this is {word} good"


def en_tags(r):
    tag = r.choice(
        ["b", "i", "em", "strong", "span class='x'", 'emphasis level="strong"', 'prosody rate="slow"']
    )
    return f"Say <{tag}>hello &amp; bye</{tag.split()[0]}> now", "say hello and bye now"


def zh_percent_range(r):
    a, b = two(r, 1, 100)
    dash = r.choice(DASHES)
    return f"增长了{a}{r.choice(['%', ''])}{dash}{b}%左右", f"增长了百分之{han(a)}到百分之{han(b)}左右"


def zh_range(r):
    a, b = two(r, 3, 900)
    unit = r.choice(["个", "元", "人", "天", "倍", "岁", "米"])
    both = r.choice(["", unit])
    return f"大约{a}{both}{r.choice(DASHES)}{b}{unit}吧", f"大约{han(a)}{both}到{han(b)}{unit}吧"


def zh_ordinal_range(r):
    a, b = two(r, 1, 20)
    return f"看第{a}{r.choice(['-', '~', '—'])}{b}章", f"看第{han(a)}到{han(b)}章"


def zh_year_range(r):
    a, b = two(r, 1800, 2060)
    return f"（{a}{r.choice(['-', '—', '～'])}{b}）", f"{han_spell(str(a))}到{han_spell(str(b))}"


def zh_score(r):
    a, b = r.randrange(0, 30), r.randrange(0, 30)
    written = f"{a}{r.choice(['-', ':', '：'])}{b}"
    return r.choice(
        [f"比分是{written}", f"以{a}-{b}战胜对手", f"主队{a}-{b}获胜", f"首局{a}-{b}速胜"]
    ), f"{han(a)}比{han(b)}"


def zh_decimal(r):
    whole, places = r.randrange(10, 13), r.choice("123456789")
    return (
        f"{r.choice(['准确率', '占比', '增长', '得分'])}{whole}.{places}",
        f"{han(whole)}点{HAN[int(places)]}",
    )


def zh_telephone(r):
    digits = "1" + r.choice("3578") + "".join(r.choices("0123456789", k=9))
    form = r.choice(
        [digits, f"{digits[:3]} {digits[3:7]} {digits[7:]}", f"{digits[:3]}-{digits[3:7]}-{digits[7:]}"]
    )
    return f"电话{form}{r.choice(['对吗', '分机', '张三', '的用户', '号', '个', ''])}", han_spell(digits)


def zh_code(r):
    digits = "".join(r.choices("0123456789", k=r.randrange(4, 19)))
    return (
        f"{r.choice(['验证码是', '编号', '卡号', '密码：', 'QQ号', '工号', '邮编', '订单号', '拨打'])}{digits[:12]}",
        han_spell(digits[:12]),
    )


def zh_ordinal(r):
    n = r.randrange(1, 100)
    return f"第{n}{r.choice(['名', '天', '章', '次', '届', '页'])}", f"第{han(n)}"


def zh_two(r):
    unit, word = r.choice([("个", "两个"), ("条", "两条"), ("天", "两天"), ("年", "两年"), ("小时", "两小时"), ("人", "两人"), ("kg", "两千克"),
                           ("楼", "二楼"), ("月", "二月"), ("号", "二号"), ("米", "两米")])  # fmt: skip
    return f"在2{unit}", f"在{word}"


def zh_thousands(r):
    n = r.randrange(1000, 10**9)
    return f"一共{n:,}人", f"一共{han(n)}人"


def zh_measure(r):
    unit, n = r.choice(list(ZH_UNITS)), r.randrange(3, 900)
    return f"大约{n}{r.choice(['', ' '])}{unit}左右", f"大约{han(n)}{ZH_UNITS[unit]}左右"


def zh_math(r):
    a, b = r.randrange(3, 100), r.randrange(3, 100)
    sign, word = r.choice(
        [
            ("÷", "除以"),
            ("×", "乘"),
            ("*", "乘"),
            ("+", "加"),
            ("≤", "小于等于"),
            ("≥", "大于等于"),
            ("=", "等于"),
        ]
    )
    return f"计算{a}{sign}{b}", f"计算{han(a)}{word}{han(b)}"


def zh_signed(r):
    n = r.randrange(3, 100)
    written, spoken = r.choice(
        [("±{}%", "正负百分之{}"), ("{}‰", "千分之{}"), ("≥{}分", "大于等于{}分"), ("-{}℃", "负{}摄氏度")]
    )
    return "是" + written.format(n), "是" + spoken.format(han(n))


def zh_clock(r):
    hour, minute = r.randrange(3, 24), r.randrange(1, 60)
    return f"在{hour}:{minute:02d}开始", f"在{han(hour)}点{'零' if minute < 10 else ''}{han(minute)}分开始"


def zh_date(r):
    year, month, day = r.randrange(1950, 2050), r.randrange(1, 13), r.randrange(1, 29)
    written = r.choice(
        [
            f"{year}年{month}月{day}日",
            f"{year}-{month}-{day}",
            f"{year}/{month}/{day}",
            f"{year}.{month}.{day}",
        ]
    )
    return f"于{written}发布", f"于{han_spell(str(year))}年{han(month)}月{han(day)}日发布"


def zh_money(r):
    n = r.randrange(3, 900)
    written, spoken = r.choice(
        [("${}", "{}美元"), ("¥{}", "{}元"), ("￥{}万", "{}万元"), ("€{}", "{}欧元"), ("{}$", "{}美元")]
    )
    return f"花了{written.format(n)}了", f"花了{spoken.format(han(n))}了"


def zh_version(r):
    parts = [r.randrange(0, 30) for _ in range(3)]
    return f"版本{'.'.join(map(str, parts))}发布", f"版本{'点'.join(map(han, parts))}发布"


def zh_ip(r):
    parts = [str(r.randrange(0, 256)) for _ in range(4)]
    return f"地址{'.'.join(parts)}", "点".join(map(han_spell, parts))


def zh_hyphen(r):
    n = r.randrange(3, 100)
    return f"{r.choice(['歼', '运', '轰', '直'])}-{n}飞机", f"{han(n)}飞机"


def zh_fraction(r):
    a, b = r.randrange(1, 50), r.randrange(2, 50)
    return f"占{a}/{b}左右", f"占{han(b)}分之{han(a)}左右"


def zh_markdown(r):
    mark = r.choice(["**", "*", "__", "`", "~~", "***"]) if r.random() < 0.8 else "**"
    if mark == "__":
        return "这是 __重要__ 的", "这是重要的"
    return f"这是{mark}重要{mark}的", "这是重要的"


KINDS = {name: draw for name, draw in list(globals().items()) if re.match(r"(?:en|zh)_[a-z_]+$", name)}


@pytest.mark.parametrize("name", KINDS)
def test_drawn_instances(normalizer, name):
    language = name[:2]
    wrong = []
    for seed in range(INSTANCES):
        written, right = KINDS[name](random.Random(f"{name}/{seed}"))
        spoken = normalizer.normalize(written, language)
        if bare(right, language) not in bare(spoken, language):
            wrong.append(f"{written} -> {spoken} (right: {right})")
    assert not wrong, "\n".join(wrong)
