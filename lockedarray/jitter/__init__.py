"""``lockedarray jitter``: how late periodic Python threads wake up, and what a loop set up for it gains."""
