"""Telephone numbers, codes, IP addresses and versions: what is said digit by digit or part by part."""

import re
from collections.abc import Callable

from pipeline.text.written import chinese, english
from pipeline.text.written.rule import Rule, after, before, rule

# --- English: what stands before such a number ---------------------------------------------------------
_CALL = re.compile(
    r"(?:\b(?:call|dial|phone|tel|telephone|text|fax|ring|mobile|cell|hotline|whatsapp|number|at|line)"
    r"[ .:#]{1,3}(?:is |me |us |him |her |number |no\. ?|on |at |or |now ){0,3})$"
)
_CODE_EN = re.compile(
    r"\b(?:code|pin|password|passcode|pass code|passphrase|extension|ext|id|account|acct|card|serial|qq|wechat|port|zip|postcode|postal|"
    r"otp|sku|isbn|ssn|passport|license|licence|tracking|confirmation|invoice|reference|ref|routing|iban|username|login|"
    r"flight|order number|order no|order #|ticket number|case number|serial no|model number|part number|key)s?"
    r"(?:[ .:#=-]{1,3}(?:number|no|code|is|was|are|ending in|ending with|id|of){0,1}){0,3}[ .:#=]{0,2}'?$"
)
_PHONE_EN = (
    rule(
        "telephone",
        r"(?<![\w.,+])\+\d{1,3}(?:[ .-]{0,2}\(?\d{1,12}\)?){1,6}(?!\d)",
        lambda m: _groups_en(m[0]),
    ),
    rule(
        "telephone",
        r"(?<![\w.,-])(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]?\d{4}(?![\d-])",
        lambda m: _groups_en(m[0]),
    ),
    rule("telephone", r"(?<![\w.,-])\(0\d{2,4}\) ?\d{3,4}[ -]?\d{3,4}(?![\d-])", lambda m: _groups_en(m[0])),
    rule(
        "telephone",
        r"(?<![\w*])\*(\d{1,6})(?:\*(\d{1,6}))?#",
        lambda m: _keyed(m, "star ", english.spell, " hash"),
    ),
    rule("telephone", r"(?<![\w.,-])(?:\d{1,4}[-.]){2,4}\d{3,4}(?![\d-]|\.\d)", lambda m: _hyphened_en(m)),
    rule("telephone", r"(?<![\w.,-])\d{3} \d{3,4} \d{4}(?![\d-]|[.,]\d)", lambda m: _groups_en(m[0])),
    rule("telephone", r"(?<![\w.,-])0\d{2,4} \d{3,4} ?\d{3,4}(?![\d-]|[.,]\d)", lambda m: _groups_en(m[0])),
    rule("telephone", r"(?<![\w.,-])\d{3}-\d{2}-\d{4}(?![\d-])", lambda m: _groups_en(m[0])),
    rule("telephone", r"(?<![\w.,-])\d{3}-\d{4}(?![\d-])", lambda m: _local_en(m)),
    rule("telephone", r"(?<![\w.,$€£-])\d{3,15}(?![\w-]|[.,:/]\d)", lambda m: _called_en(m)),
)


def _groups_en(written: str) -> str:
    plus = "plus " if written.lstrip().startswith("+") else ""
    return plus + ", ".join(english.spell(group) for group in re.findall(r"\d+", written))


def _keyed(match: re.Match[str], star: str, spell: Callable[[str], str], hash_: str) -> str:
    """ "*123#", as it is keyed in."""
    return "".join(star + spell(group) for group in match.groups() if group) + hash_


def _hyphened_en(match: re.Match[str]) -> str | None:
    groups = re.findall(r"\d+", match[0])
    total = sum(map(len, groups))
    return (
        _groups_en(match[0])
        if total >= 9 and "-" in match[0] or total >= 10 and len(groups[-1]) == 4
        else None
    )


def _local_en(match: re.Match[str]) -> str | None:
    return _groups_en(match[0]) if match[0].startswith("555") or _CALL.search(before(match, 40)) else None


def _called_en(match: re.Match[str]) -> str | None:
    lead = before(match, 40)
    called = re.search(r"\b(?:call|dial|phone|tel|telephone|fax|ring|hotline|whatsapp)[ .:]", lead)
    if not (called and _CALL.search(lead)):
        return None
    # "call 500 people": a word of a count follows, and few digits.
    return None if len(match[0]) < 7 and re.match(r" [a-z]+s\b", after(match)) else english.spell(match[0])


def _code_en(match: re.Match[str]) -> str | None:
    if not _CODE_EN.search(before(match, 44)):
        return None
    if len(re.sub(r"\D", "", match[0])) < 3 and match[0][0] != "0":
        return None
    return _groups_en(match[0])


def _lettered_en(match: re.Match[str]) -> str | None:
    """ "AB-1234": digit by digit, but a year ("ACL-2023") and a short number ("F-16") unless it is called a code."""
    coded = _CODE_EN.search(re.sub(r"[a-z]+-$", "", before(match, 48)))
    named = len(match[0]) < 4 or len(match[0]) == 4 and match[0][:2] in ("19", "20")
    return None if named and not coded else english.spell(match[0])


def _ip_en(match: re.Match[str]) -> str:
    return " dot ".join(map(english.spell, match[0].split(".")))


def _version_en(match: re.Match[str]) -> str:
    return " point ".join(map(english.cardinal, match[0].split(".")))


_LONG = r"(?<![0-9])\d{25,}"  # first of all: no other expression meets a run of digits longer than this
_IP = r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)"
_VERSION = r"(?<![0-9.])\d{1,4}(?:\.\d{1,5}){2,6}(?![0-9]|\.\d)"

LONG_ENGLISH = (rule("digits", _LONG, lambda m: english.spell(m[0])),)
LONG_CHINESE = (rule("digits", _LONG, lambda m: chinese.spell(m[0])),)

ENGLISH: tuple[Rule, ...] = (
    rule(
        "cardinal",
        r"(?<![\w.,+-])(?<!\d )\d{1,3}(?: \d{3})* 000(?: \d{3})*(?![\w]| \d|[.,]\d)",
        lambda m: english.cardinal(m[0].replace(" ", "")),
    ),
    *_PHONE_EN,
    rule("code", r"(?<![\w.,])\d{1,20}(?:[ -]\d{1,8}(?![\d.,]*%)){0,5}(?![\w]|[.,:]\d)", _code_en),
    rule("code", r"(?<=\b[A-Z]-)\d{3,20}(?![\w]|[.,:]\d)", _lettered_en),
    rule("code", r"(?<=[A-Z]{2}-)\d{3,20}(?![\w]|[.,:]\d)", _lettered_en),
    rule("code", r"(?<![\w.,-])0\d{1,19}(?![\w:/]|[.,]\d)", lambda m: english.spell(m[0])),
    rule("ip address", _IP, _ip_en),
    rule("version", _VERSION, _version_en),
)

# --- Chinese -------------------------------------------------------------------------------------------
_CALL_ZH = re.compile(
    r"(?:电话|手机|手机号|拨打|拨|致电|热线|客服|传真|来电|打给|号码|短信|座机|联系方式|专线|呼叫)"
    r"(?:号码|号|是|为|:|,|，| |'|请|了|就){0,4}$"
)
_CODE_ZH = re.compile(
    r"(?:验证码|编号|密码|卡号|账号|帐号|账户|帐户|账户|户号|qq群?号?|微信号?|学号|工号|单号|单|证|号码|邮编|编码|口令|代码|航班|车次|"
    r"序列|pin码?|尾号|[\u4e00-\u9fff]码|[\u4e00-\u9fff]号|uid|id|分机|股票|房间|口令|邮政|学籍|批次|车牌|型号|端口|isbn|案号|靓号|波音|空客|code|no\.)"
    r"(?:号码|号|码|是|为|:|,|，| |#|'|第|改成|改为|设为|输入|发送|=){0,4}[a-z]{0,4}[-·]?$"
)
_MIN_CODE = 3
# Numbers that have become names, said digit by digit: with what follows each.
_NAMES_ZH = r"(?:996(?=工作制|模式|福报|[的是，,。]|$)|007(?=工作制|[的是，,。]|$)|(?:618|315|1024|520|1111)(?=购物节|大促|活动|晚会|年中|程序员|表白|狂欢|期间|当天)|(?:985|211)(?=高校|院校|大学|工程|名校|、|和|/)|12345(?=热线|平台))"


def _phone_zh(match: re.Match[str]) -> str:
    return ("加" if match[0].lstrip().startswith("+") else "") + chinese.spell(match[0])


_CALL_AFTER_ZH = re.compile(r"^ ?(?:热线|急救|报警|客服|火警|投诉|服务热线|电话|救护)")


def _called_zh(match: re.Match[str]) -> str | None:
    called = _CALL_ZH.search(before(match)) or _CALL_AFTER_ZH.match(after(match, 6))
    return chinese.spell(match[0]) if called else None


def _code_zh(match: re.Match[str]) -> str | None:
    if sum(map(str.isdigit, match[0])) < _MIN_CODE or not _CODE_ZH.search(before(match)):
        return None
    return chinese.spell(match[0]) + match[1]


CHINESE: tuple[Rule, ...] = (
    rule("telephone", r"(?<![A-Za-z0-9.])\+\d{1,3}(?:[ -]{0,2}\(?\d{1,12}\)?){1,6}(?!\d)", _phone_zh),
    rule(
        "telephone",
        r"(?<![A-Za-z0-9*])\*(\d{1,6})(?:\*(\d{1,6}))?#",
        lambda m: _keyed(m, "星", chinese.spell, "井"),
    ),
    rule(
        "code",
        r"(?<=GB)((?:/T)?) ?(\d{3,6})-(\d{4})(?!\d)",
        lambda m: f"{m[1]} {chinese.spell(m[2])} {chinese.spell(m[3])}",
    ),
    rule("telephone", r"(?<![0-9.])(?:86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![0-9])", _phone_zh),
    rule("telephone", r"(?<![0-9.])\(?0\d{2,3}\)?[ -]?\d{3,4} ?\d{4}(?:-\d{1,5})?(?![0-9])", _phone_zh),
    rule("telephone", r"(?<![0-9.])(?:400|800)[ -]?\d{3,4}[ -]?\d{3,4}(?![0-9])", _phone_zh),
    rule("telephone", r"(?<![0-9.])\d{3,4}-\d{4}-\d{4}(?![0-9])", _phone_zh),
    rule("telephone", r"(?<![A-Za-z0-9.,])\d{3,12}(?:[ -]\d{3,8}){0,3}(?![0-9]|[.,]\d)", _called_zh),
    rule("code", r"(?<![0-9.,])\d{1,24}(?:[ -]\d{1,8}){0,4}([Xx]?)(?![0-9]|[.,:/%]\d|%|元|万|亿)", _code_zh),
    rule("code", r"(?<![0-9.,])0\d{1,19}(?![0-9:/月日号时点]|[.,]\d)", lambda m: chinese.spell(m[0])),
    rule(
        "ordinal",
        r"(?<![A-Za-z])[Nn][Oo]\.? ?(\d{1,2})(?![0-9]|[.,:]\d)",
        lambda m: "第" + chinese.ordinal(m[1]),
    ),
    rule("code", rf"(?<![A-Za-z0-9.,]){_NAMES_ZH}", lambda m: chinese.spell(m[0])),
    rule(
        "code",
        r"(?<![A-Za-z0-9.,])[1-9]\d{2,3}(?=号?(?:房间?|室|会议室|办公室|宿舍|教室|病房|包间|包厢)(?![外内]温))",
        lambda m: chinese.spell(m[0]),
    ),
    rule(
        "code",
        r"(?<=[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z])[·-]?(\d{5,6})(?![0-9])",
        lambda m: chinese.spell(m[1]),
    ),
    rule("code", r"(?<![A-Za-z0-9.,])[1-9]\d{2}(?=路(?!程|人|费|边))", lambda m: chinese.spell(m[0])),
    rule("date", r"(?<![A-Za-z0-9.,])3\.15(?=晚会|消费者|打假|曝光)", "三一五"),
    rule("code", r"(?<=[Nn])9[59](?=口罩|$|[，,。的])", lambda m: chinese.spell(m[0])),
    rule(
        "telephone",
        r"(?<![A-Za-z0-9.,])(?:10086|10010|10000|12306|12315)(?![0-9]|[.,:/]\d|[个元人块米次万亿名])",
        lambda m: chinese.spell(m[0]),
    ),
    rule(
        "telephone",
        r"(?<=打)(?:110|119|120|122|911|114)(?![0-9]|[.,:/]\d|[个元人块米次万分])",
        lambda m: chinese.spell(m[0]),
    ),
    rule("ip address", _IP, lambda m: "点".join(map(chinese.spell, m[0].split(".")))),
    rule("version", _VERSION, lambda m: "点".join(map(chinese.ordinal, m[0].split(".")))),
)
