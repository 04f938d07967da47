"""Demonstrations: `ravine demo ...`."""
