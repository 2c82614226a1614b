"""Units of measure and money: how each is written, and what it is called. To add a unit, add a line."""

from dataclasses import dataclass

from pipeline.text.written.rule import alternatives


@dataclass(frozen=True)
class Unit:
    """`written`: its spellings; `english`: (one, many); `close`: English only where it touches the number."""

    written: tuple[str, ...]
    english: tuple[str, str]
    chinese: str
    close: bool = False


def _unit(written: str, one: str, chinese: str, many: str = "", close: bool = False) -> Unit:
    """A Unit of spellings with spaces between them; a space within one is written "_"."""
    spellings = tuple(each.replace("_", " ") for each in written.split())
    return Unit(spellings, (one, many or one + "s"), chinese, close)


UNITS = (
    # length
    _unit("nm", "nanometer", "纳米"),
    _unit("μm µm um", "micrometer", "微米"),
    _unit("mm", "millimeter", "毫米"),
    _unit("cm CM", "centimeter", "厘米"),
    _unit("dm", "decimeter", "分米"),
    _unit("m", "meter", "米"),
    _unit("km KM Km", "kilometer", "公里"),
    _unit("mi", "mile", "英里"),
    _unit("ft", "foot", "英尺", "feet"),
    _unit("yd yds", "yard", "码"),
    _unit("nmi", "nautical mile", "海里"),
    _unit("ly", "light year", "光年"),
    # area, volume
    _unit("mm² mm^2", "square millimeter", "平方毫米"),
    _unit("cm² cm^2 sq_cm", "square centimeter", "平方厘米"),
    _unit("m² m^2 m2 sqm sq_m sq._m", "square meter", "平方米"),
    _unit("km² km^2 km2 sq_km", "square kilometer", "平方公里"),
    _unit("ft² ft^2 sqft sq_ft sq._ft", "square foot", "平方英尺", "square feet"),
    _unit("mm³ mm^3", "cubic millimeter", "立方毫米"),
    _unit("cm³ cm^3", "cubic centimeter", "立方厘米"),
    _unit("m³ m^3 m3", "cubic meter", "立方米"),
    _unit("km³", "cubic kilometer", "立方公里"),
    _unit("sq_mi sqmi", "square mile", "平方英里"),
    _unit("sq_in", "square inch", "平方英寸", "square inches"),
    _unit("fl_oz", "fluid ounce", "液量盎司"),
    _unit("ha", "hectare", "公顷"),
    _unit("mL ml ML", "milliliter", "毫升"),
    _unit("cL cl", "centiliter", "厘升"),
    _unit("dL dl", "deciliter", "分升"),
    _unit("μL µL μl", "microliter", "微升"),
    _unit("L l", "liter", "升"),
    _unit("gal", "gallon", "加仑"),
    _unit("tsp tsps", "teaspoon", "茶匙"),
    _unit("tbsp tbsps Tbsp", "tablespoon", "汤匙"),
    _unit("qt qts", "quart", "夸脱"),
    _unit("pt pts", "pint", "品脱", close=True),
    # mass
    _unit("μg µg ug mcg", "microgram", "微克"),
    _unit("mg", "milligram", "毫克"),
    _unit("g", "gram", "克"),
    _unit("kg KG Kg kgs", "kilogram", "千克"),
    _unit("t", "ton", "吨", close=True),
    _unit("lb lbs", "pound", "磅"),
    _unit("oz", "ounce", "盎司", "ounces"),
    # time
    _unit("ns", "nanosecond", "纳秒"),
    _unit("μs µs", "microsecond", "微秒"),
    _unit("ms", "millisecond", "毫秒"),
    _unit("s sec secs", "second", "秒"),
    _unit("min mins", "minute", "分钟"),
    _unit("h hr hrs", "hour", "小时"),
    _unit("wk wks", "week", "周"),
    _unit("mo mos", "month", "个月"),
    _unit("yr yrs", "year", "年"),
    # speed, rotation, rate
    _unit("mph", "mile per hour", "英里每小时", "miles per hour"),
    _unit("kph kmh", "kilometer per hour", "公里每小时", "kilometers per hour"),
    _unit("fps FPS", "frame per second", "帧每秒", "frames per second"),
    _unit("rpm RPM", "revolution per minute", "转每分钟", "revolutions per minute"),
    _unit("bpm BPM", "beat per minute", "次每分钟", "beats per minute"),
    _unit("Hz hz", "hertz", "赫兹", "hertz"),
    _unit("kHz KHz khz", "kilohertz", "千赫", "kilohertz"),
    _unit("MHz Mhz", "megahertz", "兆赫", "megahertz"),
    _unit("GHz Ghz", "gigahertz", "吉赫", "gigahertz"),
    _unit("THz", "terahertz", "太赫", "terahertz"),
    # electricity, power, energy
    _unit("V", "volt", "伏"),
    _unit("mV", "millivolt", "毫伏"),
    _unit("kV KV", "kilovolt", "千伏"),
    _unit("A", "amp", "安", close=True),
    _unit("mA", "milliamp", "毫安"),
    _unit("Ah", "amp hour", "安时"),
    _unit("mAh mah MAH", "milliamp hour", "毫安时"),
    _unit("W", "watt", "瓦"),
    _unit("mW", "milliwatt", "毫瓦"),
    _unit("kW KW", "kilowatt", "千瓦"),
    _unit("MW", "megawatt", "兆瓦"),
    _unit("GW", "gigawatt", "吉瓦"),
    _unit("Wh", "watt hour", "瓦时"),
    _unit("kWh KWh kwh KWH", "kilowatt hour", "千瓦时"),
    _unit("MWh", "megawatt hour", "兆瓦时"),
    _unit("GWh", "gigawatt hour", "吉瓦时"),
    _unit("Ω", "ohm", "欧姆"),
    _unit("kΩ", "kilohm", "千欧"),
    _unit("MΩ", "megohm", "兆欧"),
    _unit("μF µF", "microfarad", "微法"),
    _unit("J", "joule", "焦耳", close=True),
    _unit("kJ KJ", "kilojoule", "千焦"),
    _unit("MJ", "megajoule", "兆焦"),
    _unit("cal", "calorie", "卡"),
    _unit("kcal Kcal", "kilocalorie", "千卡"),
    _unit("eV", "electron volt", "电子伏"),
    _unit("hp HP", "horsepower", "马力", "horsepower"),
    _unit("BTU", "B T U", "英热单位"),
    # pressure, force, sound, light, chemistry
    _unit("Pa", "pascal", "帕"),
    _unit("hPa", "hectopascal", "百帕"),
    _unit("kPa KPa", "kilopascal", "千帕"),
    _unit("MPa Mpa", "megapascal", "兆帕"),
    _unit("psi PSI", "P S I", "磅每平方英寸", "P S I"),
    _unit("atm", "atmosphere", "个大气压"),
    _unit("mmHg mmhg", "millimeter of mercury", "毫米汞柱", "millimeters of mercury"),
    _unit("mbar", "millibar", "毫巴"),
    _unit("N", "newton", "牛", close=True),
    _unit("kN", "kilonewton", "千牛"),
    _unit("Nm N·m", "newton meter", "牛米"),
    _unit("dB db DB", "decibel", "分贝"),
    _unit("dBm", "D B M", "分贝毫瓦", "D B M"),
    _unit("lm", "lumen", "流明"),
    _unit("lx lux", "lux", "勒克斯", "lux"),
    _unit("mol", "mole", "摩尔"),
    _unit("mmol", "millimole", "毫摩尔"),
    _unit("ppm", "part per million", "百万分率", "parts per million"),
    # data
    _unit("kb Kb", "kilobit", "千比特"),
    _unit("KB kB", "kilobyte", "千字节"),
    _unit("MB", "megabyte", "兆字节"),
    _unit("GB", "gigabyte", "吉字节"),
    _unit("TB", "terabyte", "太字节"),
    _unit("PB", "petabyte", "拍字节"),
    _unit("GiB", "gibibyte", "吉字节"),
    _unit("MiB", "mebibyte", "兆字节"),
    _unit("kbps Kbps", "kilobit per second", "千比特每秒", "kilobits per second"),
    _unit("Mbps mbps", "megabit per second", "兆比特每秒", "megabits per second"),
    _unit("Gbps gbps", "gigabit per second", "吉比特每秒", "gigabits per second"),
    _unit("px", "pixel", "像素"),
    _unit("MP", "megapixel", "百万像素", close=True),
    _unit("dpi DPI", "D P I", "DPI", "D P I"),
    # angle, temperature
    _unit("°C ℃", "degree Celsius", "摄氏度", "degrees Celsius"),
    _unit("°F ℉", "degree Fahrenheit", "华氏度", "degrees Fahrenheit"),
    _unit("°", "degree", "度"),
)
# Only after "/": "per".
PER = {"s": ("second", "秒"), "sec": ("second", "秒"), "s²": ("second squared", "二次方秒"), "s^2": ("second squared", "二次方秒"), "min": ("minute", "分钟"),
       "h": ("hour", "小时"), "hr": ("hour", "小时"), "d": ("day", "天"), "day": ("day", "天"), "kg": ("kilogram", "千克"),
       "g": ("gram", "克"), "L": ("liter", "升"), "l": ("liter", "升"), "mL": ("milliliter", "毫升"), "ml": ("milliliter", "毫升"),
       "dL": ("deciliter", "分升"), "dl": ("deciliter", "分升"), "m": ("meter", "米"), "m²": ("square meter", "平方米"),
       "m2": ("square meter", "平方米"), "m³": ("cubic meter", "立方米"), "m3": ("cubic meter", "立方米"), "km": ("kilometer", "公里"),
       "cm³": ("cubic centimeter", "立方厘米"), "week": ("week", "周"), "month": ("month", "月"), "year": ("year", "年"),
       "person": ("person", "人"), "hour": ("hour", "小时"), "minute": ("minute", "分钟"), "second": ("second", "秒"),
       "mo": ("month", "月"), "yr": ("year", "年"), "lb": ("pound", "磅"), "oz": ("ounce", "盎司"), "gal": ("gallon", "加仑")}  # fmt: skip


@dataclass(frozen=True)
class Currency:
    """`signs`: written before or after the amount; english: (one, many, hundredth, hundredths)."""

    signs: tuple[str, ...]
    english: tuple[str, str]
    chinese: str
    cents: tuple[str, str] = ("cent", "cents")


CURRENCIES = (
    Currency(("US$", "USD$", "USD"), ("US dollar", "US dollars"), "美元"),
    Currency(("A$", "AU$", "AUD"), ("Australian dollar", "Australian dollars"), "澳元"),
    Currency(("C$", "CA$", "CAD"), ("Canadian dollar", "Canadian dollars"), "加元"),
    Currency(("HK$", "HKD"), ("Hong Kong dollar", "Hong Kong dollars"), "港元"),
    Currency(("NT$", "TWD"), ("Taiwan dollar", "Taiwan dollars"), "新台币"),
    Currency(("S$", "SG$", "SGD"), ("Singapore dollar", "Singapore dollars"), "新加坡元"),
    Currency(("NZ$", "NZD"), ("New Zealand dollar", "New Zealand dollars"), "新西兰元"),
    Currency(("R$", "BRL"), ("real", "reais"), "雷亚尔"),
    Currency(("$",), ("dollar", "dollars"), "美元"),
    Currency(("€", "EUR"), ("euro", "euros"), "欧元"),
    Currency(("£", "GBP"), ("pound", "pounds"), "英镑", ("penny", "pence")),
    Currency(("JPY",), ("yen", "yen"), "日元"),
    Currency(("¥", "CNY", "RMB"), ("yuan", "yuan"), "元"),
    Currency(("₹", "INR", "Rs.", "Rs"), ("rupee", "rupees"), "卢比"),
    Currency(("₩", "KRW"), ("won", "won"), "韩元"),
    Currency(("₽", "RUB"), ("ruble", "rubles"), "卢布"),
    Currency(("₺", "TRY"), ("lira", "lira"), "里拉"),
    Currency(("₫", "VND"), ("dong", "dong"), "越南盾"),
    Currency(("฿", "THB"), ("baht", "baht"), "泰铢"),
    Currency(("₱", "PHP"), ("peso", "pesos"), "比索"),
    Currency(("₪", "ILS"), ("shekel", "shekels"), "谢克尔"),
    Currency(("₴", "UAH"), ("hryvnia", "hryvnias"), "格里夫纳"),
    Currency(("₿", "BTC"), ("bitcoin", "bitcoins"), "比特币"),
    Currency(("CHF",), ("Swiss franc", "Swiss francs"), "瑞士法郎"),
)

BY_SYMBOL = {symbol: unit for unit in UNITS for symbol in unit.written}
BY_SIGN = {sign: currency for currency in CURRENCIES for sign in currency.signs}

UNIT = alternatives(BY_SYMBOL)
PER_UNIT = alternatives(PER)
SIGN = alternatives(BY_SIGN)
