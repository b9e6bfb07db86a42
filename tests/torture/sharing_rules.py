"""The shipped sharing rules; a case picks one by its place."""

LIVE = (
    "processor-sharing",
    "weighted",
    "tdma-first-come",
    "tdma-shortest-first",
    "shortest-first",
    "proportional-fair-live",
    "max-min-live",
    "first-come",
    "whole-blocks",
)
PER_ROUND = (
    "work-conserving",
    "equal-finish",
    "equal-fixed",
    "proportional",
    "equal-rate",
    "max-min",
    "proportional-fair",
)
RULES = (*LIVE, *PER_ROUND)
