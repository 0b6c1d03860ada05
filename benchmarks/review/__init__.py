"""How good the review panels are: labelled changes, what is found in them, and what ought to be. See README.md."""
