"""What `doctor` checks: the machine (`machine.check_machine`), and that a model's batches are exact
(`model.check_model`).
"""
