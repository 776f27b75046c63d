"""Scores of predictions, their uncertainty, and the selected system.

`intervals` has scores with their intervals over speakers: `bootstrap` those that resample speakers,
`jackknife` those that leave speakers out, `errors` those of RMSE and MAE, `sums` those of R² and of means;
`paired` the tests between systems (bootstrap, corrected t, Holm); `conformal` prediction sets. `results`
defines what a study returns, `scoring.Scorer` scores it on the outer test clips, and `selection` picks the
selected system and builds summary.json.
"""
