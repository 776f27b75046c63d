"""A finished run as a page, figures and tables: what `report` writes.

`write.py` has the entry point, `write_report`; `run_data.py` reads a run folder. `figures/` has the figures,
`run_tables.py` and `hardest.py` the tables and `tables.py` their formats, `headline.py` the sentences at the
top, `escape.py` how names are shown as text. The page itself is `page.py` and `templates/`.
"""
