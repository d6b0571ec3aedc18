"""The exceptions of ophis. Each is also the built-in exception that fits, so that `except ValueError` works."""


class Error(Exception):
    """What goes wrong in ophis. Its text names the op or file, the argument, what came and what was wanted."""


class InvalidArgumentError(Error, ValueError):
    """A value, shape, dtype or flag that is not taken."""


class UnsupportedError(Error, NotImplementedError):
    """Valid, but this build or device cannot do it."""


class NotFoundError(Error, FileNotFoundError):
    """A file, tensor or key that should be there is not."""


class CorruptDataError(Error, ValueError):
    """A file whose content contradicts its format."""


class FileAccessError(Error, OSError):
    """The operating system refused to read or write."""


class OutOfMemoryError(Error, MemoryError):
    """An allocation failed."""


class InternalError(Error, RuntimeError):
    """A broken invariant: a bug in ophis."""
