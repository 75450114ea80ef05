"""Strings that tokenizers get wrong: every script, emoji, joiners, control characters, runs of spaces, special
tokens inside words, lone combining marks, unassigned and private-use code points, very long words."""

import random

SCRIPTS = [
    (0x41, 0x5A), (0x61, 0x7A), (0x30, 0x39), (0x21, 0x2F), (0x3A, 0x40), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2FF),
    (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58F), (0x591, 0x5F4), (0x600, 0x6FF), (0x700, 0x74F),
    (0x780, 0x7BF), (0x7C0, 0x7FF), (0x800, 0x85F), (0x860, 0x8FF), (0x900, 0x97F), (0x980, 0x9FF), (0xA00, 0xA7F),
    (0xA80, 0xAFF), (0xB00, 0xB7F), (0xB80, 0xBFF), (0xC00, 0xC7F), (0xC80, 0xCFF), (0xD00, 0xD7F), (0xD80, 0xDFF),
    (0xE00, 0xE7F), (0xE80, 0xEFF), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF),
    (0x1200, 0x139F), (0x13A0, 0x13FF), (0x1400, 0x167F), (0x1680, 0x16FF), (0x1700, 0x17FF), (0x1800, 0x18AF),
    (0x1900, 0x1AAF), (0x1AB0, 0x1AFF), (0x1B00, 0x1BFF), (0x1C00, 0x1CFF), (0x1D00, 0x1DFF), (0x1E00, 0x1EFF),
    (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20CF), (0x20D0, 0x20FF), (0x2100, 0x218F), (0x2190, 0x23FF),
    (0x2400, 0x27BF), (0x27C0, 0x2BFF), (0x2C00, 0x2DFF), (0x2E00, 0x2E7F), (0x2E80, 0x2FFF), (0x3000, 0x303F),
    (0x3041, 0x30FF), (0x3100, 0x33FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xA4D0, 0xA6FF),
    (0xA700, 0xA7FF), (0xA800, 0xA8FF), (0xA900, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFAFF),
    (0xFB00, 0xFDFF), (0xFE00, 0xFE2F), (0xFE30, 0xFE6F), (0xFE70, 0xFEFF), (0xFF00, 0xFFEF), (0xFFF0, 0xFFFF),
    (0x10000, 0x101FF), (0x10200, 0x107FF), (0x10800, 0x10FFF), (0x11000, 0x116FF), (0x11700, 0x11FFF),
    (0x12000, 0x1254F), (0x13000, 0x1345F), (0x14400, 0x1467F), (0x16800, 0x16FFF), (0x17000, 0x18CFF),
    (0x1B000, 0x1B2FF), (0x1BC00, 0x1BCAF), (0x1CC00, 0x1D2FF), (0x1D300, 0x1D7FF), (0x1D800, 0x1E2FF),
    (0x1E300, 0x1EEFF), (0x1F000, 0x1F2FF), (0x1F300, 0x1F6FF), (0x1F700, 0x1FBFF), (0x20000, 0x2A6DF),
    (0x2A700, 0x2EE5F), (0x2F800, 0x2FA1F), (0x30000, 0x323AF), (0x323B0, 0x33479), (0xE0000, 0xE007F), (0xE0100, 0xE01EF),
    (0xF0000, 0xF00FF), (0x10FFF0, 0x10FFFF),
]
SPACES = [" ", "  ", "   ", "        ", "\n", "\r\n", "\n\n", "\t", "\t\t", " \n", "\n ", "\r", "\u00a0", "\u3000",
          "\u2003", "\u200b", "\u2028", "\u2029", "\u0085", "\v", "\f", "\u1680", "\u202f", "\ufeff"]
PIECES = [
    "'s", "'S", "'t", "'re", "'VE", "'m", "'ll", "'Ll", "'d", "don't", "I'M", "'\u017f", "\u2019s", "''", "'", "n't",
    "e\u0301", "\u00e9", "E\u0323\u0307", "q\u0307\u0323", "\u0301", "\u0301\u0327", "a\u0301\u0301", "\u1100\u1161\u11a8",
    "\uac00\u11a8", "\u0915\u094d\u0937", "\u0b47\u0b3e", "\u09c7\u09be", "\ufb01", "\ufb03", "\u212b", "\u2126",
    "\u00bd", "\u00b2", "\u2167", "\u2460", "\uff21\uff42\uff11", "\u2f00", "\u1e9b\u0323", "\u0958", "\u0344", "\u01c5",
    "\u0130", "I\u0307", "\u03a3\u03c3\u03c2", "\u1e9e", "\u00df", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e9\U0001f1ea\U0001f1eb", "\U0001f44d\U0001f3fd", "1\ufe0f\u20e3", "\u2764\ufe0f", "\u2764", "\u200d", "\ufe0f",
    "\x00", "\x01", "\x1b", "\x7f", "\x9f", "\u061c", "\u202e", "\ufffd", "\ufffe", "\U0010ffff", "\ue000", "\u0378",
    "123", "1234567", "3.14", "1,000", "0x1F", "\u0663\u0664", "\u0967\u0968", "a1b2", "x=1;", "->", "...", "!!!", "#!/",
    "http://a.b/c?d=e", "foo_bar", "fooBar", "FOO", "HTTPServer", "</", "<0x0A>", "<0xE2>", "\u2581", "\u2581a", "a\u2581",
    "\u0120", "\u010a", "\u00e2\u0122", "##ing", "</w>", "\u4f60\u597d", "\u65e5\u672c\u8a9e", "\u3053\u3093\u306b\u3061\u306f",
    "\ud55c\uad6d\uc5b4", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0633\u0644\u0627\u0645", "\u05e9\u05dc\u05d5\u05dd",
    "\u041f\u0440\u0438\u0432\u0435\u0442", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0ba8\u0ba9\u0bcd\u0bb1\u0bbf",
    "\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0", "\u12a0\u121b\u122d\u129b", "\u1793\u17b6", "\U00011935\U00011930",
    "\U000105d2\u0307", "\u1ad0\u0301", "\u0301\u0898", "\U0001e900", "\ua7dc", "the", "The", "of", "and", "there", "hello",
    "world", "ing", "tion", "function", "return", "token", "DAY", "day", "yesterday", "mask", "a", "b", "ab",
]


def scalar(random_, low, high):
    value = random_.randint(low, high)
    return chr(value) if not 0xD800 <= value < 0xE000 else "a"


def word(random_):
    low, high = random_.choice(SCRIPTS)
    return "".join(scalar(random_, low, high) for _ in range(random_.randint(1, 6)))


def string(random_, tokens):
    """One string; `tokens` are the tokenizer's own special and added tokens."""
    kind = random_.random()
    if kind < 0.02:
        return ""
    if kind < 0.03:
        return random_.choice(["a", "\u4e00", "ab ", "\U0001f600", "=", " ", "\u0301", "\u2581", "-\n"]) * random_.randint(50, 900)
    if kind < 0.05:
        return "".join(scalar(random_, 0, 0x10FFFF) for _ in range(random_.randint(1, 20)))
    out = []
    for _ in range(random_.randint(1, 14)):
        choice = random_.random()
        if choice < 0.28:
            out.append(random_.choice(PIECES))
        elif choice < 0.50:
            out.append(random_.choice(SPACES[:1] if random_.random() < 0.6 else SPACES))
        elif choice < 0.72:
            out.append(word(random_))
        elif choice < 0.84:
            out.append("".join(random_.choice("abcdefghijklmnoprstuwy") for _ in range(random_.randint(1, 9))))
        elif choice < 0.95 and tokens:
            token = random_.choice(tokens)
            cut = random_.random()
            out.append(token if cut < 0.8 else token[: random_.randint(1, len(token))] if cut < 0.9 else token.swapcase())
        else:
            out.append(chr(random_.randint(0, 0x7F)))
        if random_.random() < 0.3:
            out.append(" ")
    return "".join(out)


def strings(count, seed, tokens):
    random_ = random.Random(seed)
    return [string(random_, tokens) for _ in range(count)]
