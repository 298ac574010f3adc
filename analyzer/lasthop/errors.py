"""The whole error tree on one screen.

Every error that a user can cause or meet derives from LasthopError; its text is one sentence that says what is wrong
and, where possible, what to do. The command line maps the classes to exit codes and prints no traceback for them.
"""


class LasthopError(Exception):
    """A sentence for the user; exit code 2 unless a subclass says otherwise."""

    exit_code = 2


class UsageError(LasthopError):
    """The question cannot be asked like this: a bad port, an unknown pod, options that exclude each other."""


class NotInEvidence(UsageError):
    """The question is well formed, but what it names is not in this evidence, which may be incomplete."""


class BundleError(LasthopError):
    """No member of the bundle is readable, or the bundle was refused as unsafe."""


class BundleRefused(BundleError):
    """A budget or a safety check of the bundle reader was hit before anything could be read."""


class RuleError(LasthopError):
    """A rule file is wrong: where, what, and what was probably meant."""


class QueryRefused(RuleError):
    """A rule's query does something that rules may not do, or ran over its time."""
