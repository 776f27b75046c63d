"""The command line of layerprobe: `python cli.py COMMAND` in a checkout, `layerprobe COMMAND` once installed.

Each command is a function in a module below `commands/`, with a dataclass of its options beside it; cyclopts
builds the command line from these. Importing a command imports nothing heavy, so `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__" or Path(sys.argv[0]).name == "layerprobe":
    # Before the other imports: they take a moment, in which the user may press Ctrl-C.
    from layerprobe.cache.common.interrupts import exit_on_signals

    exit_on_signals()

from cyclopts import App, Argument, CycloptsError, MissingArgumentError, Parameter, UnusedCliTokensError

import layerprobe
from layerprobe.cache.commands.compact import compact
from layerprobe.cache.commands.export import export
from layerprobe.cache.commands.info import info
from layerprobe.cache.commands.prune import prune
from layerprobe.cache.commands.verify import verify
from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.cache.common.interrupts import STATUS, Interrupted, exit_now, raise_on_signals
from layerprobe.cache.common.options import convert_option, given_options, show_default
from layerprobe.cache.common.text import program
from layerprobe.classify.commands.audit import audit
from layerprobe.classify.commands.classify import classify
from layerprobe.classify.commands.compare import compare
from layerprobe.classify.commands.demo import demo
from layerprobe.classify.commands.finetune import finetune
from layerprobe.classify.commands.probe import probe
from layerprobe.classify.commands.protocols import protocols
from layerprobe.classify.commands.reproduce import reproduce
from layerprobe.embed.commands import manifest
from layerprobe.embed.commands.doctor import doctor
from layerprobe.embed.commands.embed import embed
from layerprobe.embed.commands.models import models

app = App(
    name=program(),
    help="Probe the layers of frozen speech models with classical heads, and get numbers you can trust.",
    version=lambda: str(layerprobe.__version__),
    help_format="plaintext",  # markdown would take a tenth of a second to import
    default_parameter=Parameter(negative=(), converter=convert_option, show_default=show_default),
)
HELP = {"--help", "-h"}
CACHE_COMMANDS: tuple[Callable[..., object], ...] = (info, verify, compact, export, prune)
COMMANDS: tuple[Callable[..., object], ...] = (
    *(embed, classify, finetune, probe, audit, compare, protocols),
    *(reproduce, models, doctor, demo),
)

cache = App(name="cache", help="Inspect and maintain the cached states.")
for function in CACHE_COMMANDS:
    cache.command(function)
app.command(manifest.app)
app.command(cache)
for function in COMMANDS:
    app.command(function)


def run(arguments: list[str]) -> int:
    """Run one command; its exit status. Raises what the command raises, CycloptsError for bad options."""
    function, bound, internal = app.parse_args(arguments, exit_on_error=False, print_error=False)
    if function == app.help_print and not HELP & set(arguments):  # a group of commands without a command
        from rich.console import Console

        app.help_print(arguments, console=Console(stderr=True))
        return 2
    if "given" in internal:
        bound.arguments["given"] = given_options(arguments)
    status = function(*bound.args, **bound.kwargs)
    return status if isinstance(status, int) else 0


def usage_error(error: CycloptsError) -> str:
    """An unknown option or a missing argument in one line."""
    unused = error.unused_tokens or []
    unknown = [word for word in unused if word.startswith("--")]
    if isinstance(error, MissingArgumentError) and unknown:
        text = f"unknown option: {unknown[0]}"
    elif isinstance(error, MissingArgumentError) and error.keyword is not None:
        text = f"option {error.keyword} requires a value"
    elif isinstance(error, MissingArgumentError) and error.argument is not None:
        text = f"missing {_missing(error.argument)}"
    elif isinstance(error, UnusedCliTokensError):
        text = f"unexpected argument {' '.join(unused)}"
    else:
        text = " ".join(str(error).split()).partition(" Available commands:")[0].rstrip(".?")
        text = f"{text[:1].lower()}{text[1:]}"
    return f"{text}; see {' '.join([program(), *(error.command_chain or ())])} --help"


def _missing(argument: Argument) -> str:
    """The first required argument or option without a value, of one or of a group of options."""
    required = [child for child in argument.children if child.required and not child.has_tokens]
    if required:
        return _missing(required[0])
    positional = argument.index is not None
    return f"argument {argument.name.lstrip('-').upper()}" if positional else f"option {argument.name}"


def main() -> None:
    """Run a command; bad input is one line and status 2, Ctrl-C one line and 130, never a traceback."""
    # Libraries' warnings about themselves do not help the user of a command.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        raise_on_signals()
        sys.exit(run(sys.argv[1:]))
    except InputError as error:
        say(f"error: {error}")
        sys.exit(2)
    except WorkerKilledError as error:
        say(f"error: {error}")
        sys.exit(1)
    except CycloptsError as error:
        say(f"error: {usage_error(error)}")
        sys.exit(2)
    except Interrupted as stop:
        say(f"stopped: {stop}")
        sys.exit(STATUS)
    except KeyboardInterrupt:
        exit_now()
    except BrokenPipeError:
        # The reader of our output has exited; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
