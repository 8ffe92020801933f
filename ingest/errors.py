"""What a person at the screen is told, each kind with its own exit code.

    MedweaveError            1   never raised itself
    ├── UsageError           2   an option or a combination of options that cannot be
    ├── InputError           3   a file or directory that is missing, unreadable or of another kind
    │   └── SourceError     10   a server out of reach, that refuses or makes no sense (origins.py)
    ├── MappingError         4   a mapping or world YAML that does not fit its data
    ├── StoreError           5   a record store that is missing, damaged or of another layout
    ├── CohortError          6   a task that selects nobody, or labels with one class only
    ├── RunError             7   a run directory that is missing, damaged or does not fit the store
    └── LimitError           8   input over a cap on bytes, depth, pixels or time; no memory left

The command line prints the message alone, without a traceback, and exits with the code. Any other
exception is a defect of Medweave: its kind and place are printed, not its text, which may hold a
patient's data, and the code is 9. `--debug` shows where either came from, and the text of ours
alone. A usage error that the command line's parser finds is 2, too; 130 is Ctrl+C and 141 a pipe
that nobody reads.
"""

__all__ = [
    "DEFECT",
    "CohortError",
    "InputError",
    "LimitError",
    "MappingError",
    "MedweaveError",
    "RunError",
    "StoreError",
    "UsageError",
]


DEFECT = 9
"""Exit code of a command that met an exception which is no MedweaveError."""


class MedweaveError(Exception):
    """A problem that the user can mend; the message says what was wrong and what would be right."""

    exit_code = 1


class UsageError(MedweaveError):
    """An option, or a combination of options, that cannot be."""

    exit_code = 2


class InputError(MedweaveError):
    """A source file or directory that is missing, unreadable or not what was said."""

    exit_code = 3


class MappingError(MedweaveError):
    """A mapping or world YAML that does not fit its data."""

    exit_code = 4


class StoreError(MedweaveError):
    """A record store that is missing, damaged or of another layout."""

    exit_code = 5


class CohortError(MedweaveError):
    """A task that selects nobody, or labels with one class only."""

    exit_code = 6


class RunError(MedweaveError):
    """A run directory that is missing, damaged or does not fit the store."""

    exit_code = 7


class LimitError(MedweaveError):
    """Input over a cap on bytes, depth, pixels or time."""

    exit_code = 8
