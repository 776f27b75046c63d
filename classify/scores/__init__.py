"""Scores of predictions, their uncertainty, and the selected system.

`metrics` has UAR, accuracy, macro-F1, log loss and calibration error; `bootstrap` the intervals that resample
speakers, `jackknife` those that leave speakers out, `sums` those of R² and of means; `paired` the tests
between systems (bootstrap, corrected t, Holm); `calibration` temperature scaling. `results` defines what a
study returns, `scoring.Scorer` scores it on the outer test clips, and `selection` picks the selected system
and builds summary.json.
"""
