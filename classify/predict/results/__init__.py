"""Predictions as a user reads them.

`table.py`: rows for the screen, CSV and JSON; `timeline.py`: the figure of windows over long recordings.
"""
