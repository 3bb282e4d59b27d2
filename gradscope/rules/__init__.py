"""The rules: one file each, found by walking the families below. They read records and nothing else."""

from gradscope.rules.base import CHANGE as CHANGE, VERIFIED as VERIFIED, Parts as Parts, Rule as Rule
from gradscope.rules.judging import judge as judge, judging as judging, left_out as left_out
from gradscope.rules.registry import all_rules as all_rules, get as get

__all__ = ["CHANGE", "VERIFIED", "Parts", "Rule", "all_rules", "get", "judge", "judging", "left_out"]
