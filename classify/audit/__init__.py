"""Audit of a table of clips: what leaks from training into test, and what can mislead a classifier.

`audit.audit` runs every check and returns an `Audit` of `table.Finding`s, each with a verdict: `fine`, `look`
or `leak`. The checks: `leakage` of speakers, texts and source recordings, `duplicates` of clips,
`composition` of the corpus, `confounds` of sound and file format. `measurements` decodes the audio and caches
what the checks need; `near_duplicates` finds altered copies of a recording.
"""
