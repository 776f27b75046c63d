"""layerprobe's command line: `python cli.py COMMAND`. Each room brings its own commands."""

from __future__ import annotations

import os
import sys

import typer

from cache.console import say
from cache.errors import InputError
from classify import commands as classify_commands
from embed import commands as embed_commands
from embed import manifest_commands

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Probe the layers of frozen speech models with classical heads, and get numbers you can trust.",
)
app.add_typer(manifest_commands.app, name="manifest")
app.command()(embed_commands.embed)
app.command()(classify_commands.classify)
app.command()(embed_commands.doctor)


def main() -> None:
    """Run a command; bad input is one line and status 2, never a traceback."""
    # Warnings of libraries about themselves are no news to a person who types a command.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except InputError as error:
        say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
