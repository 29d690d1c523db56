"""The options a mount knows: one table for the command line, the TOML file and fstab's `-o`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fusecache.config import values
from fusecache.config.rules import ALLUXIO_MODES, CONFLICTS, DIR_MARKERS, FRESHNESS, WRITE_MODES


@dataclass(frozen=True, slots=True)
class Option:
    """One thing a mount can be told. `name` is the TOML key and, with dashes, the long option."""

    name: str
    read: Callable[[object], object]
    help: str
    metavar: str = "TEXT"
    field: str = ""
    """The `Config` field; "" where it is `name`, too."""
    is_flag: bool = False
    is_list: bool = False

    @property
    def target(self) -> str:
        return self.field or self.name


def _flag(name: str, help_text: str) -> Option:
    return Option(name, values.switch, help_text, is_flag=True)


def _size(name: str, help_text: str) -> Option:
    return Option(name, values.size, help_text, "SIZE")


def _duration(name: str, help_text: str) -> Option:
    return Option(name, values.duration, help_text, "TIME", f"{name}_s")


def _ratio(name: str, help_text: str) -> Option:
    return Option(name, values.ratio, help_text, "RATIO")


OPTIONS = (
    Option("cache_dir", values.paths, "Where cached and not yet persisted bytes live.", "DIR[:DIR…]", "cache_dirs"),
    Option("state_dir", values.path, "Where the namespace lives; DIR/state below --cache-dir DIR.", "DIR"),
    _size("cache_size", "How much of the disk files may take (all but what is kept free)."),
    _size("dirty_limit", "How many bytes the store may lack before writers wait (what the cache disk holds)."),
    _ratio("dirty_soft_ratio", "The share of --dirty-limit from which on writers are slowed (0.8)."),
    _ratio("free_space_ratio", "The share of the cache disk that is kept free; at half of it writers wait (0.1)."),
    _size("scrub_rate", "How much of the cache is compared with what was fetched in a second; 0: nothing (10M)."),
    _duration("space_patience", "How long writers wait while the disk is full and nothing drains (60s)."),
    _size("block_size", "The piece that is fetched and evicted; a power of two."),
    Option("transport", values.choice("auto", "pyfuse3", "direct"), "auto, pyfuse3 or direct (no libfuse).", "NAME"),
    _flag("passthrough", "Let the kernel read and write whole files of the cache by itself, where it can (yes)."),
    _flag("acl", "Keep POSIX access control lists, here and not in the store; on the direct transport (no)."),
    Option("endpoint_url", values.text, "Where the S3 API answers, if it isn't AWS.", "URL"),
    Option("region", values.text, "The bucket's region.", "NAME"),
    Option("profile", values.text, "The profile of the AWS configuration to use.", "NAME"),
    _flag("force_path_style", "Address buckets as path, not as host name (default with --endpoint-url)."),
    Option("sse", values.choice("AES256", "aws:kms", "aws:kms:dsse"), "Server-side encryption of new objects.", "KIND"),
    Option("sse_kms_key_id", values.text, "The key of --sse aws:kms.", "ID"),
    Option("storage_class", values.text, "Storage class of new objects.", "CLASS"),
    _flag("requester_pays", "Pay for the requests to somebody else's bucket."),
    Option(
        "events", values.text, "The SQS queue in which the bucket tells of changes: sqs://name or its URL.", "QUEUE"
    ),
    _flag("read_only", "Refuse every change."),
    _duration("persist_delay", "How long after its last close a file is uploaded (1s)."),
    _duration("stop_deadline", "How long SIGTERM and a shutdown drain before it is unmounted (14m)."),
    _duration("watchdog", "How long a daemon may hang before another takes over, if one can (60s; 0: for ever)."),
    Option("max_uploads", values.number, "How many uploads run at once (16).", "N"),
    _size("upload_limit", "How many bytes are uploaded in a second at most (no limit)."),
    Option("request_rate", values.decimal, "How many requests a second the store gets at most (no limit).", "N"),
    _flag("aimd_enabled", "Find out how many requests a second the store takes (yes)."),
    Option("aimd_initial_rate", values.decimal, "Requests a second to begin with; doubled until refused (250).", "N"),
    Option("aimd_min_rate", values.decimal, "Never fewer requests a second than this (0.1).", "N"),
    Option("aimd_increase_increment", values.decimal, "First step up after a refusal, a part of the rate (0.05).", "X"),
    Option("aimd_reduction_factor", values.decimal, "A refusal divides the rate by this (2).", "X"),
    _duration("aimd_adjust_window", "How often the rate is adjusted (1s)."),
    Option("max_connections", values.number, "How many connections to the store there may be (304).", "N"),
    _size("multipart_threshold", "Larger files are uploaded in parts (16M)."),
    _size("part_size", "The size of these parts (16M)."),
    Option(
        "write_mode",
        values.choice(*WRITE_MODES, also=ALLUXIO_MODES),
        "writeback, writethrough (close waits for the store), through (and nothing is kept here) or local.",
        "MODE",
    ),
    Option(
        "on_conflict",
        values.choice(*CONFLICTS),
        "keep-both, ours or theirs: which version stays where somebody else wrote, too.",
        "WHICH",
    ),
    Option(
        "dir_markers",
        values.choice(*DIR_MARKERS),
        "empty, always or never: which directories have an object dir/.",
        "WHEN",
    ),
    Option(
        "verify",
        values.choice("checksum", "readback", "off"),
        "How an upload is compared with the file: checksum, readback (it is fetched again) or off.",
        "HOW",
    ),
    _duration(
        "local_ttl", "After how long without a change a file that stays here by --write-mode local is removed (never)."
    ),
    Option("staging", values.texts, "More names that stay local until they are renamed.", "PATTERN", is_list=True),
    Option("markers", values.texts, "More names that are uploaded after their tree.", "PATTERN", is_list=True),
    Option("uid", values.number, "Owner of what others put into the store.", "ID"),
    Option("gid", values.number, "Group of what others put into the store.", "ID"),
    Option("file_mode", values.mode, "Mode of files that carry none (0644).", "OCTAL"),
    Option("dir_mode", values.mode, "Mode of directories that carry none (0755).", "OCTAL"),
    _duration("attr_timeout", "How long the kernel may keep attributes."),
    _duration("entry_timeout", "How long the kernel may keep names."),
    _duration("ttl", "How long an answer of the store counts as fresh (60s)."),
    Option(
        "freshness",
        values.choice(*FRESHNESS),
        "ttl, always (each lookup asks the store) or never (until a sync).",
        "WHEN",
    ),
    _flag("hedge", "Ask a second time for bytes that are late; the first answer counts (no)."),
    _size("small_file", "Files up to this size are fetched as a whole (8M)."),
    Option(
        "head",
        values.choice("lazy", "always"),
        "always or lazy: whether ls -l asks for each object, or for one of a directory.",
        "WHEN",
    ),
    _duration("patience", "How long a call waits for an absent store before it fails (60s)."),
    _flag("allow_other", "Let other users in (default for root's mounts)."),
    Option("log_level", values.choice("debug", "info", "warning", "error"), "What is logged (info).", "LEVEL"),
)
"""In the order of `fusecache mount --help`."""
