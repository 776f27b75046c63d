"""Print the reference of all commands, from their options: `make reference` writes it to docs/commands.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.argv = ["layerprobe"]  # as the program is called once it is installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from layerprobe.cli import EXIT_STATUSES, app  # noqa: E402

print("<!-- Written by `make reference` from the options of the commands. -->\n")
print(app.generate_docs(heading_level=1))
print("## Exit statuses\n\n| status | meaning |\n|---|---|")
for status, text in EXIT_STATUSES.items():
    print(f"| {status} | {text} |")
