"""Checks the derivative rules that users write themselves, one by one."""

from gradscope.measure.custom_rules.check import check_rules as check_rules
