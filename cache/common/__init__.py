"""What all packages share; imports nothing heavy.

errors.py: errors caused by user input. console.py: tables, JSON and progress. text.py: numbers as text.
disk.py: atomic files, locks, free space. interrupts.py: Ctrl-C and SIGTERM. metering.py: cost of work.
options.py: options that commands share.
"""
