"""What is asked of a bucket itself, by S3 as its owner. Everything here blocks, and runs in threads.

https://docs.ceph.com/en/latest/radosgw/s3/
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from informers import JsonObject

BATCH = 1000
"""Objects that are deleted by one request; the most that S3 takes."""

_ABSENT = ("NoSuchBucket", "NoSuchBucketPolicy", "NoSuchLifecycleConfiguration", "NoSuchKey", "404")


class BucketError(Exception):
    """The store refuses something, or does not answer. Trying again later may help."""


class S3Bucket:
    """A bucket, as its owner sees it.

    Args:
        connect: Makes boto3's client, with the keys of the owner.
        name: The bucket.
    """

    def __init__(self, connect: Callable[[], Any], name: str) -> None:
        self._connect, self._name = connect, name
        self._client: Any = None

    def create(self) -> None:
        """Makes it, for the owner. One that is there is an error."""
        self._ask("be made", "create_bucket", absent=())

    def policy(self) -> JsonObject | None:
        """Its policy; None: there is none."""
        found = self._ask("say its policy", "get_bucket_policy")
        if found is None:
            return None
        policy: JsonObject = json.loads(found["Policy"])
        return policy

    def set_policy(self, policy: Mapping[str, Any] | None) -> None:
        """Gives it a policy; None: takes it away."""
        if policy is None:
            self._ask("lose its policy", "delete_bucket_policy")
        else:
            self._ask("take the policy", "put_bucket_policy", absent=(), Policy=json.dumps(policy))

    def lifecycle(self) -> JsonObject | None:
        """Its lifecycle; None: there is none."""
        found = self._ask("say its lifecycle", "get_bucket_lifecycle_configuration")
        return None if found is None else {"Rules": found.get("Rules", [])}

    def set_lifecycle(self, lifecycle: Mapping[str, Any] | None) -> None:
        """Gives it a lifecycle; None: takes it away."""
        if lifecycle is None:
            self._ask("lose its lifecycle", "delete_bucket_lifecycle")
        else:
            call = "put_bucket_lifecycle_configuration"
            self._ask("take the lifecycle", call, absent=(), LifecycleConfiguration=dict(lifecycle))

    def purge(self, seconds: float) -> bool:
        """Deletes what is in it: all versions of all objects, and uploads that were not ended.

        Args:
            seconds: For how long.

        Returns:
            Whether nothing is left.

        Raises:
            BucketError: Some of it cannot be deleted.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            page = self._ask("list its objects", "list_object_versions", MaxKeys=BATCH) or {}
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            if not found:
                self._abort_uploads()
                return True
            self._delete([{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found])
        return False

    def _delete(self, objects: list[JsonObject]) -> None:
        answer = self._ask("be emptied", "delete_objects", Delete={"Objects": objects, "Quiet": True}) or {}
        errors = answer.get("Errors", ())
        if errors:
            first = errors[0]
            told = f"{first.get('Code', '')} {first.get('Message', '')}".strip()
            raise BucketError(
                f"bucket {self._name}: {len(errors)} of {len(objects)} objects cannot be deleted, such as "
                f"{first.get('Key', '')!r}: {brief(told)}"
            )

    def _abort_uploads(self) -> None:
        page = self._ask("list its uploads", "list_multipart_uploads") or {}
        for upload in page.get("Uploads", ()):
            which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            self._ask("end an upload", "abort_multipart_upload", absent=(*_ABSENT, "NoSuchUpload"), **which)

    def _ask(self, what: str, call: str, *, absent: tuple[str, ...] = _ABSENT, **arguments: Any) -> JsonObject | None:
        """The answer of a call of boto3's; None where it says one of the codes `absent`."""
        try:
            if self._client is None:
                self._client = self._connect()
            answer: JsonObject = getattr(self._client, call)(Bucket=self._name, **arguments)
        except ClientError as error:
            found: dict[str, Any] = error.response.get("Error", {})
            code = str(found.get("Code", ""))
            if code in absent:
                return None
            told = brief(f"{code} {found.get('Message') or ''}".strip())
            raise BucketError(f"bucket {self._name} does not {what}: {told}") from error
        except (BotoCoreError, OSError) as error:
            raise BucketError(f"bucket {self._name} does not {what}: {brief(error)}") from error
        return answer
