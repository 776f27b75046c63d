"""What a system says about recordings.

`prediction.py`: about one clip; `table.py`: rows for the screen, CSV and JSON; `timeline.py`: the figure of
windows over long recordings.
"""
