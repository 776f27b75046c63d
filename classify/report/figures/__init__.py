"""The figures of a report: what they show, and how they are drawn for print and for the page.

`charts.py` has the kinds of charts, as data. `layer_charts.py`, `system_charts.py` and `search_history.py`
make them from a run folder, `clip_map.py` from cached states. `paper.py` draws them as SVG and PDF,
`interactive.py` for the page.
"""
