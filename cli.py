"""The command line of layerprobe: `python cli.py COMMAND` in a checkout, `layerprobe COMMAND` once installed.

Each command is a function in a module below `commands/`, with a dataclass of its options beside it; cyclopts
builds the command line from these. Importing a command imports nothing heavy, so `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

if __name__ == "__main__" or Path(sys.argv[0]).name == "layerprobe":
    # Before the other imports: they take a moment, in which the user may press Ctrl-C.
    from layerprobe.cache.common.interrupts import exit_on_signals

    exit_on_signals()

from cyclopts import (
    App,
    Argument,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnusedCliTokensError,
)

import layerprobe
from layerprobe.cache.common.console import escaped_stdout, say_error, stage
from layerprobe.cache.common.errors import InputError, WorkerKilledError
from layerprobe.cache.common.interrupts import STATUS, Interrupted, exit_now, raise_on_signals
from layerprobe.cache.common.options import (
    HelpPrinter,
    apply_output_options,
    convert_option,
    given_options,
    show_default,
)
from layerprobe.cache.common.text import program

EXIT_STATUSES = {
    0: "success",
    1: "a check found faults, or another process ended too early",
    2: "input that cannot be used, reported in one line",
    STATUS: "stopped by Ctrl-C or SIGTERM, finished work is saved",
}
app = App(
    name=program(),
    help="Probe the layers of frozen speech models with classical heads, and get numbers you can trust.",
    version=lambda: str(layerprobe.__version__),
    help_epilogue=f"Exit status: {'; '.join(f'{status} {text}' for status, text in EXIT_STATUSES.items())}.",
    help_format="plaintext",  # markdown would take a tenth of a second to import
    help_formatter=HelpPrinter(),
    # The last of a repeated option counts, so that a script can append to a command.
    default_parameter=Parameter(
        negative=(), converter=convert_option, show_default=show_default, allow_repeating=True
    ),
)
HELP = {"--help", "-h"}
MAINTENANCE = "Set-up and maintenance"
# group -> command -> (module below `layerprobe` and function, help). A command imports only its own module.
COMMANDS = {
    "Prepare the data": {
        "manifest": ("embed.commands.manifest:app", "Make a table of clips from a corpus on disk."),
        "embed": (
            "embed.commands.embed:embed",
            "Pass every clip once through a frozen model and cache each layer's states.",
        ),
        "audit": (
            "classify.commands.audit:audit",
            "Check a table and its audio for leaks, errors, and cues to the label that are not speech.",
        ),
    },
    "Study the layers": {
        "classify": (
            "classify.commands.classify:classify",
            "Tune heads on every cached layer by nested cross-validation and score them on unseen speakers.",
        ),
        "probe": (
            "classify.commands.probe:probe",
            "Measure what each layer encodes: one linear probe per target and layer, without any tuning.",
        ),
        "matrix": (
            "classify.matrix.command:matrix",
            "Train on each corpus and test on each, and on each after training on all others.",
        ),
        "similarity": (
            "classify.commands.similarity:similarity",
            "Measure how similar layers are, within one model or between two, with intervals over speakers.",
        ),
        "finetune": (
            "classify.commands.finetune:finetune",
            "Train the complete model on each fold of a run's splits and test it once: full fine-tuning.",
        ),
        "compare": (
            "classify.commands.compare:compare",
            "Compare runs on the same clips: paired intervals over speakers, corrected tests, costs.",
        ),
        "report": (
            "classify.commands.report:report",
            "Write a run as one page that needs no network, with figures and tables for a paper.",
        ),
        "reproduce": (
            "classify.commands.reproduce:reproduce",
            "Rerun the published table: as published, with frozen heads, and both on unseen speakers.",
        ),
        "protocols": (
            "classify.commands.reproduce:protocols",
            "List fixed, published splits: the rule of each, and what it leaks.",
        ),
    },
    "Use a classifier": {
        "predict": (
            "classify.commands.predict:predict",
            "Predict recordings with a study's selected system: labels and probabilities, or a number.",
        ),
        "serve": (
            "classify.serve.command:serve",
            "Serve a bundle as a web page that records or takes a file, and as a JSON endpoint.",
        ),
        "bundle": (
            "classify.commands.bundle:app",
            "Save the selected system of a run, write it for other libraries, upload it.",
        ),
    },
    MAINTENANCE: {
        "demo": (
            "classify.commands.demo:demo",
            "Run the main job end to end: a corpus, cached states, heads tuned on every layer, figures.",
        ),
        "models": (
            "embed.commands.models:models",
            "List the models that have a short name: where their weights are, their layers and their width.",
        ),
        "doctor": (
            "embed.commands.doctor:doctor",
            "Check this machine: versions, devices, cache, disk; or that the batches of a model are exact.",
        ),
    },
}
CACHE_COMMANDS = {
    "info": (
        "cache.commands.info:info",
        "List what is cached: models, fingerprints, clips, hours, layers, bytes, last write.",
    ),
    "verify": (
        "cache.commands.verify:verify",
        "Read every shard and verify its checksum; exit status 1 if damage is found and not repaired.",
    ),
    "compact": (
        "cache.commands.compact:compact",
        "Merge many small shards into few and drop duplicates, while readers and writers continue.",
    ),
    "export": (
        "cache.commands.export:export",
        "Write one layer as a plain file: `states` (N, W), `paths` and `keys` (N,).",
    ),
    "prune": (
        "cache.commands.prune:prune",
        "Remove a model's states, or those of clips that are in none of the given tables.",
    ),
}

order = count()
groups = {title: Group(title, sort_key=next(order)) for title in COMMANDS}
for title, commands in COMMANDS.items():
    for name, (place, text) in commands.items():
        app.command(f"layerprobe.{place}", name=name, help=text, group=groups[title], sort_key=next(order))
cache = App(name="cache", help="Inspect and maintain the cached states.", group=groups[MAINTENANCE])
for name, (place, text) in CACHE_COMMANDS.items():
    cache.command(f"layerprobe.{place}", name=name, help=text)
app.command(cache)
INSTALL_COMPLETION = "--install-completion"
app.register_install_completion_command(
    INSTALL_COMPLETION, help="Install completion of commands and options for bash, zsh or fish."
)
for name in ("--help", "--version", INSTALL_COMPLETION):
    app[name].group = groups[MAINTENANCE]


def run(arguments: list[str]) -> int:
    """Run one command; its exit status. Raises what the command raises, CycloptsError for bad options."""
    if arguments[:1] == [INSTALL_COMPLETION] and program() != "layerprobe":
        what = "completion works for the installed command layerprobe, not for a checkout"
        raise InputError(
            what, do="install it with `pip install .`, then run `layerprobe --install-completion`"
        )
    function, bound, internal = app.parse_args(arguments, exit_on_error=False, print_error=False)
    if function == app.help_print and not HELP & set(arguments):  # a group of commands without a command
        from rich.console import Console

        app.help_print(arguments, console=Console(stderr=True))
        return 2
    if "given" in internal:
        bound.arguments["given"] = given_options(arguments)
    if function == app.help_print:  # styled on a terminal
        function(*bound.args, **bound.kwargs)
        return 0
    apply_output_options(bound.arguments.values())
    with escaped_stdout(), stage("total"):
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
        first, *others = error.lines()
        say_error(f"error: {first}", *others)
        sys.exit(2)
    except WorkerKilledError as error:
        say_error(f"error: {error}")
        sys.exit(1)
    except CycloptsError as error:
        say_error(f"error: {usage_error(error)}")
        sys.exit(2)
    except Interrupted as stop:
        say_error(f"stopped: {stop}")
        sys.exit(STATUS)
    except KeyboardInterrupt:
        exit_now()
    except BrokenPipeError:
        # The reader of our output has exited; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if not out_of_memory(error):
            raise
        say_error("error: the system grants too little memory; free some, or raise the limit (ulimit -v)")
        sys.exit(2)


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, also while a library was loaded: torch maps several GB of address space."""
    texts = ("failed to map segment", "cannot allocate memory")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in texts)


if __name__ == "__main__":
    main()
