"""Readers of tables, one module per format; each returns a `Table` of text cells.

`table` holds `Table` and what the readers share. `text` reads CSV and TSV, `json_lines` JSON lines,
`spreadsheet` .xlsx and .ods, `arrow` Parquet and Arrow files, of which `embedded` writes out the sound.
Folders: `datasets` (Hugging Face), `audformat`, `kaldi`, `lhotse`. `tables.read_table` chooses among them.
"""
