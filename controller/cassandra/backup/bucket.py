"""A prefix of a bucket in any S3, by boto3.

Nothing here goes beyond what all of them can: signature version 4 with the content signed, lists, multi-part uploads
and ranges. https://docs.aws.amazon.com/AmazonS3/latest/API/
"""

from __future__ import annotations

import hashlib
import ssl
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, SSLError

if TYPE_CHECKING:
    from collections.abc import Iterator

PART = 16 << 20
"""Bytes of a part; of a file with more than 10,000 such parts, the library takes larger ones."""
CHUNK = 1 << 20
TRIES = 8
"""How often one request is tried, after pauses that double up to 20 s."""
STALLS = 5
"""How often a download may break without a single byte in between."""
ACCESS_KEY, SECRET_KEY = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
"""Keys of the Secret, as an ObjectBucketClaim's has them."""
_KEYS = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}

_HOPELESS = {
    "NoSuchBucket": "there is no bucket {bucket}",
    "InvalidAccessKeyId": "the access key in the Secret of s3.credentialsSecretName is not known there",
    "SignatureDoesNotMatch": "the secret key in the Secret of s3.credentialsSecretName is wrong",
    "AccessDenied": "the credentials in the Secret of s3.credentialsSecretName may not {what}",
    "403": "the credentials in the Secret of s3.credentialsSecretName may not {what}",
    "PermanentRedirect": "bucket {bucket} is in another region: set s3.region",
    "AuthorizationHeaderMalformed": "bucket {bucket} is in another region: set s3.region",
    "EntityTooLarge": "it takes no objects of that size",
}


class BucketError(Exception):
    """The bucket does not do what it is asked to. Trying again later may help."""


class HopelessError(BucketError):
    """Trying again does not help: somebody has to change something."""


class CorruptError(HopelessError):
    """What the bucket has is not what was put there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a bucket is.

    Attributes:
        prefix: What keys begin with; empty, or without a slash at its end.
        endpoint: URL; empty: Amazon's own of the region.
        region: Empty: the S3 has none, or the default one.
        path_style: Whether the bucket's name is in the path, and not in the host name.
        ca: A file with the authority that signed the server's certificate; empty: a public one.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    path_style: bool = True
    ca: str = ""


class Bucket:
    """Objects below a prefix. It may be used by several threads at once.

    Args:
        location: Where it is.
        credentials: A directory with a file for each key of the Secret.

    Raises:
        HopelessError: A Secret lacks a key or has no certificate, or a field of the location means nothing.
    """

    def __init__(self, location: Location, credentials: Path) -> None:
        self._location = location
        keys = {name: _read(credentials, key) for name, key in _KEYS.items()}
        _check(location.ca)
        config = Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            # Newer checksums are not known everywhere; that of the signature is.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if location.path_style else "virtual", "payload_signing_enabled": True},
        )
        endpoint, region = location.endpoint or None, location.region or "us-east-1"
        try:
            self._client = boto3.client(
                "s3", endpoint_url=endpoint, region_name=region, verify=location.ca or None, config=config, **keys
            )
        except (BotoCoreError, ValueError) as error:
            raise HopelessError(
                f"s3.endpoint is {endpoint or 'not set'} and s3.region {region}: {error}; an endpoint is a URL such as "
                "https://minio.example.org:9000"
            ) from error
        self._transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)

    def put(self, key: str, content: bytes) -> None:
        """Writes a small object.

        Raises:
            BucketError: It is not known whether it was written.
        """
        with self._words(f"write {key}"):
            self._client.put_object(Bucket=self._location.bucket, Key=self._key(key), Body=content)

    def get(self, key: str) -> bytes | None:
        """A small object; None: there is none."""
        try:
            with self._words(f"read {key}"):
                answer = self._client.get_object(Bucket=self._location.bucket, Key=self._key(key))
                with closing(answer["Body"]) as body:
                    content: bytes = body.read()
                return content
        except _AbsentError:
            return None

    def sizes(self, prefix: str) -> dict[str, int]:
        """The sizes of all objects whose keys begin so."""
        found: dict[str, int] = {}
        start = len(self._key(""))
        with self._words(f"list {prefix}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._location.bucket, Prefix=self._key(prefix)):
                found |= {entry["Key"][start:]: entry["Size"] for entry in page.get("Contents", ())}
        return found

    def upload(self, path: Path, key: str) -> None:
        """Writes an object with a file's content; a large one in parts. Whoever reads sees all of it or nothing."""
        with self._words(f"write {key}"):
            self._client.upload_file(str(path), self._location.bucket, self._key(key), Config=self._transfer)

    def download(self, key: str, path: Path, *, size: int, sha256: str) -> None:
        """Writes a file with an object's content, and goes on where an earlier try ended.

        Args:
            key: The object.
            path: It is there only when it is whole and right.
            size: Bytes that it must have.
            sha256: Its checksum.

        Raises:
            CorruptError: The object is another one.
            BucketError: It cannot be read now.
        """
        part = path.with_name(path.name + ".part")
        stalls = 0
        while (have := part.stat().st_size if part.exists() else 0) < size:
            try:
                with self._words(f"read {key}"):
                    self._append(key, part, have)
            except _AbsentError as error:
                raise CorruptError(f"{self._name(key)} is not there") from error
            except HopelessError:
                raise
            except BucketError:
                stalls = stalls + 1 if part.stat().st_size == have else 0
                if stalls >= STALLS:
                    raise
                time.sleep(2**stalls)
                continue
            if part.stat().st_size == have:
                raise CorruptError(f"{self._name(key)} ends after {have} bytes of {size}")
        part.touch()
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256 or part.stat().st_size != size:
            wrong = part.stat().st_size
            part.unlink()
            raise CorruptError(
                f"{self._name(key)} is damaged: {wrong} bytes with SHA-256 {found}, and not {size} with {sha256}"
            )
        part.replace(path)

    def _append(self, key: str, part: Path, have: int) -> None:
        part.touch()
        answer = self._client.get_object(Bucket=self._location.bucket, Key=self._key(key), Range=f"bytes={have}-")
        with closing(answer["Body"]) as body, part.open("ab") as file:
            for chunk in body.iter_chunks(CHUNK):
                file.write(chunk)

    def _key(self, key: str) -> str:
        return f"{self._location.prefix}/{key}" if self._location.prefix else key

    def _name(self, key: str) -> str:
        return f"s3://{self._location.bucket}/{self._key(key)}"

    @contextmanager
    def _words(self, what: str) -> Iterator[None]:
        """Raises what the library does as an error of ours, which says where and what."""
        where = self._location.endpoint or "Amazon S3"
        try:
            yield
        except S3UploadFailedError as error:
            cause = error.__context__
            raise (
                self._told(cause, what) if isinstance(cause, ClientError) else BucketError(f"{where}: {error}")
            ) from error
        except ClientError as error:
            raise self._told(error, what) from error
        except SSLError as error:
            raise HopelessError(f"{where}: its certificate is not trusted; see s3.caSecretName: {error}") from error
        except (BotoCoreError, HTTPClientError, OSError) as error:
            raise BucketError(f"{where}: {error}") from error

    def _told(self, error: ClientError, what: str) -> BucketError:
        answer: dict[str, Any] = error.response.get("Error", {})
        code, where = str(answer.get("Code", "")), self._location.endpoint or "Amazon S3"
        if code in ("NoSuchKey", "404"):
            return _AbsentError(f"{where}: there is no such object")
        if code == "InvalidRange":
            return CorruptError(f"{where}: an object is shorter than it was: {what}")
        words = _HOPELESS.get(code)
        if words is None:
            return BucketError(f"{where} does not {what}: {code}: {answer.get('Message', '')}")
        return HopelessError(f"{where}: {words.format(bucket=self._location.bucket, what=what)}")


class _AbsentError(BucketError):
    """There is no such object."""


def _check(ca: str) -> None:
    """Finds out whether a file has an authority; the library would do so only when a server answers."""
    try:
        ssl.create_default_context(cafile=ca or None)
    except (ssl.SSLError, OSError) as error:
        raise HopelessError(f"what the Secret of s3.caSecretName has is no certificate in PEM: {error}") from error


def _read(directory: Path, key: str) -> str:
    try:
        found = (directory / key).read_text().strip()
    except OSError as error:
        raise HopelessError(f"the Secret of s3.credentialsSecretName has no key {key}") from error
    if not found:
        raise HopelessError(f"the Secret of s3.credentialsSecretName has nothing under the key {key}")
    return found
