"""Optuna reads its ten migration scripts three times for each new SQLite file; tests read them once."""

from __future__ import annotations


def read_once() -> None:
    """From now on, alembic reads the scripts of a location once in this process, and not in its forks."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from optuna.storages import RDBStorage

    read, scripts = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def remembered(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location")
        if location not in scripts:
            scripts[location] = read(config)
        return scripts[location]

    ScriptDirectory.from_config = remembered  # type: ignore[method-assign]
    RDBStorage("sqlite://").engine.dispose()
