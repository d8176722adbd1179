"""Fit a policy to recorded sessions. Needs the extra ``tune``."""

from hearout.tune.fit import Compared, Tuned, policy_toml, tune

__all__ = ["Compared", "Tuned", "policy_toml", "tune"]
