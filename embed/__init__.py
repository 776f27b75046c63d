"""Pass every clip once through a frozen speech model and cache the states of each layer.

`embed.extract.run.embed(clips, EmbedConfig(model="hubert-base"))` is the Python call behind the command
`embed`. `manifest/` reads tables of clips, `audio/` decodes recordings to 16 kHz mono, `checkpoints/` reads
models' files, `models/` computes layers in exact batches, `extract/` is the run that fills the store,
`config.py` the options, `commands/` the command line.
"""
