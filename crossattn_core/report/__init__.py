"""The page that a risk committee reads, and the same numbers for machines."""
