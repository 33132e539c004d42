"""What a served model replies to probes, with whatever a test wants to be wrong with it; `judges.Chat` serves it."""

import time

WORDS = {True: ("True", "Yes"), False: ("False", "No")}


class Replies:
    """Replies to chat completions.

    Args:
        truths: statements that the model takes to be true; all others are false to it.
        lists: how many tokens are listed at most; None to list none.

    Attributes:
        failures: what is replied first, see `judges.Chat`; the first of them for ever where `stuck`.
        says: what is said to everything.
        slow: seconds before each reply.
        name: that it answers by; None for that which is asked for.
    """

    def __init__(self, truths=(), lists=20):
        self.truths, self.lists = tuple(truths), lists
        self.failures, self.stuck, self.says, self.slow, self.name = [], False, None, 0.0, None

    def __call__(self, prompt, body):
        time.sleep(self.slow)
        if self.failures:
            return self.failures[0] if self.stuck else self.failures.pop(0)
        return {"model": self.name or body["model"], "choices": [self.choice(body)]}

    def choice(self, body):
        prompt = body["messages"][-1]["content"]
        true = any(text in prompt for text in (*self.truths, "Ice is frozen water."))
        kind = 0 if "true" in prompt.lower() else 1
        said = self.says or (WORDS[true][kind] if body["max_tokens"] <= 8 else "It lies there.\nAnd so on.")
        choice = {"index": 0, "message": {"role": "assistant", "content": said}}
        if body.get("logprobs") and self.lists is not None:
            other = -9.0 if self.says else -2.5
            listed = [(said, -0.1), (f" {WORDS[not true][kind].lower()}", other), ("Well", -4.0)][: self.lists]
            top = [{"token": token, "logprob": value, "bytes": None} for token, value in listed]
            choice["logprobs"] = {"content": [{"token": said, "logprob": -0.1, "top_logprobs": top}]}
        return choice
