"""Renders conversations with transformers, as `apply_chat_template(…, tokenize=False)` does, without a tokenizer."""

import os
import warnings
from datetime import datetime, timezone

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
from transformers.utils import chat_template_utils  # noqa: E402

warnings.simplefilter("ignore")


class _Clock(datetime):
    stopped = None

    @classmethod
    def now(cls, tz=None):
        if _Clock.stopped is None:
            return datetime.now(tz)
        return datetime.fromtimestamp(_Clock.stopped, timezone.utc).replace(tzinfo=None)


def stop_clock(seconds):
    """From now on `strftime_now` tells this time, in UTC."""
    _Clock.stopped = seconds
    chat_template_utils.datetime = _Clock


def render(template, special, case):
    """The text of a case: an object with messages, and tools and variables where there are any.

    The steps are those of `PreTrainedTokenizerBase.apply_chat_template` of transformers 5.24.
    """
    variables = dict(case)
    messages, tools = variables.pop("messages"), variables.pop("tools", None)
    if isinstance(messages, list) and not messages:
        raise ValueError("an empty conversation")
    normal = chat_template_utils._normalize_chat_messages(messages)
    rendered, _ = chat_template_utils.render_jinja_template(
        conversations=[normal], tools=tools, chat_template=template, **{**special, **variables})
    rendered[0].encode()
    return rendered[0]


def answer(template, special, case):
    """The text, or an object with the error: what a line of `coppice render` says."""
    try:
        return render(template, special, case)
    except Exception as error:  # templates raise whatever Python raises
        return {"error": f"{type(error).__name__}: {error}"}
