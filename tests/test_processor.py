"""What is known of the machine's processor."""

import pytest

from svit.processor import processor


@pytest.mark.parametrize(
    ("said", "vendor"), [("AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD", "AuthenticAMD"), ("arm", "")]
)
def test_the_vendor_is_known_where_there_is_no_cpuinfo(
    said: str, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.exists", lambda self: False)
    monkeypatch.setattr("platform.processor", lambda: said)
    assert processor.__wrapped__() == (said, vendor, frozenset())


def test_it_is_read_once() -> None:
    assert processor() is processor()
