"""Number words of Chinese."""

import functools
import re

from pipeline.text.written.rule import alternatives

LONGEST_CARDINAL = 16  # digits; what is longer is read digit by digit
DIGITS = "零一二三四五六七八九"
_LEADING_TWO = re.compile("^二(?=[百千万亿])")
# What 2 counts is 两; beside these it is 二: numbers of a row, not counts. Longest first.
COUNTED = (
    "个 名 位 人 条 只 头 匹 件 张 把 本 台 部 辆 架 艘 座 栋 间 家 所 根 支 枝 片 "
    "块 颗 粒 朵 棵 株 杯 瓶 碗 盘 盒 箱 包 袋 双 对 副 套 组 群 批 次 回 遍 趟 场 "
    "局 轮 天 周 年 分钟 秒 小时 个月 星期 米 千米 公里 厘米 毫米 千克 公斤 克 吨 斤 升 "
    "毫升 度 倍 元 块钱 毛 角 美元 欧元 英镑 种 类 样 项 份 篇 首 句 段 行 列 页 步 "
    "层 级 岁 代 股 束 道 扇 面 幅 顶 口 滴 声 下 点 刻钟 集 票 桌 亩 平方 立方 卡 "
    "年半 万 亿 千 百 伙 员 方 边 者 分 国 省 市 县 村 班人 成人 周年 字 半 大 小 多 "
    "处 站 届 季 期 "
).split()
_ORDER = re.compile(r"(?:年级|月|号|班|楼|等|两|环|线|级|代|期|季|届|组|号线|分之|维|手)")
_COUNT = re.compile(alternatives(COUNTED))


@functools.lru_cache(4096)
def cardinal(digits: str) -> str:
    """ "2345" -> "两千三百四十五"; leading zeros and long numbers digit by digit."""
    import cn2an  # on first use: a text without Chinese does without it

    digits = digits.replace(",", "")
    if (len(digits) > 1 and digits[0] == "0") or len(digits) > LONGEST_CARDINAL:
        return spell(digits)
    return _LEADING_TWO.sub("两", cn2an.an2cn(digits))


def number(written: str) -> str:
    """ "3.25" -> "三点二五"; without a point as `cardinal`."""
    whole, point, decimals = written.partition(".")
    return cardinal(whole or "0") + (f"点{spell(decimals)}" if point and decimals else "")


def count(written: str, following: str) -> str:
    """`number`, and 两 for a 2 before what it counts."""
    if written == "2" and not _ORDER.match(following) and _COUNT.match(following):
        return "两"
    return number(written)


def ordinal(digits: str) -> str:
    """A number of a row: "200" -> "二百", where a count is 两百."""
    spoken = number(digits)
    return "二" + spoken[1:] if spoken.startswith("两") else spoken


def spell(digits: str) -> str:
    """ "105" -> "一零五"; what is no digit is left out."""
    return "".join(DIGITS[int(c)] for c in digits if c.isdigit())
