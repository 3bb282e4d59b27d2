"""Checks the derivative rules that users write themselves, one by one."""

from gradscope.verification.rules.check import CheckedRule as CheckedRule, check_rules as check_rules
from gradscope.verification.rules.find import count_rules as count_rules
