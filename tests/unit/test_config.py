"""What people write becomes one checked configuration, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusecache.config import MARKERS, Config, values
from fusecache.config.load import build_config, read_mount_options, read_toml
from fusecache.config.options import OPTIONS
from fusecache.config.rules import Rule
from fusecache.errors import ConfigError


def config(
    as_user: int = 0, environ: dict[str, str] | None = None, release: str = "6.1.0-18-amd64", **settings: object
) -> Config:
    given = {"store": "s3://bucket/p", "mountpoint": "/mnt/x"} | settings
    return build_config(given, uid=as_user, environ=environ or {"HOME": "/home/u"}, release=release)


@pytest.mark.parametrize(
    ("written", "size"),
    [("0", 0), (4096, 4096), ("1K", 1024), ("1.5G", 3 << 29), ("100m", 100 << 20), ("2TiB", 2 << 40), ("7B", 7)],
)
def test_sizes_are_powers_of_1024(written: object, size: int) -> None:
    assert values.size(written) == size


@pytest.mark.parametrize(
    ("written", "seconds"), [("250ms", 0.25), ("60s", 60.0), ("5m", 300.0), ("2h", 7200.0), ("1.5", 1.5), (3, 3.0)]
)
def test_durations(written: object, seconds: float) -> None:
    assert values.duration(written) == seconds


@pytest.mark.parametrize("written", ["", "-1", "1Q", "K", True, None, "1 2", "inf", "nan", "1e3"])
def test_what_is_no_number_is_refused(written: object) -> None:
    for read in (values.size, values.duration, values.number, values.ratio):
        with pytest.raises(ConfigError):
            read(written)


@pytest.mark.parametrize(("written", "share"), [("0.1", 0.1), ("10%", 0.1), (1, 1.0), ("12.5 %", 0.125)])
def test_shares_of_a_whole(written: object, share: float) -> None:
    assert values.ratio(written) == pytest.approx(share)


def test_modes_are_octal() -> None:
    assert values.mode("0644") == values.mode(0o644) == values.mode("0o644") == 0o644
    with pytest.raises(ConfigError):
        values.mode("rw-r--r--")


def test_defaults_for_root() -> None:
    made = config()
    assert made.allow_other
    assert not made.force_path_style
    assert made.state_dir.parent == Path("/var/lib/fusecache")
    assert made.cache_dirs[0].parent == Path("/var/cache/fusecache")
    assert made.state_dir.name == made.cache_dirs[0].name
    assert made.state_dir.name.startswith("mnt-x-")


def test_defaults_for_a_user_follow_xdg() -> None:
    made = config(as_user=1000, environ={"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "relative is ignored"})
    assert not made.allow_other
    assert made.state_dir.parent == Path("/s/fusecache")
    assert made.cache_dirs[0].parent == Path("~/.cache/fusecache").expanduser()


@pytest.mark.parametrize(
    ("release", "as_user", "transport"),
    [
        ("6.18.44-fc-v669", 0, "direct"),
        ("6.9.0", 0, "direct"),
        ("7.0", 0, "direct"),
        ("6.8.12-45-generic", 0, "pyfuse3"),
        ("5.15.0", 0, "pyfuse3"),
        ("6.18.44", 1000, "pyfuse3"),
        ("unheard of", 0, "pyfuse3"),
    ],
)
def test_auto_is_direct_where_the_kernel_reads_and_writes_by_itself(release: str, as_user: int, transport: str) -> None:
    for settings in ({}, {"transport": "auto"}):
        assert config(as_user, release=release, **settings).transport == transport


def test_the_environment_says_what_auto_is() -> None:
    assert config(environ={"FUSECACHE_TRANSPORT": "direct"}).transport == "direct"
    assert config(environ={"FUSECACHE_TRANSPORT": "pyfuse3"}, release="6.18").transport == "pyfuse3"
    assert config(environ={"FUSECACHE_TRANSPORT": "direct"}, transport="pyfuse3").transport == "pyfuse3"
    with pytest.raises(ConfigError):
        config(environ={"FUSECACHE_TRANSPORT": "usb"})


def test_each_mount_has_its_own_directory() -> None:
    names = {config(mountpoint=m, store=s).state_dir for m in ("/mnt/x", "/mnt-x") for s in ("s3://a", "s3://b")}
    assert len(names) == 4


def test_state_follows_an_explicit_cache_directory() -> None:
    made = config(cache_dir="/nvme0/c:/nvme1/c")
    assert made.cache_dirs == (Path("/nvme0/c"), Path("/nvme1/c"))
    assert made.state_dir == Path("/nvme0/c/state")
    assert config(cache_dir="/nvme0/c", state_dir="/safe").state_dir == Path("/safe")


def test_an_endpoint_of_ones_own_wants_path_style() -> None:
    assert config(endpoint_url="http://127.0.0.1:9000").force_path_style
    assert not config(endpoint_url="http://127.0.0.1:9000", force_path_style=False).force_path_style


def test_configured_patterns_come_on_top() -> None:
    assert config(markers=["DONE"]).markers == (*MARKERS, "DONE")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"store": "bucket"}, "s3://bucket/prefix"),
        ({"store": "s3:///p"}, "no bucket"),
        ({"store": "s3://key:secret@b"}, "AWS chain"),
        ({"store": ""}, "no store"),
        ({"mountpoint": ""}, "no mount point"),
        ({"transport": "usb"}, "transport"),
        ({"transport": "pyfuse3", "acl": True}, "direct transport"),
        ({"mounts": {"/a": "s3://b"}}, "not in this version"),
        ({"block_size": "3M"}, "power of two"),
        ({"block_size": "1K"}, "block_size"),
        ({"part_size": "1M"}, "5 MiB"),
        ({"max_uploads": 0}, "max_uploads"),
        ({"max_connections": 0}, "max_connections"),
        ({"persist_delay": "soon"}, "persist_delay"),
        ({"sse_kms_key_id": "k"}, "aws:kms"),
        ({"endpoint_url": "localhost:9000"}, "http://"),
        ({"cache_dir": "/mnt/x/cache"}, "below the mount point"),
    ],
)
def test_bad_values_are_named(settings: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        config(**settings)
    assert "\n" not in str(caught.value)


def test_a_configuration_reaches_the_daemon_unchanged() -> None:
    made = config(cache_dir="/a:/b", markers=["x"], kernel_options=("nosuid",), attr_timeout="1s")
    assert Config.from_json(made.to_json()) == made


def test_every_option_has_a_field_of_its_own() -> None:
    fields = set(Config.__dataclass_fields__)
    assert {option.target for option in OPTIONS} <= fields
    assert len({option.target for option in OPTIONS}) == len(OPTIONS)


def test_toml_takes_dashes_and_underscores(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('store = "s3://b"\npart-size = "10M"\npersist_delay = 2.5\n')
    settings = read_toml(file)
    assert settings == {"store": "s3://b", "part_size": "10M", "persist_delay": 2.5}
    assert config(**settings).part_size == 10 << 20


@pytest.mark.parametrize(
    ("content", "word"),
    [("part_sise = 1", "part_size"), ("store = ", "no TOML"), ("zzz = 1", "--help"), ('"a\\nb" = 1', "unknown")],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, content: str, word: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=word):
        read_toml(file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_toml(tmp_path / "absent.toml")


def test_fstab_options() -> None:
    settings = read_mount_options(
        ["_netdev,noauto,x-systemd.automount,ro", "uid=7,attr-timeout=2s,nosuid,nodev,allow_other"]
    )
    made = config(as_user=1000, **settings)
    assert (made.read_only, made.uid, made.attr_timeout_s, made.allow_other) == (True, 7, 2.0, True)
    assert made.kernel_options == ("nosuid", "nodev")
    assert read_mount_options(["rw"]) == {"read_only": False}
    with pytest.raises(ConfigError, match="persist_delay"):
        read_mount_options(["persit_delay=1s"])


def test_a_queue_belongs_to_a_bucket() -> None:
    assert config(store="s3://b/p", events="sqs://changes").events == "sqs://changes"
    for wrong in ({"store": "file:///tmp/x", "events": "sqs://changes"}, {"store": "s3://b", "events": "changes"}):
        with pytest.raises(ConfigError, match="an SQS queue"):
            config(**wrong)


# --- rules by path ---


def test_rules_are_read_in_order_with_the_words_of_the_options(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text(
        """
        on-conflict = "ours"
        [[rule]]
        path = "/warehouse/**"
        write-mode = "CACHE_THROUGH"
        persist-delay = "5m"
        markers = ["DONE"]
        [[rule]]
        path = "/scratch"
        write-mode = "local"
        dir-markers = "never"
        """
    )
    made = config(**read_toml(file))
    assert made.rules == (
        Rule(path="/warehouse/**", write_mode="writethrough", persist_delay_s=300.0, markers=("DONE",)),
        Rule(path="/scratch", write_mode="local", dir_markers="never"),
    )
    assert Config.from_json(made.to_json()) == made
    policy = made.by_path().of([b"scratch", b"x"])
    assert (policy.write_mode, policy.on_conflict, policy.dir_markers) == ("local", "ours", "never")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, "rule 1: '' is not a line of text"),
        ({"path": "warehouse"}, "rule 1: the path of a rule begins with a slash"),
        ({"path": "/w", "write-mode": "sideways"}, "rule 1: write_mode: 'sideways' is not one of writeback, "),
        ({"path": "/w", "persist-dely": "1s"}, "rule 1: unknown key 'persist_dely'; did you mean persist_delay"),
        ({"path": "/w", "freshness": "soon"}, "rule 1: freshness: 'soon' is not one of ttl, always, never"),
        ({"path": "/w", "region": "x"}, "rule 1: unknown key 'region'"),
        ({"path": "/w", "persist_delay": "900d"}, "persist_delay must be between"),
    ],
)
def test_a_rule_that_is_wrong_says_which_and_why(rule: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(rule=[{"path": "/"} | rule] if rule else [rule])
    assert words in str(caught.value)


def test_rules_are_tables() -> None:
    with pytest.raises(ConfigError, match=r"\[\[rule\]\]"):
        config(rule={"path": "/w"})


def test_options_of_the_mount_are_the_rule_of_last_resort() -> None:
    policy = config(write_mode="THROUGH", dir_markers="always", persist_delay="2s").by_path().of([b"x"])
    assert (policy.write_mode, policy.dir_markers, policy.persist_delay_s) == ("through", "always", 2.0)
