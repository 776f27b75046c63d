"""Use what a study found: refit the selected system on all clips, save it as a bundle, and predict with it.

`make.make_bundle` refits and saves (`system.py`: what is fitted; `card.py`: the model card).
`bundle.load_bundle` loads a bundle and predicts; `recordings.py` finds the recordings that a user names,
`results` shows predictions; `push.py` uploads a bundle.
"""
