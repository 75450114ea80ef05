"""Text to train small tokenizers on: made-up English, code, and a few lines each in other scripts."""

import random

LINES = [
    "L'été dernier, nous avons visité un château près de la rivière ; c'était très beau.",
    "Der große Bär schläft über den Winter in einer Höhle, während draußen Schnee fällt.",
    "El niño pequeño comió una manzana y después corrió hacia el jardín.",
    "Zażółć gęślą jaźń, powiedział stary nauczyciel i zamknął książkę.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy nad řekou.",
    "Türkçe öğrenmek için her gün biraz çalışmak gerekir.",
    "Hôm nay trời đẹp quá, chúng ta đi dạo trong công viên nhé.",
    "Старый маяк стоит на берегу моря, и каждую ночь его свет виден издалека.",
    "Η γάτα κοιμάται κάτω από το τραπέζι και ονειρεύεται ψάρια.",
    "הילדים משחקים בחוץ ליד העץ הגדול.",
    "يقرأ الطالب كتابا جديدا في المكتبة كل يوم.",
    "बच्चे नदी के किनारे खेल रहे हैं और सूरज चमक रहा है।",
    "মেয়েটি প্রতিদিন সকালে গান গায়।",
    "ஆசிரியர் பள்ளிக்கு நடந்து செல்கிறார்.",
    "วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนกันเถอะ",
    "今天天气很好，我们一起去公园散步吧。老师说：请把书打开。",
    "図書館で新しい本を借りて、家でゆっくり読みました。カメラとテレビ。",
    "오늘은 날씨가 좋아서 공원에 산책하러 갔습니다.",
    "დღეს კარგი ამინდია და ბავშვები ეზოში თამაშობენ.",
    "Այսօր լավ եղանակ է, և մենք գնում ենք այգի։",
    "ዛሬ ጥሩ ቀን ነው።",
    "😀 👍🏽 ❤️ 👨‍👩‍👧 🇩🇪 → ← ≤ ≥ ∑ € £ ¥ © ™ … “quoted” ‘single’ — dash",
    "def main(argv):\n    for i in range(10):\n        if i % 2 == 0:\n            print(f\"{i:>4} {argv[i]}\")\n    return 0\n",
    "let values = [1, 2, 3].map { $0 * 2 }\nprint(values.count) // 3\n",
    "{\"name\": \"token\", \"ids\": [1, 20, 300, 4000], \"ok\": true, \"none\": null}\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n    indented\n\ttabbed\r\n",
]
SUBJECTS = "the old sailor|a young teacher|my neighbour|the river|every machine|the function|their token|a small village".split("|")
VERBS = "walks|returned|doesn't know|was reading|can't find|they're building|we've seen|I'll explain|counts|measured".split("|")
OBJECTS = "the yellow house|an interesting question|three hundred letters|1,234 kilometres|the following theorem|"\
          "some warm bread|it's own shadow|the model's weights|a long corridor|information about training".split("|")
ENDS = ". |, and |; |? |! |.\n|...\n\n| because | while ".split("|")


def lines(seed=7, count=3000):
    random_ = random.Random(seed)
    out = []
    for index in range(count):
        text = "".join(
            random_.choice(SUBJECTS) + " " + random_.choice(VERBS) + " " + random_.choice(OBJECTS) + random_.choice(ENDS)
            for _ in range(random_.randint(1, 4)))
        out.append(text[0].upper() + text[1:])
        if index % 4 == 0:
            out.append(LINES[index // 4 % len(LINES)])
    return out
