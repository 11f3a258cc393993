"""Pieces of work for a `Job`: plain functions whose first argument is its `Control`. They touch no layer."""
