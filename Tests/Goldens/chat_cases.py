"""Conversations for chat templates: turns, tools, reasoning, odd text. Used by make_chat_templates.py and Tests/Oracle."""

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
# What strftime_now tells in goldens: 2025-01-01 00:00:00 UTC.
CLOCK = 1735689600


def message(role, content=None, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, identifier="abc123def"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(name, description, properties, required=(), **more):
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters, **more}}


WEATHER = tool(
    "get_weather",
    "Says what the weather is.\nBy place.",
    {
        "place": {"type": "string", "description": "A town"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
        "days": {"type": ["integer", "null"], "minimum": 0, "maximum": 18446744073709551615},
    },
    ["place"],
)
SEARCH = tool(
    "search",
    "Looks <things> up & \"quotes\" them",
    {
        "query": {"type": "object", "properties": {"text": {"type": "string"}, "weight": {"type": "number", "default": 1e-7}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "deep": {"type": "boolean", "nullable": True},
        "either": {"oneOf": [{"type": "string", "description": "a name"}, {"type": "integer"}]},
    },
)
NOTHING = tool("now", "The time", {})

CONVERSATIONS = [
    {"messages": [message("user", "Hello")]},
    {"messages": [message("user", "Hello")], "add_generation_prompt": True},
    {"messages": [message("system", "  Be brief. "), message("user", " What is 2 + 2?\n"), message("assistant", "4\n\n")]},
    {
        "messages": [
            message("system", "Be kind /no_think"), message("user", "One?"), message("assistant", "Two."),
            message("user", "Three?"), message("assistant", "Four."), message("user", "Five?"),
        ],
        "add_generation_prompt": True,
        "enable_thinking": False,
    },
    {
        "messages": [message("user", "Weather in Oslo?")],
        "tools": [WEATHER],
        "add_generation_prompt": True,
        "enable_thinking": True,
    },
    {
        "messages": [
            message("user", "Weather in Oslo?"),
            message("assistant", None, tool_calls=[call("get_weather", {"place": "Oslo", "days": 2})]),
            message("tool", "{\"sky\": \"grey\"}", tool_call_id="abc123def", name="get_weather"),
            message("assistant", "It is grey."),
        ],
        "tools": [WEATHER, SEARCH],
    },
    {
        "messages": [
            message("system", "Tools!"), message("user", "Both, please"),
            message(
                "assistant", "Let me see.",
                tool_calls=[
                    call("get_weather", {"place": "Zürich", "unit": None}),
                    call("search", {"query": {"text": "snow", "weight": 0.1}, "tags": ["a", "b"], "deep": True}, "xyz987uvw"),
                ]),
            message("tool", "sunny", tool_call_id="abc123def"), message("tool", "[1, 2]", tool_call_id="xyz987uvw"),
        ],
        "tools": [SEARCH, WEATHER, NOTHING],
        "add_generation_prompt": True,
    },
    {
        "messages": [
            message("user", "Why?"), message("assistant", "Because.", reasoning_content="\nHm, why indeed.\n"),
            message("user", "And?"), message("assistant", "So.", reasoning="It follows."),
        ]
    },
    {
        "messages": [
            message("user", "Prove it."), message("assistant", "<think>\nlong thought\n</think>\n\nProven."), message("user", "Thanks /think"),
        ],
        "add_generation_prompt": True,
        "thinking": True,
        "thinking_budget": 700,
    },
    {
        "messages": [
            message("user", "Naïve café — e\u0301 ﬁ ß İ ΑΣ 日本語 😀👨‍👩‍👧 \u202e\u05d0\u05d1\u05d2\u202c \u2028\u2029\u0000\u0085\u00a0x"),
            message("assistant", "\ufeff\u200b𝒜🇨🇭\ud7ff\ue000\U0010ffff \"quoted\" \\ back\tslash\r\nnew"),
        ],
        "add_generation_prompt": True,
    },
    {"messages": [message("user", ""), message("assistant", ""), message("user", "  \n ")], "add_generation_prompt": True},
    {
        "messages": [
            message("user", [{"type": "text", "text": "What is this?"}, {"type": "image", "image": "x.png"}]),
            message("assistant", [{"type": "text", "text": "A cat."}]),
        ]
    },
    {"messages": [message("system", [{"type": "text", "text": "Parts."}]), message("user", "Go on")], "add_generation_prompt": True},
    {"messages": [message("user", "a"), message("user", "b"), message("assistant", "c"), message("assistant", "d")]},
    {"messages": [message("assistant", "I begin."), message("user", "You do.")], "add_generation_prompt": True},
    {"messages": [message("developer", "Be exact."), message("user", "<b>&amp;</b> {{ 1 }} {% x %}"), message("critic", "No.")]},
    {
        "messages": [
            message("user", "json"), message("assistant", None, tool_calls=[call("search", "{\"query\": {\"text\": \"é\"}}")]),
            message("tool", {"content": {"n": 1.0, "big": 12345678901234567890123, "none": None}}, tool_call_id="abc123def"),
        ],
        "tools": [SEARCH],
    },
    {
        "messages": [message("user", "With documents")],
        "documents": [{"title": "first", "text": "line one\nline two\n\nline four"}, {"text": "second"}],
        "add_generation_prompt": True,
        "reasoning_effort": "high",
        "date_string": "1 May 2025",
        "builtin_tools": ["browser", "python", "code_interpreter"],
        "controls": {"length": "short", "n": 1},
    },
    {
        "messages": [
            message("user", "first", name="ann", weight=0.5, train=False), message("assistant", "second", name=None, weight=1, train=True),
            message("user", "third", prefix=True, current_date="today", functions="[]"),
        ],
        "tools": [],
        "custom_tools": [NOTHING],
        "model_identity": "You are somebody.",
        "thinking_budget": 0,
    },
    {
        "messages": [message("system", "/system_override Long. " * 3)]
        + [message("user" if i % 2 == 0 else "assistant", f"turn {i} " + "x" * i) for i in range(12)]
        + [message("tool", "stray", tool_call_id="123456789")],
        "skip_think": False,
        "add_generation_prompt": True,
    },
]
