"""An extraction in several processes: each embeds its own part of the table into the same store.

`parts` finds out which part this process has, from an option, torchrun or Slurm. `processes` runs the parts
on the GPUs of this machine, `clusters` as tasks of Dask or Ray, which `engines` connects to; `launch`
chooses. Processes need not talk to each other: they divide the table in the same way (`sharing`), and a store
takes many writers.
"""
