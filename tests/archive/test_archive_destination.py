"""What the destination of an archive means, before anything is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from medclipsam_monai.archive.stores.address import open_store
from medclipsam_monai.archive.stores.folder import FolderStore
from medclipsam_monai.base.errors import InputError


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("/data/out", "/data/out"),
        ("file:///data/my%20out", "/data/my out"),
        ("file://localhost/data/out/", "/data/out"),
        ("out", Path.cwd() / "out"),
        ("~/out", Path.home() / "out"),
        ("a:b@c", Path.cwd() / "a:b@c"),
        ("C:/out", Path.cwd() / "C:/out"),
        ("scans:/out", Path.cwd() / "scans:/out"),
        ("s3/out", Path.cwd() / "s3/out"),
        ("file:///data/a%23b%3Fc", "/data/a#b?c"),
        ("file:///data/%FF", "/data/\udcff"),
    ],
)
def test_folders_and_their_urls(given, folder):
    assert open_store(given) == FolderStore(Path(folder))


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hush/12+x@bucket/out",
        "s3://AKIA:12/hush@bucket/out",
        "s3://AKIA:hu?sh#x@bucket/out",
        "s3://bucket/out?secret_key=hush",
        "abfs://c@account.dfs.core.windows.net/out?account_key=hush",
        "fsspec+sftp://me:hush@host/out",
        "file://me:hush@host/out",
    ],
)
def test_a_url_with_a_secret_is_refused_without_saying_it(url):
    with pytest.raises(InputError, match="set it in the environment") as error:
        open_store(url)
    told = str(error.value)
    assert not any(secret in told for secret in ("hu", "sh#", "12", "AKIA", "me:")) and "\n" not in told


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("file://elsewhere/out", "must name a folder of this machine"),
        ("s3://[bucket/out", "is no URL"),
        ("fsspec+memory://out", "each process has a memory of its own"),
        (" ", "name is empty"),
        ("file:///data/a#b", "^file:///data/a: .* write %23 for #$"),
        ("file:///data/a#", "^file:///data/a: .* write %23 for #$"),
        ("s3://bucket/a#b", "^s3://bucket/a: .* write %23 for #$"),
        ("file:///data/a?b", "^file:///data/a: .* write %3F for \\?$"),
        ("file:///data/a?", "^file:///data/a: .* write %3F for \\?$"),
        ("file://", "must name a folder of this machine, as file:///folder$"),
        ("file://localhost", "must name a folder of this machine, as file:///folder$"),
        ("file:///a%00b", "must name a folder of this machine, as file:///folder$"),
        ("file:/data/x", "^file:/...: .* write file:///folder$"),
        ("S3:/bucket/x", "^S3:/...: .* write S3://...$"),
        ("fsspec+sftp:/host/x", "write fsspec\\+sftp://...$"),
        ("~nosuch-user/x", "^~nosuch-user/x: ~nosuch-user has no home folder here; give the path in full$"),
    ],
)
def test_a_url_that_is_no_destination_is_one_line(url, told):
    with pytest.raises(InputError, match=told):
        open_store(url)
