"""The main job, shown: mount a bucket, write a dataset, see it in the bucket, read it from elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from script import dataset, leftovers, s3_server
from script.console import Console, size
from script.mounted import PROGRAM, CommandFailed, Mounted, environment, mount_store
from tests.servers import S3Server

BUCKET = "demo"
PREFIX = "warehouse/"
TABLE = "events"
STAT_EVERY_S = 0.2
LOG_LINES = 40


class DemoFailed(Exception):
    """Something is not as it should be; the message says what."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays: a directory of its own, a server, and the environment of the commands."""

    directory: Path
    server: S3Server
    server_pid: int
    environ: dict[str, str]
    console: Console

    def mount(self, name: str) -> Mounted:
        """Mount the store on directory `name`, with an empty cache of its own."""
        store, path = f"s3://{BUCKET}/{PREFIX.rstrip('/')}", self.directory / name
        options = ["--endpoint-url", self.server.endpoint_url, "--cache-dir", str(self.directory / f"cache-{name}")]
        self.console.line(f"  $ fusecache mount {store} {path} {' '.join(options)}")
        return mount_store(store, path, options, self.environ)


@click.command()
@click.option("--files", "count", default=200, show_default=True, type=click.IntRange(1, 99_999))
@click.option("--keep", is_flag=True, help="Leave the mount and the S3 server up.")
def main(count: int, keep: bool) -> None:
    """Write a Parquet dataset of COUNT files of 1 MiB through fusecache, and check what is in the bucket."""
    signal.signal(signal.SIGTERM, _terminated)
    console = Console()
    try:
        with _stage(console, keep=keep) as stage:
            _play(stage, count, keep=keep)
    except (DemoFailed, CommandFailed, RuntimeError, OSError) as exc:
        console.line(f"\nFAILED: {exc}")
        raise SystemExit(1) from exc


def _play(stage: Stage, count: int, *, keep: bool) -> None:
    console = stage.console
    console.step("Mount a bucket")
    lake = stage.mount("lake")
    acknowledged_s = _write(stage, lake, count)
    persisted_s = _drain(stage, lake)
    _compare_bucket(stage, lake, count)
    console.step("Read it back through a second mount with an empty cache")
    again = stage.mount("again")
    with console.progress("read and compared", count) as progress:
        identical = dataset.identical_parts(again.path / TABLE, count, progress.at)
    console.step("Result")
    console.line(f"  acknowledged in {acknowledged_s:.1f} s   every file closed and renamed, on this machine")
    console.line(f"  persisted in    {persisted_s:.1f} s   after that, in the background")
    console.line(f"  {identical}/{count} identical")
    again.unmount()
    if identical != count:
        raise DemoFailed(f"{count - identical} files came back changed")
    if keep:
        _tell_how_to_play(stage, lake)
    else:
        lake.unmount()


def _write(stage: Stage, lake: Mounted, count: int) -> float:
    """Write the dataset and return how long it took until the last call was answered."""
    console, table = stage.console, lake.path / TABLE
    console.step(f"Write {count} Parquet files as Spark does: below _temporary, renamed one by one, then _SUCCESS")
    started_at = time.monotonic()
    with console.progress("written", count) as progress:
        dataset.write_tasks(table, count, progress.at)
    with console.progress("committed", count) as progress:
        dataset.commit_job(table, progress.at)
    return time.monotonic() - started_at


def _drain(stage: Stage, lake: Mounted) -> float:
    """Wait until everything is in the store, and return how long that took."""
    console = stage.console
    started_at = time.monotonic()
    console.step("It drains by itself; flush waits for it")
    console.line(f"  $ fusecache stat {lake.path}")
    console.quote(lake.stat_text())
    console.line(f"  $ fusecache flush {lake.path}")
    with lake.flushing() as flush:
        left = lake.stat()
        with console.progress("persisted", int(left["files_dirty"])) as progress:
            most = int(left["files_dirty"])
            while flush.poll() is None:
                left = lake.stat()
                progress.at(max(0, most - int(left["files_dirty"])), f"({size(left['bytes_dirty'])} left)")
                time.sleep(STAT_EVERY_S)
            progress.at(most)
        assert flush.stdout is not None
        told = flush.stdout.read()
    persisted_s = time.monotonic() - started_at
    if flush.returncode != 0:
        raise DemoFailed(f"fusecache flush: exit {flush.returncode}: {told.strip()}")
    console.quote(told)
    return persisted_s


def _compare_bucket(stage: Stage, lake: Mounted, count: int) -> None:
    """Compare keys with paths, and the bytes of each object with the file's and with what was meant.

    Raises:
        DemoFailed: a key too many or too few, or other bytes.
    """
    console = stage.console
    console.step("Look into the bucket with another client")
    client = stage.server.client()
    try:
        keys, paths = _keys(client), _paths(lake.path)
        if keys != paths:
            raise DemoFailed(f"only in the bucket: {sorted(keys - paths)[:5]}; only here: {sorted(paths - keys)[:5]}")
        meant = _meant(count)
        if keys != meant.keys():
            raise DemoFailed(f"not what was written: {sorted(keys ^ meant.keys())[:5]}")
        with console.progress("compared", len(keys)) as progress:
            for done, key in enumerate(sorted(keys), 1):
                _compare_object(client, lake.path / key, key, meant[key])
                progress.at(done)
    finally:
        client.close()
    console.line(f"  {len(keys)} keys, each a path of the tree with the same bytes, none below _temporary")


def _compare_object(client: Any, path: Path, key: str, meant: str) -> None:
    stored = hashlib.sha256(client.get_object(Bucket=BUCKET, Key=PREFIX + key)["Body"].read()).hexdigest()
    if stored != meant:
        raise DemoFailed(f"s3://{BUCKET}/{PREFIX}{key} holds other bytes than were written")
    if hashlib.sha256(path.read_bytes()).hexdigest() != meant:
        raise DemoFailed(f"{path} holds other bytes than were written")


def _keys(client: Any) -> set[str]:
    """Return the keys of the bucket less the prefix; one outside of the prefix stays whole, and so is found."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {each["Key"].removeprefix(PREFIX) for page in pages for each in page.get("Contents", ())}


def _paths(root: Path) -> set[str]:
    """Return the tree as keys: files, and empty directories with a slash at the end."""
    found = set()
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        found |= {str(here / name) for name in files}
        if not files and not folders and folder != str(root):
            found.add(f"{here}/")
    return found


def _meant(count: int) -> dict[str, str]:
    parts = {f"{TABLE}/{dataset.part_name(number)}": dataset.part_digest(number) for number in range(count)}
    return parts | {f"{TABLE}/_SUCCESS": hashlib.sha256(b"").hexdigest()}


@contextmanager
def _stage(console: Console, *, keep: bool) -> Iterator[Stage]:
    """Give a stage, and leave nothing of it behind: unless it is to be kept and all went well."""
    directory = Path(tempfile.mkdtemp(prefix="fusecache-demo."))
    marked = environment({leftovers.MARK: str(directory)})
    kept = False
    try:
        process, server = s3_server.start("moto", directory / "s3.log", marked)
        try:
            server.create_bucket(BUCKET)
            yield Stage(directory, server, process.pid, marked | server.env, console)
            kept = keep
        finally:
            if not kept:
                s3_server.stop(process)
    except Exception:
        _show_logs(directory, console)
        raise
    finally:
        if not kept:
            _clear(directory)


def _show_logs(directory: Path, console: Console) -> None:
    """Show how the daemons' logs end, since they go with the stage."""
    for log in sorted(directory.glob("cache-*/state/daemon.log")):
        console.step(f"The end of {log}")
        console.quote("\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]))


def _clear(directory: Path) -> None:
    """Remove what is left of the stage; after a success nothing may be.

    Raises:
        DemoFailed: there was a mount or a process, though nothing had failed before.
    """
    left = leftovers.clean(directory)
    shutil.rmtree(directory, ignore_errors=True)
    if left and sys.exc_info()[0] is None:
        raise DemoFailed("; ".join(left))


def _tell_how_to_play(stage: Stage, lake: Mounted) -> None:
    variables = " ".join(f"{name}={value}" for name, value in stage.server.env.items())
    stage.console.step("Kept: play with it")
    stage.console.line(f"""\
  cd {lake.path}
  {PROGRAM} stat {lake.path}
  cp -r {s3_server.ROOT}/docs {lake.path}/ && {PROGRAM} flush {lake.path}

  The bucket, for any S3 client: {stage.server.endpoint_url}, s3://{BUCKET}/{PREFIX}, with
  export {variables}

  Stop it:
  {PROGRAM} umount {lake.path} && kill {stage.server_pid} && rm -r {stage.directory}""")


def _terminated(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
