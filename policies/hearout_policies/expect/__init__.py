"""What the application asked for: each expectation reads the text of a turn as an answer, and knows when it is whole.

Pure functions of the text so far. Word lists and questions are data, one TOML file a language in this folder; in a
language that has none, figures and addresses are read all the same, and words never are.
"""

from hearout_policies.expect.amounts import Amount
from hearout_policies.expect.base import Expectation, Reading, read_all
from hearout_policies.expect.choices import OneOf, Open, YesNo
from hearout_policies.expect.dates import Date
from hearout_policies.expect.digits import Digits, Phone
from hearout_policies.expect.emails import Email
from hearout_policies.expect.letters import Code, Spelled
from hearout_policies.expect.names import Name
from hearout_policies.expect.questions import asked
from hearout_policies.expect.registry import expectation

__all__ = [
    "Amount",
    "Code",
    "Date",
    "Digits",
    "Email",
    "Expectation",
    "Name",
    "OneOf",
    "Open",
    "Phone",
    "Reading",
    "Spelled",
    "YesNo",
    "asked",
    "expectation",
    "read_all",
]
