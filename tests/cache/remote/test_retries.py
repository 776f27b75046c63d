"""What passes is tried again with longer and longer waits; what does not is one line at once."""

from __future__ import annotations

import errno
import ssl

import pytest

from layerprobe.cache.common.errors import ForbiddenError, InputError, StoreError
from layerprobe.cache.remote import retries
from layerprobe.cache.remote.retries import AbsentError, TransferError, with_retries

NoCredentialsError = type("NoCredentialsError", (Exception,), {})
ClientAuthenticationError = type("ClientAuthenticationError", (Exception,), {})


class HttpError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}, https://host/x?token=secret")
        self.status = status


@pytest.fixture
def waits(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)
    return waits


def call(*errors: Exception):
    remaining = list(errors)

    def answer() -> str:
        if remaining:
            raise remaining.pop(0)
        return "content"

    return answer


def test_waits_double_up_to_a_limit(waits, capsys):
    lost = [
        ConnectionError("lost"),
        TimeoutError(),
        OSError(errno.EBUSY, "slow down"),
        HttpError(503),
        HttpError(500),
    ]
    assert with_retries(call(*lost), where="s3://b/x") == "content"
    assert len(waits) == 5
    for wait, longest in zip(waits, (0.5, 1, 2, 4, 8), strict=True):
        assert longest / 2 <= wait <= longest
    notes = capsys.readouterr().err.splitlines()
    assert [line.partition("; ")[0] for line in notes] == [
        "note: s3://b/x: slow down",
        "note: s3://b/x: status 503, https://host/x",
        "note: s3://b/x: status 500, https://host/x",
    ]


def test_after_the_last_attempt_it_is_one_line(waits):
    with pytest.raises(
        TransferError, match=r"^s3://b/x: no usable answer after 6 attempts \(lost\); try again"
    ):
        with_retries(call(*[ConnectionError("lost")] * 9), where="s3://b/x")
    assert len(waits) == 5
    with pytest.raises(TransferError, match=r"no usable answer \(lost\)"):
        with_retries(call(ConnectionError("lost")), where="s3://b/x", attempts=1)


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (
            PermissionError("Access Denied"),
            ForbiddenError,
            r"access is refused \(Access Denied\); set up .*docs/cache",
        ),
        (HttpError(403), ForbiddenError, "access is refused"),
        (HttpError(404), AbsentError, "does not exist; check the URL"),
        (FileNotFoundError("The specified bucket does not exist"), AbsentError, "no such bucket"),
        (NoCredentialsError("Unable to locate credentials"), InputError, "no usable credentials were found"),
        (ClientAuthenticationError("a-secret"), InputError, "no usable credentials were found"),
        (
            ValueError("Must provide either a connection_string or account_name with credentials!!"),
            InputError,
            "no usable credentials were found",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            StoreError,
            r"its local copy cannot be written \(No space",
        ),
        (OSError(errno.EINVAL, "bad digest"), StoreError, r"the service rejects the request \(bad digest\)"),
        (OSError("Forbidden: b/x\nno rights"), ForbiddenError, "access is refused"),
        (HttpError(400), StoreError, "the service rejects the request"),
        (ValueError("Bad Request: b/x"), StoreError, "the service rejects the request"),
        (TypeError("unexpected option"), InputError, "cannot be opened"),
        (
            ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
            InputError,
            r"its certificate is not trusted \(.*self-signed certificate\); name a file .*SSL_CERT_FILE",
        ),
    ],
)
def test_what_cannot_pass_is_refused_at_once(waits, error, kind, line):
    with pytest.raises(kind, match=f"^s3://b/x: {line}") as raised:
        with_retries(call(error), where="s3://b/x")
    assert waits == []
    assert "secret" not in str(raised.value)


def test_a_message_for_the_user_is_not_repeated(waits):
    with pytest.raises(InputError, match=r"^s3://: needs the package s3fs$"):
        with_retries(call(InputError("needs the package s3fs", where="s3://")), where="s3://b/x")
    assert waits == []


def test_a_conditional_write_that_found_the_object_is_no_error_to_repeat(waits):
    with pytest.raises(FileExistsError):
        with_retries(call(FileExistsError("there")), where="s3://b/x")
    assert waits == []
