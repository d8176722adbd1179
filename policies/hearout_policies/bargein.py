"""Speech over the agent's: an interruption, or a mere "uh-huh"?"""

from __future__ import annotations

from hearout_policies.marks import bare
from hearout_policies.policy import Policy

__all__ = ["is_backchannel", "is_interruption"]


def is_backchannel(text: str, policy: Policy) -> bool:
    """A few words, all of which only say "I am listening"."""
    words = [bare(token) for token in text.split()]
    known = policy.known_backchannels
    few = 0 < len(words) <= policy.backchannel_words
    return few and (" ".join(words) in known or all(word in known for word in words))


def is_interruption(text: str, lasted: float, policy: Policy) -> bool:
    """Enough words, or speech for long enough, that are not a backchannel.

    Args:
        text: so far; empty when the transcriber has said nothing yet.
        lasted: seconds of speech the VAD has heard.
    """
    if is_backchannel(text, policy):
        return False
    return (bool(text) and len(text.split()) >= policy.interrupt_words) or lasted >= policy.interrupt_after
