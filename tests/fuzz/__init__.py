"""A machine that attacks every public entry point; README.md says how, `python tests/fuzz/attack.py` runs it."""
