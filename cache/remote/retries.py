"""What of object storage is tried again, and one line for what is not. No line has a secret in it."""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import ForbiddenError, InputError, StoreError
from layerprobe.cache.common.text import format_count

T = TypeVar("T")

ATTEMPTS = 6
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0  # seconds; each wait is twice the one before, less up to half of it
SAID_FROM = 3  # attempts before a message says that something is tried again
_CREDENTIALS = "set up the service's own credentials (docs/cache.md says which)"
# Exceptions of libraries that need not be installed, by name.
_NO_CREDENTIALS = {
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"),
    *("TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError"),
    *("DefaultCredentialsError", "RefreshError", "ClientAuthenticationError", "CredentialUnavailableError"),
}
_SETTINGS = {"InvalidConfigError", "ParamValidationError", "InvalidRegionError", "ConfigParseError"}
_NO_BUCKET = re.compile(r"(?:bucket|container) does not exist|NoSuchBucket|No such container", re.IGNORECASE)
_NO_ACCOUNT = "either a connection_string or account_name"  # a ValueError of adlfs
_SHOWN = 160  # letters of a service's message


class TransferError(StoreError):
    """A connection that was lost again and again: the same call may succeed later."""


class DamagedError(StoreError):
    """An object whose bytes are not those that were written."""


class AbsentError(StoreError):
    """An object or bucket that does not exist."""


def with_retries(call: Callable[[], T], *, where: str, attempts: int | None = None) -> T:
    """The result of `call`; an error that may pass is tried again, with longer and longer waits.

    Raises FileExistsError where a conditional write found the object; AbsentError, ForbiddenError, InputError
    and StoreError with one line for what cannot pass; TransferError after the last attempt.
    """
    limit = ATTEMPTS if attempts is None else attempts
    for attempt in range(1, limit + 1):
        try:
            return call()
        except Exception as error:
            if isinstance(error, FileExistsError | InputError):
                raise
            raise_final(error, where=where)
            if attempt == limit:
                tries = "" if limit == 1 else f" after {format_count(limit, 'attempt')}"
                do = "try again later; what was finished is saved"
                raise TransferError(
                    f"no usable answer{tries} ({reason(error)})", where=where, do=do
                ) from error
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
            if attempt >= SAID_FROM:
                say(f"note: {where}: {reason(error)}; trying again in {wait:.0f} s")
        time.sleep(wait)
    raise AssertionError("unreachable")


def raise_final(error: Exception, *, where: str) -> None:
    """Raise the line for an error that another attempt would not change; return for one that may pass."""
    name = type(error).__name__
    forbidden = isinstance(error, OSError) and str(error).startswith("Forbidden: ")  # gcsfs
    if isinstance(error, PermissionError) or forbidden or _status(error) in (401, 403):
        what = f"access is refused ({reason(error)})"
        raise ForbiddenError(what, where=where, do=_CREDENTIALS) from error
    if isinstance(error, FileNotFoundError) or _status(error) in (404, 410):
        what = "no such bucket" if _NO_BUCKET.search(str(error)) else "does not exist"
        raise AbsentError(what, where=where, do="check the URL") from error
    if name in _NO_CREDENTIALS or _NO_ACCOUNT in str(error):
        raise InputError("no usable credentials were found", where=where, do=_CREDENTIALS) from error
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        do = "name a file of certificates that you trust in SSL_CERT_FILE, or for s3:// in AWS_CA_BUNDLE"
        raise InputError(f"its certificate is not trusted ({reason(error)})", where=where, do=do) from error
    if name in _SETTINGS or isinstance(error, ImportError | TypeError | AttributeError | NotImplementedError):
        raise InputError(f"cannot be opened ({reason(error)})", where=where) from error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        raise StoreError(f"its local copy cannot be written ({error.strerror})", where=where) from error
    rejected = isinstance(error, OSError) and error.errno == errno.EINVAL  # s3fs
    if (
        rejected
        or _status(error) == 400
        or (isinstance(error, ValueError) and str(error).startswith("Bad Req"))
    ):
        raise StoreError(f"the service rejects the request ({reason(error)})", where=where) from error


def unsupported(error: BaseException) -> bool:
    """Whether a service says that it does not know conditional writes."""
    return isinstance(error, OSError) and error.errno == errno.ENOSYS


def is_conflict(error: BaseException) -> bool:
    """Whether a conditional write found the object, where s3fs does not say so."""
    answer = getattr(error.__cause__, "response", None)
    return isinstance(answer, dict) and answer.get("Error", {}).get("Code") == "PreconditionFailed"


def reason(error: BaseException) -> str:
    """An error's message in few words, without the parameters of URLs, which may hold a signature."""
    text = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
    text = re.sub(r"\?[^\s\"')]*", "", text)
    return (text if len(text) <= _SHOWN else text[:_SHOWN] + "…").rstrip(".")


def _status(error: BaseException) -> int | None:
    """The status of an HTTP answer that an error is about."""
    names = ("status", "status_code", "code")  # of aiohttp, Azure, Google
    status = next((getattr(error, name) for name in names if hasattr(error, name)), None)
    return status if isinstance(status, int) else None
