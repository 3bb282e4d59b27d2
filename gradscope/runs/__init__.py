"""One file per question: load, trace, measure, judge, and a `Report`. The public calls are these."""
