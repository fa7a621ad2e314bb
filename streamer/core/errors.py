"""The tree of Mallard's errors, by who is to blame; each is also the builtin it means.

MallardError
├── SenderError (ValueError)           a message from outside is wrong: the sender must change it
├── CallerError (ValueError)           our own code broke a rule of the function it called
├── ConfigurationError (ValueError)    a file or setting given by the operator is wrong
│   └── MallFileError                  the malls' GeoJSON, with the feature and the reason
└── StorageError (OSError)             the disk under us failed or is full

It must not know how an error is shown: the edge catches and words it for the outside.
"""


class MallardError(Exception):
    """Everything Mallard raises on purpose."""


class SenderError(MallardError, ValueError):
    """A message from outside is wrong; `code` is the one PROTOCOL gives it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class CallerError(MallardError, ValueError):
    """Our own code broke a rule of the function it called."""


class ConfigurationError(MallardError, ValueError):
    """A file or setting given by the operator is wrong."""


class MallFileError(ConfigurationError):
    """The malls' GeoJSON is wrong; the message names the feature and the reason."""

    def __init__(self, feature: str, reason: str) -> None:
        super().__init__(f"{feature}: {reason}")
        self.feature = feature
        self.reason = reason


class StorageError(MallardError, OSError):
    """The disk under us failed or is full."""
