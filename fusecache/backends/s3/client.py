"""The aiobotocore client, set up to run on trio, to send cheaply and to leave retries to the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import botocore.utils
from aiobotocore.config import AioConfig
from aiobotocore.httpxsession import HttpxSession
from aiobotocore.session import AioSession
from botocore import handlers
from botocore.credentials import ReadOnlyCredentials

from fusecache.backends.options import StoreOptions
from fusecache.backends.s3.errors import translated
from fusecache.backends.s3.renewal import Renewal
from fusecache.errors import ConfigError

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60

Operation = Callable[..., Awaitable[dict[str, Any]]]


class S3Client(Protocol):
    """The operations we use, as botocore names them."""

    get_object: Operation
    head_object: Operation
    list_objects_v2: Operation
    put_object: Operation
    copy_object: Operation
    delete_object: Operation
    delete_objects: Operation
    get_object_tagging: Operation
    create_multipart_upload: Operation
    upload_part: Operation
    upload_part_copy: Operation
    complete_multipart_upload: Operation
    abort_multipart_upload: Operation
    list_multipart_uploads: Operation
    list_parts: Operation

    meta: Any
    """`region_name` and `endpoint_url`, as they were resolved."""

    def _get_credentials(self) -> Any: ...

    async def close(self) -> None: ...


async def frozen_credentials(client: S3Client) -> ReadOnlyCredentials | None:
    """Return what the client would sign with now, renewed if it is time; None if it has no credentials.

    Raises:
        AccessDenied, BackendUnavailable: the chain gave none.
    """
    credentials = client._get_credentials()
    if credentials is None:
        return None
    with translated("AWS credentials"):
        frozen: ReadOnlyCredentials = await credentials.get_frozen_credentials()
    return frozen


@asynccontextmanager
async def open_client(options: StoreOptions, *, service: str = "s3") -> AsyncIterator[Any]:
    """Make the client; no request is sent but those for credentials.

    Raises:
        ConfigError: no such profile, a malformed endpoint.
    """
    with translated("AWS configuration"):
        session = _session(options)
        try:
            client = await session.create_client(
                service,
                endpoint_url=options.endpoint_url,
                region_name=options.region or _default_region(session, options),
            ).__aenter__()
        except ValueError as exc:  # botocore's own for an endpoint that is no URL
            raise ConfigError(f"--endpoint-url {options.endpoint_url}: {exc}") from exc
    try:
        yield client
    finally:
        await client.close()


def _session(options: StoreOptions) -> AioSession:
    session = AioSession(profile=options.profile)
    # As the session's default, not the client's own: the credential chain takes its event loop from it.
    session.set_default_client_config(_config(options))
    # The session here does not wait for the server's 100 before it sends the body: only a delay is left.
    session.unregister("before-call.s3", handlers.add_expect_header)
    chain = session.get_component("credential_provider")
    session.register("after-call.s3", Renewal(lambda: session._credentials, chain.load_credentials))
    # dateutil is the greater part of what a listing costs.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_timestamp)
    return session


def _config(options: StoreOptions) -> AioConfig:
    """The knobs, with their reasons.

    Bodies are not signed: botocore would hash them on the loop. `UNSIGNED-PAYLOAD` is taken by moto,
    rclone, versitygw and AWS, over http too. We send a sum of our own (`s3.checksums`): botocore's
    trailing ones would make the body chunked, which not every server takes.
    An answer is verified only where asked for: rclone sends the whole object's sum with a part of it.
    """
    return AioConfig(
        http_session_cls=HttpxSession,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=options.max_connections,
        # Waiting for one of our own connections is no failure of the store (the default gives up after 5 s).
        connector_args={"pool_timeout": None, "write_timeout": READ_TIMEOUT_S},
        retries={"mode": "standard", "total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": "path" if options.force_path_style else "auto",
            "payload_signing_enabled": False,
        },
        user_agent_extra="fusecache",
    )


def _default_region(session: AioSession, options: StoreOptions) -> str | None:
    """Any region will do for a server of one's own, but one must be signed for."""
    configured: str | None = session.get_config_variable("region")
    return configured or ("us-east-1" if options.endpoint_url else None)


def parse_timestamp(value: str) -> datetime:
    """Parse what servers send: ISO 8601 first, anything else as botocore does."""
    try:
        parsed: datetime = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        parsed = botocore.utils.parse_timestamp(value)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
