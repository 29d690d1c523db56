"""Credentials that ran out: what the chain can renew is renewed, and only then is the request worth another try."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trio
from aiobotocore.credentials import AnyioRefreshableCredentials
from botocore.credentials import Credentials
from trio.testing import MockClock

from fusecache.backends.options import S3Options
from fusecache.backends.s3 import open_s3
from fusecache.backends.s3.renewal import RENEWED, Renewal
from fusecache.backends.sources import BytesSource
from fusecache.errors import AccessDenied, BackendUnavailable
from fusecache.types import ObjectKey


async def asked(renewal: Renewal, code: str) -> bool:
    """Return whether the answer says that other credentials are used from now on."""
    parsed: dict[str, Any] = {"Error": {"Code": code}}
    await renewal(parsed=parsed, http_response=None)
    return RENEWED in parsed["Error"]


def of_file(used: Credentials, *found: Credentials | None) -> Renewal:
    """Keys in a file, which holds `found`, one after the other, when it is read again."""
    files = list(found)

    async def reload() -> Credentials | None:
        await trio.lowlevel.checkpoint()
        return files.pop(0)

    return Renewal(lambda: used, reload)


async def test_keys_that_were_replaced_in_their_file() -> None:
    used = Credentials("old", "secret", "token")
    assert await asked(of_file(used, Credentials("new", "other", None)), "ExpiredToken")
    assert (used.access_key, used.secret_key, used.token) == ("new", "other", None)


@pytest.mark.parametrize("found", [Credentials("old", "secret", "token"), None])
async def test_keys_that_nobody_replaced(found: Credentials | None) -> None:
    assert not await asked(of_file(Credentials("old", "secret", "token"), found), "ExpiredToken")


async def test_another_refusal_is_no_reason_to_look() -> None:
    assert not await asked(of_file(Credentials("old", "secret", "token")), "AccessDenied")


async def test_credentials_of_a_role_are_fetched_again_although_they_seem_to_last() -> None:
    fetched = []

    async def fetch() -> dict[str, str]:
        await trio.lowlevel.checkpoint()
        fetched.append(1)
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        return {"access_key": "new", "secret_key": "s", "token": "t", "expiry_time": later}

    later = datetime.now(UTC) + timedelta(hours=1)
    used = AnyioRefreshableCredentials("old", "s", "t", later, fetch, "iam-role")
    assert (await used.get_frozen_credentials()).access_key == "old"
    assert await asked(of_file(used), "ExpiredToken")
    assert (await used.get_frozen_credentials()).access_key == "new"
    assert len(fetched) == 1


async def test_who_asked_with_the_old_keys_asks_again_when_others_have_replaced_them() -> None:
    used = Credentials("old", "secret", "token")
    renewal = of_file(used, *[Credentials("new", "other", None)] * 3)
    assert await asked(renewal, "ExpiredToken")
    assert await asked(renewal, "ExpiredToken"), "that answer was of a request that was under way then"


async def test_new_keys_that_have_expired_too(autojump_clock: MockClock) -> None:
    used = Credentials("old", "secret", "token")
    renewal = of_file(used, *[Credentials("new", "other", None)] * 3)
    assert await asked(renewal, "ExpiredToken")
    await trio.sleep(600)
    assert not await asked(renewal, "ExpiredToken")


class _Expiring(BaseHTTPRequestHandler):
    """A store for which the key `OLD` has expired."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"b")

    def do_HEAD(self) -> None:
        self._answer(b"b")

    def _answer(self, data: bytes) -> None:
        expired = "Credential=OLD/" in self.headers["Authorization"]
        body = b"<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>" if expired else data
        self.send_response(400 if expired else 200)
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def expiring() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Expiring) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The keys of a client."""
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return path


async def test_a_head_whose_answer_does_not_say_what_is_wrong(expiring: str, file: Path) -> None:
    """It has no body, so that all it tells of an expired session is 400."""
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = s\n")
    async with open_s3(S3Options(bucket="bucket", endpoint_url=expiring, force_path_style=True)) as store:
        with pytest.raises(AccessDenied, match="ExpiredToken"):
            await store.head(ObjectKey("k"))
        file.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = s\n")
        with pytest.raises(BackendUnavailable, match="tried again with other credentials"):
            await store.head(ObjectKey("k"))
        await store.head(ObjectKey("k"))


async def test_a_client_takes_keys_that_a_tool_has_replaced(expiring: str, file: Path) -> None:
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = s\n")
    async with open_s3(S3Options(bucket="bucket", endpoint_url=expiring, force_path_style=True)) as store:
        with pytest.raises(AccessDenied, match="ExpiredToken"):
            await store.put(ObjectKey("k"), BytesSource(b"b"), metadata={})
        file.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = s\n")
        with pytest.raises(BackendUnavailable, match="tried again with other credentials"):
            await store.put(ObjectKey("k"), BytesSource(b"b"), metadata={})
        await store.put(ObjectKey("k"), BytesSource(b"b"), metadata={})
